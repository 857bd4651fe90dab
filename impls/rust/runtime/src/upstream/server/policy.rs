//! Which instance gets the next call: the balancer chooses, each instance's breaker admits.
//!
//! The rule: no clock is read here, and whatever was chosen is told to balancer and breaker alike when it ends.

use crossfade_core::balancer::Balance;
use crossfade_core::{
    Balancer, Breaker, BreakerConfig, CircuitState, LeastPending, Mask, P2c, Rendezvous,
    RoundRobin, Weighted,
};

use super::MILLI;
use super::vitality::{Heard, Vitality};
use crate::config::{BalancerKind, HealthSpec, ServerSpec};
use crate::info::ServerState;

/// What the choice is made from.
#[derive(Debug)]
pub(super) struct Pick<'a> {
    /// The instances that take calls: at least one.
    pub(super) usable: &'a Mask,
    /// Taken before any other.
    pub(super) wanted: Option<usize>,
    /// Taken only if there is no other, or not at all.
    pub(super) tried: Mask,
    pub(super) only_others: bool,
    /// What affinity goes by.
    pub(super) key: u64,
}

#[derive(Debug)]
pub(super) struct Policy {
    balancer: Balancer,
    breakers: Vec<Breaker>,
    config: BreakerConfig,
    vitality: Vec<Vitality>,
    health: HealthSpec,
    /// Those that come last, because probes found them ill and will find out when they are well again.
    ill: Mask,
}

/// What the end of a call changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) before: CircuitState,
    pub(super) after: CircuitState,
    /// The state of its health is another one.
    pub(super) turned: bool,
}

impl Change {
    pub(super) const NONE: Self = Self {
        before: CircuitState::Closed,
        after: CircuitState::Closed,
        turned: false,
    };
}

impl Policy {
    pub(super) fn new(spec: &ServerSpec, instances: usize, seed: u64) -> Self {
        let config = BreakerConfig {
            enabled: spec.breaker.enabled,
            window: spec.breaker.window as usize,
            window_ns: spec.breaker.window_ms * MILLI,
            min_calls: spec.breaker.min_calls as usize,
            failure_per_mille: u64::from(spec.breaker.failure_per_mille),
            slow_call_ns: spec.breaker.slow_call_ms * MILLI,
            slow_per_mille: u64::from(spec.breaker.slow_per_mille),
            open_ns: spec.breaker.open_ms * MILLI,
            probes: u64::from(spec.breaker.probes),
        };
        Self {
            balancer: balancer(spec, instances, seed),
            breakers: (0..instances).map(|_| Breaker::new(config)).collect(),
            config,
            vitality: vec![Vitality::new(&spec.health); instances],
            health: spec.health.clone(),
            ill: Mask::default(),
        }
    }

    /// Room for so many instances.
    pub(super) fn resize(&mut self, instances: usize) {
        self.balancer.resize(instances);
        self.breakers
            .resize_with(instances, || Breaker::new(self.config));
        self.vitality
            .resize_with(instances, || Vitality::new(&self.health));
    }

    /// Somebody else takes the slot: what was held against the one before is forgotten.
    pub(super) fn renew(&mut self, index: usize) {
        self.breakers[index] = Breaker::new(self.config);
        self.vitality[index].reset();
        self.ill.set(index, false);
    }

    /// A call goes to this instance whoever else there is.
    pub(super) fn started(&mut self, index: usize) {
        self.balancer.started(index);
    }

    pub(super) fn state(&self, index: usize) -> ServerState {
        self.vitality[index].state()
    }

    /// What could not be used is there again.
    pub(super) fn regained(&mut self, index: usize) {
        if self.vitality[index].is_down() {
            self.hear(index, Heard::Renewed);
        }
    }

    /// Takes in what was heard of an instance; true if its state changed.
    pub(super) fn hear(&mut self, index: usize, heard: Heard) -> bool {
        let turned = self.vitality[index].hear(heard);
        if turned && self.health.interval_ms > 0 {
            let ill = self.vitality[index].state() == ServerState::Unhealthy;
            self.ill.set(index, ill);
        }
        turned
    }

    /// A call of one that has lost its slot ended.
    pub(super) fn left(&mut self, index: usize) {
        self.balancer.cancelled(index);
    }

