//! Owns when a child that ended by itself is started again, and when it no longer is: a crash loop.
//!
//! The delay doubles from `base_ns` with every exit, up to `cap_ns`, and half of it is jitter, so that children that died
//! together do not come back together. The laws:
//!
//! 1. A delay lies between one half and the whole of `min(cap_ns, base_ns * 2^n)`, n exits after the last fresh start.
//! 2. Within any `window_ns` there are at most `max_restarts` restarts; one more is a crash loop, and the child stays
//!    down until `down_until_ns`, one window later.
//! 3. A child that lived `reset_after_ns` starts at `base_ns` again (its restarts still count in the window). A crash
//!    loop and `reset` forget everything: whoever starts the child next, gives it a fresh chance.

use std::collections::VecDeque;

use crate::rng::SplitMix64;

/// `max_restarts` 0: the first exit is a crash loop already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RestartConfig {
    pub base_ns: u64,
    pub cap_ns: u64,
    pub reset_after_ns: u64,
    pub max_restarts: usize,
    pub window_ns: u64,
}

impl Default for RestartConfig {
    fn default() -> Self {
        Self {
            base_ns: 100_000_000,
            cap_ns: 30_000_000_000,
            reset_after_ns: 10_000_000_000,
            max_restarts: 5,
            window_ns: 60_000_000_000,
        }
    }
}

/// The restarts of one child.
#[derive(Debug, Clone)]
pub struct Restart {
    config: RestartConfig,
    rng: SplitMix64,
    recent: VecDeque<u64>, // when restarts were granted, oldest first
    exits: u32,
    down_until_ns: u64,
}

impl Restart {
    pub fn new(config: RestartConfig, seed: u64) -> Self {
        Self {
            config,
            rng: SplitMix64::new(seed),
            recent: VecDeque::new(),
            exits: 0,
            down_until_ns: 0,
        }
    }

    /// The child ended by itself after `uptime_ns`: nanoseconds to wait before its restart, `None` in a crash loop.
    pub fn exited(&mut self, now_ns: u64, uptime_ns: u64) -> Option<u64> {
        while let Some(&oldest) = self.recent.front()
            && now_ns.saturating_sub(oldest) >= self.config.window_ns
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.config.max_restarts {
            self.reset();
            self.down_until_ns = now_ns.saturating_add(self.config.window_ns);
            return None;
        }
        if uptime_ns >= self.config.reset_after_ns {
            self.exits = 0;
        }
        self.down_until_ns = 0;
        self.recent.push_back(now_ns);
        let whole = self.whole();
        self.exits = self.exits.saturating_add(1);
        Some(whole - self.rng.below((whole >> 1) + 1))
    }

    /// When a child in a crash loop may be started again; 0: it is in none.
    pub const fn down_until_ns(&self) -> u64 {
        self.down_until_ns
    }

    /// Somebody starts the child on purpose: the past no longer counts.
    pub fn reset(&mut self) {
        self.recent.clear();
        self.exits = 0;
        self.down_until_ns = 0;
    }

    /// `min(cap_ns, base_ns * 2^exits)`, without overflow.
    fn whole(&self) -> u64 {
        let RestartConfig {
            base_ns, cap_ns, ..
        } = self.config;
        match cap_ns.checked_shr(self.exits) {
            Some(room) if base_ns <= room => base_ns << self.exits,
            None if base_ns == 0 => 0,
            _ => cap_ns,
        }
    }
}
