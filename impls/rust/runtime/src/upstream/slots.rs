//! Places on one pipe: the pool core with a single connection, the child, that many calls share.
//!
//! The rule: a place is given back on every way out, and waiting callers get theirs in order of arrival.

use std::sync::Mutex;
use std::time::Instant;

use crossfade_core::{Action, Pool, PoolConfig, RejectReason};

use super::queue::{Queue, Queued};
use crate::clock::{at_ns, lock, now_ns};
use crate::config::PoolSpec;

#[derive(Debug)]
struct State {
    core: Pool,
    queue: Queue,
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
        state.queue.perform(actions);
    }
}

impl Queued for Slots {
    fn give_up(&self, waiter: u64) {
        let mut state = lock(&self.state);
        state.queue.leave(waiter);
        let actions = state.core.cancel(now_ns(), waiter);
        state.queue.perform(actions);
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
            queue: Queue::default(),
        };
        Self {
            state: Mutex::new(state),
            conn,
        }
    }

    /// A place, now or when one is free before `until`.
    pub(crate) async fn acquire(&self, until: Instant) -> Result<Slot<'_>, RejectReason> {
        let waiting = {
            let mut state = lock(&self.state);
            if state.core.try_acquire(now_ns()).is_some() {
                return Ok(Slot(self));
            }
            let waiting = state.queue.join(self);
            let actions = state.core.acquire(now_ns(), waiting.id, at_ns(until));
            state.queue.perform(actions);
            waiting
        };
        let id = waiting.id;
        waiting.verdict(until).await?;
        lock(&self.state).core.take(id);
        Ok(Slot(self))
    }

    /// The child is gone: nobody waits for a place any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        let actions = state.core.drain(now_ns());
        state.queue.perform(actions);
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
