//! How a connection comes up, goes down and comes up again.
//!
//! Rule: down, connecting, (legacy: initializing, initialized,) idle, busy, idle, ...; whatever goes wrong ends in
//! [`Client::end`], the only way back to down, which publishes what was lost by it. The table of ends:
//!
//! | it was | published | opened again |
//! | --- | --- | --- |
//! | busy | [`Event::Ended`], then [`Event::Up`] if it can be used on | at once |
//! | idle | [`Event::Lost`] | at once |
//! | coming up | [`Event::Failed`] | after a pause: whoever refuses is asked again in a while |

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::conn::State;
use super::{Client, Event};
use crate::answer::Kind;
use crate::plan::Era;
use crate::record::Ended;
use crate::sys::now_ns;
use crate::template;

/// Timeouts and retries are looked after this often.
const SWEEP_NS: u64 = 10_000_000;

impl Client {
    pub(super) fn open(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        conn.state = State::Connecting;
        conn.since_ns = now_ns();
        conn.framer.reset();
        conn.input = Vec::new();
        conn.output = Vec::new();
        conn.head = None;
        let opened = TcpStream::connect(self.address).and_then(|mut stream| {
            self.poll.registry().register(
                &mut stream,
                Token(key),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => conn.stream = Some(stream),
            Err(_) => self.end(key, Err(Kind::Connect), true),
        }
    }

    pub(super) fn writable(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        let Some(stream) = &mut conn.stream else {
            return;
        };
        if conn.state == State::Connecting {
            if stream.take_error().ok().flatten().is_some() {
                return self.end(key, Err(Kind::Connect), true);
            }
            if stream.peer_addr().is_err() {
                return; // not connected yet
            }
            let _ = stream.set_nodelay(true);
            self.connected(key);
        } else if !conn.output.is_empty() {
            let waiting = std::mem::take(&mut conn.output);
            if conn.write(&waiting).is_err() {
                self.end(key, Err(Kind::Reset), true);
            }
        }
    }

    fn connected(&mut self, key: usize) {
        match self.plan.era {
            Era::Modern => self.up(key),
            Era::Legacy => {
                self.handshake(key, State::Initializing, None, None, template::INITIALIZE);
            }
        }
    }

    pub(super) fn handshake(
        &mut self,
        key: usize,
        state: State,
        version: Option<&str>,
        session: Option<&str>,
        body: &str,
    ) {
        let text = template::head(&self.plan, version, None, session, body.len()) + body;
        let conn = &mut self.conns[key];
        conn.state = state;
        if conn.write(text.as_bytes()).is_err() {
            self.end(key, Err(Kind::Reset), true);
        }
    }

    pub(super) fn up(&mut self, key: usize) {
        self.conns[key].state = State::Idle;
        self.events.push(Event::Up(key));
    }

    /// The end of whatever the connection was doing.
    pub(super) fn end(&mut self, key: usize, verdict: Result<(), Kind>, close: bool) {
        let now = now_ns();
        let conn = &mut self.conns[key];
        let was = conn.state;
        if was == State::Busy {
            self.events.push(Event::Ended(Ended {
                due_ns: conn.due_ns,
                sent_ns: conn.since_ns,
                end_ns: now,
                verdict,
            }));
            // An unknown session is opened anew, as the specification asks.
            let forgotten = conn.head.is_some() && verdict == Err(Kind::Http(404));
            if !close && !forgotten {
                conn.state = State::Idle;
                self.events.push(Event::Up(key));
                return;
            }
        } else if was == State::Idle {
            self.events.push(Event::Lost(key));
        } else if let Err(kind) = verdict {
            self.events.push(Event::Failed(kind));
        }
        conn.stream = None;
        // A server that refuses is asked again in a while; one that only closed, at the next sweep.
        let pause = if matches!(was, State::Busy | State::Idle) {
            0
        } else {
            SWEEP_NS
        };
        conn.state = State::Down {
            retry_ns: if self.reopen { now + pause } else { u64::MAX },
        };
        if pause == 0 {
            self.next_sweep_ns = self.next_sweep_ns.min(now);
        }
    }

    /// Times out what is overdue and reopens what is down.
    pub(super) fn sweep(&mut self) {
        let now = now_ns();
        if now < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now + SWEEP_NS;
        for key in 0..self.conns.len() {
            let conn = &self.conns[key];
            match conn.state {
                State::Down { retry_ns } if retry_ns <= now => self.open(key),
                State::Down { .. } | State::Idle => {}
                _ if now.saturating_sub(conn.since_ns) > self.timeout_ns => {
                    self.end(key, Err(Kind::Timeout), true);
                }
                _ => {}
            }
        }
    }
}
