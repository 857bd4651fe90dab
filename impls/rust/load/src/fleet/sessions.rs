//! The legacy sessions a fleet server knows.
//!
//! Rule: a session is a 64-bit number, sixteen hex digits on the wire; whatever else a client sends is unknown. A crash
//! forgets them all, so that a gateway must open them again.

use std::collections::HashSet;

/// Whether a session is known; only the HTTP server has any.
pub trait Sessions {
    fn known(&self, id: &[u8]) -> bool;
    fn open(&mut self, id: u64);
}

/// stdio: the pipe is the session.
#[derive(Debug)]
pub struct Pipe;

impl Sessions for Pipe {
    fn known(&self, _id: &[u8]) -> bool {
        true
    }
    fn open(&mut self, _id: u64) {}
}

/// HTTP: those that were opened and not ended.
#[derive(Debug, Default)]
pub struct Known(HashSet<u64>);

impl Known {
    /// Ends a session; false if it was not known.
    pub fn end(&mut self, id: &[u8]) -> bool {
        read(id).is_some_and(|id| self.0.remove(&id))
    }

    pub fn forget(&mut self) {
        self.0.clear();
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Sessions for Known {
    fn known(&self, id: &[u8]) -> bool {
        read(id).is_some_and(|id| self.0.contains(&id))
    }
    fn open(&mut self, id: u64) {
        self.0.insert(id);
    }
}

fn read(id: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(id).ok()?, 16).ok()
}
