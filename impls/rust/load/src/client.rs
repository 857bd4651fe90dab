//! The connections of a generator, as its drivers see them: add, wait for what happened, send. Drivers decide when to send.
//!
//! Rule: one write and one read per request, and every request that was sent ends in exactly one [`Event::Ended`].
//! `lifecycle` moves a connection from down to idle and back, `answers` cuts and judges what it reads, `giving_up` cancels
//! requests and ends sessions on purpose, and `conn` is what one connection owns.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::answer::{Asked, Kind};
use crate::plan::{Plan, nanoseconds};
use crate::record::Ended;
use crate::requests::Requests;
use crate::rng::SplitMix64;
use crate::socket::{self, READ_BUFFER};
use crate::sys::{Alarm, now_ns};
use crate::template::FIRST_ID;
use crate::{Failure, Host};

mod answers;
mod conn;
mod giving_up;
mod lifecycle;

use conn::{Conn, State};
use giving_up::Cancels;

/// What happened to connections during one wait.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// The connection can send.
    Up(usize),
    /// Its request came to an end; if it can send again, [`Event::Up`] follows.
    Ended(usize, Ended),
    /// It could not be opened or its handshake failed; it is tried again unless it is held.
    Failed(usize, Kind),
    /// Its session was ended as planned and the next one is up: when that began and when it was done.
    Renewed(u64, u64),
    /// It was closed by the other side while idle.
    Lost(usize),
}

#[derive(Debug)]
pub struct Client {
    plan: Plan,
    addresses: Vec<SocketAddr>,
    timeout_ns: u64,
    poll: Poll,
    alarm: Alarm,
    waker: Arc<Waker>,
    polled: Option<Events>,
    requests: Requests,
    cancels: Cancels,
    conns: Vec<Conn>,
    nonces: SplitMix64,
    next_id: u64,
    next_sweep_ns: u64,
    scratch: Vec<u8>,
    events: Vec<Event>,
    /// Reopen what fails or is lost.
    pub reopen: bool,
    /// Let whoever is ready on this CPU run before each look at the sockets (see [`crate::sched`]).
    pub stands_back: bool,
}

impl Client {
    pub fn new(plan: &Plan) -> Result<Self, Failure> {
        let (poll, alarm, waker) = socket::open("the generator")?;
        let addresses: Result<Vec<_>, _> = plan
            .targets
            .iter()
            .map(|target| socket::address("load plan", &target.host, target.port))
            .collect();
        Ok(Self {
            addresses: addresses?,
            timeout_ns: nanoseconds(plan.timeout_s),
            poll,
            alarm,
            waker: Arc::new(waker),
            polled: Some(Events::with_capacity(1024)),
            requests: Requests::new(plan),
            cancels: Cancels::new(plan),
            conns: Vec::new(),
            nonces: SplitMix64::new(plan.seed),
            next_id: FIRST_ID,
            next_sweep_ns: 0,
            scratch: vec![0; READ_BUFFER],
            events: Vec::new(),
            reopen: true,
            stands_back: false,
            plan: plan.clone(),
        })
    }

    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a connection and begins to open it.
    pub fn add(&mut self) {
        self.conns.push(Conn::new());
        self.open(self.conns.len() - 1);
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.conns.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    pub fn is_idle(&self, key: usize) -> bool {
        self.conns[key].state == State::Idle
    }

    /// Requests that were sent and have no answer yet.
    pub fn unanswered(&self) -> impl Iterator<Item = (usize, Ended)> + '_ {
        self.conns
            .iter()
            .enumerate()
            .filter(|(_, conn)| conn.state == State::Busy)
            .map(|(key, conn)| (key, self.ended(conn, u64::MAX, Err(Kind::Timeout))))
    }

    /// Waits until something happens or `wake_ns`; returns what happened (give the vector back for reuse).
    pub fn wait(
        &mut self,
        wake_ns: u64,
        mut seen: Vec<Event>,
        host: &mut dyn Host,
    ) -> Result<Vec<Event>, Failure> {
        seen.clear();
        // Connections opened or requests sent since the last wait may have failed at once.
        if self.events.is_empty() {
            let mut polled = self
                .polled
                .take()
                .unwrap_or_else(|| Events::with_capacity(1024));
            match self.poll(&mut polled, wake_ns) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => host.interrupted()?,
                Err(error) => {
                    return Err(Failure::io("the generator's poll failed", "report it")(
                        error,
                    ));
                }
            }
            for event in &polled {
                let Token(key) = event.token();
                if key < self.conns.len() {
                    if event.is_writable() {
                        self.writable(key);
                    }
                    self.readable(key);
                }
            }
            self.polled = Some(polled);
        }
        if self.sweep() {
            // Under load nobody sleeps, so that no signal interrupts a wait.
            host.interrupted()?;
        }
        self.cancel_due();
        std::mem::swap(&mut self.events, &mut seen);
        Ok(seen)
    }

    fn poll(&mut self, polled: &mut Events, wake_ns: u64) -> io::Result<()> {
        if self.stands_back {
            std::thread::yield_now();
            // What came meanwhile woke nobody, for nobody slept.
            self.poll.poll(polled, Some(Duration::ZERO))?;
            if !polled.is_empty() {
                return Ok(());
            }
        }
        let wake_ns = wake_ns.min(self.next_sweep_ns).min(self.cancels.next_ns());
        self.alarm.poll(&mut self.poll, polled, Some(wake_ns))
    }

    /// Sends the next request on an idle connection. Returns the time it was sent.
    pub fn send(&mut self, key: usize, due_ns: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let every = self.plan.check_every;
        let asked = Asked {
            id,
            nonce: self.nonces.next_u64(),
            place: self.requests.draw(key),
            check: every > 0 && (id - FIRST_ID).is_multiple_of(every),
        };
        let request = self.requests.at_mut(asked.place).patch(id, asked.nonce);
        let conn = &mut self.conns[key];
        conn.asked = asked;
        conn.due_ns = due_ns;
        conn.state = State::Busy;
        let sent_ns = now_ns();
        conn.since_ns = sent_ns;
        let written = conn.write_request(request, &mut self.scratch);
        if written.is_err() {
            self.end(key, Err(Kind::Reset), true);
        }
        self.cancels.draw(key, id, sent_ns);
        sent_ns
    }

    /// What a connection was asked, as it ended.
    fn ended(&self, conn: &Conn, end_ns: u64, verdict: Result<(), Kind>) -> Ended {
        Ended {
            due_ns: conn.due_ns,
            sent_ns: conn.since_ns,
            end_ns,
            verdict,
            method: self.requests.at(conn.asked.place).method,
            events: conn.progress,
        }
    }
}
