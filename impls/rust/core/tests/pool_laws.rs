//! The laws at the top of `pool.rs`, held against random callers.

use std::collections::BTreeMap;

use crossfade_core::pool::WARM_NS;
use crossfade_core::{Action, Pool, PoolConfig, RejectReason};
use proptest::prelude::*;

/// What the shell of a pool knows from the actions alone.
struct Shell {
    config: PoolConfig,
    started: bool,
    ceiling: usize, // of connections; it falls as the surplus after a resize closes
    crowd: usize,
    pool: Pool,
    now_ns: u64,
    next_waiter: u64,
    arriving: u64,
    connecting: Vec<u64>,
    open: BTreeMap<u64, usize>,
    queue: Vec<(u64, u64)>,
    granted: Vec<(u64, u64)>,
    leases: Vec<u64>,
}

impl Shell {
    fn new(config: PoolConfig) -> Self {
        Self {
            config,
            started: false,
            ceiling: config.max_connections,
            crowd: config.max_waiters + config.streams * config.max_connections,
            pool: Pool::new(config),
            now_ns: 0,
            next_waiter: 1,
            arriving: 0,
            connecting: vec![],
            open: BTreeMap::new(),
            queue: vec![],
            granted: vec![],
            leases: vec![],
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect { conn } => {
                    assert!(
                        !self.pool.draining()
                            && !self.open.contains_key(&conn)
                            && !self.connecting.contains(&conn)
                    );
                    self.connecting.push(conn);
                }
                Action::Close { conn, .. } => {
                    if let Some(at) = self.connecting.iter().position(|&id| id == conn) {
                        self.connecting.remove(at);
                    } else {
                        assert_eq!(
                            self.open.remove(&conn),
                            Some(0),
                            "law 6: closed with a lease out"
                        );
                    }
                }
                Action::Grant { waiter, conn } => {
                    let mut alive = self
                        .queue
                        .iter()
                        .filter(|&&(id, until)| until > self.now_ns || id == self.arriving);
                    assert_eq!(
                        alive.next().map(|&(id, _)| id),
                        Some(waiter),
                        "law 2: out of turn, or overdue"
                    );
                    self.queue.retain(|&(id, _)| id != waiter);
                    self.granted.push((waiter, conn));
                    *self
                        .open
                        .get_mut(&conn)
                        .expect("a grant names an open connection") += 1;
                }
                Action::Reject { waiter, reason } => {
                    let at = self
                        .queue
                        .iter()
                        .position(|&(id, _)| id == waiter)
                        .expect("law 2: answered twice");
                    let (_, until) = self.queue.remove(at);
                    assert!(reason != RejectReason::Deadline || until <= self.now_ns);
                }
            }
        }
    }

    fn end_lease(&mut self, conn: u64) {
        if let Some(leases) = self.open.get_mut(&conn) {
            *leases -= 1;
        }
    }

    fn step(&mut self, op: u8, pick: usize, amount: u64) {
        let flag = !amount.is_multiple_of(4);
        let now_ns = self.now_ns;
        match op {
            0 | 1 => {
                let waiter = self.next_waiter;
                self.next_waiter += 1;
                self.queue.push((waiter, now_ns + amount));
                self.arriving = waiter;
                let actions = self.pool.acquire(now_ns, waiter, now_ns + amount);
                self.perform(actions);
                self.arriving = 0;
            }
            2 => {
                if let Some(conn) = self.pool.try_acquire(now_ns) {
                    assert!(self.queue.is_empty(), "law 3: overtook a waiter");
                    *self.open.get_mut(&conn).expect("an open connection") += 1;
                    self.leases.push(conn);
                }
            }
            3 | 4 if !self.connecting.is_empty() => {
                let conn = self.connecting[pick % self.connecting.len()];
                if flag && self.pool.draining() {
                    let actions = self.pool.connected(now_ns, conn);
                    self.perform(actions);
                    return;
                }
                self.connecting.retain(|&id| id != conn);
                let waiting = self.queue.len();
                let actions = if flag {
                    self.open.insert(conn, 0);
                    self.pool.connected(now_ns, conn)
                } else {
                    self.pool.connect_failed(now_ns, conn)
                };
                self.perform(actions);
                assert!(
                    flag || self.queue.len() == waiting.saturating_sub(self.config.streams),
                    "law 7"
                );
            }
            5 | 6 if !self.granted.is_empty() => {
                let (waiter, conn) = self.granted.remove(pick % self.granted.len());
                if flag {
                    assert!(self.pool.take(waiter));
                    self.leases.push(conn);
                } else {
                    self.end_lease(conn);
                    let actions = self.pool.cancel(now_ns, waiter);
                    self.perform(actions);
                }
            }
            7 | 8 if !self.leases.is_empty() => {
                let conn = self.leases.swap_remove(pick % self.leases.len());
                self.end_lease(conn);
                let actions = self.pool.release(now_ns, conn, flag);
                self.perform(actions);
            }
            9 if !self.queue.is_empty() => {
                let (waiter, _) = self.queue.remove(pick % self.queue.len());
                let actions = self.pool.cancel(now_ns, waiter);
                self.perform(actions);
            }
            10 if !self.open.is_empty() => {
                let conn = *self
                    .open
                    .keys()
                    .nth(pick % self.open.len())
                    .expect("within the length");
                self.open.remove(&conn);
                let actions = self.pool.lost(now_ns, conn);
                self.perform(actions);
            }
            12 => {
                self.started = true;
                let actions = self.pool.start(now_ns);
                self.perform(actions);
                self.check_minimum();
            }
            13 if !self.pool.draining() => self.resize(pick % 5, 1 + pick % 3),
            11 if amount == 0 => {
                let actions = self.pool.drain(now_ns);
                self.perform(actions);
            }
            _ => {
                self.now_ns += if amount == 19 { WARM_NS } else { amount };
                let actions = self.pool.tick(self.now_ns);
                self.perform(actions);
                let next = self.pool.next_deadline_ns();
                assert!(
                    next.is_none_or(|at| at > self.now_ns),
                    "law 8: tick left something to do"
                );
                if amount == 19 && self.started {
                    self.check_minimum();
                }
            }
        }
    }

    fn resize(&mut self, least: usize, most: usize) {
        let before = self.open.clone();
        self.config.min_connections = least.min(most);
        self.config.max_connections = most;
        self.ceiling = most.max(self.open.len() + self.connecting.len());
        self.crowd = self
            .crowd
            .max(self.config.max_waiters + self.config.streams * most);
        let actions = self.pool.resize(self.now_ns, least, most);
        self.perform(actions);
        let closed = before.keys().filter(|conn| !self.open.contains_key(conn));
        assert!(
            closed.count() <= before.len().saturating_sub(most),
            "closed too many"
        );
    }

    fn check_minimum(&self) {
        let there = self.open.len() + self.connecting.len();
        assert!(
            self.pool.draining() || there >= self.config.min_connections,
            "law 10"
        );
    }

    fn check(&mut self) {
        let (pool, config) = (&self.pool, &self.config);
        assert_eq!(
            (pool.open(), pool.connecting()),
            (self.open.len(), self.connecting.len())
        );
        let there = pool.open() + pool.connecting();
        self.ceiling = config.max_connections.max(self.ceiling.min(there));
        assert!(there <= self.ceiling, "law 1");
        assert!(
            self.open.values().all(|&leases| leases <= config.streams),
            "law 1"
        );
        assert_eq!(pool.in_use(), self.open.values().sum::<usize>());
        assert_eq!(
            (pool.waiting(), pool.untaken()),
            (self.queue.len(), self.granted.len())
        );
        assert!(pool.waiting() <= self.crowd, "law 9");
        let full = there >= config.max_connections;
        assert!(
            full || pool.waiting() <= pool.connecting() * config.streams,
            "waiters without a connect"
        );
    }
}

