//! The connections of a generator: open, handshake, send, receive, time out, open again. Drivers decide when to send.
//!
//! Rule: one write and one read per request, and every request that was sent ends in exactly one [`Event::Ended`].

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::answer::{Asked, Kind, judge};
use crate::http::{Framer, Progress, Side};
use crate::plan::{Era, Plan, nanoseconds};
use crate::record::Ended;
use crate::rng::SplitMix64;
use crate::sys::{Alarm, now_ns};
use crate::template::{self, FIRST_ID, Template};
use crate::{Failure, Host};

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
const READ_BUFFER: usize = 256 * 1024;
const MAX_BODY: usize = 256 * 1024 * 1024;
/// Timeouts and retries are looked after this often.
const SWEEP_NS: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down { retry_ns: u64 },
    Connecting,
    Initializing,
    Initialized,
    Idle,
    Busy,
}

#[derive(Debug)]
struct Conn {
    stream: Option<TcpStream>,
    state: State,
    framer: Framer,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Legacy: the request head with this connection's session.
    head: Option<Box<[u8]>>,
    asked: Asked,
    due_ns: u64,
    /// When the request was sent, or the connection attempt or handshake began.
    since_ns: u64,
}

/// What happened to connections during one wait.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// The connection can send.
    Up(usize),
    /// Its request came to an end; if it can send again, [`Event::Up`] follows.
    Ended(Ended),
    /// It could not be opened or its handshake failed; it is tried again unless it is held.
    Failed(Kind),
    /// It was closed by the other side while idle.
    Lost(usize),
}

#[derive(Debug)]
pub struct Client {
    plan: Plan,
    address: SocketAddr,
    timeout_ns: u64,
    poll: Poll,
    alarm: Alarm,
    waker: Arc<Waker>,
    polled: Option<Events>,
    template: Template,
    conns: Vec<Conn>,
    nonces: SplitMix64,
    next_id: u64,
    next_sweep_ns: u64,
    scratch: Vec<u8>,
    events: Vec<Event>,
    /// Reopen what fails or is lost.
    pub reopen: bool,
}

impl Client {
    pub fn new(plan: &Plan) -> Result<Self, Failure> {
        let opened = || -> std::io::Result<(Poll, Alarm, Waker)> {
            let poll = Poll::new()?;
            let alarm = Alarm::new(poll.registry(), ALARM)?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            Ok((poll, alarm, waker))
        };
        let (poll, alarm, waker) = opened().map_err(Failure::io(
            "the generator cannot open its poll",
            "raise the limit of open files",
        ))?;
        let address = format!("{}:{}", plan.host, plan.port)
            .parse()
            .map_err(|_| {
                Failure::Usage(format!(
                    "load plan: host {:?} is no IP address; use 127.0.0.1",
                    plan.host
                ))
            })?;
        Ok(Self {
            address,
            timeout_ns: nanoseconds(plan.timeout_s),
            poll,
            alarm,
            waker: Arc::new(waker),
            polled: Some(Events::with_capacity(1024)),
            template: Template::new(plan),
            conns: Vec::new(),
            nonces: SplitMix64::new(plan.seed),
            next_id: FIRST_ID,
            next_sweep_ns: 0,
            scratch: vec![0; READ_BUFFER],
            events: Vec::new(),
            reopen: true,
            plan: plan.clone(),
        })
    }

    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Adds a connection and begins to open it.
    pub fn add(&mut self) {
        self.conns.push(Conn {
            stream: None,
            state: State::Down { retry_ns: 0 },
            framer: Framer::new(Side::Response, MAX_BODY),
            input: Vec::new(),
            output: Vec::new(),
            head: None,
            asked: Asked {
                id: 0,
                nonce: 0,
                check: false,
            },
            due_ns: 0,
            since_ns: 0,
        });
        self.open(self.conns.len() - 1);
    }

    pub fn is_idle(&self, key: usize) -> bool {
        self.conns[key].state == State::Idle
    }

