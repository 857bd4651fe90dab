//! The gateway: MCP clients of both eras on one endpoint, in front of the manager's servers.
//!
//! [`Gateway::start`] listens and hands each connection to the face (`client::serve`); that call is the seam: whoever
//! replaces the face keeps `access`, `dispatch`, `work` and the sessions.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod asking;
mod belongings;
mod calling;
pub(crate) mod client;
pub(crate) mod dispatch;
mod entry;
pub(crate) mod hears;
mod home;
mod inputs;
mod lines;
pub(crate) mod listen;
mod mirrored;
pub(crate) mod pages;
mod paging;
mod passage;
pub(crate) mod patience;
pub(crate) mod pipe;
pub(crate) mod relay;
pub(crate) mod replay;
mod round;
pub(crate) mod sessions;
pub(crate) mod sse;
pub(crate) mod stream;
mod suspended;
pub(crate) mod track;
pub(crate) mod voice;
pub(crate) mod work;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use access::Access;
use answer::Answer;
use sessions::{Guest, Session, Sessions};
use suspended::Suspended;

use crate::clock::lock;
use crate::error::{Error, Result};
use crate::manager::Inner;
use crate::principal::Principal;
use crate::translate::session as rules;

const BACKLOG: u32 = 4096;

const RESTING: u8 = 0;
const WORKING: u8 = 1;
const ENDED: u8 = 2;

/// Whether a connection rests between requests; only a resting one may be ended from outside.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

impl Phase {
    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }

    /// A request came; false if the connection was ended meanwhile.
    pub(crate) fn work(&self) -> bool {
        self.change(RESTING, WORKING)
    }

    /// The request is answered.
    pub(crate) fn rest(&self) -> bool {
        self.change(WORKING, RESTING)
    }

    fn end(&self) -> bool {
        self.change(RESTING, ENDED)
    }
}

