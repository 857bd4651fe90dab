//! The load figures that every balancer keeps: calls in flight and an EWMA of latency per instance.
//!
//! The EWMA jumps up to a higher sample at once and comes down by `(ewma - sample) * elapsed >> DECAY_SHIFT`, all the
//! way once [`DECAY_NS`] have elapsed since the last answer. A failure is never a fast answer: it counts as
//! `max(latency, 2 * ewma, FAILURE_NS)`, or a broken instance that refuses within microseconds would attract all traffic.
#![allow(clippy::cast_possible_truncation)] // products are shifted back below 2^64

pub const DECAY_SHIFT: u32 = 32;
pub const DECAY_NS: u64 = 1 << DECAY_SHIFT;
pub const FAILURE_NS: u64 = 1 << 26;
pub const MAX_NS: u64 = 1 << 40;

/// Calls in flight and EWMA latency per instance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) pending: u64,
    pub(super) ewma: u64,
    pub(super) updated: u64,
}

impl Load {
    pub(super) fn finished(&mut self, now_ns: u64, latency_ns: u64, ok: bool) {
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
}

/// `amount * elapsed >> DECAY_SHIFT`
pub(super) const fn fade(amount: u64, elapsed: u64) -> u64 {
    ((amount as u128 * elapsed as u128) >> DECAY_SHIFT) as u64
}

/// The part of `Balance` that only keeps `self.loads`.
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
pub(super) use keeps_loads;
