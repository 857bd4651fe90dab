//! Owns the bit sets that say which instances may be picked, and finding the first or the n-th of them.
//!
//! Rule: bits at and beyond the number of instances count for nothing; words that are missing are zero.

/// Which instances may be picked: bit `i % 64` of word `i / 64`. What the balancers read is `words()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask(Vec<u64>);

impl Mask {
    /// The first `n` instances are usable.
    pub fn all(n: usize) -> Self {
        let mut words = vec![u64::MAX; n.div_ceil(64)];
        if let Some(last) = words.last_mut() {
            *last >>= (64 - n % 64) % 64;
        }
        Self(words)
    }

    pub fn set(&mut self, i: usize, usable: bool) {
        if i / 64 >= self.0.len() {
            self.0.resize(i / 64 + 1, 0);
        }
        let bit = 1 << (i % 64);
        if usable {
            self.0[i / 64] |= bit;
        } else {
            self.0[i / 64] &= !bit;
        }
    }

    pub fn get(&self, i: usize) -> bool {
        self.0
            .get(i / 64)
            .is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

/// The words of the mask that lie below instance `n`, bits from `n` on cleared.
pub(crate) fn words(usable: &[u64], n: usize) -> impl Iterator<Item = (usize, u64)> + '_ {
    usable
        .iter()
        .take(n.div_ceil(64))
        .enumerate()
        .map(move |(w, &word)| {
            let rest = n - w * 64;
            (
                w * 64,
                if rest < 64 {
                    word & ((1 << rest) - 1)
                } else {
                    word
                },
            )
        })
}

/// The first usable instance at or after `from`.
pub(crate) fn first_from(usable: &[u64], from: usize, n: usize) -> Option<usize> {
    words(usable, n)
        .skip(from / 64)
        .map(|(base, word)| {
            (
                base,
                if base < from {
                    word >> (from - base) << (from - base)
                } else {
                    word
                },
            )
        })
        .find(|&(_, word)| word != 0)
        .map(|(base, word)| base + word.trailing_zeros() as usize)
}

/// The instance with `rank` usable ones before it; the caller has counted that there is one.
pub(crate) fn nth(usable: &[u64], n: usize, mut rank: u64) -> usize {
    for (base, mut word) in words(usable, n) {
        let ones = u64::from(word.count_ones());
        if rank < ones {
            for _ in 0..rank {
                word &= word - 1;
            }
            return base + word.trailing_zeros() as usize;
        }
        rank -= ones;
    }
    unreachable!("rank is below the number of usable instances")
}

/// The usable instances in order.
pub(crate) fn each(usable: &[u64], n: usize) -> impl Iterator<Item = usize> + '_ {
    words(usable, n).flat_map(|(base, word)| {
        std::iter::successors((word != 0).then_some(word), |word| {
            let rest = word & (word - 1);
            (rest != 0).then_some(rest)
        })
        .map(move |word| base + word.trailing_zeros() as usize)
    })
}