#[derive(Debug)]
struct Tracked {
    phase: Arc<Phase>,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) manager: Arc<Inner>,
    pub(crate) access: Access,
    pub(crate) sessions: Sessions,
    suspended: Suspended,
    addr: SocketAddr,
    closing: AtomicBool,
    stop: Notify,
    left: Notify,
    connections: Mutex<HashMap<u64, Tracked>>,
    accepting: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Gateway {
    pub(crate) fn unbound(manager: Arc<Inner>, addr: SocketAddr, loopback: bool) -> Self {
        let spec = &manager.gateway;
        Self {
            access: Access::new(spec, loopback),
            sessions: Sessions::new(spec),
            suspended: Suspended::new(),
            addr,
            closing: AtomicBool::new(false),
            stop: Notify::new(),
            left: Notify::new(),
            connections: Mutex::default(),
            accepting: Mutex::default(),
            manager,
        }
    }

    pub(crate) async fn start(manager: Arc<Inner>, host: &str, port: u16) -> Result<Arc<Self>> {
        let listener = bind(host, port).await.map_err(|error| Error::AddressInUse {
            message: match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("address {host}:{port} is in use; stop what uses it, or choose another port")
                }
                _ => format!("address {host}:{port} cannot be bound ({error}); choose another host or port"),
            },
        })?;
        let addr = listener
            .local_addr()
            .map_err(|error| Error::internal(format!("{error}; report this")))?;
        let gateway = Arc::new(Self::unbound(manager, addr, addr.ip().is_loopback()));
        let accepting = gateway
            .manager
            .shared
            .handle
            .spawn(Arc::clone(&gateway).accept(listener));
        *lock(&gateway.accepting) = Some(accepting);
        Ok(gateway)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut next = 0u64;
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.notified() => return,
            };
            match stream {
                Ok((stream, _)) => {
                    next += 1;
                    self.admit(next, stream);
                }
                // Out of descriptors: the others go on, and this one is tried again.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn admit(self: &Arc<Self>, id: u64, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let phase = Arc::new(Phase::default());
        let full = {
            let mut connections = lock(&self.connections);
            let full = connections.len() >= self.manager.gateway.max_connections;
            connections.insert(
                id,
                Tracked {
                    phase: Arc::clone(&phase),
                    task: None,
                },
            );
            full
        };
        self.manager.shared.metrics.clients.fetch_add(1, Relaxed);
        let gateway = Arc::clone(self);
        let seat = Seat {
            gateway: Arc::clone(self),
            id,
        };
        let task = self.manager.shared.handle.spawn(async move {
            let _seat = seat;
            if full {
                refuse(stream).await;
            } else {
                client::serve(stream, gateway, phase).await;
            }
        });
        if let Some(tracked) = lock(&self.connections).get_mut(&id) {
            tracked.task = Some(task.abort_handle());
        }
    }

    /// How long a client may take to answer what a server asks it.
    fn input_limit(&self) -> Duration {
        Duration::from_millis(self.manager.gateway.input_timeout_ms)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Resolves when the gateway begins to close.
    pub(crate) async fn stopping(&self) {
        let stop = self.stop.notified();
        if !self.is_closing() {
            stop.await;
        }
    }

    /// The session of a message, by its headers, or the refusal; `id` is that of a request.
    pub(crate) fn known(
        &self,
        version: Option<&[u8]>,
        session: Option<&[u8]>,
        id: Option<&[u8]>,
        caller: Principal<'_>,
    ) -> std::result::Result<Arc<Session>, Box<Answer>> {
        let found = session.and_then(|session| self.sessions.get(session, caller));
        rules::verdict(version, session.is_some(), found)
            .map_err(|refusal| Box::new(Answer::refused(id, &refusal)))
    }

    /// A new session, for which the longest idle one may have to go; `None` if all are in use.
    fn open_session(&self, guest: &Guest<'_>) -> Option<Arc<Session>> {
        let shared = &self.manager.shared;
        let (session, crowded_out) = self.sessions.create(guest, &shared.metrics);
        self.end_upstream(crowded_out.as_slice());
        session
    }

    pub(crate) fn end_session(&self, id: &[u8]) {
        if let Some(session) = self.sessions.remove(id, &self.manager.shared.metrics) {
            self.end_upstream(&[session]);
        }
    }

    /// Ends what belongs to sessions that are forgotten already.
    fn end_upstream(&self, sessions: &[Arc<Session>]) {
        for (link, upstream) in sessions.iter().flat_map(|session| session.upstreams()) {
            self.manager
                .shared
                .handle
                .spawn(async move { upstream.end(&link).await });
        }
    }

    /// Ends idle sessions.
    pub(crate) fn tick(&self) {
        let over = self.sessions.expire(&self.manager.shared.metrics);
        if !over.is_empty() {
            self.end_upstream(&over);
        }
    }

    /// What would never end by itself ends now.
    pub(crate) fn leave(&self) {
        self.closing.store(true, Relaxed);
        self.stop.notify_waiters();
    }

    pub(crate) async fn close(&self, drain: Duration) {
        self.leave();
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
        let wait = async {
            loop {
                let left = self.left.notified();
                let resting: Vec<_> = {
                    let connections = lock(&self.connections);
                    if connections.is_empty() {
                        return;
                    }
                    let ended = connections.values().filter(|tracked| tracked.phase.end());
                    ended.filter_map(|tracked| tracked.task.clone()).collect()
                };
                resting.iter().for_each(AbortHandle::abort);
                let _ = tokio::time::timeout(Duration::from_millis(50), left).await;
            }
        };
        if tokio::time::timeout(drain, wait).await.is_err() {
            let rest: Vec<_> = lock(&self.connections)
                .values()
                .filter_map(|tracked| tracked.task.clone())
                .collect();
            rest.iter().for_each(AbortHandle::abort);
            let gone = async {
                while !lock(&self.connections).is_empty() {
                    let left = self.left.notified();
                    let _ = tokio::time::timeout(Duration::from_millis(10), left).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
        }
        self.suspended.clear();
        let sessions = self.sessions.clear(&self.manager.shared.metrics);
        let endings = sessions.iter().flat_map(|session| session.upstreams()).map(
            |(link, upstream)| async move {
                upstream.end(&link).await;
            },
        );
        for ending in endings {
            ending.await;
        }
    }
}

/// A connection's place in the books, given up on every way out.
struct Seat {
    gateway: Arc<Gateway>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.gateway.connections).remove(&self.id);
        self.gateway
            .manager
            .shared
            .metrics
            .clients
            .fetch_sub(1, Relaxed);
        self.gateway.left.notify_one();
    }
}

async fn refuse(mut stream: TcpStream) {
    let mut out = Vec::new();
    Answer::refusal(
        503,
        "too many connections; close some, or raise gateway.maxConnections",
    )
    .write(&mut out, false);
    let _ = crate::wire::io::write(&mut stream, &out).await;
}

async fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()
    } else {
        tokio::net::TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a task of this kind keeps in memory between requests, besides its socket.
    fn size_of_task<F: Future>(_: fn(TcpStream, Arc<Gateway>, Arc<Phase>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_keeps_a_small_task() {
        let size = size_of_task(client::serve);
        assert!(size <= 4096, "{size} bytes: box what is rarely awaited");
    }
}
