//! When requests are due and who sends them: the arithmetic of open and closed loops, on virtual time.
//!
//! Rule: in the open loop nothing the server does moves a due time. A request whose connections are all busy waits in line,
//! and since its latency counts from the due time, so does its waiting ("coordinated omission" is the mistake of letting it
//! not; G. Tene, "How NOT to measure latency"). Idle connections take turns, so all of them are in use.

use std::collections::VecDeque;

use crate::plan::Spacing;
use crate::rng::SplitMix64;

/// The times at which requests are due, drawn from the seed alone.
#[derive(Debug)]
pub struct Arrivals {
    spacing: Spacing,
    start_ns: u64,
    mean_ns: f64,
    index: u64,
    offset_ns: f64,
    rng: SplitMix64,
    /// A burst: so many at the start, and no more.
    burst: Option<u64>,
}

impl Arrivals {
    pub fn new(spacing: Spacing, rate_per_s: f64, start_ns: u64, seed: u64) -> Self {
        // A stream of its own: the nonces of a plan must not move its arrivals.
        let rng = SplitMix64::new(seed ^ 0xA5A5_5A5A_0F0F_F0F0);
        Self {
            spacing,
            start_ns,
            mean_ns: 1e9 / rate_per_s,
            index: 0,
            offset_ns: 0.0,
            rng,
            burst: None,
        }
    }

    /// All due at `start_ns`.
    pub fn burst(count: u64, start_ns: u64) -> Self {
        Self {
            burst: Some(count),
            ..Self::new(Spacing::Constant, 1.0, start_ns, 0)
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )] // below 2^53 ns: 104 days
    pub fn draw(&mut self) -> u64 {
        if let Some(left) = &mut self.burst {
            let due = if *left > 0 { self.start_ns } else { u64::MAX };
            *left = left.saturating_sub(1);
            return due;
        }
        match self.spacing {
            Spacing::Constant => {
                self.index += 1;
                self.start_ns + (self.index as f64 * self.mean_ns) as u64
            }
            Spacing::Poisson => {
                self.offset_ns -= (1.0 - self.rng.unit()).ln() * self.mean_ns;
                self.start_ns + self.offset_ns as u64
            }
        }
    }
}

/// Matches due requests with idle connections.
#[derive(Debug)]
pub struct Pacer {
    arrivals: Option<Arrivals>,
    next_ns: u64,
    line: VecDeque<u64>,
    idle: VecDeque<usize>,
}

impl Pacer {
    /// Every idle connection sends at once.
    pub fn closed() -> Self {
        Self {
            arrivals: None,
            next_ns: u64::MAX,
            line: VecDeque::new(),
            idle: VecDeque::new(),
        }
    }

    pub fn open(mut arrivals: Arrivals) -> Self {
        let next_ns = arrivals.draw();
        Self {
            arrivals: Some(arrivals),
            next_ns,
            line: VecDeque::new(),
            idle: VecDeque::new(),
        }
    }

    pub const fn is_open(&self) -> bool {
        self.arrivals.is_some()
    }

    /// When the next request falls due; `u64::MAX` when none ever does.
    pub const fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Puts in line what is due by `now`, but nothing due at or after `until`. `late(due)` hears of each.
    pub fn advance(&mut self, now: u64, until: u64, mut late: impl FnMut(u64)) {
        let Some(arrivals) = &mut self.arrivals else {
            return;
        };
        while self.next_ns <= now {
            if self.next_ns >= until {
                self.next_ns = u64::MAX;
                return;
            }
            late(self.next_ns);
            self.line.push_back(self.next_ns);
            self.next_ns = arrivals.draw();
        }
    }

    /// This connection can send.
    pub fn idle(&mut self, conn: usize) {
        self.idle.push_back(conn);
    }

    /// The next connection to send on and the time its request was due. Connections that are not `usable` any more are
    /// dropped: they come back through [`Pacer::idle`].
    pub fn take(
        &mut self,
        now: u64,
        mut usable: impl FnMut(usize) -> bool,
    ) -> Option<(usize, u64)> {
        if self.arrivals.is_some() && self.line.is_empty() {
            return None;
        }
        loop {
            let conn = self.idle.pop_front()?;
            if usable(conn) {
                let due = if self.arrivals.is_some() {
                    self.line.pop_front()?
                } else {
                    now
                };
                return Some((conn, due));
            }
        }
    }

