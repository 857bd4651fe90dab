//! The shell of the bulkhead core: who has a place with a server, and who queues for one.
//!
//! The rule: a place that was given is given back exactly once, and one that was granted to somebody who left goes to
//! the next in the queue, at whichever await the leaver was dropped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossfade_core::{Bulkhead, BulkheadConfig, RejectReason};

use crate::clock::{at_ns, lock, now_ns};
use crate::config::BulkheadSpec;
use crate::error::{Error, Result};
use crate::upstream::queue::{Queue, Queued};

#[derive(Debug)]
struct State {
    spec: BulkheadSpec,
    core: Bulkhead,
    queue: Queue,
}

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Places {
    server: String,
    state: Mutex<State>,
}

/// One place, until dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        let actions = state.core.release(now_ns());
        state.queue.perform(actions);
    }
}

impl Queued for Places {
    fn give_up(&self, waiter: u64) {
        let mut state = lock(&self.state);
        state.queue.leave(waiter);
        let actions = state.core.cancel(now_ns(), waiter);
        state.queue.perform(actions);
    }
}

fn config(spec: &BulkheadSpec) -> BulkheadConfig {
    BulkheadConfig {
        max_in_flight: spec.max_in_flight as usize,
        max_queue: spec.max_queue as usize,
    }
}

impl Places {
    /// `None` if there is no bound.
    pub(super) fn new(server: &str, spec: &BulkheadSpec) -> Option<Arc<Self>> {
        (spec.max_in_flight > 0).then(|| {
            Arc::new(Self {
                server: server.to_owned(),
                state: Mutex::new(State {
                    spec: spec.clone(),
                    core: Bulkhead::new(config(spec)),
                    queue: Queue::default(),
                }),
            })
        })
    }

    /// Other bounds from now on; who waits may get one of the new places.
    pub(super) fn resize(&self, spec: &BulkheadSpec) {
        let config = config(spec);
        let mut state = lock(&self.state);
        state.spec = spec.clone();
        let actions = state
            .core
            .resize(now_ns(), config.max_in_flight, config.max_queue);
        state.queue.perform(actions);
    }

    /// A place, now or when one is free; at the latest at `deadline`, or when the time in the queue is over. `queued`
    /// counts who had to wait.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        deadline: Instant,
        queued: &AtomicU64,
    ) -> Result<Place> {
        let (waiting, until) = {
            let mut state = lock(&self.state);
            if state.core.try_acquire() {
                return Ok(Place(Arc::clone(self)));
            }
            let now = Instant::now();
            let until = deadline.min(now + Duration::from_millis(state.spec.queue_timeout_ms));
            let waiting = state.queue.join(&**self);
            let actions = state.core.acquire(at_ns(now), waiting.id, at_ns(until));
            state.queue.perform(actions);
            if state.queue.holds(waiting.id) {
                queued.fetch_add(1, Relaxed);
            }
            (waiting, until)
        };
        let id = waiting.id;
        waiting
            .verdict(until)
            .await
            .map_err(|reason| self.refusal(reason))?;
        lock(&self.state).core.take(id);
        Ok(Place(Arc::clone(self)))
    }

    /// The server ends: so does the queue.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        let actions = state.core.drain(now_ns());
        state.queue.perform(actions);
    }

    fn refusal(&self, reason: RejectReason) -> Error {
        let name = &self.server;
        let spec = lock(&self.state).spec.clone();
        let why = match reason {
            RejectReason::Draining => {
                return Error::ManagerClosed {
                    message: format!("server '{name}' is being removed; call another one"),
                };
            }
            RejectReason::QueueFull => format!(
                "{} requests are with it and {} wait already",
                spec.max_in_flight, spec.max_queue
            ),
            _ => format!(
                "no place of {} became free within {} ms",
                spec.max_in_flight, spec.queue_timeout_ms
            ),
        };
        Error::BulkheadFull {
            message: format!(
                "server '{name}': {why}; slow down, or raise bulkhead.maxInFlight or bulkhead.maxQueue"
            ),
            server: name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};

    fn places(max_queue: u32) -> Arc<Places> {
        let spec = BulkheadSpec {
            max_in_flight: 1,
            max_queue,
            queue_timeout_ms: 60_000,
        };
        Places::new("s", &spec).expect("bounded")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a_place_granted_to_somebody_who_left_goes_to_the_next() {
        let places = places(2);
        let queued = AtomicU64::new(0);
        let first = places.enter(soon(), &queued).await.expect("free");
        let mut cx = Context::from_waker(Waker::noop());
        let mut patient = Box::pin(places.enter(soon(), &queued));
        {
            let mut leaver = Box::pin(places.enter(soon(), &queued));
            assert!(leaver.as_mut().poll(&mut cx).is_pending());
            assert!(patient.as_mut().poll(&mut cx).is_pending());
            let refused = places.enter(soon(), &queued).await;
            assert!(matches!(refused, Err(Error::BulkheadFull { .. })));
            drop(first); // granted to the leaver, who never looks
        }
        let place = patient.await.expect("the leaver's");
        assert_eq!(queued.load(Relaxed), 2);
        let (refused, ()) = tokio::join!(places.enter(soon(), &queued), async { places.close() });
        assert!(matches!(refused, Err(Error::ManagerClosed { .. })));
        drop(place);
    }

    #[tokio::test]
    async fn the_time_in_the_queue_is_bounded_by_the_requests_own() {
        let places = places(1);
        let queued = AtomicU64::new(0);
        let _first = places.enter(soon(), &queued).await.expect("free");
        let until = Instant::now() + Duration::from_millis(10);
        let refused = places.enter(until, &queued).await;
        assert!(matches!(refused, Err(Error::BulkheadFull { .. })));
        assert_eq!(lock(&places.state).core.waiting(), 0);
    }
}
