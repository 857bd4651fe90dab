//! Owns how many requests one server has in flight, and who waits for a place; it returns actions, no I/O.
//!
//! The theory. There are `max_in_flight` places. `try_acquire` takes one without a word if one is free. Else a *waiter*
//! queues, and whoever releases a place gives it to the oldest waiter whose time is not over. The shell performs what is
//! returned, in order: it wakes waiters (`Grant`, `Reject`). A woken waiter says `take` first; whoever gives up says
//! `cancel`, before or after the grant. It is the pool without connections, so its grants name connection 0.
//!
//! The laws:
//!
//! 1. At most `max_in_flight` places are taken (0: no bound) and at most `max_queue` waiters wait, but for those who were
//!    there before `resize` lowered the bound.
//! 2. Every waiter gets exactly one Grant or Reject, or is cancelled. Grants go strictly in order of arrival.
//! 3. Somebody waits only if no place is free. So `try_acquire` cannot overtake anybody.
//! 4. Every place that is taken ends by one `release`, or by `cancel` of an untaken grant. A release too many is ignored.
//! 5. `tick(next_deadline_ns())` always makes progress. After `drain` nothing is granted.

use crate::actions::{Action, RejectReason};
use crate::ids::IdSet;
use crate::waiters::{Waiters, reject};

const NO_CONN: u64 = 0;

/// `max_in_flight` 0: no bound. `max_queue` 0: nobody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BulkheadConfig {
    pub max_in_flight: usize,
    pub max_queue: usize,
}

/// The places of one server. Waiter ids are the caller's, unique among the living.
#[derive(Debug, Clone)]
pub struct Bulkhead {
    places: usize,
    max_queue: usize,
    waiting: Waiters,
    granted: IdSet, // waiters, until taken
    in_flight: usize,
    draining: bool,
}

const fn places(max_in_flight: usize) -> usize {
    if max_in_flight == 0 {
        usize::MAX
    } else {
        max_in_flight
    }
}

impl Bulkhead {
    pub fn new(config: BulkheadConfig) -> Self {
        Self {
            places: places(config.max_in_flight),
            max_queue: config.max_queue,
            waiting: Waiters::default(),
            granted: IdSet::default(),
            in_flight: 0,
            draining: false,
        }
    }

    /// Take a free place at once. `false` means: queue with `acquire`.
    #[inline]
    pub const fn try_acquire(&mut self) -> bool {
        let free = self.in_flight < self.places;
        self.in_flight += free as usize;
        free
    }

    /// End one request: its place goes to the oldest waiter, or is free.
    #[inline]
    pub fn release(&mut self, now_ns: u64) -> Vec<Action> {
        if self.in_flight == 0 {
            return Vec::new();
        }
        self.in_flight -= 1;
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.hand_out(now_ns)
    }

    /// Take a place, now or when one is free before `deadline_ns`; the action may be the answer already.
    ///
    /// A waiter that is waiting or granted already is the caller's bug and ignored.
    pub fn acquire(&mut self, now_ns: u64, waiter: u64, deadline_ns: u64) -> Vec<Action> {
        let known = self.waiting.contains(waiter) || self.granted.contains(&waiter);
        debug_assert!(
            !known,
            "waiter {waiter} is waiting or granted already; give every acquire its own id"
        );
        if known {
            return Vec::new();
        }
        let reason = if self.draining {
            RejectReason::Draining
        } else if self.try_acquire() {
            self.granted.insert(waiter);
            return vec![Action::Grant {
                waiter,
                conn: NO_CONN,
            }];
        } else if deadline_ns <= now_ns {
            RejectReason::Deadline
        } else if self.waiting.len() >= self.max_queue {
            RejectReason::QueueFull
        } else {
            self.waiting.push(waiter, deadline_ns);
            return Vec::new();
        };
        vec![reject(waiter, reason)]
    }

    /// The waiter has seen its grant: from now on the place is its own to release. `false` if it has none.
    pub fn take(&mut self, waiter: u64) -> bool {
        self.granted.remove(&waiter)
    }

    /// The waiter gives up: it leaves the queue, or its untaken place goes to the next. Unknown ids are ignored.
    pub fn cancel(&mut self, now_ns: u64, waiter: u64) -> Vec<Action> {
        if self.waiting.remove(waiter) || !self.take(waiter) {
            return Vec::new();
        }
        self.release(now_ns)
    }

    /// Reject the waiters whose time is over.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.waiting.reject_overdue(now_ns, &mut actions);
        actions
    }

    /// When `tick` has something to do.
    pub fn next_deadline_ns(&mut self) -> Option<u64> {
        self.waiting.first_deadline_ns()
    }

    /// Other bounds from now on; new places go to the waiters. Nobody who is in loses anything. Not after `drain`.
    pub fn resize(&mut self, now_ns: u64, max_in_flight: usize, max_queue: usize) -> Vec<Action> {
        if self.draining {
            return Vec::new();
        }
        self.places = places(max_in_flight);
        self.max_queue = max_queue;
        self.hand_out(now_ns)
    }

    /// No place for anybody from now on; those who wait are rejected, those who are in finish.
    pub fn drain(&mut self, _now_ns: u64) -> Vec<Action> {
        self.draining = true;
        self.places = 0;
        let mut actions = Vec::new();
        self.waiting
            .reject_all(RejectReason::Draining, &mut actions);
        actions
    }

    /// Places taken.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Callers in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Grants that were neither taken nor cancelled yet; they are `in_flight`.
    pub fn untaken(&self) -> usize {
        self.granted.len()
    }

    pub const fn draining(&self) -> bool {
        self.draining
    }

    fn hand_out(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.in_flight < self.places
            && let Some(waiter) = self.waiting.pop_alive(now_ns, &mut actions)
        {
            self.in_flight += 1;
            self.granted.insert(waiter);
            actions.push(Action::Grant {
                waiter,
                conn: NO_CONN,
            });
        }
        actions
    }
}
