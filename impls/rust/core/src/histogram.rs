//! Owns the distribution of latencies: counts in log-linear buckets, cheap enough for every request.
//!
//! The theory and the laws are those of `impls/crossfade/impls/cores/histogram.py`: 32 steps per power of two of
//! nanoseconds, so a bucket is at most 3.2 % wide. Recording is a few relaxed atomic additions, from any thread;
//! `interleavings` runs every order of their steps under loom.

#[cfg(all(test, loom))]
mod interleavings;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// loom counts every access: its table is a small one.
const STEP_BITS: u32 = if cfg!(loom) { 1 } else { 5 };
const STEPS: usize = 1 << STEP_BITS;
/// Values up to 2^37 ns (137 s); longer ones count in the last bucket.
const MAX_BITS: u32 = if cfg!(loom) { 4 } else { 37 };
const BUCKETS: usize = (MAX_BITS - STEP_BITS + 1) as usize * STEPS;

/// Exponents of the bounds that are published: 65.5 us to 34.4 s, each twice the one before.
pub const OCTAVES: std::ops::Range<u32> = 16..36;

/// Latencies in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

/// Latency in nanoseconds; all zero before the first one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub mean: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // indices stay below BUCKETS by construction
fn index_of(value_ns: u64) -> usize {
    let value = value_ns.min((1 << MAX_BITS) - 1);
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    shift as usize * STEPS + (value >> shift) as usize
}

fn upper_edge(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    (((index % STEPS + STEPS) as u64 + 1) << shift) - 1
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&self, value_ns: u64) {
        self.buckets[index_of(value_ns)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value_ns, Relaxed);
        if value_ns > self.max.load(Relaxed) {
            self.max.fetch_max(value_ns, Relaxed);
        }
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    /// The sum of all of them.
    pub fn sum_ns(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// Takes over everything that `other` has recorded.
    pub fn add(&self, other: &Self) {
        for (mine, theirs) in self.buckets.iter().zip(&other.buckets) {
            mine.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        self.sum.fetch_add(other.sum_ns(), Relaxed);
        self.max.fetch_max(other.max.load(Relaxed), Relaxed);
    }

    /// The quantile of rank `ceil(count * per_mille / 1000)`, at least 1; 0 without data.
    pub fn quantile_ns(&self, per_mille: u64) -> u64 {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Relaxed);
            if seen >= rank {
                return upper_edge(index).min(self.max.load(Relaxed));
            }
        }
        0
    }

    /// How many took less than `2^octave` ns; exact from octave 5 to 37.
    pub fn below(&self, octave: u32) -> u64 {
        let end = (octave + 1).saturating_sub(STEP_BITS) as usize * STEPS;
        self.buckets[..end.min(BUCKETS)]
            .iter()
            .map(|bucket| bucket.load(Relaxed))
            .sum()
    }

    /// Everything at once.
    pub fn summary(&self) -> Summary {
        let count = self.count();
        Summary {
            count,
            mean: self.sum_ns().checked_div(count).unwrap_or(0),
            p50: self.quantile_ns(500),
            p90: self.quantile_ns(900),
            p99: self.quantile_ns(990),
            p999: self.quantile_ns(999),
            max: self.max.load(Relaxed),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for value in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456, 9_876_543_210] {
            let index = index_of(value);
            assert!(upper_edge(index) >= value);
            assert!(index == 0 || upper_edge(index - 1) < value);
            assert!(upper_edge(index) - value <= value / 32);
        }
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
    }
}
