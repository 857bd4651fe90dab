//! Owns how often something may happen: the generic cell rate algorithm (GCRA), for one limit and for one per key.
//!
//! The theory. Requests are admitted `spacing` apart on average, `spacing` being `per_ns / requests` rounded up. All that
//! a limit knows is the time at which its allowance is full again, `full_at` (the theoretical arrival time of ITU-T
//! I.371): an admitted request moves it by one spacing, from now if it is past. A request is admitted unless `full_at` is
//! more than `burst - 1` spacings away. One integer, no timer, no window whose edge lets twice the rate through.
//!
//! The laws:
//!
//! 1. Within any time of length d, at most `burst + d / spacing` requests are admitted.
//! 2. A refusal says how long to wait, to the nanosecond: not earlier, and then surely if nobody else came. It consumes
//!    nothing, so asking again and again costs the caller nothing and gains it nothing.
//! 3. Idle time saves up `burst` requests and no more.
//! 4. Keys do not touch each other's allowance, and at most `max_keys` of them are remembered. What goes first is the
//!    key admitted longest ago: as a rule its allowance is full again, and then forgetting it changes no answer.

use std::collections::HashMap;

use crate::order::Order;

/// 73 years: what a spacing or a burst may span, so that no sum leaves 63 bits.
const LONGEST_NS: u64 = 1 << 61;

/// At most `requests` in `per_ns`, `burst` of them at once; `max_keys` is for [`KeyedLimiter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RateLimitConfig {
    pub requests: u64,
    pub per_ns: u64,
    pub burst: u64,
    pub max_keys: usize,
}

impl Default for RateLimitConfig {
    /// One a second; whoever limits says `requests` and `per_ns`.
    fn default() -> Self {
        Self {
            requests: 1,
            per_ns: 1_000_000_000,
            burst: 1,
            max_keys: 10_000,
        }
    }
}

/// What the configuration comes to.
#[derive(Debug, Clone, Copy)]
struct Rate {
    spacing: u64,
    tolerance: u64,
}

impl Rate {
    fn new(config: RateLimitConfig) -> Self {
        let spacing = config.per_ns.div_ceil(config.requests.max(1));
        let spacing = spacing.clamp(1, LONGEST_NS);
        let tolerance = (config.burst.max(1) - 1).saturating_mul(spacing);
        Self {
            spacing,
            tolerance: tolerance.min(LONGEST_NS),
        }
    }

    const fn wait_ns(self, full_at: u64, now_ns: u64) -> u64 {
        full_at
            .saturating_sub(self.tolerance)
            .saturating_sub(now_ns)
    }

    /// 0, and `full_at` moved; or the wait.
    #[inline]
    fn admit(self, full_at: &mut u64, now_ns: u64) -> u64 {
        let wait_ns = self.wait_ns(*full_at, now_ns);
        if wait_ns == 0 {
            *full_at = (*full_at).max(now_ns).saturating_add(self.spacing);
        }
        wait_ns
    }
}

/// One limit for everybody.
#[derive(Debug, Clone)]
pub struct Gcra {
    rate: Rate,
    full_at: u64,
}

impl Gcra {
    pub fn new(config: RateLimitConfig) -> Self {
        Self {
            rate: Rate::new(config),
            full_at: 0,
        }
    }

    /// 0: admitted. Else how many nanoseconds to wait; nothing was consumed.
    #[inline]
    pub fn admit(&mut self, now_ns: u64) -> u64 {
        self.rate.admit(&mut self.full_at, now_ns)
    }

    /// What `admit` would say; changes nothing. For a request that several limits must admit together.
    pub const fn peek(&self, now_ns: u64) -> u64 {
        self.rate.wait_ns(self.full_at, now_ns)
    }
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    key: u64,
    full_at: u64,
}

/// One limit for each key, all alike. Keys are 64-bit hashes, computed by the caller.
#[derive(Debug, Clone)]
pub struct KeyedLimiter {
    rate: Rate,
    max_keys: usize,
    // Clients choose what keys are made of, so the map hashes them again with a key of its own; order is in `admitted`.
    slots: HashMap<u64, u32>,
    allowances: Vec<Allowance>,
    vacant: Vec<u32>,
    admitted: Order, // longest ago first
}

impl KeyedLimiter {
    pub fn new(config: RateLimitConfig) -> Self {
        Self {
            rate: Rate::new(config),
            max_keys: config.max_keys.clamp(1, u32::MAX as usize - 1),
            slots: HashMap::new(),
            allowances: Vec::new(),
            vacant: Vec::new(),
            admitted: Order::new(),
        }
    }

    /// As [`Gcra::admit`], for this key.
    pub fn admit(&mut self, now_ns: u64, key: u64) -> u64 {
        let Some(&slot) = self.slots.get(&key) else {
            self.make_room(now_ns);
            self.insert(Allowance {
                key,
                full_at: now_ns.saturating_add(self.rate.spacing),
            });
            return 0;
        };
        let full_at = &mut self.allowances[slot as usize].full_at;
        let wait_ns = self.rate.admit(full_at, now_ns);
        if wait_ns == 0 && self.admitted.last() != Some(slot) {
            self.admitted.remove(slot);
            self.admitted.push_last(slot);
        }
        wait_ns
    }

    /// What `admit` would say; changes nothing.
    pub fn peek(&self, now_ns: u64, key: u64) -> u64 {
        self.slots.get(&key).map_or(0, |&slot| {
            self.rate
                .wait_ns(self.allowances[slot as usize].full_at, now_ns)
        })
    }

    /// Keys that are remembered.
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    /// For one new key. Two full ones leave for each that comes, so memory shrinks again after a flood of keys.
    fn make_room(&mut self, now_ns: u64) {
        for _ in 0..2 {
            match self.admitted.first() {
                Some(slot) if self.allowances[slot as usize].full_at <= now_ns => self.forget(slot),
                _ => break,
            }
        }
        if self.slots.len() >= self.max_keys
            && let Some(slot) = self.admitted.first()
        {
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: u32) {
        self.admitted.remove(slot);
        self.slots.remove(&self.allowances[slot as usize].key);
        self.vacant.push(slot);
    }

    #[allow(clippy::cast_possible_truncation)] // `max_keys` fits 32 bits
    fn insert(&mut self, allowance: Allowance) {
        let slot = if let Some(slot) = self.vacant.pop() {
            self.allowances[slot as usize] = allowance;
            slot
        } else {
            self.allowances.push(allowance);
            self.allowances.len() as u32 - 1
        };
        self.slots.insert(allowance.key, slot);
        self.admitted.push_last(slot);
    }
}
