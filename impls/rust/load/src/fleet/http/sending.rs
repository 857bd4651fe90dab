//! From answers to the socket: at once, when due, or when there is room again.
//!
//! Rule: HTTP/1.1 answers come in order. Whoever sends the last byte of an answer looks after what waited behind it, so that
//! no request is stranded; and a delayed answer belongs to the connection it was made for, never to its key's next tenant.

use std::cmp::Reverse;
use std::io::{ErrorKind, Write};

use super::Fleet;
use crate::socket;

impl Fleet {
    /// Sends the delayed answers whose time has come.
    pub(super) fn send_due(&mut self, now: u64) {
        while self
            .delayed
            .peek()
            .is_some_and(|(Reverse(due), ..)| *due <= now)
        {
            let Some((_, key, generation, bytes)) = self.delayed.pop() else {
                return;
            };
            let Some(conn) = self.conns[key]
                .as_mut()
                .filter(|conn| conn.generation == generation)
            else {
                continue;
            };
            conn.waiting = false;
            let bytes = if bytes.is_empty() {
                self.drop_of(key)
            } else {
                bytes
            };
            self.send(key, &bytes);
            self.go_on(key);
        }
    }

    pub(super) fn send(&mut self, key: usize, bytes: &[u8]) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        if socket::write(&mut conn.stream, &mut conn.output, bytes).is_err() {
            self.close(key);
        }
    }

    /// Writes what is left until the socket is full again; then the next writable edge calls here.
    pub(super) fn resume(&mut self, key: usize) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        let mut done = 0;
        while done < conn.output.len() {
            match conn.stream.write(&conn.output[done..]) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(key),
            }
        }
        if done < conn.output.len() {
            conn.output.drain(..done);
        } else {
            conn.output = Vec::new();
            self.go_on(key);
        }
    }

    /// An answer has left: close if it was the last, else see to what waited behind it.
    fn go_on(&mut self, key: usize) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        if conn.waiting || !conn.output.is_empty() {
            return;
        }
        if conn.close {
            return self.close(key);
        }
        if !conn.input.is_empty() {
            self.kept(key);
        }
        self.readable(key);
    }
}
