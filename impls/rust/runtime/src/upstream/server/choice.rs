//! One call's way into a revision and out of it: the instance that it takes, and what its end means.
//!
//! The rule: choice and end are told to balancer, breaker and instance under the same lock.

use std::sync::Arc;

use crossfade_core::Mask;

use super::instance::Instance;
use super::policy::{Change, Pick};
use super::revision::{Refusal, Revision, Row};
use super::vitality::Heard;
use super::{Seat, Wish};
use crate::clock::lock;
use crate::upstream::Link;

impl Revision {
    /// Takes an instance that serves and that its breaker admits.
    pub(super) fn choose(self: &Arc<Self>, wish: &Wish<'_>, now: u64) -> Result<Seat, Refusal> {
        let mut row = lock(&self.row);
        let Row {
            slots,
            usable,
            serving,
            policy,
            ..
        } = &mut *row;
        if *serving == 0 {
            return Err(Refusal::Paused);
        }
        let mut pick = Pick {
            usable,
            wanted: None,
            tried: Mask::default(),
            only_others: wish.only_others,
            key: wish.key,
        };
        if *serving > 1 || wish.only_others {
            let at = |is: &dyn Fn(&Link) -> bool| {
                let mut taken = slots.iter().flatten();
                taken
                    .find(|taken| pick.usable.get(taken.index) && is(&taken.link))
                    .map(|taken| taken.index)
            };
            pick.wanted = wish.pinned.and_then(|pinned| at(&|link| pinned(link)));
            for link in wish.tried {
                if let Some(index) = at(&|other| other.is(link)) {
                    pick.tried.set(index, true);
                }
            }
        }
        let index = policy.choose(&pick, now).map_err(Refusal::Open)?;
        let Some(instance) = &slots[index] else {
            return Err(Refusal::Paused); // usable ones have an instance
        };
        instance.enter();
        Ok(Seat {
            revision: Arc::clone(self),
            instance: Arc::clone(instance),
        })
    }

    /// Whether one of the instances that serve is the one that the caller is bound to.
    pub(super) fn binds(&self, pinned: &(dyn Fn(&Link) -> bool + Sync)) -> bool {
        let row = lock(&self.row);
        let mut taken = row.slots.iter().flatten();
        taken.any(|taken| row.usable.get(taken.index) && pinned(&taken.link))
    }

    /// A call ended with a verdict. `fact`: it failed because the instance cannot be used.
    pub(super) fn finished(
        &self,
        instance: &Instance,
        now: u64,
        took_ns: u64,
        ok: bool,
        fact: bool,
    ) -> Change {
        let mut row = lock(&self.row);
        let change = if row.holds(instance) {
            row.policy.finished(instance.index, now, took_ns, ok, fact)
        } else {
            row.policy.left(instance.index);
            Change::NONE
        };
        drop(row);
        instance.leave();
        change
    }

    /// A call for this very instance, which need not be one that takes calls; `None` if it has left.
    pub(super) fn enter(self: &Arc<Self>, instance: &Arc<Instance>) -> Option<Seat> {
        let mut row = lock(&self.row);
        if !row.holds(instance) {
            return None;
        }
        row.policy.started(instance.index);
        instance.enter();
        Some(Seat {
            revision: Arc::clone(self),
            instance: Arc::clone(instance),
        })
    }

    /// Takes in what was heard of an instance; true if its state changed.
    pub(super) fn hear(&self, instance: &Instance, heard: Heard) -> bool {
        let mut row = lock(&self.row);
        row.holds(instance) && row.policy.hear(instance.index, heard)
    }

    /// Children that are back start with a clean slate.
    pub(super) fn regained(&self) {
        let mut row = lock(&self.row);
        let Row { slots, policy, .. } = &mut *row;
        for taken in slots.iter().flatten() {
            if matches!(taken.link, Link::Stdio(_)) && !taken.link.is_down() {
                policy.regained(taken.index);
            }
        }
    }

    /// A call ended without a verdict.
    pub(super) fn cancelled(&self, instance: &Instance, now: u64, took_ns: u64) {
        let mut row = lock(&self.row);
        if row.holds(instance) {
            row.policy.cancelled(instance.index, now, took_ns);
        } else {
            row.policy.left(instance.index);
        }
        drop(row);
        instance.leave();
    }
}