    /// Requests that were sent and have no answer yet.
    pub fn unanswered(&self) -> impl Iterator<Item = Ended> + '_ {
        self.conns
            .iter()
            .filter(|conn| conn.state == State::Busy)
            .map(|conn| Ended {
                due_ns: conn.due_ns,
                sent_ns: conn.since_ns,
                end_ns: u64::MAX,
                verdict: Err(Kind::Timeout),
            })
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
            match self.alarm.poll(
                &mut self.poll,
                &mut polled,
                Some(wake_ns.min(self.next_sweep_ns)),
            ) {
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
        self.sweep();
        std::mem::swap(&mut self.events, &mut seen);
        Ok(seen)
    }

    /// Sends the next request on an idle connection. Returns the time it was sent.
    pub fn send(&mut self, key: usize, due_ns: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let every = self.plan.check_every;
        let asked = Asked {
            id,
            nonce: self.nonces.next_u64(),
            check: every > 0 && (id - FIRST_ID).is_multiple_of(every),
        };
        let request = self.template.patch(id, asked.nonce);
        let conn = &mut self.conns[key];
        conn.asked = asked;
        conn.due_ns = due_ns;
        conn.state = State::Busy;
        conn.since_ns = now_ns();
        let written = match &conn.head {
            None => write(conn.stream.as_mut(), &mut conn.output, request),
            Some(head) => {
                self.scratch[..head.len()].copy_from_slice(head);
                if head.len() + request.len() <= self.scratch.len() {
                    let end = head.len() + request.len();
                    self.scratch[head.len()..end].copy_from_slice(request);
                    write(conn.stream.as_mut(), &mut conn.output, &self.scratch[..end])
                } else {
                    write(
                        conn.stream.as_mut(),
                        &mut conn.output,
                        &[head, request].concat(),
                    )
                }
            }
        };
        let sent_ns = conn.since_ns;
        if written.is_err() {
            self.end(key, Err(Kind::Reset), true);
        }
        sent_ns
    }

    fn open(&mut self, key: usize) {
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

    fn writable(&mut self, key: usize) {
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
            if write(conn.stream.as_mut(), &mut conn.output, &waiting).is_err() {
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

    fn handshake(
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
        if write(conn.stream.as_mut(), &mut conn.output, text.as_bytes()).is_err() {
            self.end(key, Err(Kind::Reset), true);
        }
    }

    fn up(&mut self, key: usize) {
        self.conns[key].state = State::Idle;
        self.events.push(Event::Up(key));
    }

    /// Reads until the socket is empty. A short read means empty: the next byte makes a new edge.
    fn readable(&mut self, key: usize) {
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
                let verdict = judge(
                    status,
                    sse,
                    conn.framer.body(bytes),
                    conn.asked,
                    &self.template,
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
                let length = self.template.body_len();
                let text = template::head(
                    &self.plan,
                    Some(template::LEGACY),
                    None,
                    session.as_deref(),
                    length,
                );
                conn.head = Some(text.into_bytes().into_boxed_slice());
                let body = template::INITIALIZED;
                self.handshake(
                    key,
                    State::Initialized,
                    Some(template::LEGACY),
                    session.as_deref(),
                    body,
                );
            }
            State::Initialized => {
                conn.framer.reset();
                if (200..300).contains(&status) && !close {
                    self.up(key);
                } else {
                    self.end(key, Err(Kind::Http(status)), true);
                }
            }
            _ => self.end(key, Err(Kind::Garbage), true),
        }
    }

    /// The end of whatever the connection was doing.
    fn end(&mut self, key: usize, verdict: Result<(), Kind>, close: bool) {
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
    fn sweep(&mut self) {
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

/// One write; what the socket did not take waits in `output` for its next writable edge.
fn write(
    stream: Option<&mut TcpStream>,
    output: &mut Vec<u8>,
    bytes: &[u8],
) -> std::io::Result<()> {
    let stream = stream.ok_or(ErrorKind::NotConnected)?;
    match stream.write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => {
            output.extend_from_slice(&bytes[count..]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            output.extend_from_slice(bytes);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
