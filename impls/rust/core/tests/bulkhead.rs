//! The laws at the top of `bulkhead.rs`, held against callers that wait, give up, resize and drain.

use crossfade_core::{Action, Bulkhead, BulkheadConfig, RejectReason};
use proptest::prelude::*;

/// What the callers know from the actions alone.
struct Callers {
    bulkhead: Bulkhead,
    config: BulkheadConfig,
    lowered_from: (usize, usize),
    now_ns: u64,
    ids: u64,
    arriving: u64,
    queue: Vec<(u64, u64)>,
    granted: Vec<u64>,
    running: usize,
}

impl Callers {
    fn new(config: BulkheadConfig) -> Self {
        Self {
            bulkhead: Bulkhead::new(config),
            config,
            lowered_from: (0, 0),
            now_ns: 0,
            ids: 0,
            arriving: 0,
            queue: vec![],
            granted: vec![],
            running: 0,
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Grant { waiter, conn: 0 } => {
                    let turn = self
                        .queue
                        .iter()
                        .position(|&(id, until)| until > self.now_ns || id == self.arriving)
                        .expect("law 2: a grant for nobody");
                    assert_eq!(
                        self.queue.remove(turn).0,
                        waiter,
                        "law 2: out of turn, or overdue"
                    );
                    self.granted.push(waiter);
                }
                Action::Reject { waiter, reason } => {
                    let at = self.queue.iter().position(|&(id, _)| id == waiter);
                    let (_, until) = self.queue.remove(at.expect("law 2: answered twice"));
                    assert!(reason != RejectReason::Deadline || until <= self.now_ns);
                }
                other => panic!("a bulkhead has no {other:?}"),
            }
        }
    }

    fn step(&mut self, op: u8, pick: usize, amount: u64) {
        let now_ns = self.now_ns;
        let actions = match op {
            0..=2 => {
                self.ids += 1;
                self.queue.push((self.ids, now_ns + amount));
                self.arriving = self.ids;
                self.bulkhead.acquire(now_ns, self.ids, now_ns + amount)
            }
            3 => {
                if self.bulkhead.try_acquire() {
                    assert!(self.queue.is_empty(), "law 3: overtook a waiter");
                    self.running += 1;
                }
                vec![]
            }
            4 | 5 if !self.granted.is_empty() => {
                let waiter = self.granted.swap_remove(pick % self.granted.len());
                if op == 4 {
                    assert!(self.bulkhead.take(waiter) && !self.bulkhead.take(waiter));
                    self.running += 1;
                    vec![]
                } else {
                    self.bulkhead.cancel(now_ns, waiter)
                }
            }
            6 | 7 => {
                let idle = self.running + self.granted.len() == 0;
                if self.running > 0 || idle {
                    self.running = self.running.saturating_sub(1);
                    self.bulkhead.release(now_ns)
                } else {
                    vec![]
                }
            }
            8 if !self.queue.is_empty() => {
                let (waiter, _) = self.queue.remove(pick % self.queue.len());
                self.bulkhead.cancel(now_ns, waiter)
            }
            9 => {
                self.lowered_from = (self.bulkhead.in_flight(), self.bulkhead.waiting());
                if !self.bulkhead.draining() {
                    self.config = BulkheadConfig {
                        max_in_flight: pick % 4,
                        max_queue: pick / 2,
                    };
                }
                self.bulkhead.resize(now_ns, pick % 4, pick / 2)
            }
            10 if amount == 0 => self.bulkhead.drain(now_ns),
            _ => {
                self.now_ns += amount;
                self.bulkhead.tick(self.now_ns)
            }
        };
        self.perform(actions);
        self.arriving = 0;
    }

    fn check(&mut self) {
        let (bulkhead, bound) = (&mut self.bulkhead, self.config);
        assert_eq!(bulkhead.in_flight(), self.running + self.granted.len());
        assert_eq!(bulkhead.waiting(), self.queue.len());
        assert_eq!(bulkhead.untaken(), self.granted.len());
        let first = self.queue.iter().map(|&(_, until)| until).min();
        assert_eq!(bulkhead.next_deadline_ns(), first);
        let bounded = bound.max_in_flight > 0;
        let most = bound.max_in_flight.max(self.lowered_from.0);
        assert!(!bounded || bulkhead.in_flight() <= most, "law 1");
        let most = bound.max_queue.max(self.lowered_from.1);
        assert!(bulkhead.waiting() <= most, "law 1");
        let full = bounded && bulkhead.in_flight() >= bound.max_in_flight;
        assert!(
            self.queue.is_empty() || full,
            "law 3: a place lies idle while somebody waits"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_books_of_bulkhead_and_callers_agree(
        max_in_flight in 0..4usize,
        max_queue in 0..4usize,
        steps in prop::collection::vec((0..13u8, 0..8usize, 0..20u64), 1..150),
    ) {
        let mut callers = Callers::new(BulkheadConfig { max_in_flight, max_queue });
        for (op, pick, amount) in steps {
            callers.step(op, pick, amount);
            callers.check();
        }
    }
}
