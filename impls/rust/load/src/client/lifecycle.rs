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
//!
//! What ends on purpose (a request given up, a session that has had its calls) is in `giving_up`.

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::conn::State;
use super::{Client, Event};
use crate::answer::Kind;
use crate::plan::Era;
use crate::sys::now_ns;
use crate::template;

/// Timeouts and retries are looked after this often.
const SWEEP_NS: u64 = 10_000_000;

impl Client {
    /// Opens a connection that is down; what it held before is dropped.
    pub fn open(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        conn.state = State::Connecting;
        conn.since_ns = now_ns();
        conn.framer.reset();
        conn.input = Vec::new();
        conn.output = Vec::new();
        if conn.leaving.is_none() {
            conn.head = None;
        }
        conn.stream = None;
        let address = self.addresses[key % self.addresses.len()];
        let opened = TcpStream::connect(address).and_then(|mut stream| {
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
            Era::Legacy if self.conns[key].leaving.is_some() => self.tell_cancelled(key),
            Era::Legacy => self.initialize(key),
        }
    }

    pub(super) fn initialize(&mut self, key: usize) {
        let text = template::head(&self.plan, self.plan.target(key), None, None);
        self.conns[key].head = Some(text.into_bytes().into_boxed_slice());
        self.post(key, State::Initializing, template::INITIALIZE);
    }

    /// A new session is ready for its first call.
    pub(super) fn begun(&mut self, key: usize) {
        let conn = &mut self.conns[key];
        conn.calls = 0;
        let from = std::mem::take(&mut conn.renewing_ns);
        if from > 0 {
            self.events.push(Event::Renewed(from, now_ns()));
        }
        self.up(key);
    }

    /// Posts what is no call, behind the connection's head.
    pub(super) fn post(&mut self, key: usize, state: State, body: &str) {
        let text = template::ending(body.len()) + body;
        let conn = &mut self.conns[key];
        conn.state = state;
        let written = conn.write_request(text.as_bytes(), &mut self.scratch);
        if written.is_err() {
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
            let ended = self.ended(&self.conns[key], now, verdict);
            self.events.push(Event::Ended(key, ended));
            let conn = &mut self.conns[key];
            // An unknown session is opened anew, as the specification asks.
            let forgotten = conn.head.is_some() && verdict == Err(Kind::Http(404));
            if !close && !forgotten {
                if self.plan.session_calls > 0 && self.session_is_over(key) {
                    return;
                }
                let conn = &mut self.conns[key];
                conn.state = State::Idle;
                self.events.push(Event::Up(key));
                return;
            }
        } else if was == State::Idle {
            self.events.push(Event::Lost(key));
        } else if let Err(kind) = verdict {
            self.events.push(Event::Failed(key, kind));
        }
        let conn = &mut self.conns[key];
        conn.stream = None;
        conn.leaving = None;
        conn.renewing_ns = 0;
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

    /// Closes a connection without a word, and leaves it so.
    pub fn close(&mut self, key: usize) {
        self.conns[key].stream = None;
        self.conns[key].state = State::Down { retry_ns: u64::MAX };
    }

    /// Times out what is overdue and reopens what is down; whether it was time for that.
    pub(super) fn sweep(&mut self) -> bool {
        let now = now_ns();
        if now < self.next_sweep_ns {
            return false;
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
        true
    }
}
