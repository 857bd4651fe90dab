//! Owns the 95th percentile of the latencies seen lately, in a few hundred integers.
//!
//! The theory. Buckets are log-linear: exact up to 31 ns, then 16 to each power of two, so a bucket is never wider than a
//! sixteenth of what is in it (the layout of `HdrHistogram`). Old samples fade: when there are [`FULL`], the cumulative
//! counts are halved. Looking for the percentile costs a walk over the buckets, so it is done once in [`EVERY`] samples.
//!
//! The laws:
//!
//! 1. Until `FULL` samples: with every `EVERY`-th, the value is the upper end of the bucket that holds the sample of rank
//!    ceil(0.95 * n). So it is not below that sample, and at most a sixteenth above it.
//! 2. Halving moves no rank by more than one, and halves the weight of what came before it.
//! 3. Memory never grows, and no sample is too long: above 2^40 - 1 ns (18 minutes) it counts as that.

pub const EVERY: u32 = 32;
pub const FULL: u32 = 1024;

const LONGEST_NS: u64 = (1 << 40) - 1;
const BUCKETS: usize = 592;

/// See the module.
#[derive(Debug, Clone)]
pub struct LatencySketch {
    counts: Box<[u32; BUCKETS]>,
    samples: u32,
    p95_ns: Option<u64>,
}

impl Default for LatencySketch {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            samples: 0,
            p95_ns: None,
        }
    }
}

impl LatencySketch {
    /// One more sample.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.counts[bucket_of(latency_ns.min(LONGEST_NS))] += 1;
        self.samples += 1;
        if self.samples.is_multiple_of(EVERY) {
            self.look();
        }
    }

    /// `None` before the first [`EVERY`] samples.
    pub const fn p95_ns(&self) -> Option<u64> {
        self.p95_ns
    }

    fn look(&mut self) {
        let rank = self.samples - self.samples / 20;
        let mut up_to = 0;
        let found = self.counts.iter().position(|&count| {
            up_to += count;
            up_to >= rank
        });
        self.p95_ns = found.map(upper_end);
        if self.samples == FULL {
            self.halve();
        }
    }

    /// Halves the cumulative counts, rounding down: what is odd is carried to the next bucket.
    fn halve(&mut self) {
        let mut carry = 0;
        for count in self.counts.iter_mut() {
            let both = *count + carry;
            *count = both >> 1;
            carry = both & 1;
        }
        self.samples = (self.samples - carry) / 2;
    }
}

#[allow(clippy::cast_possible_truncation)] // below `BUCKETS`
const fn bucket_of(latency_ns: u64) -> usize {
    let shift = (u64::BITS - latency_ns.leading_zeros()).saturating_sub(5);
    ((shift as u64) << 4).wrapping_add(latency_ns >> shift) as usize
}

const fn upper_end(bucket: usize) -> u64 {
    let shift = (bucket >> 4).saturating_sub(1);
    (((bucket - (shift << 4) + 1) as u64) << shift) - 1
}