prop_compose! {
    fn pool_config()(
        min_connections in 0..4usize,
        max_connections in 1..5usize,
        max_waiters in 0..6usize,
        streams in 1..4usize,
        idle_timeout_ns in prop_oneof![Just(0), Just(15)],
        max_age_ns in prop_oneof![Just(0), Just(40)],
    ) -> PoolConfig {
        PoolConfig { min_connections: min_connections.min(max_connections), max_connections, max_waiters, streams, idle_timeout_ns, max_age_ns }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_books_of_pool_and_shell_agree(
        config in pool_config(),
        steps in prop::collection::vec((0..17u8, 0..8usize, 0..20u64), 1..150),
    ) {
        let mut shell = Shell::new(config);
        for (op, pick, amount) in steps {
            shell.step(op, pick, amount);
            shell.check();
        }
    }
}

#[test]
fn cancelled_waiters_do_not_pile_up() {
    let mut pool = Pool::new(PoolConfig {
        max_connections: 1,
        max_waiters: 10,
        ..PoolConfig::default()
    });
    pool.acquire(0, 0, u64::MAX);
    let size = |pool: &Pool| format!("{pool:?}").len();
    let before = size(&pool);
    for waiter in 1..10_000 {
        pool.acquire(0, waiter, u64::MAX - waiter);
        pool.cancel(0, waiter);
    }
    assert!(size(&pool) < before + 2000, "cancelled waiters are kept");
}
