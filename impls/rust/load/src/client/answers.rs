//! From bytes to verdicts: reads a connection empty, cuts the answer out, judges it.
//!
//! Rule: an answer that arrives in one read is judged where it lies; only pieces are copied. Bytes that nobody asked for
//! make a connection untrustworthy, and so does whatever is not HTTP or JSON.

use std::io::{ErrorKind, Read};

use super::conn::State;
use super::{Client, Event};
use crate::answer::{Kind, judge};
use crate::http::Progress;
use crate::sys::now_ns;
use crate::template;

impl Client {
    /// Reads until the socket is empty. A short read means empty: the next byte makes a new edge.
    pub(super) fn readable(&mut self, key: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(stream) = self.conns[key].stream.as_mut() {
            match stream.read(&mut scratch) {
                Ok(0) => {
                    self.closed(key);
                    break;
                }
                Ok(count) => {
                    self.take(key, &scratch[..count]);
                    if count < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let refused = error.kind() == ErrorKind::ConnectionRefused;
                    self.end(
                        key,
                        Err(if refused { Kind::Connect } else { Kind::Reset }),
                        true,
                    );
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    fn closed(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        let input = std::mem::take(&mut conn.input);
        if conn.framer.closed(&input).is_some() {
            return self.answered(key, &input, true);
        }
        self.end(key, Err(Kind::Reset), true);
    }

    fn take(&mut self, key: usize, fresh: &[u8]) {
        let conn = &mut self.conns[key];
        let kept = std::mem::take(&mut conn.input);
        let mut whole;
        let mut bytes = fresh;
        if !kept.is_empty() {
            whole = kept;
            whole.extend_from_slice(fresh);
            return self.messages(key, whole);
        }
        // The usual case: the whole answer in one read, judged where it lies.
        match conn.framer.advance(bytes) {
            Ok(Progress::Complete(used)) if conn.framer.head().status >= 200 => {
                self.answered(key, &bytes[..used], false);
                bytes = &bytes[used..];
                if !bytes.is_empty() {
                    self.surplus(key);
                }
            }
            Ok(Progress::Partial(Some(total))) => {
                let mut input = Vec::with_capacity(total);
                input.extend_from_slice(bytes);
                conn.input = input;
            }
            Ok(Progress::Partial(None)) => conn.input = bytes.to_vec(),
            Ok(Progress::Complete(_)) => {
                conn.framer.reset();
                self.messages(key, bytes.to_vec());
            }
            Err(_) => self.end(key, Err(Kind::Garbage), true),
        }
    }

    fn messages(&mut self, key: usize, mut bytes: Vec<u8>) {
        let conn = &mut self.conns[key];
        loop {
            match conn.framer.advance(&bytes) {
                Ok(Progress::Complete(used)) if conn.framer.head().status < 200 => {
                    bytes.drain(..used); // an interim answer
                    conn.framer.reset();
                }
                Ok(Progress::Complete(used)) => {
                    self.answered(key, &bytes[..used], false);
                    if used < bytes.len() {
                        self.surplus(key);
                    }
                    return;
                }
                Ok(Progress::Partial(_)) => {
                    conn.input = bytes;
                    return;
                }
                Err(_) => return self.end(key, Err(Kind::Garbage), true),
            }
        }
    }

    /// Bytes after the answer, with nothing asked: whatever they are, the connection cannot be trusted.
    fn surplus(&mut self, key: usize) {
        if self.conns[key].stream.is_some() {
            self.events
                .retain(|event| !matches!(event, Event::Up(up) if *up == key));
            self.conns[key].state = State::Busy;
            self.conns[key].since_ns = now_ns();
            self.conns[key].due_ns = self.conns[key].since_ns;
            self.end(key, Err(Kind::Garbage), true);
        }
    }

    /// A complete answer, `bytes` being all of it.
    fn answered(&mut self, key: usize, bytes: &[u8], at_close: bool) {
        let conn = &mut self.conns[key];
        let head = conn.framer.head();
        let (status, sse, close) = (head.status, head.sse, head.close || at_close);
        match conn.state {
            State::Busy => {
                conn.progress = 0;
                let verdict = judge(
                    status,
                    sse,
                    conn.framer.body(bytes),
                    conn.asked,
                    self.requests.at(conn.asked.place),
                    &mut conn.progress,
                );
                conn.framer.reset();
                // After an error in HTTP or JSON the framing may be off as well: begin anew.
                self.end(key, verdict, close || verdict == Err(Kind::Garbage));
            }
            State::Initializing => {
                let session = head
                    .session
                    .clone()
                    .map(|range| String::from_utf8_lossy(&bytes[range]).into_owned());
                conn.framer.reset();
                if status != 200 {
                    return self.end(key, Err(Kind::Http(status)), true);
                }
                let text = template::head(
                    &self.plan,
                    self.plan.target(key),
                    Some(template::LEGACY),
                    session.as_deref(),
                );
                conn.head = Some(text.into_bytes().into_boxed_slice());
                let body = template::INITIALIZED;
                self.post(key, State::Initialized, body);
            }
            State::Initialized => {
                conn.framer.reset();
                if (200..300).contains(&status) && !close {
                    self.begun(key);
                } else {
                    self.end(key, Err(Kind::Http(status)), true);
                }
            }
            State::Cancelling => {
                conn.framer.reset();
                self.cancelled(key, status, close);
            }
            State::Ending => {
                conn.framer.reset();
                self.begin_again(key, close);
            }
            _ => self.end(key, Err(Kind::Garbage), true),
        }
    }
}
