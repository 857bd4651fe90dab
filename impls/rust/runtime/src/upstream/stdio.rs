//! One stdio server: started on use, agreed with once per process, started again when its supervisor lets it.
//!
//! The rule: a call never outlives its process (death fails everything in flight at once) and a process never outlives
//! its manager (own process group, killed as a group on every way out). Process and pipes are in `child`.

mod handshake;
mod own;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::child::{Child, Supervisor};
use super::dedicated::Dedicated;
use super::discovery::Agreed;
use super::message::hop_params;
use super::{Outgoing, Server, Shared};
use crate::clock::lock;
use crate::config::{EraSpec, ServerSpec};
use crate::error::{Error, Result};
use crate::info::Era;

#[derive(Debug)]
struct Current {
    child: Arc<Child>,
    agreed: Arc<Agreed>,
}

#[derive(Debug)]
pub(crate) struct StdioLink {
    spec: ServerSpec,
    shared: Arc<Shared>,
    server: Weak<Server>,
    current: Mutex<Option<Current>>,
    starting: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    supervisor: Supervisor,
    /// Children for one call at a time, or one client.
    pub(super) dedicated: Arc<Dedicated>,
    /// The children of single clients, until they are reaped: whoever had one may have let go of it already.
    guests: Mutex<Vec<Weak<Child>>>,
    /// Log messages name no request: whoever wants them is alone with a shared child.
    logging: tokio::sync::Mutex<()>,
}

impl StdioLink {
    pub(crate) fn new(
        spec: &ServerSpec,
        index: usize,
        directory: Option<&str>,
        shared: &Arc<Shared>,
        server: Weak<Server>,
    ) -> Arc<Self> {
        let mut spec = spec.clone();
        if let Some(directory) = directory {
            spec.cwd.get_or_insert_with(|| directory.to_owned());
            let name = "CROSSFADE_STORAGE".to_owned();
            spec.env.entry(name).or_insert_with(|| directory.to_owned());
        }
        Arc::new(Self {
            shared: Arc::clone(shared),
            server,
            current: Mutex::new(None),
            starting: tokio::sync::Mutex::new(()),
            closed: AtomicBool::new(false),
            supervisor: Supervisor::new(&spec, index as u64),
            dedicated: Dedicated::new(&spec, shared),
            guests: Mutex::default(),
            logging: tokio::sync::Mutex::new(()),
            spec,
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        lock(&self.current)
            .as_ref()
            .filter(|current| !current.child.is_dead())
            .map(|current| current.child.pid())
    }

    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        lock(&self.current)
            .as_ref()
            .map(|current| Arc::clone(&current.agreed))
    }

    pub(crate) async fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        Ok(self.live(deadline).await?.1)
    }

    fn running(&self) -> Option<(Arc<Child>, Arc<Agreed>)> {
        let mut current = lock(&self.current);
        let found = current.as_ref()?;
        if found.child.is_dead() {
            *current = None;
            return None;
        }
        Some((Arc::clone(&found.child), Arc::clone(&found.agreed)))
    }

