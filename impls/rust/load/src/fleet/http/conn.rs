//! One connection of a fleet: its socket and what it holds back.
//!
//! Rule: an idle connection has given its input and output back, so that a fleet can hold tens of thousands of them.

use mio::net::TcpStream;

use crate::http::{Framer, Side};

pub(super) const MAX_BODY: usize = 17 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    /// Told apart from an earlier connection of the same key.
    pub(super) generation: u64,
    pub(super) framer: Framer,
    /// Bytes of a message that is not complete yet.
    pub(super) input: Vec<u8>,
    /// Bytes the socket did not take.
    pub(super) output: Vec<u8>,
    /// An answer is delayed; nothing more is read from `input` until it has left.
    pub(super) waiting: bool,
    pub(super) close: bool,
    /// What still has to leave byte by byte, and backwards.
    pub(super) dripping: Vec<u8>,
    /// It came in on a slow port.
    pub(super) slow: bool,
}

impl Conn {
    pub(super) const fn new(stream: TcpStream, generation: u64, slow: bool) -> Self {
        Self {
            stream,
            generation,
            framer: Framer::new(Side::Request, MAX_BODY),
            input: Vec::new(),
            output: Vec::new(),
            waiting: false,
            close: false,
            dripping: Vec::new(),
            slow,
        }
    }
}
