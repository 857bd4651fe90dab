//! Every order in which threads can take the steps of a [`SharedBreaker`], as loom explores them, its memory model included.
//!
//! Rule: what is asserted inside a thread holds at every moment; what is asserted after `join` holds whoever came last.

use loom::sync::Arc;
use loom::thread;

use super::SharedBreaker;
use crate::breaker::{BreakerConfig, CircuitState};

const OPEN_NS: u64 = 10;
const TRIP: u64 = 100;

fn breaker(min_calls: usize, probes: u64) -> Arc<SharedBreaker> {
    Arc::new(SharedBreaker::new(BreakerConfig {
        window: 4,
        min_calls,
        open_ns: OPEN_NS,
        probes,
        ..BreakerConfig::default()
    }))
}

/// What the mirror says must be what the core says once nobody is inside.
fn agrees(breaker: &SharedBreaker) {
    let core = breaker.lock().state(TRIP) == CircuitState::Closed;
    assert_eq!(
        breaker.closed.load(super::Ordering::Acquire),
        core,
        "the mirror is stale"
    );
}

#[test]
fn no_order_of_callers_gets_more_probes_than_there_are() {
    loom::model(|| {
        let breaker = breaker(1, 2);
        breaker.record(TRIP, false, 0);
        let calls = |breaker: Arc<SharedBreaker>| {
            move || {
                usize::from(breaker.admit(TRIP + OPEN_NS))
                    + usize::from(breaker.admit(TRIP + OPEN_NS))
            }
        };
        let other = thread::spawn(calls(Arc::clone(&breaker)));
        let third = thread::spawn(calls(Arc::clone(&breaker)));
        let admitted = calls(Arc::clone(&breaker))();
        let admitted = admitted + other.join().unwrap() + third.join().unwrap();
        assert_eq!(admitted, 2);
    });
}

#[test]
fn whoever_comes_after_a_trip_is_refused() {
    loom::model(|| {
        let breaker = breaker(2, 1);
        let failing = |breaker: Arc<SharedBreaker>| move || breaker.record(TRIP, false, 0);
        let first = thread::spawn(failing(Arc::clone(&breaker)));
        let second = thread::spawn(failing(Arc::clone(&breaker)));
        let early = breaker.admit(TRIP); // before, between or after: both answers are right
        if !early {
            assert!(
                !breaker.admit(TRIP),
                "an open breaker let a later call of one thread in"
            );
        }
        first.join().unwrap();
        second.join().unwrap();
        assert!(!breaker.admit(TRIP), "two failures of two trip it");
        agrees(&breaker);
    });
}

#[test]
fn a_success_that_closes_and_a_failure_that_opens_leave_the_mirror_right() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        breaker.record(TRIP, false, 0);
        assert!(breaker.admit(TRIP + OPEN_NS));
        let verdict =
            |breaker: Arc<SharedBreaker>, ok: bool| move || breaker.record(TRIP + OPEN_NS, ok, 0);
        let good = thread::spawn(verdict(Arc::clone(&breaker), true));
        let bad = thread::spawn(verdict(Arc::clone(&breaker), false));
        breaker.forget(TRIP + OPEN_NS, 0);
        good.join().unwrap();
        bad.join().unwrap();
        agrees(&breaker);
    });
}

#[test]
fn old_evidence_does_not_close_what_another_thread_has_opened() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let late = Arc::clone(&breaker);
        let late = thread::spawn(move || late.record(TRIP, true, 50));
        breaker.record(TRIP, false, 0);
        late.join().unwrap();
        assert!(!breaker.admit(TRIP + 1));
        agrees(&breaker);
    });
}
