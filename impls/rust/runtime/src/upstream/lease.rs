//! The shell of the pool core for HTTP: it opens, keeps and closes what the core says, and wakes its waiters.
//!
//! The rule: a connection is either parked here or owned by exactly one [`Lease`]; dropping a lease gives the place back,
//! and closes the connection unless `park` said that it is clean.

#[cfg(test)]
mod hammer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossfade_core::{Action, Pool, PoolConfig, RejectReason};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::clock::{at_ns, lock, now_ns};
use crate::config::ServerSpec;
use crate::error::{Error, Result};
use crate::upstream::Shared;
use crate::wire::buffers;

/// One keep-alive connection. `buffer` owns memory only while a request is in flight.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: Vec<u8>,
    /// It served a request before, or rested since it opened, so the peer may have closed it meanwhile.
    pub(crate) reused: bool,
    /// It had rested for so long when it was leased that the peer may have closed it at this very moment.
    pub(crate) rested: bool,
    idle_since_ns: u64,
}

/// A connection that was busy a moment ago and dies has crashed, and a crash may have run the tool: no resend.
const STALE_NS: u64 = 1_000_000_000;

#[derive(Debug)]
struct State {
    core: Pool,
    parked: HashMap<u64, Conn>,
    waiters: HashMap<u64, oneshot::Sender<std::result::Result<u64, RejectReason>>>,
    next_waiter: u64,
    failure: Option<String>,
}

/// The connections to one URL.
#[derive(Debug)]
pub(crate) struct Connections {
    state: Mutex<State>,
    shared: Arc<Shared>,
    server: String,
    url: String,
    address: (String, u16),
    connect_timeout: Duration,
    acquire_timeout: Duration,
}

/// The right to use one connection until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Connections>,
    id: u64,
    conn: Option<Conn>,
    clean: bool,
}

impl Lease {
    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn
            .as_mut()
            .expect("a lease holds its connection until it is dropped")
    }

    /// The exchange is complete: the connection may serve the next one.
    pub(crate) fn park(mut self) {
        self.clean = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let now = now_ns();
        let mut conn = self.conn.take();
        if let Some(conn) = conn.as_mut() {
            self.clean &= conn.buffer.is_empty();
            buffers::give_back(&mut conn.buffer);
            conn.reused = true;
            conn.idle_since_ns = now;
        }
        let actions = {
            let mut state = lock(&self.pool.state);
            if let Some(conn) = conn.take().filter(|_| self.clean) {
                state.parked.insert(self.id, conn);
            }
            state.core.release(now, self.id, self.clean)
        };
        if !actions.is_empty() {
            self.pool.perform(actions);
        }
    }
}

/// Gives a waiter's place back when its future is dropped.
struct Waiting<'a> {
    pool: &'a Arc<Connections>,
    id: u64,
    armed: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let actions = {
            let mut state = lock(&self.pool.state);
            state.waiters.remove(&self.id);
            state.core.cancel(now_ns(), self.id)
        };
        self.pool.perform(actions);
    }
}

