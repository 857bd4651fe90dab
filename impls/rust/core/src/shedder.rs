//! Owns whether new work is refused at the door because there is too much of it already.
//!
//! The theory. A queue that empties now and then absorbs bursts and is good; one that never does only adds delay to all.
//! So what counts is the *least* wait within an interval (`CoDel`, RFC 8289): if for `interval_ns` on end nobody has
//! waited less than `target_ns`, one request is shed; another after `interval_ns`, then after `interval_ns` / sqrt(2),
//! / sqrt(3) and so on, until somebody waits less than the target again. `CoDel` drops at the head of the queue; whoever
//! waits here has a deadline of its own, so it is the newcomer that is refused. `max_in_flight` is the hard bound
//! besides.
//!
//! The laws:
//!
//! 1. With `max_in_flight` or more in flight, nothing is admitted (0: no bound).
//! 2. Below that, something is shed only if for `interval_ns` or longer all waits that ended reached `target_ns`, and
//!    never none for an interval. So a burst shorter than that sheds nothing, and silence is no evidence.
//! 3. The n-th request shed in a row comes `interval_ns` / sqrt(n - 1) after the one before, or with the next that asks.
//! 4. One wait below the target ends it. If it begins again within 16 intervals, it goes on at the pace it had reached.

/// 13 days: so that the control law stays within 63 bits.
const LONGEST_NS: u64 = 1 << 50;
const MOST: u64 = 1 << 24;

/// `max_in_flight` 0: no bound. `target_ns` 0: waits are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct ShedConfig {
    pub max_in_flight: usize,
    pub target_ns: u64,
    pub interval_ns: u64,
}

impl Default for ShedConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 0,
            target_ns: 0,
            interval_ns: 100_000_000,
        }
    }
}

/// The door of one manager. Every wait for a place is told to `waited` when it ends, granted or not.
#[derive(Debug, Clone)]
pub struct Shedder {
    places: usize,
    target: u64,
    interval: u64,
    above: bool, // the last wait reached the target; and for how long, and seen when:
    due_at: u64,
    seen_at: u64,
    shedding: bool,
    next_at: u64,
    count: u64,
    start_count: u64,
}

impl Shedder {
    pub fn new(config: ShedConfig) -> Self {
        Self {
            places: match config.max_in_flight {
                0 => usize::MAX,
                most => most,
            },
            target: config.target_ns,
            interval: config.interval_ns.clamp(1, LONGEST_NS),
            above: false,
            due_at: 0,
            seen_at: 0,
            shedding: false,
            next_at: 0,
            count: 0,
            start_count: 0,
        }
    }

    /// Whether one more request may come in, `in_flight` being here already.
    #[inline]
    pub fn admit(&mut self, now_ns: u64, in_flight: usize) -> bool {
        in_flight < self.places && (!self.above || self.admit_above(now_ns))
    }

    /// Somebody waited `delay_ns` for a place until now: 0 if one was free.
    #[inline]
    pub fn waited(&mut self, now_ns: u64, delay_ns: u64) {
        if delay_ns < self.target || self.target == 0 {
            self.above = false;
            self.shedding = false;
            return;
        }
        if !self.above || now_ns.saturating_sub(self.seen_at) >= self.interval {
            self.above = true;
            self.shedding = false;
            self.due_at = now_ns.saturating_add(self.interval);
        }
        self.seen_at = now_ns;
    }

    /// Whether requests are being shed because of their waits.
    pub const fn shedding(&self) -> bool {
        self.shedding
    }

    fn admit_above(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.seen_at) >= self.interval {
            self.above = false;
            self.shedding = false;
            return true;
        }
        if !self.shedding {
            if now_ns < self.due_at {
                return true;
            }
            self.shedding = true;
            let gained = self.count.saturating_sub(self.start_count);
            let soon = now_ns.saturating_sub(self.next_at) < 16 * self.interval;
            self.count = if gained > 1 && soon { gained } else { 1 };
            self.start_count = self.count;
            self.next_at = now_ns;
        } else if now_ns < self.next_at {
            return true;
        } else {
            self.count = (self.count + 1).min(MOST);
        }
        let pause = (self.interval << 12) / (self.count << 24).isqrt();
        self.next_at = self.next_at.saturating_add(pause);
        false
    }
}
