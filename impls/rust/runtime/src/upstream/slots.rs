//! Places on one pipe: the pool core with a single connection, the child, that many calls share.
//!
//! The rule: a place is given back on every way out, and waiting callers get theirs in order of arrival.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use crossfade_core::{Action, Pool, PoolConfig, RejectReason};
use tokio::sync::oneshot;

use crate::clock::{at_ns, lock, now_ns};
use crate::config::PoolSpec;

type Verdict = Result<(), RejectReason>;

#[derive(Debug)]
struct State {
    core: Pool,
    waiters: HashMap<u64, oneshot::Sender<Verdict>>,
    next_waiter: u64,
}

/// The places of one running child.
#[derive(Debug)]
pub(crate) struct Slots {
    state: Mutex<State>,
    conn: u64,
}

/// One place, until dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        let actions = state.core.release(now_ns(), self.0.conn, true);
        state.perform(actions);
    }
}

struct Waiting<'a> {
    slots: &'a Slots,
    id: u64,
    armed: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.armed {
            let mut state = lock(&self.slots.state);
            state.waiters.remove(&self.id);
            let actions = state.core.cancel(now_ns(), self.id);
            state.perform(actions);
        }
    }
}

impl State {
    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (waiter, verdict) = match action {
                Action::Grant { waiter, .. } => (waiter, Ok(())),
                Action::Reject { waiter, reason } => (waiter, Err(reason)),
                // The child is started and ended by its link, not by its places.
                Action::Connect { .. } | Action::Close { .. } => continue,
            };
            if let Some(sender) = self.waiters.remove(&waiter) {
                // A receiver that is gone gave up: its guard cancels the grant.
                let _ = sender.send(verdict);
            }
        }
    }
}

impl Slots {
    /// The places of a child that is running: for the core, its start was the connect.
    pub(crate) fn new(spec: &PoolSpec) -> Self {
        let mut core = Pool::new(PoolConfig {
            min_connections: 0,
            max_connections: 1,
            max_waiters: spec.max_waiters as usize,
            streams: spec.stdio_streams as usize,
            idle_timeout_ns: 0,
            max_age_ns: 0,
        });
        let now = now_ns();
        let mut conn = 0;
        for action in core.acquire(now, 0, u64::MAX) {
            if let Action::Connect { conn: opened } = action {
                conn = opened;
                core.connected(now, opened);
            }
        }
        core.cancel(now, 0);
        let state = State {
            core,
            waiters: HashMap::new(),
            next_waiter: 1,
        };
        Self {
            state: Mutex::new(state),
            conn,
        }
    }

    /// A place, now or when one is free before `until`.
    pub(crate) async fn acquire(&self, until: Instant) -> Result<Slot<'_>, RejectReason> {
        let (receiver, mut waiting) = {
            let mut state = lock(&self.state);
            if state.core.try_acquire(now_ns()).is_some() {
                return Ok(Slot(self));
            }
            let id = state.next_waiter;
            state.next_waiter += 1;
            let (sender, receiver) = oneshot::channel();
            state.waiters.insert(id, sender);
            let actions = state.core.acquire(now_ns(), id, at_ns(until));
            state.perform(actions);
            (
                receiver,
                Waiting {
                    slots: self,
                    id,
                    armed: true,
                },
            )
        };
        match tokio::time::timeout_at(until.into(), receiver).await {
            Ok(Ok(Ok(()))) => {
                waiting.armed = false;
                lock(&self.state).core.take(waiting.id);
                Ok(Slot(self))
            }
            Ok(Ok(Err(reason))) => {
                waiting.armed = false;
                Err(reason)
            }
            Ok(Err(_)) | Err(_) => Err(RejectReason::Deadline),
        }
    }

    /// The child is gone: nobody waits for a place any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        let actions = state.core.drain(now_ns());
        state.perform(actions);
    }

    pub(crate) fn waiting(&self) -> usize {
        lock(&self.state).core.waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slots(streams: u32) -> Slots {
        Slots::new(&PoolSpec {
            stdio_streams: streams,
            max_waiters: 1,
            ..PoolSpec::default()
        })
    }

    #[tokio::test]
    async fn a_place_goes_to_who_waits_and_comes_back_from_who_gave_up() {
        let slots = slots(1);
        let soon = || Instant::now() + Duration::from_secs(5);
        let first = slots.acquire(soon()).await.expect("free");
        {
            let gives_up = slots.acquire(soon());
            tokio::pin!(gives_up);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::future::Future::poll(gives_up.as_mut(), &mut cx).is_pending());
            assert_eq!(slots.waiting(), 1);
            let refused = slots.acquire(soon()).await;
            assert_eq!(refused.map(drop), Err(RejectReason::QueueFull));
            drop(first); // granted now, and never looked at
        }
        assert_eq!(slots.waiting(), 0);
        let held = slots.acquire(soon()).await.expect("given back");
        let (waited, ()) = tokio::join!(slots.acquire(soon()), async { slots.close() });
        assert_eq!(waited.map(drop), Err(RejectReason::Draining));
        drop(held);
    }
}
