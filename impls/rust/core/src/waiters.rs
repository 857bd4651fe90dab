//! Owns the queue of a pool: waiters in order of arrival, and their deadlines in order of time.
//!
//! Rule: an entry that was served or cancelled leaves the queue and the heap lazily, and both stay within twice the
//! number of waiters (plus a constant), so that cancellation costs amortised constant time and memory stays bounded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::actions::{Action, RejectReason};
use crate::ids::ById;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    number: u64,
    deadline_ns: u64,
}

pub(crate) const fn reject(waiter: u64, reason: RejectReason) -> Action {
    Action::Reject { waiter, reason }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters {
    alive: ById<Ticket>,
    queue: VecDeque<(u64, u64)>, // (ticket number, waiter)
    deadlines: BinaryHeap<Reverse<(u64, u64, u64)>>, // (deadline, waiter, ticket number)
    next_number: u64,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.alive.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }

    pub(crate) fn contains(&self, waiter: u64) -> bool {
        self.alive.contains_key(&waiter)
    }

    pub(crate) fn push(&mut self, waiter: u64, deadline_ns: u64) {
        let number = self.next_number;
        self.next_number += 1;
        self.alive.insert(
            waiter,
            Ticket {
                number,
                deadline_ns,
            },
        );
        self.queue.push_back((number, waiter));
        self.deadlines.push(Reverse((deadline_ns, waiter, number)));
    }

    /// The longest waiting one and its deadline.
    pub(crate) fn pop(&mut self) -> Option<(u64, u64)> {
        while let Some((number, waiter)) = self.queue.pop_front() {
            if let Some(ticket) = self.alive.get(&waiter).copied()
                && ticket.number == number
            {
                self.alive.remove(&waiter);
                self.compact();
                return Some((waiter, ticket.deadline_ns));
            }
        }
        None
    }

    /// The longest waiting one whose time is not over; those before it are rejected.
    pub(crate) fn pop_alive(&mut self, now_ns: u64, actions: &mut Vec<Action>) -> Option<u64> {
        while let Some((waiter, deadline_ns)) = self.pop() {
            if deadline_ns > now_ns {
                return Some(waiter);
            }
            actions.push(reject(waiter, RejectReason::Deadline));
        }
        None
    }

    /// All whose time is over, by deadline, then by id.
    pub(crate) fn reject_overdue(&mut self, now_ns: u64, actions: &mut Vec<Action>) {
        while let Some(waiter) = self.pop_overdue(now_ns) {
            actions.push(reject(waiter, RejectReason::Deadline));
        }
    }

    /// All that wait, in order of arrival.
    pub(crate) fn reject_all(&mut self, reason: RejectReason, actions: &mut Vec<Action>) {
        while let Some((waiter, _)) = self.pop() {
            actions.push(reject(waiter, reason));
        }
    }

    pub(crate) fn remove(&mut self, waiter: u64) -> bool {
        let found = self.alive.remove(&waiter).is_some();
        self.compact();
        found
    }

    /// The one whose deadline is the earliest and not after `now_ns`; ties go to the lower id.
    fn pop_overdue(&mut self, now_ns: u64) -> Option<u64> {
        if self.first_deadline_ns()? > now_ns {
            return None;
        }
        let Reverse((_, waiter, _)) = self.deadlines.pop()?;
        self.alive.remove(&waiter);
        self.compact();
        Some(waiter)
    }

    pub(crate) fn first_deadline_ns(&mut self) -> Option<u64> {
        while let Some(&Reverse((deadline_ns, waiter, number))) = self.deadlines.peek() {
            if self
                .alive
                .get(&waiter)
                .is_some_and(|ticket| ticket.number == number)
            {
                return Some(deadline_ns);
            }
            self.deadlines.pop();
        }
        None
    }

    fn compact(&mut self) {
        let limit = 2 * self.alive.len() + 16;
        let alive = &self.alive;
        let current = |number: u64, waiter: u64| {
            alive
                .get(&waiter)
                .is_some_and(|ticket| ticket.number == number)
        };
        if self.queue.len() > limit {
            self.queue
                .retain(|&(number, waiter)| current(number, waiter));
        }
        if self.deadlines.len() > limit {
            self.deadlines
                .retain(|&Reverse((_, waiter, number))| current(number, waiter));
        }
    }
}
