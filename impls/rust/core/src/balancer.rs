//! Owns the choice of one instance among those that are usable, and the load figures the choice rests on.
//!
//! Round robin: the first usable instance at or after the cursor; the cursor moves behind it.
//!
//! P2C ("power of two choices", Mitzenmacher 2001) with a peak-sensitive EWMA of latency, as in Finagle and linkerd:
//!
//! 1. Draw two different usable instances, each pair equally likely: one number, its high half for the first (rank
//!    `high * n >> 32`), its low half for the second among the others (`low * (n - 1) >> 32`).
//! 2. The cost of one is its EWMA times (calls in flight + 1). An idle one's EWMA fades linearly to 0 within
//!    [`DECAY_NS`], so that nobody is shunned for ever. One that was never measured costs nothing while idle and
//!    [`UNKNOWN`] while busy: it gets one call at a time until it has answered.
//! 3. Take the cheaper; on a tie the one drawn first.
//!
//! The EWMA jumps up to a higher sample at once and comes down by `(ewma - sample) * elapsed >> DECAY_SHIFT`, all the
//! way once [`DECAY_NS`] have elapsed since the last answer. A failure is never a fast answer: it counts as
//! `max(latency, 2 * ewma, FAILURE_NS)`, or a broken instance that refuses within microseconds would attract all traffic.
#![allow(clippy::cast_possible_truncation)] // indices come from `usize`, products are shifted back below 2^64

pub use crate::mask::Mask;
use crate::mask::{first_from, nth, words};
use crate::rng::SplitMix64;

pub const DECAY_SHIFT: u32 = 32;
pub const DECAY_NS: u64 = 1 << DECAY_SHIFT;
pub const FAILURE_NS: u64 = 1 << 26;
pub const MAX_NS: u64 = 1 << 40;
pub const UNKNOWN: u128 = 1 << 62;

/// Calls in flight and EWMA latency per instance.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    pending: u64,
    ewma: u64,
    updated: u64,
}

impl Load {
    fn finished(&mut self, now_ns: u64, latency_ns: u64, ok: bool) {
        self.pending = self.pending.saturating_sub(1);
        let latency_ns = if ok {
            latency_ns
        } else {
            latency_ns.max(2 * self.ewma).max(FAILURE_NS)
        };
        let mut sample = latency_ns.clamp(1, MAX_NS);
        if sample < self.ewma {
            let elapsed = now_ns.saturating_sub(self.updated);
            if elapsed < DECAY_NS {
                sample = self.ewma - fade(self.ewma - sample, elapsed);
            }
        }
        self.ewma = sample;
        self.updated = now_ns;
    }

    fn cost(&self, now_ns: u64) -> u128 {
        match (self.pending, self.ewma) {
            (0, ewma) => {
                let elapsed = now_ns.saturating_sub(self.updated);
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
}

const fn fade(amount: u64, elapsed: u64) -> u64 {
    ((amount as u128 * elapsed as u128) >> DECAY_SHIFT) as u64
}

/// What both policies offer. An index that is out of range (resized away) is ignored.
pub trait Balance {
    /// The chosen instance, or `None` if none is usable. `usable`: see [`Mask`]; missing words are zero.
    fn pick(&mut self, now_ns: u64, usable: &[u64]) -> Option<usize>;
    /// A call to instance `i` goes out.
    fn started(&mut self, i: usize);
    /// The call ended with an answer or a failure after `latency_ns`.
    fn finished(&mut self, i: usize, now_ns: u64, latency_ns: u64, ok: bool);
    /// The call ended without telling anything about the instance.
    fn cancelled(&mut self, i: usize);
    /// Calls in flight to instance `i`.
    fn pending(&self, i: usize) -> u64;
    /// The latency estimate, as of the last answer; 0 before the first.
    fn ewma_ns(&self, i: usize) -> u64;
    /// Keep the first `n` instances; new ones start unmeasured.
    fn resize(&mut self, n: usize);
}

macro_rules! keeps_loads {
    () => {
        fn started(&mut self, i: usize) {
            if let Some(load) = self.loads.get_mut(i) {
                load.pending += 1;
            }
        }
        fn finished(&mut self, i: usize, now_ns: u64, latency_ns: u64, ok: bool) {
            if let Some(load) = self.loads.get_mut(i) {
                load.finished(now_ns, latency_ns, ok);
            }
        }
        fn cancelled(&mut self, i: usize) {
            if let Some(load) = self.loads.get_mut(i) {
                load.pending = load.pending.saturating_sub(1);
            }
        }
        fn pending(&self, i: usize) -> u64 {
            self.loads.get(i).map_or(0, |load| load.pending)
        }
        fn ewma_ns(&self, i: usize) -> u64 {
            self.loads.get(i).map_or(0, |load| load.ewma)
        }
    };
}

/// Takes turns; skips what is not usable.
#[derive(Debug, Clone)]
pub struct RoundRobin {
    loads: Vec<Load>,
    cursor: usize,
}

impl RoundRobin {
    pub fn new(n: usize) -> Self {
        Self {
            loads: vec![Load::default(); n],
            cursor: 0,
        }
    }
}

impl Balance for RoundRobin {
    fn pick(&mut self, _now_ns: u64, usable: &[u64]) -> Option<usize> {
        let n = self.loads.len();
        let i = first_from(usable, self.cursor, n).or_else(|| first_from(usable, 0, n))?;
        self.cursor = i + 1;
        Some(i)
    }

    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
        self.cursor = self.cursor.min(n);
    }

    keeps_loads!();
}

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
    fn pick(&mut self, now_ns: u64, usable: &[u64]) -> Option<usize> {
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
        Some(if self.loads[b].cost(now_ns) < self.loads[a].cost(now_ns) {
            b
        } else {
            a
        })
    }

    /// The random stream goes on.
    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
    }

    keeps_loads!();
}

/// Either policy, chosen by configuration.
#[derive(Debug, Clone)]
pub enum Balancer {
    RoundRobin(RoundRobin),
    P2c(P2c),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Self::RoundRobin($inner) => $call,
            Self::P2c($inner) => $call,
        }
    };
}

impl Balance for Balancer {
    fn pick(&mut self, now_ns: u64, usable: &[u64]) -> Option<usize> {
        delegate!(self, inner => inner.pick(now_ns, usable))
    }
    fn started(&mut self, i: usize) {
        delegate!(self, inner => inner.started(i));
    }
    fn finished(&mut self, i: usize, now_ns: u64, latency_ns: u64, ok: bool) {
        delegate!(self, inner => inner.finished(i, now_ns, latency_ns, ok));
    }
    fn cancelled(&mut self, i: usize) {
        delegate!(self, inner => inner.cancelled(i));
    }
    fn pending(&self, i: usize) -> u64 {
        delegate!(self, inner => inner.pending(i))
    }
    fn ewma_ns(&self, i: usize) -> u64 {
        delegate!(self, inner => inner.ewma_ns(i))
    }
    fn resize(&mut self, n: usize) {
        delegate!(self, inner => inner.resize(n));
    }
}
