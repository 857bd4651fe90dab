//! Owns the decision whether an instance may be called: closed, open, half-open.
//!
//! The theory. A closed breaker admits everything and keeps a window of verdicts, bounded by count (`window`) and by age
//! (`window_ns`). When at least `min_calls` verdicts are in it and the share of failures (or of slow calls) reaches its
//! limit, the breaker trips. Open, it refuses for `open_ns`. Then it is half-open: `probes` calls are let through, and
//! their verdicts decide. The transitions are one table, [`next`].
//!
//! The laws:
//!
//! 1. Closed admits. Open never admits. Half-open admits at most `probes` calls per `open_ns`.
//! 2. All probes succeed: closed, with an empty window. One fails or is slow: open again, for the full `open_ns`.
//! 3. A verdict on a call that began before the last trip is ignored: it is old evidence. So `duration_ns` is counted
//!    from the `now_ns` given to `admit` (or a little earlier, never by `open_ns` or more).
//! 4. A probe without a verdict does not lock the breaker: `forget` gives it back, and when no probe was let through for
//!    `open_ns` there is a fresh set of them.
//! 5. No floats, no clock: rates are per mille by cross-multiplication, `now_ns` comes from the caller.

use std::collections::VecDeque;

/// State of one instance's breaker. `Closed` admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CircuitState {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}

impl CircuitState {
    /// The word used in snapshots, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Tripped,
    Cooled,
    ProbesOk,
    ProbeFailed,
}

const fn next(state: CircuitState, event: Event) -> CircuitState {
    match (state, event) {
        (CircuitState::Closed, Event::Tripped) | (CircuitState::HalfOpen, Event::ProbeFailed) => {
            CircuitState::Open
        }
        (CircuitState::Open, Event::Cooled) => CircuitState::HalfOpen,
        (CircuitState::HalfOpen, Event::ProbesOk) => CircuitState::Closed,
        (state, _) => state,
    }
}

/// `window_ns` 0: no bound by age. `slow_call_ns` 0: no call is slow. `min_calls` is at most `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "replay",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BreakerConfig {
    pub enabled: bool,
    pub window: usize,
    pub window_ns: u64,
    pub min_calls: usize,
    pub failure_per_mille: u64,
    pub slow_call_ns: u64,
    pub slow_per_mille: u64,
    pub open_ns: u64,
    pub probes: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: 100,
            window_ns: 10_000_000_000,
            min_calls: 20,
            failure_per_mille: 500,
            slow_call_ns: 0,
            slow_per_mille: 1000,
            open_ns: 5_000_000_000,
            probes: 3,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Verdict {
    at_ns: u64,
    failed: bool,
    slow: bool,
}

/// The breaker of one instance. Every admitted call ends in exactly one `record` or `forget`.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    state: CircuitState,
    ring: VecDeque<Verdict>,
    failures: usize,
    slow: usize,
    tripped_at: u64,
    probe_at: u64,
    probes_left: u64,
    probes_ok: u64,
}

