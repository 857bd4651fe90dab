//! Sixteen threads lease, wait, give up and give back on one pool of real connections.
//!
//! Rule: what is counted is what callers hold, never what the pool says of itself. The same test runs under
//! `ThreadSanitizer` with `make test-tsan`.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use crossfade_core::SplitMix64;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::{Connections, Lease};
use crate::clock::lock;
use crate::config::{Config, PoolSpec, ServerSpec};
use crate::upstream::Shared;

const THREADS: u64 = 16;
const CALLS: usize = 200;
const MOST: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// What callers hold: connections, by their ports.
#[derive(Default)]
struct Held {
    ports: Mutex<HashSet<u16>>,
    leases: AtomicUsize,
}

impl Held {
    fn take(&self, lease: &mut Lease) -> u16 {
        let address = lease.conn().stream.local_addr();
        let port = address.expect("it is connected").port();
        assert!(
            lock(&self.ports).insert(port),
            "two leases on one connection"
        );
        let leases = self.leases.fetch_add(1, SeqCst) + 1;
        assert!(leases <= MOST, "{leases} leases for {MOST} connections");
        port
    }

    fn give_back(&self, port: u16) {
        lock(&self.ports).remove(&port);
        self.leases.fetch_sub(1, SeqCst);
    }
}

/// A lease; or `None` for a caller who does not want to wait for one and leaves in the middle of it.
async fn leased(pool: &Arc<Connections>, gives_up: bool) -> Option<Lease> {
    let mut coming = pin!(pool.acquire(Instant::now() + PATIENCE));
    if gives_up {
        return match poll_fn(|cx| Poll::Ready(coming.as_mut().poll(cx))).await {
            Poll::Ready(lease) => Some(lease.expect("free at once")),
            Poll::Pending => None,
        };
    }
    Some(coming.await.expect("a waiter was forgotten"))
}

#[test]
fn sixteen_threads_never_share_a_connection_and_no_waiter_is_forgotten() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    runtime.spawn(async move {
        let mut peers = Vec::new();
        while let Ok((peer, _)) = listener.accept().await {
            peers.push(peer); // open, and silent
        }
    });
    let spec = ServerSpec {
        name: "hammered".to_owned(),
        pool: PoolSpec {
            max_connections: MOST.try_into().expect("a small number"),
            max_waiters: 16,
            acquire_timeout_ms: 60_000,
            ..PoolSpec::default()
        },
        ..ServerSpec::default()
    };
    let shared = Shared::new(&Config::default(), runtime.handle().clone());
    let url = format!("http://127.0.0.1:{port}/mcp");
    let pool = Connections::new(&spec, &url, ("127.0.0.1".to_owned(), port), &shared);
    let held = Held::default();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (runtime, pool, held) = (&runtime, &pool, &held);
            scope.spawn(move || {
                let mut rng = SplitMix64::new(number);
                for _ in 0..CALLS {
                    let gives_up = rng.below(4) == 0;
                    let Some(mut lease) = runtime.block_on(leased(pool, gives_up)) else {
                        continue;
                    };
                    let port = held.take(&mut lease);
                    thread::yield_now();
                    held.give_back(port);
                    if rng.below(10) > 0 {
                        lease.park();
                    }
                }
            });
        }
    });
    {
        let state = lock(&pool.state);
        let core = &state.core;
        assert_eq!((core.in_use(), core.waiting(), core.untaken()), (0, 0, 0));
        assert!(state.waiters.is_empty());
        assert!(core.open() <= MOST);
    }
    pool.drain();
    // Connects that nobody waited for are closed as they come in.
    let until = Instant::now() + PATIENCE;
    let left = || {
        let state = lock(&pool.state);
        state.core.open() + state.core.connecting() + state.parked.len()
    };
    while left() > 0 {
        assert!(Instant::now() < until, "{} were never closed", left());
        thread::yield_now();
    }
}
