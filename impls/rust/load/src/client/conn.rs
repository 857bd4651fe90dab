//! One connection of a generator: its socket, its buffers, and what it is in the middle of.
//!
//! Rule: a connection asks one thing at a time, so its state, the question and its two times fit in one record.

use std::io::ErrorKind;

use mio::net::TcpStream;

use crate::answer::Asked;
use crate::http::{Framer, Side};
use crate::socket;

const MAX_BODY: usize = 256 * 1024 * 1024;

/// From down to idle; `lifecycle` holds every transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Down {
        retry_ns: u64,
    },
    Connecting,
    Initializing,
    Initialized,
    Idle,
    Busy,
    /// Legacy: the request was given up, and the server is being told.
    Cancelling,
    /// Legacy: the session was ended, and the server is to confirm it.
    Ending,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: Option<TcpStream>,
    pub(super) state: State,
    pub(super) framer: Framer,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Legacy: the request head with this connection's session.
    pub(super) head: Option<Box<[u8]>>,
    pub(super) asked: Asked,
    /// Progress notifications that the answer brought.
    pub(super) progress: u32,
    /// Calls answered in this session.
    pub(super) calls: u32,
    /// When the session was ended on purpose (0: it was not), until the next one is up.
    pub(super) renewing_ns: u64,
    /// The connection of a request that was given up, kept until the server has heard of it.
    pub(super) leaving: Option<TcpStream>,
    pub(super) due_ns: u64,
    /// When the request was sent, or the connection attempt or handshake began.
    pub(super) since_ns: u64,
}

impl Conn {
    pub(super) const fn new() -> Self {
        Self {
            stream: None,
            state: State::Down { retry_ns: 0 },
            framer: Framer::new(Side::Response, MAX_BODY),
            input: Vec::new(),
            output: Vec::new(),
            head: None,
            asked: Asked {
                id: 0,
                nonce: 0,
                place: 0,
                check: false,
            },
            progress: 0,
            calls: 0,
            renewing_ns: 0,
            leaving: None,
            due_ns: 0,
            since_ns: 0,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        socket::write(stream, &mut self.output, bytes)
    }

    /// Writes a request, behind the session's head if there is one; they are joined in `scratch` when they fit.
    pub(super) fn write_request(
        &mut self,
        request: &[u8],
        scratch: &mut [u8],
    ) -> std::io::Result<()> {
        let Some(head) = self.head.take() else {
            return self.write(request);
        };
        let end = head.len() + request.len();
        let written = if let Some(joined) = scratch.get_mut(..end) {
            joined[..head.len()].copy_from_slice(&head);
            joined[head.len()..].copy_from_slice(request);
            self.write(joined)
        } else {
            self.write(&[&head, request].concat())
        };
        self.head = Some(head);
        written
    }
}