impl Breaker {
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config: BreakerConfig {
                min_calls: config.min_calls.min(config.window),
                ..config
            },
            state: CircuitState::Closed,
            ring: VecDeque::new(),
            failures: 0,
            slow: 0,
            tripped_at: 0,
            probe_at: 0,
            probes_left: 0,
            probes_ok: 0,
        }
    }

    /// Whether a call may go out now. `true` must be answered by one `record` or `forget`.
    #[inline]
    pub fn admit(&mut self, now_ns: u64) -> bool {
        self.state == CircuitState::Closed || self.admit_probe(now_ns)
    }

    fn admit_probe(&mut self, now_ns: u64) -> bool {
        if self.state == CircuitState::Open {
            if now_ns.saturating_sub(self.tripped_at) < self.config.open_ns {
                return false;
            }
            self.step(Event::Cooled, now_ns);
        } else if now_ns.saturating_sub(self.probe_at) >= self.config.open_ns {
            self.probes_left = self.config.probes;
        } else if self.probes_left == 0 {
            return false;
        }
        self.probes_left -= 1;
        self.probe_at = now_ns;
        true
    }

    /// The verdict on an admitted call that took `duration_ns`.
    pub fn record(&mut self, now_ns: u64, ok: bool, duration_ns: u64) {
        if !self.config.enabled || now_ns.saturating_sub(duration_ns) < self.tripped_at {
            return;
        }
        let slow = self.config.slow_call_ns > 0 && duration_ns > self.config.slow_call_ns;
        match self.state {
            CircuitState::Closed => self.record_closed(Verdict {
                at_ns: now_ns,
                failed: !ok,
                slow,
            }),
            CircuitState::HalfOpen if !ok || slow => self.step(Event::ProbeFailed, now_ns),
            CircuitState::HalfOpen => {
                self.probes_ok += 1;
                if self.probes_ok == self.config.probes {
                    self.step(Event::ProbesOk, now_ns);
                }
            }
            CircuitState::Open => {}
        }
    }

    fn record_closed(&mut self, verdict: Verdict) {
        if self.ring.len() == self.config.window {
            self.drop_oldest();
        }
        if self.config.window_ns > 0 {
            while let Some(oldest) = self.ring.front() {
                if verdict.at_ns.saturating_sub(oldest.at_ns) < self.config.window_ns {
                    break;
                }
                self.drop_oldest();
            }
        }
        self.failures += usize::from(verdict.failed);
        self.slow += usize::from(verdict.slow);
        self.ring.push_back(verdict);
        if self.over_limit() {
            self.step(Event::Tripped, verdict.at_ns);
        }
    }

    /// An admitted call ended without a verdict (cancelled, or nothing was sent): its probe is given back.
    pub fn forget(&mut self, now_ns: u64, duration_ns: u64) {
        if self.state == CircuitState::HalfOpen
            && now_ns.saturating_sub(duration_ns) >= self.tripped_at
        {
            self.probes_left = (self.probes_left + 1).min(self.config.probes);
        }
    }

    /// The state at `now_ns`; changes nothing. Half-open as soon as `open_ns` is over, called or not.
    pub fn state(&self, now_ns: u64) -> CircuitState {
        if self.state == CircuitState::Open
            && now_ns.saturating_sub(self.tripped_at) >= self.config.open_ns
        {
            return CircuitState::HalfOpen;
        }
        self.state
    }

    /// How long an open breaker will go on refusing; 0 in the other states.
    pub fn retry_after_ns(&self, now_ns: u64) -> u64 {
        if self.state != CircuitState::Open {
            return 0;
        }
        self.tripped_at
            .saturating_add(self.config.open_ns)
            .saturating_sub(now_ns)
    }

    fn over_limit(&self) -> bool {
        let calls = self.ring.len() as u64;
        let reached = |count: usize, per_mille: u64| count as u64 * 1000 >= per_mille * calls;
        self.ring.len() >= self.config.min_calls
            && (reached(self.failures, self.config.failure_per_mille)
                || (self.config.slow_call_ns > 0 && reached(self.slow, self.config.slow_per_mille)))
    }

    fn drop_oldest(&mut self) {
        if let Some(verdict) = self.ring.pop_front() {
            self.failures -= usize::from(verdict.failed);
            self.slow -= usize::from(verdict.slow);
        }
    }

    fn step(&mut self, event: Event, now_ns: u64) {
        self.state = next(self.state, event);
        match self.state {
            CircuitState::Open => {
                self.tripped_at = now_ns;
                self.ring.clear();
                self.failures = 0;
                self.slow = 0;
            }
            CircuitState::HalfOpen => {
                self.probes_left = self.config.probes;
                self.probes_ok = 0;
            }
            CircuitState::Closed => {}
        }
    }
}