impl Connections {
    pub(crate) fn new(
        spec: &ServerSpec,
        url: &str,
        address: (String, u16),
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let config = PoolConfig {
            min_connections: spec.pool.min_connections as usize,
            max_connections: spec.pool.max_connections as usize,
            max_waiters: spec.pool.max_waiters as usize,
            streams: 1,
            idle_timeout_ns: spec.pool.idle_timeout_ms * 1_000_000,
            max_age_ns: spec.pool.max_age_ms * 1_000_000,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                core: Pool::new(config),
                parked: HashMap::new(),
                waiters: HashMap::new(),
                next_waiter: 1,
                failure: None,
            }),
            shared: Arc::clone(shared),
            server: spec.name.clone(),
            url: url.to_owned(),
            address,
            connect_timeout: Duration::from_millis(spec.start_timeout_ms),
            acquire_timeout: Duration::from_millis(spec.pool.acquire_timeout_ms),
        })
    }

    pub(crate) fn open(&self) -> usize {
        lock(&self.state).core.open()
    }

    /// The server is ready: open the minimum, and keep it.
    pub(crate) fn start(self: &Arc<Self>) {
        let actions = lock(&self.state).core.start(now_ns());
        self.perform(actions);
    }

    pub(crate) fn tick(self: &Arc<Self>) {
        let now = now_ns();
        let actions = {
            let mut state = lock(&self.state);
            match state.core.next_deadline_ns() {
                Some(due) if due <= now => state.core.tick(now),
                _ => return,
            }
        };
        self.perform(actions);
    }

    pub(crate) fn drain(self: &Arc<Self>) {
        let actions = lock(&self.state).core.drain(now_ns());
        self.perform(actions);
    }

    /// A connection outside the pool, for what must not wait for a place.
    pub(crate) async fn dial(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((self.address.0.as_str(), self.address.1)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// An idle connection at once, or `None`: then [`Connections::acquire`].
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Lease> {
        loop {
            let now = now_ns();
            let (id, conn) = {
                let mut state = lock(&self.state);
                let id = state.core.try_acquire(now)?;
                (id, state.parked.remove(&id))
            };
            if let Some(lease) = self.lease(id, conn, now) {
                self.shared.shed.found_free();
                return Some(lease);
            }
        }
    }

    /// A connection, now or when one is free before `deadline`.
    pub(crate) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Lease> {
        loop {
            if let Some(lease) = self.try_acquire() {
                return Ok(lease);
            }
            let since = Instant::now();
            let until = deadline.min(since + self.acquire_timeout);
            let (sender, receiver) = oneshot::channel();
            let (id, actions) = {
                let mut state = lock(&self.state);
                let id = state.next_waiter;
                state.next_waiter += 1;
                state.waiters.insert(id, sender);
                let actions = state.core.acquire(now_ns(), id, at_ns(until));
                (id, actions)
            };
            let mut waiting = Waiting {
                pool: self,
                id,
                armed: true,
            };
            self.perform(actions);
            let granted = tokio::time::timeout_at(until.into(), receiver).await;
            self.shared.shed.waited(since);
            let conn_id = match granted {
                Ok(Ok(Ok(conn_id))) => conn_id,
                Ok(Ok(Err(reason))) => {
                    waiting.armed = false;
                    return Err(self.refusal(reason));
                }
                Ok(Err(_)) | Err(_) => return Err(self.refusal(RejectReason::Deadline)),
            };
            waiting.armed = false;
            let conn = {
                let mut state = lock(&self.state);
                state.core.take(id);
                state.parked.remove(&conn_id)
            };
            if let Some(lease) = self.lease(conn_id, conn, now_ns()) {
                return Ok(lease);
            }
        }
    }

    /// A lease on the connection, unless the peer closed it while it was parked.
    fn lease(self: &Arc<Self>, id: u64, mut conn: Option<Conn>, now: u64) -> Option<Lease> {
        let stale = conn.as_ref().is_none_or(|conn| {
            let mut probe = [0; 1];
            conn.reused
                && !matches!(conn.stream.try_read(&mut probe), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        });
        if stale {
            let actions = lock(&self.state).core.lost(now_ns(), id);
            self.perform(actions);
            return None;
        }
        if let Some(conn) = &mut conn {
            conn.rested = conn.reused && now.saturating_sub(conn.idle_since_ns) >= STALE_NS;
        }
        Some(Lease {
            pool: Arc::clone(self),
            id,
            conn,
            clean: false,
        })
    }

    fn perform(self: &Arc<Self>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect { conn } => {
                    let pool = Arc::clone(self);
                    self.shared
                        .handle
                        .spawn(async move { pool.connect(conn).await });
                }
                Action::Close { conn, .. } => {
                    let closed = lock(&self.state).parked.remove(&conn);
                    drop(closed);
                }
                Action::Grant { waiter, conn } => {
                    let sender = lock(&self.state).waiters.remove(&waiter);
                    if let Some(sender) = sender {
                        // A receiver that is gone gave up: its guard cancels the grant.
                        let _ = sender.send(Ok(conn));
                    }
                }
                Action::Reject { waiter, reason } => {
                    let sender = lock(&self.state).waiters.remove(&waiter);
                    if let Some(sender) = sender {
                        let _ = sender.send(Err(reason));
                    }
                }
            }
        }
    }

    async fn connect(self: Arc<Self>, conn: u64) {
        let address = (self.address.0.as_str(), self.address.1);
        let outcome =
            match tokio::time::timeout(self.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream
                    .set_nodelay(true)
                    .map(|()| stream)
                    .map_err(|error| error.to_string()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!(
                    "no connection within {} ms",
                    self.connect_timeout.as_millis()
                )),
            };
        let actions = {
            let mut state = lock(&self.state);
            match outcome {
                Ok(stream) => {
                    state.parked.insert(
                        conn,
                        Conn {
                            stream,
                            buffer: Vec::new(),
                            reused: false,
                            rested: false,
                            idle_since_ns: now_ns(),
                        },
                    );
                    let actions = state.core.connected(now_ns(), conn);
                    if let Some(resting) = state.parked.get_mut(&conn) {
                        // Nobody waits for it: by the time somebody uses it, it may be stale.
                        resting.reused = actions.is_empty();
                    }
                    actions
                }
                Err(why) => {
                    state.failure = Some(why);
                    state.core.connect_failed(now_ns(), conn)
                }
            }
        };
        self.perform(actions);
    }

    fn refusal(&self, reason: RejectReason) -> Error {
        let server = self.server.clone();
        let name = &self.server;
        match reason {
            RejectReason::ConnectFailed => {
                let why = lock(&self.state).failure.clone().unwrap_or_default();
                Error::ServerStart {
                    message: format!(
                        "server '{name}' cannot be reached at {} ({why}); check that it runs and that the url is right",
                        self.url
                    ),
                    server,
                }
            }
            RejectReason::Draining => Error::ManagerClosed {
                message: format!("server '{name}' is being removed; call another one"),
            },
            RejectReason::QueueFull => Error::PoolTimeout {
                message: format!(
                    "server '{name}': {} callers wait for a connection already; slow down, or raise pool.maxConnections or pool.maxWaiters",
                    lock(&self.state).core.waiting()
                ),
                server,
            },
            RejectReason::Deadline => Error::PoolTimeout {
                message: format!(
                    "server '{name}': no connection became free within {} ms ({} calls in flight); slow down, or raise pool.maxConnections",
                    self.acquire_timeout.as_millis(),
                    lock(&self.state).core.in_use()
                ),
                server,
            },
        }
    }
}
