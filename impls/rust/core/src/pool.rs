//! Owns who gets which connection to one instance, and when connections open and close; it returns actions, no I/O.
//!
//! The theory. A connection is connecting, open or gone. An open one has `streams` places; a call holds one place, a
//! *lease*. `try_acquire` leases without a word if a place is free. Else a *waiter* queues, and the pool opens
//! connections as long as those being opened have fewer places than there are waiters. The shell performs what is
//! returned, in order: it opens (`Connect`) and answers with `connected` or `connect_failed`; it closes (`Close`); it
//! wakes waiters (`Grant`, `Reject`). A woken waiter says `take` first; whoever gives up says `cancel`, before or after
//! the grant.
//!
//! The laws:
//!
//! 1. Connecting plus open connections never exceed `max_connections`; leases never exceed `streams` per connection.
//! 2. Every waiter gets exactly one Grant or Reject, or is cancelled. Grants go strictly in order of arrival.
//! 3. Somebody waits only if no place is free. So `try_acquire` cannot overtake anybody.
//! 4. A lease ends by `release` (or `cancel` of an untaken grant) or with its connection (`lost`); what is said
//!    afterwards about a connection that is gone is ignored.
//! 5. Free places are given out most recently released first, so that surplus connections grow idle and are closed.
//! 6. A connection that is unusable, too old or drained gets no new lease and is closed with its last lease.
//! 7. A connect that fails rejects the waiters it would have served (the `streams` oldest), so failure never loops.
//! 8. `tick(next_deadline_ns())` always makes progress. After `drain` nothing is granted or opened.
//! 9. `max_waiters` bounds those who wait for somebody else's release; whoever a connection is being opened for, or
//!    still may be, does not count.

pub use crate::actions::{Action, CloseReason, PoolConfig, RejectReason};
use crate::ids::{ById, IdSet};
use crate::order::Order;
use crate::waiters::Waiters;

/// An open connection.
#[derive(Debug, Clone)]
struct Conn {
    id: u64,
    used: usize,
    free_since: u64,
    opened_at: u64,
    retired: Option<CloseReason>,
}

/// The connections to one instance. Waiter ids are the caller's, unique among the living; connections count from 1.
#[derive(Debug, Clone)]
pub struct Pool {
    config: PoolConfig,
    next_conn: u64,
    connecting: IdSet,
    slots: Vec<Conn>,
    vacant: Vec<u32>,
    open: ById<u32>,
    free: Order,  // connections with a free place, least recently released first
    aging: Order, // connections that can still come of age, oldest first; unused without `max_age_ns`
    waiting: Waiters,
    granted: ById<u64>, // waiter -> connection, until taken
    in_use: usize,
    draining: bool,
}

