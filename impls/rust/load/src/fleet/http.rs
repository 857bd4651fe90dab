//! The fleet over HTTP: one thread, one poll, any number of ports.
//!
//! Rule: a request costs one read and one write. This file owns the sockets and the loop; `requests` reads and answers,
//! `sending` writes, `moods` misbehaves, `commands` obeys, `answer` knows the bytes, `conn` is what one connection holds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::Config;
use super::rpc::Server;
use super::sessions::Known;
use crate::plan::nanoseconds;
use crate::socket::{self, ALARM, READ_BUFFER, WAKER};
use crate::sys::{self, Alarm, Control, now_ns};
use crate::{Failure, Host, sched};

mod answer;
mod commands;
mod conn;
mod moods;
mod requests;
mod sending;

use conn::Conn;
use moods::Mood;

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
    mood: Mood,
    slow_ns: u64,
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
            sched::pin(cpu)?;
        }
        let (poll, alarm, waker) = socket::open("the fleet")?;
        let address = socket::address("fleet configuration", &config.host, config.port)?;
        if config.stderr_bytes_per_s > 0 {
            return Err(Failure::Usage(
                "fleet configuration: `stderr_bytes_per_s` is for --stdio; leave it out over HTTP"
                    .into(),
            ));
        }
        let server = Server::new(&config);
        let slow_ns = nanoseconds(config.slow_ms / 1000.0);
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
            mood: Mood::Well,
            slow_ns,
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
            let slow = index + self.config.slow_ports >= self.config.ports;
            self.conns[key] = Some(Conn::new(stream, self.accepted, slow));
        }
    }

    fn close(&mut self, key: usize) {
        if self.conns[key].take().is_some() {
            self.free.push(key);
        }
    }
}

/// Binds, announces itself and serves until standard input ends.
pub fn serve(config: &[u8], host: &mut dyn Host) -> Result<(), Failure> {
    let mut fleet = Fleet::bind(Config::parse(config)?)?;
    let control = sys::stdin_lines(fleet.waker());
    host.emit(&fleet.ready_event())?;
    fleet.run(&control, host)
}
