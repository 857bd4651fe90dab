//! The fleet over HTTP: one thread, one poll, any number of ports.
//!
//! Rule: a request costs one read and one write. A message that arrived whole is answered from the shared read buffer and
//! never copied into its connection; answers to pipelined requests leave in one write. While an answer is delayed, the
//! connection's next request waits: HTTP/1.1 answers come in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::json;

use super::rpc::{Hints, Server, Sessions, Verdict};
use super::{Config, Framing};
use crate::http::{Framer, Head, Progress, Side};
use crate::sys::{self, Alarm, Control, now_ns};
use crate::{Failure, Host};

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
const MAX_BODY: usize = 17 * 1024 * 1024;
const READ_BUFFER: usize = 256 * 1024;

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    generation: u64,
    framer: Framer,
    /// Bytes of a message that is not complete yet.
    input: Vec<u8>,
    /// Bytes the socket did not take.
    output: Vec<u8>,
    /// An answer is delayed; nothing more is read from `input` until it has left.
    waiting: bool,
    close: bool,
}

#[derive(Debug, Default)]
struct Known(HashSet<u64>);

impl Sessions for Known {
    fn known(&self, id: &[u8]) -> bool {
        std::str::from_utf8(id)
            .ok()
            .and_then(|id| u64::from_str_radix(id, 16).ok())
            .is_some_and(|id| self.0.contains(&id))
    }
    fn open(&mut self, id: u64) {
        self.0.insert(id);
    }
}

type Delayed = (Reverse<u64>, usize, u64, Vec<u8>);

/// A fleet that listens; [`Fleet::run`] serves until its control ends.
#[derive(Debug)]
pub struct Fleet {
    config: Config,
    poll: Poll,
    alarm: Alarm,
    /// Kept here: a waker that is dropped takes its last, unseen wake with it.
    waker: Arc<Waker>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    server: Server,
    sessions: Known,
    delayed: BinaryHeap<Delayed>,
    hung: bool,
    deferred: VecDeque<Token>,
    scratch: Vec<u8>,
    body: Vec<u8>,
    out: Vec<u8>,
    accepted: u64,
    requests: u64,
}