impl Pool {
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config,
            next_conn: 1,
            connecting: IdSet::default(),
            slots: Vec::new(),
            vacant: Vec::new(),
            open: ById::default(),
            free: Order::new(),
            aging: Order::new(),
            waiting: Waiters::default(),
            granted: ById::default(),
            in_use: 0,
            draining: false,
        }
    }

    // -- the hot path

    /// Lease a free place at once, or `None`: then queue with `acquire`.
    pub fn try_acquire(&mut self, _now_ns: u64) -> Option<u64> {
        let slot = self.free.last()?;
        let conn = &mut self.slots[slot as usize];
        conn.used += 1;
        self.in_use += 1;
        if conn.used == self.config.streams {
            self.free.remove(slot);
        }
        Some(conn.id)
    }

    /// End one lease. `reusable` false: the connection is broken or its state unknown; it gets no new lease.
    pub fn release(&mut self, now_ns: u64, conn: u64, reusable: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(&slot) = self.open.get(&conn) else {
            return actions;
        };
        let max_age_ns = self.config.max_age_ns;
        let state = &mut self.slots[slot as usize];
        if state.used == 0 {
            return actions;
        }
        state.used -= 1;
        self.in_use -= 1;
        if !reusable {
            self.retire(slot, CloseReason::Unusable, &mut actions);
        } else if let Some(reason) = state.retired {
            self.retire(slot, reason, &mut actions);
        } else if max_age_ns > 0 && now_ns.saturating_sub(state.opened_at) >= max_age_ns {
            self.retire(slot, CloseReason::MaxAge, &mut actions);
        } else if self.waiting.is_empty() || !self.grant(now_ns, slot, &mut actions) {
            self.slots[slot as usize].free_since = now_ns;
            self.free.remove(slot);
            self.free.push_last(slot);
        }
        self.grow(&mut actions);
        actions
    }

    // -- waiting

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
        let room = self.config.max_connections - self.open.len();
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

    // -- what the shell reports

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
        while let Some(waiter) = self.waiting.pop_overdue(now_ns) {
            actions.push(Action::Reject {
                waiter,
                reason: RejectReason::Deadline,
            });
        }
        while let Some(slot) = self.aging.first() {
            if now_ns.saturating_sub(self.slots[slot as usize].opened_at) < self.config.max_age_ns {
                break;
            }
            self.retire(slot, CloseReason::MaxAge, &mut actions);
        }
        if self.config.idle_timeout_ns > 0 {
            while let Some(slot) = self.first_idle() {
                if now_ns.saturating_sub(self.slots[slot as usize].free_since)
                    < self.config.idle_timeout_ns
                {
                    break;
                }
                self.retire(slot, CloseReason::Idle, &mut actions);
            }
        }
        self.grow(&mut actions);
        actions
    }

    /// No more leases: reject all waiters, close what is idle, and the rest with its last lease.
    pub fn drain(&mut self, _now_ns: u64) -> Vec<Action> {
        self.draining = true;
        let mut actions = Vec::new();
        while let Some((waiter, _)) = self.waiting.pop() {
            actions.push(Action::Reject {
                waiter,
                reason: RejectReason::Draining,
            });
        }
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
        let idle = if self.config.idle_timeout_ns > 0 {
            self.first_idle()
        } else {
            None
        };
        let idle = idle.map(|slot| &self.slots[slot as usize]);
        let idle = idle.map(|conn| conn.free_since.saturating_add(self.config.idle_timeout_ns));
        [waiter, aged, idle].into_iter().flatten().min()
    }

    // -- counts

    /// Open connections, those with no new leases included.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Connections being opened.
    pub fn connecting(&self) -> usize {
        self.connecting.len()
    }

    /// Leases out.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Callers in the queue.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Grants that were neither taken nor cancelled yet; they are `in_use`.
    pub fn untaken(&self) -> usize {
        self.granted.len()
    }

    pub const fn draining(&self) -> bool {
        self.draining
    }

    // -- steps

    fn grow(&mut self, actions: &mut Vec<Action>) {
        while self.waiting.len() > self.connecting.len() * self.config.streams
            && self.open.len() + self.connecting.len() < self.config.max_connections
        {
            let conn = self.next_conn;
            self.next_conn += 1;
            self.connecting.insert(conn);
            actions.push(Action::Connect { conn });
        }
    }

    /// Lease one place to the oldest waiter whose time is not over; `false` if there is none.
    fn grant(&mut self, now_ns: u64, slot: u32, actions: &mut Vec<Action>) -> bool {
        while let Some((waiter, deadline_ns)) = self.waiting.pop() {
            if deadline_ns <= now_ns {
                actions.push(Action::Reject {
                    waiter,
                    reason: RejectReason::Deadline,
                });
                continue;
            }
            let state = &mut self.slots[slot as usize];
            state.used += 1;
            self.in_use += 1;
            self.granted.insert(waiter, state.id);
            actions.push(Action::Grant {
                waiter,
                conn: state.id,
            });
            return true;
        }
        false
    }

    /// No new lease for this connection; close it if nobody uses it. The first reason stands.
    fn retire(&mut self, slot: u32, reason: CloseReason, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot as usize];
        let (conn, reason) = (state.id, *state.retired.get_or_insert(reason));
        if state.used == 0 {
            self.close_slot(slot);
            actions.push(Action::Close { conn, reason });
        } else {
            self.free.remove(slot);
            self.aging.remove(slot);
        }
    }

    fn first_idle(&self) -> Option<u32> {
        let mut at = self.free.first();
        while let Some(slot) = at
            && self.slots[slot as usize].used > 0
        {
            at = self.free.after(slot);
        }
        at
    }

    fn open_slot(&mut self, now_ns: u64, id: u64) -> u32 {
        let state = Conn {
            id,
            used: 0,
            free_since: now_ns,
            opened_at: now_ns,
            retired: None,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = state;
            slot
        } else {
            self.slots.push(state);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        };
        self.open.insert(id, slot);
        if self.config.max_age_ns > 0 {
            self.aging.push_last(slot);
        }
        slot
    }

    fn close_slot(&mut self, slot: u32) {
        self.open.remove(&self.slots[slot as usize].id);
        self.free.remove(slot);
        self.aging.remove(slot);
        self.vacant.push(slot);
    }
}
