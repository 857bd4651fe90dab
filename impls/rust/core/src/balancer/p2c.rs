//! The balancer that weighs loads.
//!
//! P2C ("power of two choices", Mitzenmacher 2001) with a peak-sensitive EWMA of latency, as in Finagle and linkerd:
//!
//! 1. Draw two different usable instances, each pair equally likely: one number, its high half for the first (rank
//!    `high * n >> 32`), its low half for the second among the others (`low * (n - 1) >> 32`).
//! 2. The cost of one is its EWMA times (calls in flight + 1). An idle one's EWMA fades linearly to 0 within
//!    [`DECAY_NS`], so that nobody is shunned for ever. One that was never measured costs nothing while idle and
//!    [`UNKNOWN`] while busy: it gets one call at a time until it has answered.
//! 3. Take the cheaper; on a tie the one drawn first.
#![allow(clippy::cast_possible_truncation)] // indices come from `usize`

use super::Balance;
use super::loads::{DECAY_NS, Load, fade, keeps_loads};
use crate::mask::{first_from, nth, words};
use crate::rng::SplitMix64;

pub const UNKNOWN: u128 = 1 << 62;

/// The cheaper of two drawn at random.
#[derive(Debug, Clone)]
pub struct P2c {
    loads: Vec<Load>,
    rng: SplitMix64,
}

impl P2c {
    pub fn new(n: usize, seed: u64) -> Self {
        Self {
            loads: vec![Load::default(); n],
            rng: SplitMix64::new(seed),
        }
    }
}

impl Balance for P2c {
    /// Draws one number, none if fewer than two are usable.
    fn pick(&mut self, now_ns: u64, usable: &[u64], _key: u64) -> Option<usize> {
        let n = self.loads.len();
        let count = words(usable, n)
            .map(|(_, word)| u64::from(word.count_ones()))
            .sum::<u64>();
        if count < 2 {
            return first_from(usable, 0, n);
        }
        let drawn = self.rng.next_u64();
        let first = ((drawn >> 32) * count) >> 32;
        let second = ((drawn & 0xFFFF_FFFF) * (count - 1)) >> 32;
        let (a, b) = if count == n as u64 {
            (
                first as usize,
                (second + u64::from(second >= first)) as usize,
            )
        } else {
            (
                nth(usable, n, first),
                nth(usable, n, second + u64::from(second >= first)),
            )
        };
        Some(
            if cost(&self.loads[b], now_ns) < cost(&self.loads[a], now_ns) {
                b
            } else {
                a
            },
        )
    }

    /// The random stream goes on.
    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
    }

    keeps_loads!();
}

fn cost(load: &Load, now_ns: u64) -> u128 {
    match (load.pending, load.ewma) {
        (0, ewma) => {
            let elapsed = now_ns.saturating_sub(load.updated);
            u128::from(if elapsed < DECAY_NS {
                ewma - fade(ewma, elapsed)
            } else {
                0
            })
        }
        (pending, 0) => UNKNOWN + u128::from(pending),
        (pending, ewma) => u128::from(ewma) * (u128::from(pending) + 1),
    }
}
