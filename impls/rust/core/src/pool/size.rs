//! How many connections there are: the minimum that is kept, and bounds that change.
//!
//! Rule: the minimum is seen to at most once in [`WARM_NS`], so that a server that hangs up at once is not called in a
//! loop; what shrinking leaves over is closed when idle, and never taken from a caller (law 6).

use super::Pool;
use crate::actions::{Action, CloseReason};

pub const WARM_NS: u64 = 1_000_000_000;

impl Pool {
    /// Open the minimum, and keep it from now on.
    pub fn start(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.draining {
            self.warm(now_ns, &mut actions);
        }
        actions
    }

    /// Other bounds from now on. More room serves waiters at once; a surplus goes, idle connections first.
    pub fn resize(
        &mut self,
        now_ns: u64,
        min_connections: usize,
        max_connections: usize,
    ) -> Vec<Action> {
        self.config.max_connections = max_connections;
        self.config.min_connections = min_connections.min(max_connections);
        let mut actions = Vec::new();
        if !self.draining {
            self.shrink(&mut actions);
            self.grow(&mut actions);
            if self.warm_at.is_some() {
                self.warm(now_ns, &mut actions);
            }
        }
        actions
    }

    /// Open what is missing from the minimum.
    pub(super) fn warm(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        self.warm_at = Some(now_ns);
        while self.below_minimum() {
            self.connect(actions);
        }
    }

    /// When the minimum is seen to next, if it is to be kept and is not.
    pub(super) fn warm_deadline_ns(&self) -> Option<u64> {
        let due = self.warm_at?.saturating_add(WARM_NS);
        (!self.draining && self.below_minimum()).then_some(due)
    }

    fn below_minimum(&self) -> bool {
        self.open.len() + self.connecting.len() < self.config.min_connections
    }

    /// Idle ones first, longest idle first, then the oldest.
    fn shrink(&mut self, actions: &mut Vec<Action>) {
        let mut open: Vec<u32> = self.open.values().copied().collect();
        open.retain(|&slot| self.slots[slot as usize].retired.is_none());
        let mut surplus = open.len().saturating_sub(self.config.max_connections);
        while surplus > 0
            && let Some(slot) = self.first_idle()
        {
            self.retire(slot, CloseReason::Shrunk, actions);
            surplus -= 1;
        }
        open.sort_unstable_by_key(|&slot| self.slots[slot as usize].id);
        for slot in open {
            if surplus > 0 && self.slots[slot as usize].used > 0 {
                self.retire(slot, CloseReason::Shrunk, actions);
                surplus -= 1;
            }
        }
    }
}
