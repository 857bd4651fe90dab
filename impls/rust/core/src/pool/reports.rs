//! What the shell reports: connects that ended, connections that were lost, the passing of time, the end.
//!
//! Rule: a report about a connection that is gone is ignored (law 4); what frees room lets the pool grow for
//! those who still wait.

use super::Pool;
use crate::actions::{Action, CloseReason, RejectReason};

impl Pool {
    /// A `Connect` succeeded.
    pub fn connected(&mut self, now_ns: u64, conn: u64) -> Vec<Action> {
        if !self.connecting.remove(&conn) {
            return Vec::new();
        }
        if self.draining {
            return vec![Action::Close {
                conn,
                reason: CloseReason::Draining,
            }];
        }
        if self.open.len() >= self.config.max_connections {
            return vec![Action::Close {
                conn,
                reason: CloseReason::Shrunk,
            }];
        }
        let slot = self.open_slot(now_ns, conn);
        let mut actions = Vec::new();
        while self.slots[slot as usize].used < self.config.streams
            && self.grant(now_ns, slot, &mut actions)
        {}
        if self.slots[slot as usize].used < self.config.streams {
            self.free.push_last(slot);
        }
        actions
    }

    /// A `Connect` failed: the waiters it would have served are rejected, the others get another attempt.
    pub fn connect_failed(&mut self, _now_ns: u64, conn: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.connecting.remove(&conn) {
            return actions;
        }
        for _ in 0..self.config.streams {
            let Some((waiter, _)) = self.waiting.pop() else {
                break;
            };
            actions.push(Action::Reject {
                waiter,
                reason: RejectReason::ConnectFailed,
            });
        }
        self.grow(&mut actions);
        actions
    }

    /// A connection ended by itself, and its leases with it; their `release` is ignored when it comes.
    pub fn lost(&mut self, now_ns: u64, conn: u64) -> Vec<Action> {
        if self.connecting.contains(&conn) {
            return self.connect_failed(now_ns, conn);
        }
        let mut actions = Vec::new();
        if let Some(&slot) = self.open.get(&conn) {
            self.in_use -= self.slots[slot as usize].used;
            self.close_slot(slot);
            self.grow(&mut actions);
        }
        actions
    }

    /// What time alone brings about: overdue waiters, connections too old, connections too long idle.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.waiting.reject_overdue(now_ns, &mut actions);
        while let Some(slot) = self.aging.first() {
            if now_ns.saturating_sub(self.slots[slot as usize].opened_at) < self.config.max_age_ns {
                break;
            }
            self.retire(slot, CloseReason::MaxAge, &mut actions);
        }
        if self.config.idle_timeout_ns > 0 {
            while self.open.len() > self.config.min_connections
                && let Some(slot) = self.first_idle()
            {
                if now_ns.saturating_sub(self.slots[slot as usize].free_since)
                    < self.config.idle_timeout_ns
                {
                    break;
                }
                self.retire(slot, CloseReason::Idle, &mut actions);
            }
        }
        self.grow(&mut actions);
        if self.warm_deadline_ns().is_some_and(|at| at <= now_ns) {
            self.warm(now_ns, &mut actions);
        }
        actions
    }

    /// No more leases: reject all waiters, close what is idle, and the rest with its last lease.
    pub fn drain(&mut self, _now_ns: u64) -> Vec<Action> {
        self.draining = true;
        let mut actions = Vec::new();
        self.waiting
            .reject_all(RejectReason::Draining, &mut actions);
        while let Some(slot) = self.free.first() {
            self.retire(slot, CloseReason::Draining, &mut actions);
        }
        for &slot in self.open.values() {
            self.slots[slot as usize]
                .retired
                .get_or_insert(CloseReason::Draining);
            self.aging.remove(slot);
        }
        actions
    }

    /// When `tick` has something to do, or `None`.
    pub fn next_deadline_ns(&mut self) -> Option<u64> {
        let waiter = self.waiting.first_deadline_ns();
        let aged = self.aging.first().map(|slot| &self.slots[slot as usize]);
        let aged = aged.map(|conn| conn.opened_at.saturating_add(self.config.max_age_ns));
        let may_close = self.open.len() > self.config.min_connections;
        let idle = if may_close && self.config.idle_timeout_ns > 0 {
            self.first_idle()
        } else {
            None
        };
        let idle = idle.map(|slot| &self.slots[slot as usize]);
        let idle = idle.map(|conn| conn.free_since.saturating_add(self.config.idle_timeout_ns));
        [waiter, aged, idle, self.warm_deadline_ns()]
            .into_iter()
            .flatten()
            .min()
    }
}
