//! Owns the one random stream of the cores: `SplitMix64`, seeded by the caller, the same in every language.
//!
//! Rule: every draw advances the state exactly once, so two implementations that make the same decisions draw the same
//! numbers. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), constants as in
//! <https://prng.di.unimi.it/splitmix64.c>. Not for secrets.

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of 64-bit numbers.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, uniform over the whole range.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..n`: the high 64 bits of `next_u64() * n` (bias below `n / 2^64`). 0 for `n == 0`.
    #[allow(clippy::cast_possible_truncation)] // the high half of a 128-bit product fits 64 bits
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.next_u64() as u128 * n as u128) >> 64) as u64
    }
}
