//! One specification of a server and the instances that run it.
//!
//! The rule: every instance has a slot of its own; which of them take calls is decided under one short lock, so that
//! nobody is chosen who is being drained.

use std::sync::{Arc, Mutex};

use crossfade_core::{CircuitState, Mask};

use super::instance::Instance;
use super::policy::Policy;
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::filters::Shown;
use crate::info::{CircuitState as Circuit, InstanceInfo, ServerState};
use crate::storage::Claim;
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
pub(super) struct Row {
    pub(super) slots: Vec<Option<Arc<Instance>>>,
    /// Those that take calls.
    pub(super) usable: Mask,
    pub(super) serving: usize,
    pub(super) policy: Policy,
    /// Retired, and not closed yet.
    leaving: Vec<Arc<Instance>>,
}

/// What the row knows of an instance.
#[derive(Debug)]
struct Told {
    instance: Arc<Instance>,
    circuit: Circuit,
    known: ServerState,
    ewma_ns: u64,
}

/// One revision; `number` counts from 1.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) number: u32,
    pub(crate) spec: Arc<ServerSpec>,
    pub(crate) shown: Shown,
    pub(super) row: Mutex<Row>,
}

impl Revision {
    /// With free slots only.
    pub(crate) fn new(number: u32, spec: Arc<ServerSpec>, seed: u64) -> Arc<Self> {
        let slots = spec.replicas();
        Arc::new(Self {
            number,
            row: Mutex::new(Row {
                slots: vec![None; slots],
                usable: Mask::default(),
                serving: 0,
                policy: Policy::new(&spec, slots, seed),
                leaving: Vec::new(),
            }),
            shown: Shown::new(&spec),
            spec,
        })
    }

    // -- who is there

    /// Instances in their slots, whether or not they take calls.
    pub(crate) fn present(&self) -> Vec<Arc<Instance>> {
        lock(&self.row).slots.iter().flatten().cloned().collect()
    }

    /// Everybody who may be running: those in their slots, and those that leave.
    pub(crate) fn everybody(&self) -> Vec<Arc<Instance>> {
        let row = lock(&self.row);
        row.slots
            .iter()
            .flatten()
            .chain(&row.leaving)
            .cloned()
            .collect()
    }

    /// Those that take calls, in order of their slots.
    pub(crate) fn serving(&self) -> Vec<Arc<Instance>> {
        let row = lock(&self.row);
        let taken = row.slots.iter().flatten();
        taken
            .filter(|instance| row.usable.get(instance.index))
            .cloned()
            .collect()
    }

    /// How many slots there are.
    pub(crate) fn room(&self) -> usize {
        lock(&self.row).slots.len()
    }

    /// The specification with the number of instances that it was scaled to.
    pub(crate) fn spec_now(&self) -> Arc<ServerSpec> {
        let room = u32::try_from(self.room()).unwrap_or(u32::MAX);
        if self.spec.command.is_none() || self.spec.instances == room {
            return Arc::clone(&self.spec);
        }
        Arc::new(ServerSpec {
            instances: room,
            ..ServerSpec::clone(&self.spec)
        })
    }

    /// Slots that nobody has.
    pub(crate) fn free(&self) -> Vec<usize> {
        let row = lock(&self.row);
        (0..row.slots.len())
            .filter(|&index| row.slots[index].is_none())
            .collect()
    }

    /// The links of [`Revision::present`].
    pub(crate) fn links(&self) -> Vec<Link> {
        let row = lock(&self.row);
        let taken = row.slots.iter().flatten();
        taken.map(|instance| instance.link.clone()).collect()
    }

    // -- who comes and goes

    /// Takes a free slot; no calls yet.
    pub(super) fn put(&self, index: usize, link: Link, claim: Option<Claim>) -> Arc<Instance> {
        let instance = Arc::new(Instance::new(index, link, claim));
        let mut row = lock(&self.row);
        row.policy.renew(index);
        row.slots[index] = Some(Arc::clone(&instance));
        instance
    }

    /// From now on it takes calls, if it is still in its slot.
    pub(super) fn open(&self, instance: &Instance) {
        let mut row = lock(&self.row);
        if row.holds(instance) && !row.usable.get(instance.index) {
            row.usable.set(instance.index, true);
            row.serving += 1;
        }
    }

