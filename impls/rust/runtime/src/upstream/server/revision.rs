//! One specification of a server and the instances that run it.
//!
//! The rule: instances come and go at the end of the row only, so an index stays true for as long as a call holds it;
//! which of them take calls is decided under one short lock, so that nobody is chosen who is being drained.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossfade_core::CircuitState;
use tokio::sync::Notify;

use super::policy::{Pick, Policy};
use super::{Seat, Wish};
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::filters::Shown;
use crate::info::{CircuitState as Circuit, InstanceInfo, ServerState};
use crate::upstream::Link;

/// Why no instance takes a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// None serves at the moment; one will, or another revision does.
    Paused,
    /// All breakers are open; the next one lets a probe through in so many ns.
    Open(u64),
}

#[derive(Debug)]
struct Row {
    links: Vec<Link>,
    /// The first so many take calls.
    serving: usize,
    policy: Policy,
    in_flight: usize,
    samples: u64,
    failures: u64,
}

/// One revision; `number` counts from 1.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) number: u32,
    pub(crate) spec: Arc<ServerSpec>,
    pub(crate) shown: Shown,
    /// The first instance, which is the last one to go.
    pub(crate) front: Link,
    row: Mutex<Row>,
    left: Notify,
}

impl Revision {
    /// All of `links` (at least one) serve at once.
    pub(crate) fn new(
        number: u32,
        spec: Arc<ServerSpec>,
        links: Vec<Link>,
        seed: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            front: links[0].clone(),
            row: Mutex::new(Row {
                serving: links.len(),
                policy: Policy::new(&spec, links.len(), seed),
                links,
                in_flight: 0,
                samples: 0,
                failures: 0,
            }),
            shown: Shown::new(&spec),
            spec,
            left: Notify::new(),
        })
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        lock(&self.row).links.clone()
    }

    /// How many instances take calls.
    pub(crate) fn serving(&self) -> usize {
        lock(&self.row).serving
    }

    /// Takes an instance that serves and that its breaker admits.
    pub(super) fn choose(self: &Arc<Self>, wish: &Wish<'_>, now: u64) -> Result<Seat, Refusal> {
        let mut row = lock(&self.row);
        let Row {
            links,
            serving,
            policy,
            in_flight,
            ..
        } = &mut *row;
        if *serving == 0 {
            return Err(Refusal::Paused);
        }
        let mut pick = Pick {
            serving: *serving,
            key: wish.key,
            ..Pick::default()
        };
        if *serving > 1 {
            let links = &links[..*serving];
            pick.wanted = wish.pinned.and_then(|pinned| links.iter().position(pinned));
            for link in wish.tried {
                if let Some(index) = links.iter().position(|other| other.is(link)) {
                    pick.tried.set(index, true);
                }
            }
        }
        let index = policy.choose(&pick, now).map_err(Refusal::Open)?;
        *in_flight += 1;
        Ok(Seat {
            revision: Arc::clone(self),
            link: links[index].clone(),
            index,
        })
    }

    /// Whether one of the instances that serve is the one that the caller is bound to.
    pub(super) fn holds(&self, pinned: &(dyn Fn(&Link) -> bool + Sync)) -> bool {
        let row = lock(&self.row);
        row.links[..row.serving].iter().any(pinned)
    }

    /// A call ended with a verdict; returns the state of its breaker before and after.
    pub(super) fn finished(
        &self,
        index: usize,
        now: u64,
        took_ns: u64,
        ok: bool,
    ) -> (CircuitState, CircuitState) {
        let mut row = lock(&self.row);
        row.samples += 1;
        row.failures += u64::from(!ok);
        let states = row.policy.finished(index, now, took_ns, ok);
        self.leave(row);
        states
    }

    /// A call ended without a verdict.
    pub(super) fn cancelled(&self, index: usize, now: u64, took_ns: u64) {
        let mut row = lock(&self.row);
        row.policy.cancelled(index, now, took_ns);
        self.leave(row);
    }

    fn leave(&self, mut row: std::sync::MutexGuard<'_, Row>) {
        row.in_flight -= 1;
        let draining = row.serving < row.links.len();
        drop(row);
        if draining {
            self.left.notify_waiters();
        }
    }

    /// From now on only the first `serving` instances take calls.
    pub(crate) fn serve(&self, serving: usize) {
        let mut row = lock(&self.row);
        row.serving = serving.min(row.links.len());
    }

    /// Waits until no instance beyond the serving ones has a call in flight; false if `within` was over before.
    pub(crate) async fn drained(&self, within: Duration) -> bool {
        tokio::time::timeout_at((Instant::now() + within).into(), async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                let busy = {
                    let row = lock(&self.row);
                    (row.serving..row.links.len()).any(|index| row.policy.pending(index) > 0)
                };
                if !busy {
                    return;
                }
                left.await;
            }
        })
        .await
        .is_ok()
    }

    /// How many instances are shut off by their breakers, and how many there are.
    pub(super) fn open(&self, now: u64) -> (usize, usize) {
        let row = lock(&self.row);
        (row.policy.open(now), row.links.len())
    }

    pub(super) fn describe(&self, now: u64, otherwise: ServerState) -> Vec<InstanceInfo> {
        let row = lock(&self.row);
        let describe = |(index, link): (usize, &Link)| {
            let circuit = circuit(row.policy.circuit(index, now));
            let (pid, url) = match link {
                Link::Http(http) => (None, Some(http.url().to_owned())),
                Link::Stdio(stdio) => (stdio.pid(), None),
            };
            let agreed = link.agreed();
            InstanceInfo {
                index,
                state: match circuit {
                    Circuit::Open => ServerState::Unhealthy,
                    Circuit::HalfOpen => ServerState::Degraded,
                    Circuit::Closed if agreed.is_some() => ServerState::Healthy,
                    Circuit::Closed => otherwise,
                },
                circuit,
                era: agreed.map(|agreed| agreed.era),
                pid,
                url,
                connections: link.connections(),
                in_flight: usize::try_from(row.policy.pending(index)).unwrap_or(usize::MAX),
                ewma_ns: row.policy.ewma_ns(index),
                revision: self.number,
            }
        };
        row.links.iter().enumerate().map(describe).collect()
    }
}

fn circuit(core: CircuitState) -> Circuit {
    match core {
        CircuitState::Closed => Circuit::Closed,
        CircuitState::Open => Circuit::Open,
        CircuitState::HalfOpen => Circuit::HalfOpen,
    }
}
