//! Sixteen threads on one pool and on one breaker, each behind its lock as `crossfade-native` has them, while the
//! invariants are counted from outside. `hammer` of the runtime does the same to the tokio shell.
//!
//! Rule: what is counted is what callers hold, never what the core says of itself. The same tests run under
//! `ThreadSanitizer` with `make test-tsan`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;

use crossfade_core::{Action, Breaker, BreakerConfig, CircuitState, Pool, PoolConfig, SplitMix64};

const THREADS: u64 = 16;
const CALLS: u64 = 1000;
const MOST: usize = 6;
const STREAMS: usize = 2;

/// The smallest shell: connects succeed at once, and every answer goes through a channel.
struct Shell {
    pool: Mutex<Pool>,
    waiters: Mutex<HashMap<u64, SyncSender<Option<u64>>>>,
    ids: AtomicU64,
    held: AtomicUsize,
    on_conn: Vec<AtomicUsize>,
}

impl Shell {
    fn with<T>(&self, act: impl FnOnce(&mut Pool) -> T) -> T {
        act(&mut self.pool.lock().expect("no thread panicked"))
    }

    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect { conn } => {
                    let more = self.with(|pool| pool.connected(0, conn));
                    self.perform(more);
                }
                Action::Close { conn, .. } => {
                    assert_eq!(
                        self.on_conn[conn_index(conn)].load(Ordering::SeqCst),
                        0,
                        "closed with a lease out"
                    );
                }
                Action::Grant { waiter, conn } => self.tell(waiter, Some(conn)),
                Action::Reject { waiter, .. } => self.tell(waiter, None),
            }
        }
    }

    fn tell(&self, waiter: u64, answer: Option<u64>) {
        let sender = self
            .waiters
            .lock()
            .expect("no thread panicked")
            .remove(&waiter);
        if let Some(sender) = sender {
            sender
                .send(answer)
                .expect("a waiter holds its receiver until it is told");
        }
    }

    /// A lease, or `None` if the caller gave up.
    fn acquire(&self, gives_up: bool) -> Option<u64> {
        if let Some(conn) = self.with(|pool| pool.try_acquire(0)) {
            return Some(conn);
        }
        let waiter = self.ids.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = sync_channel(1);
        self.waiters
            .lock()
            .expect("no thread panicked")
            .insert(waiter, sender);
        let actions = self.with(|pool| pool.acquire(0, waiter, u64::MAX));
        self.perform(actions);
        if gives_up {
            let actions = self.with(|pool| pool.cancel(0, waiter));
            self.perform(actions);
            self.waiters
                .lock()
                .expect("no thread panicked")
                .remove(&waiter);
            return None;
        }
        let conn = receiver.recv().expect("law 2: a waiter was forgotten")?;
        assert!(
            self.with(|pool| pool.take(waiter)),
            "a grant that is not the waiter's"
        );
        Some(conn)
    }

    fn hold(&self, conn: u64) {
        let held = self.held.fetch_add(1, Ordering::SeqCst) + 1;
        let here = self.on_conn[conn_index(conn)].fetch_add(1, Ordering::SeqCst) + 1;
        assert!(
            held <= MOST * STREAMS,
            "{held} leases for {} places",
            MOST * STREAMS
        );
        assert!(here <= STREAMS, "{here} leases on one connection");
    }

    fn let_go(&self, conn: u64, reusable: bool) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        self.on_conn[conn_index(conn)].fetch_sub(1, Ordering::SeqCst);
        let actions = self.with(|pool| pool.release(0, conn, reusable));
        self.perform(actions);
    }
}

fn conn_index(conn: u64) -> usize {
    usize::try_from(conn).expect("a small number")
}

#[test]
fn sixteen_threads_never_hold_more_leases_than_there_are_places_and_lose_none() {
    let shell = Shell {
        pool: Mutex::new(Pool::new(PoolConfig {
            max_connections: MOST,
            streams: STREAMS,
            ..PoolConfig::default()
        })),
        waiters: Mutex::default(),
        ids: AtomicU64::new(1),
        held: AtomicUsize::new(0),
        on_conn: (0..THREADS * CALLS).map(|_| AtomicUsize::new(0)).collect(),
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let shell = &shell;
            scope.spawn(move || {
                let mut rng = SplitMix64::new(number);
                for _ in 0..CALLS {
                    if rng.below(40) == 0 {
                        let most = 1 + conn_index(rng.below(MOST as u64));
                        let actions = shell.with(|pool| pool.resize(0, 0, most));
                        shell.perform(actions);
                    }
                    if let Some(conn) = shell.acquire(rng.below(8) == 0) {
                        shell.hold(conn);
                        thread::yield_now();
                        shell.let_go(conn, rng.below(10) > 0);
                    }
                }
            });
        }
    });
    let mut pool = shell.pool.into_inner().expect("no thread panicked");
    assert_eq!((pool.in_use(), pool.waiting(), pool.untaken()), (0, 0, 0));
    pool.drain(0);
    assert_eq!((pool.open(), pool.connecting()), (0, 0));
}

#[test]
fn sixteen_threads_never_get_more_probes_than_there_are() {
    const OPEN_NS: u64 = 1000;
    const PROBES: usize = 5;
    let breaker = Mutex::new(Breaker::new(BreakerConfig {
        window: 4,
        min_calls: 1,
        open_ns: OPEN_NS,
        probes: PROBES as u64,
        ..BreakerConfig::default()
    }));
    let turn = Barrier::new(usize::try_from(THREADS).expect("sixteen"));
    let admitted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (breaker, turn, admitted) = (&breaker, &turn, &admitted);
            scope.spawn(move || {
                for round in 1..100 {
                    let trip = round * 10 * OPEN_NS;
                    if number == 0 {
                        heal(&mut locked(breaker), trip - 1, PROBES);
                    }
                    turn.wait();
                    locked(breaker).record(trip, false, 0);
                    turn.wait();
                    assert!(
                        !locked(breaker).admit(trip + OPEN_NS - 1),
                        "an open breaker admits"
                    );
                    turn.wait();
                    let mine = (0..3)
                        .filter(|_| locked(breaker).admit(trip + OPEN_NS))
                        .count();
                    admitted.fetch_add(mine, Ordering::SeqCst);
                    turn.wait();
                    assert_eq!(admitted.load(Ordering::SeqCst), PROBES, "in round {round}");
                    turn.wait();
                    admitted.store(0, Ordering::SeqCst);
                    let fails = round % 2 == 0 && number == round % THREADS;
                    for _ in 0..mine {
                        locked(breaker).record(trip + OPEN_NS, !fails, 0);
                    }
                    turn.wait();
                    let state = locked(breaker).state(trip + OPEN_NS);
                    assert!(
                        round % 2 == 0 || state == CircuitState::Closed,
                        "all probes succeeded"
                    );
                    turn.wait();
                }
            });
        }
    });
}

/// Succeed with every probe.
fn heal(breaker: &mut Breaker, now_ns: u64, probes: usize) {
    for _ in 0..probes {
        if breaker.state(now_ns) != CircuitState::Closed && breaker.admit(now_ns) {
            breaker.record(now_ns, true, 0);
        }
    }
}

fn locked(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().expect("no thread panicked")
}