    /// From now on it takes no calls; its slot is free. False if it was retired before.
    pub(super) fn retire(&self, instance: &Arc<Instance>) -> bool {
        let mut row = lock(&self.row);
        if !row.holds(instance) {
            return false;
        }
        if row.usable.get(instance.index) {
            row.usable.set(instance.index, false);
            row.serving -= 1;
        }
        row.slots[instance.index] = None;
        row.leaving.push(Arc::clone(instance));
        instance.retire();
        true
    }

    /// It is closed.
    pub(crate) fn forget(&self, instance: &Arc<Instance>) {
        lock(&self.row)
            .leaving
            .retain(|other| !Arc::ptr_eq(other, instance));
    }

    /// Room for `count` instances; slots that fall away must be free.
    pub(crate) fn resize(&self, count: usize) {
        let mut row = lock(&self.row);
        row.slots.resize(count, None);
        row.policy.resize(count);
    }

    // -- what is shown

    /// What is known of each instance. One that nobody has called and that said who it is counts as well.
    pub(super) fn states(&self) -> Vec<ServerState> {
        let row = lock(&self.row);
        let taken = row.slots.iter().flatten();
        taken
            .map(|taken| state(row.policy.state(taken.index), &taken.link))
            .collect()
    }

    pub(super) fn describe(&self, now: u64, otherwise: ServerState) -> Vec<InstanceInfo> {
        let told = self.told(now);
        told.iter()
            .map(|one| one.describe(self.number, otherwise))
            .collect()
    }

    /// A copy, so that calls need not wait while it is written out.
    fn told(&self, now: u64) -> Vec<Told> {
        let row = lock(&self.row);
        let policy = &row.policy;
        let told = |instance: &Arc<Instance>, circuit: Circuit, known: ServerState| Told {
            instance: Arc::clone(instance),
            circuit,
            known,
            ewma_ns: policy.ewma_ns(instance.index),
        };
        let serving = row.slots.iter().flatten().map(|taken| {
            let circuit = circuit(policy.circuit(taken.index, now));
            told(taken, circuit, policy.state(taken.index))
        });
        let leaving = row.leaving.iter();
        serving
            .chain(leaving.map(|leaving| told(leaving, Circuit::Closed, ServerState::Initializing)))
            .collect()
    }
}

impl Told {
    fn describe(&self, revision: u32, otherwise: ServerState) -> InstanceInfo {
        let instance = &*self.instance;
        let link = &instance.link;
        let (pid, url) = match link {
            Link::Http(http) => (None, Some(http.url().to_owned())),
            Link::Stdio(stdio) => (stdio.pid(), None),
        };
        let agreed = link.agreed();
        InstanceInfo {
            index: instance.index,
            state: match self.circuit {
                _ if otherwise == ServerState::Stopped => otherwise,
                Circuit::Open => ServerState::Unhealthy,
                Circuit::HalfOpen => ServerState::Degraded,
                Circuit::Closed => state(self.known, link),
            },
            circuit: self.circuit,
            era: agreed.map(|agreed| agreed.era),
            pid,
            url,
            connections: link.connections(),
            in_flight: instance.busy(),
            ewma_ns: self.ewma_ns,
            revision,
            restarts: link.restarts(),
            directory: instance.directory.clone(),
        }
    }
}

impl Row {
    /// Whether it has its slot still.
    pub(super) fn holds(&self, instance: &Instance) -> bool {
        let slot = self.slots.get(instance.index).and_then(Option::as_deref);
        slot.is_some_and(|taken| std::ptr::eq(taken, instance))
    }
}

fn state(known: ServerState, link: &Link) -> ServerState {
    if link.is_down() {
        return ServerState::Unhealthy;
    }
    if known == ServerState::Initializing && link.agreed().is_some() {
        return ServerState::Healthy;
    }
    known
}

fn circuit(core: CircuitState) -> Circuit {
    match core {
        CircuitState::Closed => Circuit::Closed,
        CircuitState::Open => Circuit::Open,
        CircuitState::HalfOpen => Circuit::HalfOpen,
    }
}
