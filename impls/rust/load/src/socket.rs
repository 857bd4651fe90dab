//! What both event loops, the generator's and the fleet's, share: one poll with its alarm and waker, and the single write.
//!
//! Rule: a message costs one write. What the socket did not take is kept, in order, and goes out at the socket's next
//! writable edge (epoll(7): a partial write means full, so that edge will come).

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Poll, Token, Waker};

use crate::Failure;
use crate::sys::Alarm;

pub const WAKER: Token = Token(usize::MAX);
pub const ALARM: Token = Token(usize::MAX - 1);
/// One read of this size empties a socket in nearly all cases.
pub const READ_BUFFER: usize = 256 * 1024;

/// Opens the poll of `who` (as messages name it), with [`ALARM`] and [`WAKER`] registered.
pub fn open(who: &str) -> Result<(Poll, Alarm, Waker), Failure> {
    let opened = || -> std::io::Result<(Poll, Alarm, Waker)> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((poll, alarm, waker))
    };
    opened().map_err(Failure::io(
        format!("{who} cannot open its poll"),
        "raise the limit of open files",
    ))
}

/// The address of a host that is written as a number; `what` names the input that gave it.
pub fn address(what: &str, host: &str, port: u16) -> Result<SocketAddr, Failure> {
    format!("{host}:{port}").parse().map_err(|_| {
        Failure::Usage(format!(
            "{what}: host {host:?} is no IP address; use 127.0.0.1"
        ))
    })
}

/// Writes once; what does not fit, or must wait behind what did not, is appended to `kept`.
pub fn write(stream: &mut TcpStream, kept: &mut Vec<u8>, bytes: &[u8]) -> std::io::Result<()> {
    if !kept.is_empty() {
        kept.extend_from_slice(bytes);
        return Ok(());
    }
    match stream.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => {
            kept.extend_from_slice(&bytes[count..]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            kept.extend_from_slice(bytes);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