    /// The running process; starts one if there is none. Callers share one start.
    pub(crate) async fn live(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<(Arc<Child>, Arc<Agreed>)> {
        if let Some(found) = self.running() {
            return Ok(found);
        }
        Box::pin(async {
            let _one = self.starting.lock().await;
            if let Some(found) = self.running() {
                return Ok(found);
            }
            if self.closed.load(Relaxed) {
                return Err(self.gone());
            }
            self.supervisor.may_start(deadline).await?;
            match self.start(deadline).await {
                Ok((child, _)) if self.closed.load(Relaxed) => {
                    child.kill();
                    Err(self.gone())
                }
                Ok((child, agreed)) => {
                    let agreed = Arc::new(agreed);
                    *lock(&self.current) = Some(Current {
                        child: Arc::clone(&child),
                        agreed: Arc::clone(&agreed),
                    });
                    self.rose(child.pid());
                    if child.is_dead() {
                        // It ended before anybody could have been told that it is ours.
                        self.ended(&child, self.start_error("ended at once; check its log"));
                    }
                    self.shared.events.changed();
                    Ok((child, agreed))
                }
                Err(error) => Err(self.fell(error)),
            }
        })
        .await
    }

    fn spawn(self: &Arc<Self>) -> Result<Arc<Child>> {
        let link = Arc::downgrade(self);
        Child::spawn(&self.spec, &self.shared, self.server.clone(), link)
    }

    /// A process for one client: nobody is told when it ends, and nobody else hears what it says.
    fn spawn_own(&self) -> Result<Arc<Child>> {
        let child = Child::spawn(&self.spec, &self.shared, Weak::new(), Weak::new())?;
        child.belongs_to_one();
        Ok(child)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// A child has shaken hands.
    fn rose(&self, pid: u32) {
        let last = self.supervisor.up(pid);
        let Some(server) = self.server.upgrade() else {
            return;
        };
        if let Some(last) = last {
            server.restarted(last, pid);
        }
        server.regained();
        server.interest.poke();
    }

    /// The child ended by itself, or did not start; the error to tell. Another is started when it may, if somebody
    /// counts on it.
    fn fell(self: &Arc<Self>, error: Error) -> Error {
        if self.closed.load(Relaxed) {
            return error;
        }
        let (error, due) = self.supervisor.down(error);
        if let Some(server) = self.server.upgrade() {
            server.lost(&error);
        }
        if !self.spec.lazy && self.supervisor.comes_back() {
            let link = Arc::downgrade(self);
            let patience = Duration::from_millis(self.spec.start_timeout_ms);
            self.shared.handle.spawn(async move {
                tokio::time::sleep_until(due.into()).await;
                let Some(link) = link.upgrade() else { return };
                if !link.closed.load(Relaxed) {
                    // What fails is told by `fell`.
                    let _ = link.ready(Instant::now() + patience).await;
                }
            });
        }
        error
    }

    /// A child is gone that nobody asked to go. While it shakes hands, whoever started it tells.
    pub(super) fn ended(self: &Arc<Self>, child: &Arc<Child>, error: Error) {
        {
            let mut current = lock(&self.current);
            let own = current.as_ref();
            if own.is_none_or(|current| !Arc::ptr_eq(&current.child, child)) {
                return;
            }
            *current = None;
        }
        self.fell(error);
        if let Some(server) = self.server.upgrade() {
            server.interest.poke();
        }
    }

    /// It ended by itself, or did not start, and is not back.
    pub(crate) fn is_down(&self) -> bool {
        self.supervisor.is_down()
    }

    /// Somebody wants it now: what made it stay down is forgotten.
    pub(crate) fn forgive(&self) {
        self.supervisor.forgive();
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.supervisor.restarts()
    }

    async fn start(self: &Arc<Self>, deadline: Instant) -> Result<(Arc<Child>, Agreed)> {
        let limit =
            deadline.min(Instant::now() + Duration::from_millis(self.spec.start_timeout_ms));
        let child = self.spawn()?;
        match self.agree(&child, limit, self.spec.era).await {
            // Some legacy servers die of a request before initialize: ask a fresh one the old way.
            Err(Error::ServerCrashed { .. }) if self.spec.era == EraSpec::Auto => {
                let child = self.spawn()?;
                self.agree(&child, limit, EraSpec::Legacy)
                    .await
                    .map(|agreed| (child, agreed))
            }
            outcome => outcome.map(|agreed| (child, agreed)),
        }
        .map_err(|error| Error::ServerStart {
            message: error.message(),
            server: self.spec.name.clone(),
        })
    }

    fn gone(&self) -> Error {
        Error::ManagerClosed {
            message: format!(
                "this instance of server '{}' is being removed; call again",
                self.spec.name
            ),
        }
    }

    fn start_error(&self, what: &str) -> Error {
        Error::ServerStart {
            message: format!("server '{}' {what}", self.spec.name),
            server: self.spec.name.clone(),
        }
    }

    /// One call; see [`super::Link::call`].
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let (child, agreed) = self.live(outgoing.deadline).await?;
        let modern = agreed.era == Era::Modern;
        let params = hop_params(outgoing.params, modern, &outgoing.caller)?;
        if !modern && !self.spec.stateless && outgoing.caller.wants_own_child() {
            return Box::pin(self.call_alone(outgoing, &params)).await;
        }
        if modern && outgoing.caller.level.is_some() {
            return Box::pin(self.call_logged(&child, outgoing, &params)).await;
        }
        child.call(outgoing, &params).await
    }

    /// Ends its process; none is started any more.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Relaxed);
        let resting = self.dedicated.close();
        self.end_guests().await;
        drop(resting);
        let current = lock(&self.current).take();
        if let Some(current) = current {
            current.child.shutdown().await;
        }
    }
}
