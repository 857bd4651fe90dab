//! How a manager starts and closes, and how servers come and go in between.
//!
//! The rule: a registration that fails leaves nothing behind; closing takes the gateways first, then the servers that
//! they stand on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{CLOSED, Inner, Manager, NEW, OPEN};
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::deploy::DeploymentState;
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::info::ServerInfo;
use crate::upstream::Server;

impl Manager {
    /// Connects to every server that is not lazy, concurrently; a server that fails is `unhealthy`, not an error.
    pub async fn start(&self) -> Result<()> {
        if self
            .inner
            .phase
            .compare_exchange(NEW, OPEN, Relaxed, Relaxed)
            .is_err()
        {
            return Err(closed());
        }
        let weak = Arc::downgrade(&self.inner);
        self.inner.shared.handle.spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(200));
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                let Some(inner) = weak.upgrade() else { return };
                inner.tick();
            }
        });
        let mut starting = Vec::new();
        for spec in &self.initial {
            let server = self.inner.make(spec.clone(), false).await?;
            self.inner.registry.add(Arc::clone(&server))?;
            self.inner
                .shared
                .events
                .send(EventKind::Registered, server.name(), None, None);
            if !spec.lazy {
                starting.push(
                    self.inner
                        .shared
                        .handle
                        .spawn(async move { server.connect().await }),
                );
            }
        }
        for task in starting {
            // A server that cannot be reached is `unhealthy` now and tried again on use.
            let _ = task.await;
        }
        Ok(())
    }

    /// Drains for `drain`, then closes and reaps everything. A second call returns at once.
    pub async fn close(&self, drain: Duration) {
        if self.inner.phase.swap(CLOSED, Relaxed) == CLOSED {
            return;
        }
        self.inner.closing.notify_waiters();
        let gateways = std::mem::take(&mut *lock(&self.inner.gateways));
        for gateway in gateways {
            gateway.close(drain).await;
        }
        let closing: Vec<_> = self
            .inner
            .registry
            .clear()
            .into_iter()
            .map(|server| {
                self.inner.shared.handle.spawn(async move {
                    server.end_deployment().await;
                    server.close(drain).await;
                })
            })
            .collect();
        for task in closing {
            let _ = task.await;
        }
        self.inner.shared.events.close();
        self.inner.shared.log.close();
    }

    /// Adds a server and, unless it is lazy, connects. On failure nothing is kept.
    pub async fn register(&self, spec: ServerSpec) -> Result<ServerInfo> {
        self.inner.check_open()?;
        self.inner.check_new(&spec.name)?;
        let _name = self.inner.registry.reserve(&spec.name)?;
        let lazy = spec.lazy;
        let server = self.inner.make(spec, false).await?;
        let mut unfinished = Unfinished(Some(Arc::clone(&server)));
        let outcome = if lazy { Ok(()) } else { server.connect().await };
        unfinished.0 = None;
        if let Err(error) = outcome.and_then(|()| self.inner.registry.add(Arc::clone(&server))) {
            server.close(Duration::ZERO).await;
            server.release_all(None).await;
            return Err(error);
        }
        self.inner
            .shared
            .events
            .send(EventKind::Registered, server.name(), None, None);
        Ok(server.info())
    }

    /// Stops routing to it, waits up to `drain` for calls in flight, closes.
    pub async fn unregister(&self, name: &str, drain: Duration) -> Result<()> {
        self.inner.check_open()?;
        self.inner.dismiss(name, drain, None).await
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.inner.phase.store(CLOSED, Relaxed);
        self.inner.shared.events.close();
        self.inner.shared.log.close();
    }
}

/// A server that is being started for a caller, who may give up.
struct Unfinished(Option<Arc<Server>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            let handle = server.shared.handle.clone();
            handle.spawn(async move {
                server.close(Duration::ZERO).await;
                server.release_all(None).await;
            });
        }
    }
}

fn closed() -> Error {
    Error::ManagerClosed {
        message: "the manager is closed or was not started; use it inside `async with`".to_owned(),
    }
}

impl Inner {
    /// Whether a server of that name can be added.
    fn check_new(&self, name: &str) -> Result<()> {
        let snapshot = self.registry.load();
        if snapshot.get(name).is_some() {
            return Err(crate::registry::exists(name));
        }
        if !self.gateway.prefix && !snapshot.servers.is_empty() {
            return Err(Error::Config {
                message: format!(
                    "server '{name}': gateway.prefix is false, so names of a second server would collide; set prefix to true"
                ),
            });
        }
        Ok(())
    }

    /// Adds a server that a deployment will start.
    pub(super) async fn enlist(&self, spec: ServerSpec) -> Result<Arc<Server>> {
        self.check_new(&spec.name)?;
        let _name = self.registry.reserve(&spec.name)?;
        let server = self.make(spec, true).await?;
        self.registry.add(Arc::clone(&server))?;
        let events = &self.shared.events;
        events.send(EventKind::Registered, server.name(), None, None);
        Ok(server)
    }

    /// A first deployment failed: nothing of it is kept.
    pub(crate) async fn forget(&self, server: &Server) {
        server.set_deployment(DeploymentState::Stopping);
        server.close(Duration::ZERO).await;
        server.release_all(None).await;
        server.set_deployment(DeploymentState::Stopped);
        // Last, so that whoever waits for the end of the deployment finds it; somebody else may have removed it.
        if self.registry.remove(server.name()).is_ok() {
            let events = &self.shared.events;
            events.send(EventKind::Unregistered, server.name(), None, None);
        }
    }

    /// Stops routing to a server, waits up to `drain` for calls in flight, closes it.
    pub(super) async fn dismiss(
        &self,
        name: &str,
        drain: Duration,
        keep: Option<bool>,
    ) -> Result<()> {
        let metrics = &self.shared.metrics;
        let leaving = metrics.leave(|| self.registry.remove(name))?;
        let server = &leaving.server;
        server.end_deployment().await;
        server.close(drain).await;
        server.release_all(keep).await;
        server.set_deployment(DeploymentState::Stopped);
        drop(leaving);
        let events = &self.shared.events;
        events.send(EventKind::Unregistered, name, None, None);
        Ok(())
    }

    /// A server whose claims fit; with its instances, unless a deployment will start them.
    async fn make(&self, spec: ServerSpec, deploy: bool) -> Result<Arc<Server>> {
        // Every server gets its own stream of random numbers, the same in every run with the same seed.
        let seed = spec.name.bytes().fold(self.seed, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        if let Some(claim) = &spec.storage {
            let storage = &self.shared.storage;
            storage.check(&spec.name, claim, spec.replicas())?;
        }
        let server = Server::new(spec, Arc::clone(&self.shared), seed, deploy);
        if !deploy && let Err(error) = server.populate() {
            server.release_all(None).await;
            return Err(error);
        }
        server.count_quick();
        server.watch_health();
        server.attend();
        Ok(server)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.phase.load(Relaxed) == OPEN {
            Ok(())
        } else {
            Err(closed())
        }
    }

    fn tick(&self) {
        for server in &self.registry.load().servers {
            server.tick();
        }
        for gateway in lock(&self.gateways).iter() {
            gateway.tick();
        }
    }
}
