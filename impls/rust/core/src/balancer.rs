//! Owns the choice of one instance among those that are usable: what a balancer offers, and any of them as one type.
//!
//! `turns` holds those that take turns, `p2c` the one that weighs loads, `rendezvous` the one that keeps a caller where
//! it is, `loads` the figures. Bits of the mask beyond the number of instances count for nothing.

mod loads;
mod p2c;
mod rendezvous;
mod turns;

pub use crate::mask::Mask;
pub use loads::{DECAY_NS, DECAY_SHIFT, FAILURE_NS, MAX_NS};
pub use p2c::{P2c, UNKNOWN};
pub use rendezvous::Rendezvous;
pub use turns::{LeastPending, RoundRobin, Weighted};

/// What all of them offer. An index that is out of range (resized away) is ignored.
pub trait Balance {
    /// The chosen instance, or `None` if none is usable. `usable`: see [`Mask`]; missing words are zero.
    /// `key` is what affinity goes by, 64 bits of hash; only [`Rendezvous`] looks at it.
    fn pick(&mut self, now_ns: u64, usable: &[u64], key: u64) -> Option<usize>;
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

/// Any of them, chosen by configuration.
#[derive(Debug, Clone)]
pub enum Balancer {
    RoundRobin(RoundRobin),
    Weighted(Weighted),
    LeastPending(LeastPending),
    P2c(P2c),
    Rendezvous(Rendezvous),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Self::RoundRobin($inner) => $call,
            Self::Weighted($inner) => $call,
            Self::LeastPending($inner) => $call,
            Self::P2c($inner) => $call,
            Self::Rendezvous($inner) => $call,
        }
    };
}

impl Balance for Balancer {
    fn pick(&mut self, now_ns: u64, usable: &[u64], key: u64) -> Option<usize> {
        delegate!(self, inner => inner.pick(now_ns, usable, key))
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
