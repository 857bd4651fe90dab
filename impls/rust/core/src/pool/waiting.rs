//! The queue: who waits for a place, who is granted one, and the connections opened for those who wait.
//!
//! Rule: grants go strictly in order of arrival, and a waiter whose time is over is rejected, never granted (law 2).

use super::Pool;
use crate::actions::{Action, RejectReason};

impl Pool {
    /// Lease a place, now or when one is free before `deadline_ns`; the first action may be the answer already.
    ///
    /// A waiter that is waiting or granted already is the caller's bug and ignored.
    pub fn acquire(&mut self, now_ns: u64, waiter: u64, deadline_ns: u64) -> Vec<Action> {
        let known = self.waiting.contains(waiter) || self.granted.contains_key(&waiter);
        debug_assert!(
            !known,
            "waiter {waiter} is waiting or granted already; give every acquire its own id"
        );
        if known {
            return Vec::new();
        }
        if self.draining {
            return vec![Action::Reject {
                waiter,
                reason: RejectReason::Draining,
            }];
        }
        if let Some(conn) = self.try_acquire(now_ns) {
            self.granted.insert(waiter, conn);
            return vec![Action::Grant { waiter, conn }];
        }
        if deadline_ns <= now_ns {
            return vec![Action::Reject {
                waiter,
                reason: RejectReason::Deadline,
            }];
        }
        let room = self.config.max_connections.saturating_sub(self.open.len());
        if self.waiting.len() >= self.config.max_waiters + self.config.streams * room {
            return vec![Action::Reject {
                waiter,
                reason: RejectReason::QueueFull,
            }];
        }
        self.waiting.push(waiter, deadline_ns);
        let mut actions = Vec::new();
        self.grow(&mut actions);
        actions
    }

    /// The waiter has seen its grant: from now on the lease is its own to release. `false` if it has none.
    pub fn take(&mut self, waiter: u64) -> bool {
        self.granted.remove(&waiter).is_some()
    }

    /// The waiter gives up: it leaves the queue, or its untaken lease goes to the next. Unknown ids are ignored.
    pub fn cancel(&mut self, now_ns: u64, waiter: u64) -> Vec<Action> {
        if self.waiting.remove(waiter) {
            return Vec::new();
        }
        match self.granted.remove(&waiter) {
            Some(conn) => self.release(now_ns, conn, true),
            None => Vec::new(),
        }
    }

    pub(super) fn grow(&mut self, actions: &mut Vec<Action>) {
        while self.waiting.len() > self.connecting.len() * self.config.streams
            && self.open.len() + self.connecting.len() < self.config.max_connections
        {
            self.connect(actions);
        }
    }

    pub(super) fn connect(&mut self, actions: &mut Vec<Action>) {
        let conn = self.next_conn;
        self.next_conn += 1;
        self.connecting.insert(conn);
        actions.push(Action::Connect { conn });
    }

    /// Lease one place to the oldest waiter whose time is not over; `false` if there is none.
    pub(super) fn grant(&mut self, now_ns: u64, slot: u32, actions: &mut Vec<Action>) -> bool {
        let Some(waiter) = self.waiting.pop_alive(now_ns, actions) else {
            return false;
        };
        let state = &mut self.slots[slot as usize];
        state.used += 1;
        self.in_use += 1;
        self.granted.insert(waiter, state.id);
        actions.push(Action::Grant {
            waiter,
            conn: state.id,
        });
        true
    }
}
