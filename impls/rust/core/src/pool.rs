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
//!    After a `resize` to fewer, the surplus is closed: idle ones at once, the others with their last lease.
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
//! 10. From `start` on the pool keeps `min_connections`: it opens what is missing, at most once in [`WARM_NS`], and
//!     closes nothing for being idle below that.

mod reports;
mod size;
mod slots;
mod waiting;

pub use crate::actions::{Action, CloseReason, PoolConfig, RejectReason};
use crate::ids::{ById, IdSet};
use crate::order::Order;
use crate::waiters::Waiters;
pub use size::WARM_NS;

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
    granted: ById<u64>,   // waiter -> connection, until taken
    warm_at: Option<u64>, // when the minimum was last seen to; `None`: not started
    in_use: usize,
    draining: bool,
}

impl Pool {
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config: PoolConfig {
                min_connections: config.min_connections.min(config.max_connections),
                ..config
            },
            next_conn: 1,
            connecting: IdSet::default(),
            slots: Vec::new(),
            vacant: Vec::new(),
            open: ById::default(),
            free: Order::new(),
            aging: Order::new(),
            waiting: Waiters::default(),
            granted: ById::default(),
            warm_at: None,
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
}
