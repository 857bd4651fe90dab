//! Owns the operations of [`super`] for the balancers beside P2C and for restarts.
//!
//! `impls/crossfade/impls/cores/bench_choice.py` has the same.

use std::hint::black_box;

use super::{Run, times};
use crate::balancer::{Balance, LeastPending, Mask, Rendezvous, RoundRobin, Weighted};
use crate::restart::{Restart, RestartConfig};

pub(super) fn prepare(op: &str, iterations: u64, size: usize) -> Option<Run> {
    match op {
        "round_robin" => Some(choose(RoundRobin::new(size), iterations, size)),
        "weighted" => {
            let weights: Vec<u32> = (1..=4).cycle().take(size).collect();
            Some(choose(Weighted::new(&weights), iterations, size))
        }
        "least_pending" => Some(choose(LeastPending::new(size), iterations, size)),
        "rendezvous" => Some(choose(Rendezvous::new(size), iterations, size)),
        "restart" => Some(restart(iterations)),
        _ => None,
    }
}

/// `pick`, `started`, `finished` over `size` usable instances, with another key every time.
fn choose(mut balancer: impl Balance + Send + 'static, iterations: u64, size: usize) -> Run {
    let usable = Mask::all(size);
    Box::new(move || {
        let mut total = 0;
        for now_ns in times(iterations) {
            if let Some(i) = balancer.pick(now_ns, usable.words(), now_ns) {
                balancer.started(i);
                balancer.finished(i, now_ns, 1_000_000 + i as u64, true);
                total += i as u64;
            }
        }
        total
    })
}

/// `exited` of a child that never lives long: five delays, the verdict, and again.
fn restart(iterations: u64) -> Run {
    let mut restart = Restart::new(RestartConfig::default(), 1);
    Box::new(move || {
        times(iterations)
            .filter_map(|now_ns| restart.exited(now_ns, black_box(0)))
            .sum()
    })
}