    /// A request that could not be sent at all (nobody listens): the one that waited longest.
    pub fn fail_one(&mut self) -> Option<u64> {
        self.line.pop_front()
    }

    /// Due times of what was never sent.
    pub fn unsent(&self) -> impl Iterator<Item = u64> + '_ {
        self.line.iter().copied()
    }

    pub fn line_is_empty(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server in virtual time: one connection, `service_ns` per request, stalled from `stall.0` to `stall.1`.
    fn latencies(pacer: &mut Pacer, service_ns: u64, stall: (u64, u64), end_ns: u64) -> Vec<u64> {
        let (mut now, mut seen) = (0, Vec::new());
        pacer.idle(0);
        loop {
            pacer.advance(now, end_ns, |_| {});
            if let Some((conn, due)) = pacer.take(now, |_| true) {
                let start = if (stall.0..stall.1).contains(&now) {
                    stall.1
                } else {
                    now
                };
                now = start + service_ns;
                seen.push(now - due);
                pacer.idle(conn);
            } else if pacer.next_ns() == u64::MAX {
                return seen;
            } else {
                now = pacer.next_ns();
            }
        }
    }

    #[test]
    fn a_stall_counts_for_every_request_it_delays() {
        let mut pacer = Pacer::open(Arrivals::new(Spacing::Constant, 1000.0, 0, 1));
        let seen = latencies(
            &mut pacer,
            100_000,
            (500_000_000, 800_000_000),
            1_000_000_000,
        );
        assert_eq!(seen.len(), 999);
        assert!(seen.iter().max().unwrap() >= &300_000_000);
        // 300 requests fell due in the stall; each waits for its end and then for those before it.
        let slow = seen.iter().filter(|ns| **ns > 1_000_000).count();
        assert!((300..350).contains(&slow), "{slow}");
        assert_eq!(
            seen.iter().filter(|ns| **ns == 100_000).count(),
            999 - slow - 1
        );
    }

    #[test]
    fn the_same_stall_in_a_closed_loop_hides_all_but_one() {
        let mut pacer = Pacer::closed();
        pacer.idle(0);
        let mut now = 0;
        let mut slow = 0;
        while now < 1_000_000_000 {
            let (conn, due) = pacer.take(now, |_| true).unwrap();
            now = if (500_000_000..800_000_000).contains(&now) {
                800_000_000
            } else {
                now
            } + 100_000;
            slow += usize::from(now - due > 1_000_000);
            pacer.idle(conn);
        }
        assert_eq!(slow, 1);
    }

    #[test]
    fn arrivals_depend_on_the_seed_alone() {
        let draw = |seed| {
            let mut arrivals = Arrivals::new(Spacing::Poisson, 10_000.0, 5, seed);
            (0..50_000).map(|_| arrivals.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let times = draw(3);
        assert!(times.is_sorted());
        assert!((4_900_000_000..5_100_000_000).contains(times.last().unwrap()));
    }

    #[test]
    fn a_burst_is_due_at_once_and_then_nothing_is() {
        let mut pacer = Pacer::open(Arrivals::burst(3, 7));
        assert_eq!(pacer.next_ns(), 7);
        pacer.advance(7, 100, |_| {});
        assert_eq!(pacer.unsent().collect::<Vec<_>>(), [7, 7, 7]);
        assert_eq!(pacer.next_ns(), u64::MAX);
    }

    #[test]
    fn what_is_due_after_the_end_is_never_sent() {
        let mut pacer = Pacer::open(Arrivals::new(Spacing::Constant, 1000.0, 0, 1));
        pacer.advance(10_000_000_000, 5_500_000, |_| {});
        assert_eq!(pacer.unsent().count(), 5);
        assert_eq!(pacer.next_ns(), u64::MAX);
        assert_eq!(pacer.fail_one(), Some(1_000_000));
    }

    #[test]
    fn a_dead_connection_in_line_is_passed_over() {
        let mut pacer = Pacer::closed();
        pacer.idle(1);
        pacer.idle(2);
        assert_eq!(pacer.take(7, |conn| conn == 2), Some((2, 7)));
        assert_eq!(pacer.take(7, |_| true), None);
    }
}
