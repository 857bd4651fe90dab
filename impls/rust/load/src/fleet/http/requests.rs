//! From bytes to answers: reads a connection empty, cuts its requests out, has them answered.
//!
//! Rule: a message that arrived whole is answered from the shared read buffer and never copied into its connection; answers
//! to pipelined requests leave in one write. Behind a delayed answer everything waits.

use std::cmp::Reverse;
use std::io::{ErrorKind, Read};

use super::conn::MAX_BODY;
use super::moods::Mood;
use super::{Fleet, answer};
use crate::fleet::Framing;
use crate::fleet::rpc::{Hints, Verdict};
use crate::http::{BadMessage, Framer, Head, Progress, Side};
use crate::sys::{self, now_ns};

impl Fleet {
    /// Reads until the socket is empty. A short read means empty: the next byte makes a new edge.
    pub(super) fn readable(&mut self, key: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(conn) = self.conns.get_mut(key).and_then(Option::as_mut) {
            if conn.waiting || !conn.output.is_empty() {
                break;
            }
            match conn.stream.read(&mut scratch) {
                Ok(0) => {
                    self.close(key);
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
                Err(_) => {
                    self.close(key);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// New bytes of a connection: answered from where they are when the message is whole, else kept.
    fn take(&mut self, key: usize, fresh: &[u8]) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        if conn.input.is_empty() {
            let used = self.messages(key, fresh);
            if let Some(conn) = self.conns[key].as_mut() {
                conn.input.extend_from_slice(&fresh[used..]);
            }
        } else {
            conn.input.extend_from_slice(fresh);
            self.kept(key);
        }
    }

    pub(super) fn kept(&mut self, key: usize) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        let mut input = std::mem::take(&mut conn.input);
        let used = self.messages(key, &input);
        if let Some(conn) = self.conns[key].as_mut() {
            if used == input.len() {
                input = Vec::new();
            } else {
                input.drain(..used);
            }
            conn.input = input;
        }
    }

    /// Answers every complete message in `bytes`; returns how many bytes they took.
    fn messages(&mut self, key: usize, bytes: &[u8]) -> usize {
        let mut used = 0;
        self.out.clear();
        while used < bytes.len() {
            let Some(conn) = self.conns[key].as_mut() else {
                return used;
            };
            if conn.waiting || conn.close {
                break;
            }
            let rest = &bytes[used..];
            let expected = conn.framer.has_head();
            match conn.framer.advance(rest) {
                Ok(Progress::Complete(length)) => {
                    let mut framer =
                        std::mem::replace(&mut conn.framer, Framer::new(Side::Request, MAX_BODY));
                    self.request(key, framer.head(), framer.body(rest), rest);
                    framer.reset();
                    if let Some(conn) = self.conns[key].as_mut() {
                        conn.framer = framer;
                    }
                    used += length;
                }
                Ok(Progress::Partial(total)) => {
                    if !expected && conn.framer.has_head() && conn.framer.head().expects_continue {
                        self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    if let Some(total) = total {
                        conn.input.reserve(total - rest.len());
                    }
                    break;
                }
                Err(bad) => {
                    conn.close = true;
                    let status = if bad == BadMessage::BodyTooLarge {
                        413
                    } else {
                        400
                    };
                    answer::head(
                        &mut self.out,
                        status,
                        bad.to_string().len(),
                        None,
                        Framing::Length,
                    );
                    self.out.extend_from_slice(bad.to_string().as_bytes());
                    used = bytes.len();
                }
            }
        }
        if !self.out.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.send(key, &out);
            self.out = out;
        }
        if self.conns[key]
            .as_ref()
            .is_some_and(|conn| conn.close && conn.output.is_empty() && !conn.waiting)
        {
            self.close(key);
        }
        used
    }

    fn request(&mut self, key: usize, request: &Head, content: &[u8], bytes: &[u8]) {
        self.requests += 1;
        let field =
            |range: &Option<std::ops::Range<usize>>| range.clone().map(|range| &bytes[range]);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let slow = self.conns[key].as_ref().is_some_and(|conn| conn.slow);
        let verdict = match &bytes[request.method.clone()] {
            b"POST" if self.mood.refuses() => self.mood.instead(self.requests),
            b"POST" => {
                let hints = Hints {
                    http: true,
                    version: field(&request.protocol_version),
                    method: field(&request.mcp_method),
                    name: field(&request.mcp_name),
                    session: field(&request.session),
                    slow_ns: if slow { self.slow_ns } else { 0 },
                };
                self.server
                    .answer(content, hints, &mut self.sessions, &mut body)
            }
            b"DELETE" => {
                let ended = field(&request.session).is_some_and(|id| self.sessions.end(id));
                Verdict {
                    status: if ended { 200 } else { 404 },
                    ..Verdict::default()
                }
            }
            _ => Verdict {
                status: 405,
                ..Verdict::default()
            },
        };
        if let Some(conn) = self.conns[key].as_mut() {
            conn.close |= request.close;
            if verdict.reset {
                if self.mood == Mood::Reset {
                    sys::reset_on_close(&conn.stream);
                }
                self.close(key);
            } else if let Mood::Drip { .. } = self.mood {
                let mut late = Vec::new();
                answer::answer(&mut late, verdict, &body, self.config.framing);
                self.drip(key, late, verdict.delay_ns);
            } else if verdict.delay_ns > 0 {
                conn.waiting = true;
                let mut late = Vec::new();
                answer::answer(&mut late, verdict, &body, self.config.framing);
                self.delayed.push((
                    Reverse(now_ns() + verdict.delay_ns),
                    key,
                    conn.generation,
                    late,
                ));
            } else {
                answer::answer(&mut self.out, verdict, &body, self.config.framing);
            }
        }
        self.body = body;
    }
}
