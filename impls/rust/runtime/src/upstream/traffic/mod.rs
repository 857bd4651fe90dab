//! What stands before the choice of an instance: maintenance, rate limits, load shedding, places, second attempts.
//!
//! The rule: whatever refuses does so at once and has used up nothing; a request is let in once, however many attempts
//! it becomes; a server that is `plain` has nothing of all this, and its hot path looks at one flag.

mod carry;
mod hedging;
mod limits;
mod places;
mod race;
mod repeating;
mod shed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;

use super::Server;
use crate::clock::now_ns;
use crate::config::{Affinity, BalancerKind, ServerSpec};
use crate::error::{Error, Result};
use crate::gateway::sessions::Session;
use crate::info::ServerState;
use crate::names::fnv1a;
use crate::principal::Principal;
use hedging::Hedging;
use limits::{Asked, Limits};
pub(crate) use places::Place;
use places::Places;
use repeating::Repeating;
pub(crate) use repeating::{may_go_elsewhere, may_go_on};
pub(crate) use shed::{Pass, Shed};

const MILLI: u64 = 1_000_000;

/// What was done about the requests of one server, since it was registered.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) retries: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) hedged_wins: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) queued: AtomicU64,
}

/// The policies of one specification.
#[derive(Debug)]
pub(crate) struct Rules {
    spec: Arc<ServerSpec>,
    limits: Option<Arc<Limits>>,
    places: Option<Arc<Places>>,
    pub(crate) repeating: Arc<Repeating>,
    hedging: Option<Arc<Hedging>>,
    affinity: Option<Affinity>,
}

impl Rules {
    /// What `spec` leaves as it was keeps its count.
    fn new(spec: &Arc<ServerSpec>, old: Option<&Self>) -> Self {
        let limits = match old {
            Some(old) if old.spec.rate_limits == spec.rate_limits => old.limits.clone(),
            _ => Limits::new(&spec.rate_limits).map(Arc::new),
        };
        let places = match old.and_then(|old| old.places.as_ref()) {
            None => Places::new(&spec.name, &spec.bulkhead),
            Some(places) => {
                places.resize(&spec.bulkhead);
                (spec.bulkhead.max_in_flight > 0).then(|| Arc::clone(places))
            }
        };
        let repeating = match old {
            Some(old) if old.spec.retry == spec.retry => Arc::clone(&old.repeating),
            _ => Arc::new(Repeating::new(&spec.name, &spec.retry)),
        };
        let hedging = match old {
            Some(old) if old.spec.hedge == spec.hedge => old.hedging.clone(),
            _ => Hedging::new(&spec.hedge).map(Arc::new),
        };
        Self {
            limits,
            places,
            repeating,
            hedging,
            affinity: (spec.balancer == BalancerKind::Rendezvous).then_some(spec.affinity),
            spec: Arc::clone(spec),
        }
    }
}

/// The policies of one server, and whether it takes requests at all.
#[derive(Debug)]
pub(crate) struct Traffic {
    plain: AtomicBool,
    sheds: bool,
    maintenance: AtomicBool,
    /// The state that maintenance hides.
    hidden: AtomicU8,
    rules: ArcSwap<Rules>,
    pub(crate) counts: Counts,
}

impl Traffic {
    pub(crate) fn new(spec: &Arc<ServerSpec>, shed: &Shed) -> Self {
        let traffic = Self {
            sheds: shed.is_on(),
            plain: AtomicBool::new(false),
            maintenance: AtomicBool::new(false),
            hidden: AtomicU8::new(ServerState::Initializing as u8),
            rules: ArcSwap::from_pointee(Rules::new(spec, None)),
            counts: Counts::default(),
        };
        traffic.look();
        traffic
    }

    /// Goes by another specification from now on.
    pub(crate) fn adopt(&self, spec: &Arc<ServerSpec>) {
        let rules = Rules::new(spec, Some(&self.rules.load()));
        self.rules.store(Arc::new(rules));
        self.look();
    }

