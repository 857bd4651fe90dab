//! The balancer with affinity: the same key goes to the same instance for as long as that one is usable.
//!
//! Rendezvous hashing, also called highest random weight (Thaler and Ravishankar, "A name-based mapping scheme for
//! rendezvous", 1996): every instance scores the key, the highest score wins, on a tie the lower index. Each instance has
//! a salt, the first number of `SplitMix64::new(i)`; its score is the first number of `SplitMix64::new(key ^ salt)`.
//!
//! The law: an instance that goes moves its own keys and no others, each to its second choice; when it comes back,
//! exactly they return. Keys are 64 bits, FNV-1a of a text; they need no randomness of their own.

use super::Balance;
use super::loads::{Load, keeps_loads};
use crate::mask::each;
use crate::rng::SplitMix64;

/// The instance that scores the key highest.
#[derive(Debug, Clone)]
pub struct Rendezvous {
    loads: Vec<Load>,
    salts: Vec<u64>,
}

impl Rendezvous {
    pub fn new(n: usize) -> Self {
        Self {
            loads: vec![Load::default(); n],
            salts: salts(n),
        }
    }
}

impl Balance for Rendezvous {
    fn pick(&mut self, _now_ns: u64, usable: &[u64], key: u64) -> Option<usize> {
        let mut best = None;
        for i in each(usable, self.salts.len()) {
            let score = first_of(key ^ self.salts[i]);
            if best.is_none_or(|(_, highest)| score > highest) {
                best = Some((i, score));
            }
        }
        best.map(|(i, _)| i)
    }

    /// A new instance takes over the keys that score it highest.
    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
        self.salts = salts(n);
    }

    keeps_loads!();
}

fn salts(n: usize) -> Vec<u64> {
    (0..n as u64).map(first_of).collect()
}

const fn first_of(seed: u64) -> u64 {
    SplitMix64::new(seed).next_u64()
}