    /// Picks an instance that its breaker admits; else says in how many ns to try again.
    pub(super) fn choose(&mut self, pick: &Pick<'_>, now: u64) -> Result<usize, u64> {
        let Self {
            balancer,
            breakers,
            ill,
            ..
        } = self;
        let picked = if breakers.len() == 1 && !pick.only_others {
            breakers[0].admit(now).then_some(0)
        } else {
            let wanted = pick.wanted.filter(|&index| !pick.tried.get(index));
            wanted
                .filter(|&index| breakers[index].admit(now))
                .or_else(|| choose(balancer, breakers, ill, pick, now))
        };
        let Some(index) = picked else {
            let usable = (0..breakers.len()).filter(|&index| pick.usable.get(index));
            return Err(usable
                .map(|index| breakers[index].retry_after_ns(now))
                .min()
                .unwrap_or(0));
        };
        balancer.started(index);
        Ok(index)
    }

    /// A call ended with a verdict. `fact`: it failed because the instance cannot be used.
    pub(super) fn finished(
        &mut self,
        index: usize,
        now: u64,
        took_ns: u64,
        ok: bool,
        fact: bool,
    ) -> Change {
        self.balancer.finished(index, now, took_ns, ok);
        let breaker = &mut self.breakers[index];
        let before = breaker.state(now);
        breaker.record(now, ok, took_ns);
        let after = breaker.state(now);
        let open = after == CircuitState::Open;
        let turned = match (ok, open) {
            // A late answer does not close what has opened.
            (true, true) => false,
            (true, false) => self.hear(index, Heard::Answer),
            (false, _) if fact || (open && before != after) => self.hear(index, Heard::Down),
            (false, _) => self.hear(index, Heard::Failure),
        };
        Change {
            before,
            after,
            turned,
        }
    }

    /// A call ended without a verdict.
    pub(super) fn cancelled(&mut self, index: usize, now: u64, took_ns: u64) {
        self.balancer.cancelled(index);
        self.breakers[index].forget(now, took_ns);
    }

    pub(super) fn circuit(&self, index: usize, now: u64) -> CircuitState {
        self.breakers[index].state(now)
    }

    pub(super) fn ewma_ns(&self, index: usize) -> u64 {
        self.balancer.ewma_ns(index)
    }
}

/// The balancer of the configuration. Instances without a weight have weight 1.
fn balancer(spec: &ServerSpec, instances: usize, seed: u64) -> Balancer {
    match spec.balancer {
        BalancerKind::RoundRobin => Balancer::RoundRobin(RoundRobin::new(instances)),
        BalancerKind::Weighted => {
            let mut weights = spec.weights.clone();
            weights.resize(instances, 1);
            Balancer::Weighted(Weighted::new(&weights))
        }
        BalancerKind::LeastPending => Balancer::LeastPending(LeastPending::new(instances)),
        BalancerKind::P2c => Balancer::P2c(P2c::new(instances, seed)),
        BalancerKind::Rendezvous => Balancer::Rendezvous(Rendezvous::new(instances)),
    }
}

/// One that is well and was not tried yet, if possible.
fn choose(
    balancer: &mut Balancer,
    breakers: &mut [Breaker],
    ill: &Mask,
    pick: &Pick<'_>,
    now: u64,
) -> Option<usize> {
    let mut fresh = pick.usable.clone();
    let (mut sick, mut again) = (Mask::default(), Mask::default());
    for index in 0..breakers.len() {
        if fresh.get(index) && (pick.tried.get(index) || ill.get(index)) {
            let other = if pick.tried.get(index) {
                &mut again
            } else {
                &mut sick
            };
            other.set(index, true);
            fresh.set(index, false);
        }
    }
    let found = admitted(balancer, breakers, fresh, pick.key, now)
        .or_else(|| admitted(balancer, breakers, sick, pick.key, now));
    if pick.only_others {
        return found;
    }
    found.or_else(|| admitted(balancer, breakers, again, pick.key, now))
}

fn admitted(
    balancer: &mut Balancer,
    breakers: &mut [Breaker],
    mut usable: Mask,
    key: u64,
    now: u64,
) -> Option<usize> {
    loop {
        let index = balancer.pick(now, usable.words(), key)?;
        if breakers[index].admit(now) {
            return Some(index);
        }
        usable.set(index, false);
    }
}