    /// Whether nothing but breaker and balancer stands before a request.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.load(Relaxed)
    }

    pub(crate) fn in_maintenance(&self) -> bool {
        self.maintenance.load(Relaxed)
    }

    fn look(&self) {
        let rules = self.rules.load();
        let plain = !self.in_maintenance()
            && !self.sheds
            && rules.limits.is_none()
            && rules.places.is_none()
            && rules.hedging.is_none()
            && rules.affinity.is_none();
        self.plain.store(plain, Relaxed);
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Whether a second copy of a request may be sent, so that its answer cannot be passed on as it comes.
    pub(crate) fn may_hedge(&self, method: &str, name: Option<&str>) -> bool {
        if self.is_plain() {
            return false;
        }
        let rules = self.rules.load();
        let hedging = rules.hedging.as_ref();
        hedging.is_some_and(|hedging| hedging.covers(method, name))
    }

    /// One more attempt of a request begins.
    pub(crate) fn retried(&self) {
        self.counts.retries.fetch_add(1, Relaxed);
    }

    /// Whether what a server's list says of its tools matters.
    pub(crate) fn listens(&self) -> bool {
        self.rules.load().repeating.listens()
    }

    /// What a server's list says of one of its tools.
    pub(crate) fn learn(&self, tool: &str, may_repeat: bool) {
        self.rules.load().repeating.learn(tool, may_repeat);
    }

    /// The server ends: nobody waits for it any more.
    pub(crate) fn close(&self) {
        if let Some(places) = &self.rules.load().places {
            places.close();
        }
    }

    /// What affinity goes by; a caller without a session is told by its principal.
    pub(crate) fn key(
        &self,
        session: Option<&Arc<Session>>,
        principal: Principal<'_>,
        name: Option<&str>,
    ) -> u64 {
        if self.is_plain() {
            return 0;
        }
        match (self.rules.load().affinity, session) {
            (None, _) => 0,
            (Some(Affinity::Tool), _) => fnv1a(name.unwrap_or_default().as_bytes()),
            (Some(Affinity::Session), Some(session)) => fnv1a(session.id.as_bytes()),
            (Some(Affinity::Session | Affinity::Principal), _) => principal.key(),
        }
    }
}

impl Server {
    /// Lets one request in until the pass is dropped, or says at once why not. `name` is the server's own.
    pub(crate) fn let_in(
        &self,
        method: &str,
        name: Option<&str>,
        principal: Principal<'_>,
    ) -> Result<Pass> {
        if self.traffic.is_plain() {
            return Ok(Pass::default());
        }
        self.judge(method, name, principal).inspect_err(|_| {
            self.rejected();
        })
    }

    #[cold]
    fn judge(&self, method: &str, name: Option<&str>, principal: Principal<'_>) -> Result<Pass> {
        let traffic = &self.traffic;
        if traffic.in_maintenance() {
            return Err(Error::ServerUnavailable {
                message: format!(
                    "server '{}' is in maintenance; call another one, or end the maintenance",
                    self.name()
                ),
                server: self.name().to_owned(),
            });
        }
        if matches!(principal, Principal::Manager) {
            return Ok(Pass::default());
        }
        if let Some(limits) = &traffic.rules.load().limits {
            let asked = Asked {
                tool: name.filter(|_| method == "tools/call"),
                principal,
            };
            limits
                .admit(self.name(), now_ns(), asked)
                .inspect_err(|_| {
                    traffic.counts.rate_limited.fetch_add(1, Relaxed);
                })?;
        }
        self.shared.shed.enter().map_err(|in_flight| {
            traffic.counts.shed.fetch_add(1, Relaxed);
            Error::LoadShed {
                message: format!(
                    "server '{}' is not called: {in_flight} requests are in flight in this manager, or they wait too \
                     long already; call again later, or raise shed.maxInFlight or shed.targetMs",
                    self.name()
                ),
                server: self.name().to_owned(),
            }
        })
    }

    /// Takes the server out of routing, or puts it back. What is under way goes on.
    pub(crate) fn maintain(&self, on: bool) {
        let traffic = &self.traffic;
        if traffic.maintenance.swap(on, Relaxed) == on {
            return;
        }
        if on {
            traffic.hidden.store(self.state() as u8, Relaxed);
        }
        traffic.look();
        self.set_state(ServerState::from_u8(traffic.hidden.load(Relaxed)), None);
    }
}

impl Traffic {
    /// The state to show when `new` is the true one.
    pub(crate) fn shown(&self, new: ServerState) -> ServerState {
        if new == ServerState::Stopped || !self.in_maintenance() {
            return new;
        }
        self.hidden.store(new as u8, Relaxed);
        ServerState::Maintenance
    }
}