impl Fleet {
    pub fn bind(config: Config) -> Result<Self, Failure> {
        sys::raise_open_files();
        if let Some(cpu) = config.cpu {
            sys::pin(cpu)?;
        }
        let opened = || -> std::io::Result<(Poll, Alarm, Waker)> {
            let poll = Poll::new()?;
            let alarm = Alarm::new(poll.registry(), ALARM)?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            Ok((poll, alarm, waker))
        };
        let (poll, alarm, waker) = opened().map_err(Failure::io(
            "the fleet cannot open its poll",
            "raise the limit of open files",
        ))?;
        let address: SocketAddr =
            format!("{}:{}", config.host, config.port)
                .parse()
                .map_err(|_| {
                    Failure::Usage(format!(
                        "fleet configuration: host {:?} is no IP address; use 127.0.0.1",
                        config.host
                    ))
                })?;
        let server = Server::new(&config);
        let mut fleet = Self {
            addresses: vec![address; config.ports],
            config,
            poll,
            alarm,
            waker: Arc::new(waker),
            listeners: Vec::new(),
            conns: Vec::new(),
            free: Vec::new(),
            server,
            sessions: Known::default(),
            delayed: BinaryHeap::new(),
            hung: false,
            deferred: VecDeque::new(),
            scratch: vec![0; READ_BUFFER],
            body: Vec::new(),
            out: Vec::new(),
            accepted: 0,
            requests: 0,
        };
        fleet.listen()?;
        Ok(fleet)
    }

    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Listens on every address; after a crash, on the same ports again (`mio` sets `SO_REUSEADDR`).
    fn listen(&mut self) -> Result<(), Failure> {
        for (index, address) in self.addresses.iter_mut().enumerate() {
            let listen = || -> std::io::Result<TcpListener> {
                let mut listener = TcpListener::bind(*address)?;
                self.poll
                    .registry()
                    .register(&mut listener, Token(index), Interest::READABLE)?;
                Ok(listener)
            };
            let what = format!("the fleet cannot listen on {address}");
            let listener = listen().map_err(Failure::io(
                what.clone(),
                "choose another port, or 0 for any",
            ))?;
            *address = listener
                .local_addr()
                .map_err(Failure::io(what, "choose another port, or 0 for any"))?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    pub fn ready_event(&self) -> String {
        let ports: Vec<u16> = self.addresses.iter().map(SocketAddr::port).collect();
        json!({"event": "ready", "port": ports[0], "ports": ports, "pid": std::process::id(), "generator": "rust"}).to_string()
    }

    /// Serves until `control` ends. Every control line is acknowledged by an event once it has taken effect.
    pub fn run(&mut self, control: &Receiver<Control>, host: &mut dyn Host) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        loop {
            let wake = if self.hung {
                None
            } else {
                self.delayed.peek().map(|(Reverse(due), ..)| *due)
            };
            match self.alarm.poll(&mut self.poll, &mut events, wake) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    host.interrupted()?;
                    continue;
                }
                Err(error) => {
                    return Err(Failure::io("the fleet's poll failed", "report it")(error));
                }
            }
            for event in &events {
                match event.token() {
                    WAKER => {
                        while let Ok(line) = control.try_recv() {
                            let Control::Line(line) = line else {
                                return host.emit(&self.stats("stopped"));
                            };
                            let done = self.obey(&line)?;
                            host.emit(&done)?;
                        }
                    }
                    ALARM => {}
                    token if self.hung => self.deferred.push_back(token),
                    token => self.ready(token, event.is_writable()),
                }
            }
            if !self.hung && !self.delayed.is_empty() {
                self.send_due(now_ns());
            }
        }
    }

    fn stats(&self, event: &str) -> String {
        let open = self.conns.iter().filter(|conn| conn.is_some()).count();
        json!({"event": event, "requests": self.requests, "calls": self.server.calls, "accepted": self.accepted,
            "open": open, "sessions": self.sessions.0.len(), "cpu_ns": sys::thread_cpu_ns()})
        .to_string()
    }

    fn obey(&mut self, line: &str) -> Result<String, Failure> {
        let command: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        match command["op"].as_str() {
            Some("crash") => {
                self.listeners.clear();
                self.sessions.0.clear();
                for key in 0..self.conns.len() {
                    self.close(key);
                }
                Ok(self.stats("crashed"))
            }
            Some("hang") => {
                self.hung = true;
                Ok(self.stats("hung"))
            }
            Some("recover") => {
                self.hung = false;
                if self.listeners.is_empty() {
                    self.listen()?;
                }
                while let Some(token) = self.deferred.pop_front() {
                    self.ready(token, true);
                }
                self.send_due(now_ns());
                Ok(self.stats("recovered"))
            }
            Some("stats") => Ok(self.stats("stats")),
            _ => Ok(json!({"event": "error", "message": format!("unknown command {line}; send crash, hang, recover or stats")}).to_string()),
        }
    }

    fn ready(&mut self, token: Token, writable: bool) {
        if token.0 < self.config.ports {
            return self.accept(token.0);
        }
        let key = token.0 - self.config.ports;
        if writable
            && self
                .conns
                .get(key)
                .and_then(Option::as_ref)
                .is_some_and(|conn| !conn.output.is_empty())
        {
            self.resume(key);
        }
        self.readable(key);
    }

    fn accept(&mut self, index: usize) {
        while let Some(Ok((mut stream, _))) = self.listeners.get(index).map(TcpListener::accept) {
            let _ = stream.set_nodelay(true);
            let key = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            let token = Token(key + self.config.ports);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self
                .poll
                .registry()
                .register(&mut stream, token, interest)
                .is_err()
            {
                self.free.push(key);
                continue;
            }
            self.accepted += 1;
            self.conns[key] = Some(Conn {
                stream,
                generation: self.accepted,
                framer: Framer::new(Side::Request, MAX_BODY),
                input: Vec::new(),
                output: Vec::new(),
                waiting: false,
                close: false,
            });
        }
    }

    fn close(&mut self, key: usize) {
        if self.conns[key].take().is_some() {
            self.free.push(key);
        }
    }

    /// Reads until the socket is empty. A short read means empty: the next byte makes a new edge.
    fn readable(&mut self, key: usize) {
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

    fn kept(&mut self, key: usize) {
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
                    let status = if bad == crate::http::BadMessage::BodyTooLarge {
                        413
                    } else {
                        400
                    };
                    head(
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
        let verdict = match &bytes[request.method.clone()] {
            b"POST" => {
                let hints = Hints {
                    http: true,
                    version: field(&request.protocol_version),
                    method: field(&request.mcp_method),
                    name: field(&request.mcp_name),
                    session: field(&request.session),
                };
                self.server
                    .answer(content, hints, &mut self.sessions, &mut body)
            }
            b"DELETE" => {
                let session = field(&request.session)
                    .and_then(|id| u64::from_str_radix(std::str::from_utf8(id).ok()?, 16).ok());
                let ended = session.is_some_and(|id| self.sessions.0.remove(&id));
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
                self.close(key);
            } else if verdict.delay_ns > 0 {
                conn.waiting = true;
                let mut late = Vec::new();
                write_answer(&mut late, verdict, &body, self.config.framing);
                self.delayed.push((
                    Reverse(now_ns() + verdict.delay_ns),
                    key,
                    conn.generation,
                    late,
                ));
            } else {
                write_answer(&mut self.out, verdict, &body, self.config.framing);
            }
        }
        self.body = body;
    }

    fn send_due(&mut self, now: u64) {
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
            self.send(key, &bytes);
            self.go_on(key);
        }
    }

    fn send(&mut self, key: usize, bytes: &[u8]) {
        let Some(conn) = self.conns[key].as_mut() else {
            return;
        };
        if !conn.output.is_empty() {
            conn.output.extend_from_slice(bytes);
            return;
        }
        match conn.stream.write(bytes) {
            Ok(count) if count == bytes.len() => {}
            // epoll(7): a partial write means full, and the next writable edge resumes it.
            Ok(count) => conn.output.extend_from_slice(&bytes[count..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.output.extend_from_slice(bytes);
            }
            Err(_) => self.close(key),
        }
    }

    /// Writes what is left until the socket is full again; then the next writable edge calls here.
    fn resume(&mut self, key: usize) {
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

fn write_answer(out: &mut Vec<u8>, verdict: Verdict, body: &[u8], framing: Framing) {
    let framing = if body.is_empty() || verdict.status != 200 {
        Framing::Length
    } else {
        framing
    };
    head(out, verdict.status, body.len(), verdict.opened, framing);
    match framing {
        Framing::Length => out.extend_from_slice(body),
        Framing::Chunked => {
            let _ = write!(out, "{:x}\r\n", body.len());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        Framing::Sse => {
            let _ = write!(out, "{:x}\r\nevent: message\ndata: ", body.len() + 23);
            out.extend_from_slice(body);
            out.extend_from_slice(b"\n\n\r\n0\r\n\r\n");
        }
    }
}

fn head(out: &mut Vec<u8>, status: u16, length: usize, session: Option<u64>, framing: Framing) {
    let line: &[u8] = match status {
        200 => b"HTTP/1.1 200 OK\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        _ => b"HTTP/1.1 503 Service Unavailable\r\n",
    };
    out.extend_from_slice(line);
    if let Some(session) = session {
        let _ = write!(out, "Mcp-Session-Id: {session:016x}\r\n");
    }
    match framing {
        Framing::Length if length == 0 => out.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
        Framing::Length => {
            let _ = write!(
                out,
                "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
        }
        Framing::Chunked => out.extend_from_slice(
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        Framing::Sse => out.extend_from_slice(
            b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    }
}

/// Binds, announces itself and serves until standard input ends.
pub fn serve(config: &[u8], host: &mut dyn Host) -> Result<(), Failure> {
    let mut fleet = Fleet::bind(Config::parse(config)?)?;
    let control = sys::stdin_lines(fleet.waker());
    host.emit(&fleet.ready_event())?;
    fleet.run(&control, host)
}
