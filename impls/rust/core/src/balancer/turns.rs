//! The balancers that take turns: round robin, smooth weighted round robin, least pending.
//!
//! Round robin: the first usable instance at or after the cursor; the cursor moves behind it.
//!
//! Weighted is nginx's smooth weighted round robin (nginx 1.3.1, 2012): every usable instance gains its weight, the
//! richest is picked and pays what all gained together; on a tie the lower index. Over one cycle, as many picks as the
//! weights sum up to, each gets exactly its weight, and its turns lie spread out, not in a row. An instance of weight 0
//! is never picked.
//!
//! Least pending: the fewest calls in flight; among equals the first at or after the cursor, which moves behind it, so
//! that an idle server's calls do not all go to instance 0.

use super::Balance;
use super::loads::{Load, keeps_loads};
use crate::mask::{each, first_from};

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
    fn pick(&mut self, _now_ns: u64, usable: &[u64], _key: u64) -> Option<usize> {
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

/// Takes turns in proportion to weights, smoothly. An instance that is added later has weight 1.
#[derive(Debug, Clone)]
pub struct Weighted {
    loads: Vec<Load>,
    shares: Vec<Share>,
}

#[derive(Debug, Clone, Copy)]
struct Share {
    weight: i64,
    credit: i64,
}

impl Weighted {
    pub fn new(weights: &[u32]) -> Self {
        let share = |&weight: &u32| Share {
            weight: i64::from(weight),
            credit: 0,
        };
        Self {
            loads: vec![Load::default(); weights.len()],
            shares: weights.iter().map(share).collect(),
        }
    }
}

impl Balance for Weighted {
    fn pick(&mut self, _now_ns: u64, usable: &[u64], _key: u64) -> Option<usize> {
        let mut total = 0;
        let mut best = None;
        for i in each(usable, self.shares.len()) {
            let share = &mut self.shares[i];
            if share.weight == 0 {
                continue;
            }
            total += share.weight;
            share.credit += share.weight;
            if best.is_none_or(|(_, most)| share.credit > most) {
                best = Some((i, share.credit));
            }
        }
        let (best, _) = best?;
        self.shares[best].credit -= total;
        Some(best)
    }

    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
        self.shares.resize(
            n,
            Share {
                weight: 1,
                credit: 0,
            },
        );
    }

    keeps_loads!();
}

/// The fewest calls in flight; equals take turns.
#[derive(Debug, Clone)]
pub struct LeastPending {
    loads: Vec<Load>,
    cursor: usize,
}

impl LeastPending {
    pub fn new(n: usize) -> Self {
        Self {
            loads: vec![Load::default(); n],
            cursor: 0,
        }
    }
}

impl Balance for LeastPending {
    fn pick(&mut self, _now_ns: u64, usable: &[u64], _key: u64) -> Option<usize> {
        let behind = |i: usize| i < self.cursor;
        let i = each(usable, self.loads.len())
            .min_by_key(|&i| (self.loads[i].pending, behind(i), i))?;
        self.cursor = i + 1;
        Some(i)
    }

    fn resize(&mut self, n: usize) {
        self.loads.resize(n, Load::default());
        self.cursor = self.cursor.min(n);
    }

    keeps_loads!();
}
