//! Sixteen threads choose instances of one revision and end their calls, while instances come and go.
//!
//! Rule: what is counted is what callers hold, never what the revision says of itself; time is a number that passes as
//! the test says. The same tests run under `ThreadSanitizer` with `make test-tsan`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant as Clock};

use crossfade_core::{CircuitState, SplitMix64};
use tokio::runtime::{Builder, Runtime};

use super::fleet::{Seat, Wish};
use super::instance::Instance;
use super::revision::{Refusal, Revision};
use super::{MILLI, Shared};
use crate::clock::lock;
use crate::config::{BreakerSpec, Config, ServerSpec};
use crate::upstream::Link;

const THREADS: usize = 16;
const OPEN_NS: u64 = MILLI;
const PROBES: usize = 5;
/// No drain takes as long, unless nobody was told that it is over.
const PATIENCE: Duration = Duration::from_secs(60);

struct Field {
    runtime: Runtime,
    shared: Arc<Shared>,
    revision: Arc<Revision>,
}

impl Field {
    fn new(instances: usize, breaker: BreakerSpec) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let spec = ServerSpec {
            name: "hammered".to_owned(),
            urls: vec!["http://127.0.0.1:9/mcp".to_owned(); instances],
            breaker,
            ..ServerSpec::default()
        };
        let field = Self {
            shared: Shared::new(&Config::default(), runtime.handle().clone()),
            runtime,
            revision: Revision::new(1, Arc::new(spec), 1),
        };
        (0..instances).for_each(|index| field.fill(index));
        field
    }

    fn fill(&self, index: usize) {
        let link = Link::new(&self.revision.spec, index, &self.shared, Weak::new(), None);
        let instance = self.revision.put(index, link, None);
        self.revision.open(&instance);
    }

    fn choose(&self, now: u64) -> Result<Seat, Refusal> {
        self.revision.choose(&Wish::default(), now)
    }

    fn circuit(&self, now: u64) -> CircuitState {
        lock(&self.revision.row).policy.circuit(0, now)
    }
}

#[test]
fn sixteen_threads_never_get_more_probes_than_the_breaker_of_an_instance_has() {
    let field = Field::new(
        1,
        BreakerSpec {
            window: 4,
            min_calls: 1,
            open_ms: OPEN_NS / MILLI,
            probes: PROBES.try_into().expect("a small number"),
            ..BreakerSpec::default()
        },
    );
    let turn = Barrier::new(THREADS);
    let held = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (field, turn, held) = (&field, &turn, &held);
            scope.spawn(move || {
                for round in 1..100 {
                    let trip = round as u64 * 10 * OPEN_NS;
                    if number == 0 {
                        heal(field, trip - 1);
                    }
                    turn.wait();
                    let seat = field.choose(trip - 1).expect("it is closed");
                    turn.wait();
                    end(&seat, trip, 1, false);
                    turn.wait();
                    let refused = field.choose(trip + OPEN_NS - 1).map(drop);
                    assert_eq!(refused, Err(Refusal::Open(1)), "an open breaker admits");
                    turn.wait();
                    let mine: Vec<Seat> = (0..3)
                        .filter_map(|_| field.choose(trip + OPEN_NS).ok())
                        .collect();
                    held.fetch_add(mine.len(), SeqCst);
                    turn.wait();
                    assert_eq!(held.load(SeqCst), PROBES, "in round {round}");
                    let busy = mine.first().map_or(PROBES, |seat| seat.instance.busy());
                    assert_eq!(busy, PROBES, "in round {round}");
                    turn.wait();
                    held.store(0, SeqCst);
                    let fails = round % 2 == 0 && number == round % THREADS;
                    for seat in mine {
                        end(&seat, trip + OPEN_NS, 0, !fails);
                    }
                    turn.wait();
                    let state = field.circuit(trip + OPEN_NS);
                    assert!(
                        round % 2 == 0 || state == CircuitState::Closed,
                        "all probes succeeded"
                    );
                    turn.wait();
                }
            });
        }
    });
    assert_eq!(field.revision.present()[0].busy(), 0);
}

/// Succeed with every probe.
fn heal(field: &Field, now: u64) {
    for _ in 0..PROBES {
        if field.circuit(now) != CircuitState::Closed {
            let seat = field.choose(now).expect("a probe");
            end(&seat, now, 0, true);
        }
    }
}

fn end(seat: &Seat, now: u64, took_ns: u64, ok: bool) {
    let revision = &seat.revision;
    revision.finished(&seat.instance, now, took_ns, ok, false);
}

/// Ends the threads, also when a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn no_call_is_on_an_instance_that_was_drained_and_no_drain_misses_its_last_call() {
    const SLOTS: usize = 4;
    let field = Field::new(SLOTS, BreakerSpec::default());
    let (clock, over) = (AtomicU64::new(1), AtomicBool::new(false));
    let closed: Mutex<Vec<Arc<Instance>>> = Mutex::default();
    let is_closed = |instance: &Arc<Instance>| {
        let closed = lock(&closed);
        closed.iter().any(|other| Arc::ptr_eq(other, instance))
    };
    thread::scope(|scope| {
        let ends = Ends(&over);
        for number in 0..THREADS {
            let (field, clock, over, is_closed) = (&field, &clock, &over, &is_closed);
            scope.spawn(move || {
                let mut rng = SplitMix64::new(number as u64);
                while !over.load(SeqCst) {
                    let began = clock.fetch_add(1000, SeqCst);
                    // Refused while all are retired: they come back.
                    let Ok(seat) = field.choose(began) else {
                        thread::yield_now();
                        continue;
                    };
                    assert!(!is_closed(&seat.instance), "chosen when it was closed");
                    thread::yield_now();
                    assert!(!is_closed(&seat.instance), "closed with a call in flight");
                    let now = clock.fetch_add(1000, SeqCst);
                    match rng.below(16) {
                        0 => {
                            let revision = &seat.revision;
                            revision.cancelled(&seat.instance, now, now - began);
                        }
                        verdict => end(&seat, now, now - began, verdict > 1),
                    }
                }
            });
        }
        for turn in 0..50 * SLOTS {
            let mut present = field.revision.present().into_iter();
            let instance = present.find(|instance| instance.index == turn % SLOTS);
            let instance = instance.expect("every slot is taken");
            assert!(field.revision.retire(&instance));
            assert!(!field.revision.retire(&instance), "retired twice");
            let since = Clock::now();
            field.runtime.block_on(instance.drained(PATIENCE));
            assert!(
                since.elapsed() < PATIENCE,
                "nobody told that the last call had left"
            );
            assert_eq!(instance.busy(), 0);
            lock(&closed).push(Arc::clone(&instance));
            field.revision.forget(&instance);
            field.fill(instance.index);
        }
        drop(ends);
    });
    let everybody = field.revision.everybody();
    assert_eq!(everybody.len(), SLOTS, "one was retired and not forgotten");
    assert_eq!(field.revision.serving().len(), SLOTS);
    let closed = lock(&closed);
    assert!(
        everybody
            .iter()
            .chain(closed.iter())
            .all(|one| one.busy() == 0)
    );
}
