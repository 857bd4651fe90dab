//! What a run leaves behind: histograms, errors by kind, a series of 100 ms bins.
//!
//! Rule: only what belongs to the measured window counts. In the open loop that is every request *due* in it, whenever its
//! answer comes; in the closed loop every answer that *arrived* in it. Throughput counts arrivals in both. A failed
//! request has no latency: it is an error, shown beside the throughput.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::Failure;
use crate::answer::Kind;
use crate::template::Method;

mod outcome;

use outcome::histogram;
pub use outcome::{Bin, Outcome, blob};

const BIN_NS: u64 = 100_000_000;

/// One request that came to an end.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub due_ns: u64,
    /// 0: it was never sent.
    pub sent_ns: u64,
    pub end_ns: u64,
    pub verdict: Result<(), Kind>,
    pub method: Method,
    /// Progress notifications before the answer.
    pub events: u32,
}

#[derive(Debug)]
pub struct Recorder {
    open: bool,
    from_ns: u64,
    to_ns: u64,
    sent: u64,
    completed: u64,
    arrived: u64,
    missed: u64,
    errors: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    lag: Histogram<u64>,
    by_method: [u64; 3],
    cancelled: u64,
    events: u64,
    sessions: Option<Histogram<u64>>,
    last_ns: u64,
    bin: u64,
    bin_errors: u64,
    samples: Vec<u64>,
    series: Vec<Bin>,
}

impl Recorder {
    pub fn new(open: bool, from_ns: u64, to_ns: u64) -> Self {
        Self {
            open,
            from_ns,
            to_ns,
            sent: 0,
            completed: 0,
            arrived: 0,
            missed: 0,
            errors: BTreeMap::new(),
            latency: histogram(),
            service: histogram(),
            lag: histogram(),
            by_method: [0; 3],
            cancelled: 0,
            events: 0,
            sessions: None,
            last_ns: 0,
            bin: 0,
            bin_errors: 0,
            samples: Vec::new(),
            series: Vec::new(),
        }
    }

    const fn measured(&self, at: u64) -> bool {
        at >= self.from_ns && at < self.to_ns
    }

    /// A request was written.
    #[inline]
    pub fn sent(&mut self, due_ns: u64, sent_ns: u64) {
        self.sent += u64::from(self.measured(if self.open { due_ns } else { sent_ns }));
    }

    /// The generator noticed a due request only now.
    #[inline]
    pub fn late(&mut self, due_ns: u64, now_ns: u64) {
        if self.measured(due_ns) {
            self.lag.saturating_record(now_ns - due_ns);
        }
    }

    pub fn missed(&mut self, due_ns: u64) {
        self.missed += u64::from(self.measured(due_ns));
    }

    #[inline]
    pub fn ended(&mut self, ended: Ended) {
        let arrived = self.measured(ended.end_ns);
        if arrived {
            self.enter_bin(ended.end_ns);
        }
        let counts = if self.open {
            self.measured(ended.due_ns)
        } else {
            arrived
        };
        let latency = ended.end_ns.saturating_sub(ended.due_ns);
        if counts {
            self.last_ns = self.last_ns.max(ended.end_ns);
        }
        match ended.verdict {
            Ok(()) => {
                if arrived {
                    self.arrived += 1;
                    self.samples.push(latency);
                }
                if counts {
                    self.completed += 1;
                    self.by_method[ended.method as usize] += 1;
                    self.events += u64::from(ended.events);
                    self.latency.saturating_record(latency);
                    if self.open {
                        self.service
                            .saturating_record(ended.end_ns.saturating_sub(ended.sent_ns));
                    }
                }
            }
            Err(Kind::Cancelled) => self.cancelled += u64::from(counts),
            Err(kind) => {
                self.bin_errors += u64::from(arrived);
                if counts {
                    *self.errors.entry(kind.to_string()).or_default() += 1;
                }
            }
        }
    }

    /// A session was ended and its successor is up.
    pub fn session(&mut self, from_ns: u64, to_ns: u64) {
        if self.measured(to_ns) {
            self.sessions
                .get_or_insert_with(histogram)
                .saturating_record(to_ns - from_ns);
        }
    }

    /// Ends the window here, if it would last longer.
    pub fn close(&mut self, at: u64) {
        self.to_ns = self.to_ns.min(at).max(self.from_ns + 1);
    }

    /// How many requests of the window have come to an end.
    pub fn over(&self) -> u64 {
        self.completed + self.cancelled + self.errors.values().sum::<u64>()
    }

    /// From the start of the window to the last end of a request; `None` if one has none.
    #[allow(clippy::cast_precision_loss)] // nanoseconds of one run
    pub fn drain_ms(&self) -> Option<f64> {
        let whole = self.missed == 0 && self.last_ns != u64::MAX;
        whole.then(|| self.last_ns.saturating_sub(self.from_ns) as f64 / 1e6)
    }

    fn enter_bin(&mut self, at: u64) {
        let bin = (at - self.from_ns) / BIN_NS;
        while self.bin < bin {
            self.close_bin();
        }
    }

    #[allow(clippy::cast_precision_loss)] // nanoseconds of one latency
    fn close_bin(&mut self) {
        let quantile = |samples: &mut Vec<u64>, share: usize| {
            if samples.is_empty() {
                return 0.0;
            }
            let index = (samples.len() * share).div_ceil(100) - 1;
            *samples.select_nth_unstable(index).1 as f64 / 1000.0
        };
        let p50_us = quantile(&mut self.samples, 50);
        let p99_us = quantile(&mut self.samples, 99);
        self.series.push(Bin {
            t_ms: (self.bin + 1) * (BIN_NS / 1_000_000),
            completed: self.samples.len() as u64,
            errors: self.bin_errors,
            p50_us,
            p99_us,
        });
        self.samples.clear();
        self.bin_errors = 0;
        self.bin += 1;
    }

    #[allow(clippy::cast_precision_loss)] // counts and times of one run
    pub fn outcome(mut self, cpu_ns: u64) -> Result<Outcome, Failure> {
        while self.bin < (self.to_ns - self.from_ns).div_ceil(BIN_NS) {
            self.close_bin();
        }
        let duration_s = (self.to_ns - self.from_ns) as f64 / 1e9;
        let latency = blob(&self.latency)?;
        Ok(Outcome {
            event: "result",
            generator: "rust",
            sent: self.sent,
            completed: self.completed,
            mismatches: self.errors.get("mismatch").copied().unwrap_or(0),
            errors: self.errors,
            missed_sends: self.missed,
            duration_s,
            throughput_per_s: self.arrived as f64 / duration_s,
            // In the closed loop a request is due when it is sent: the two are one.
            service: if self.open {
                blob(&self.service)?
            } else {
                latency.clone()
            },
            latency,
            lag: blob(&self.lag)?,
            series: self.series,
            generator_cpu_s: cpu_ns as f64 / 1e9,
            by_method: Method::ALL
                .into_iter()
                .map(|(method, name)| (name, self.by_method[method as usize]))
                .filter(|(_, count)| *count > 0)
                .collect(),
            cancelled: self.cancelled,
            events: self.events,
            events_per_s: self.events as f64 / duration_s,
            sessions: self.sessions.as_ref().map_or(0, Histogram::len),
            session_latency: self.sessions.as_ref().map(blob).transpose()?,
            drain_ms: None,
            connects_per_s: None,
        })
    }
}

#[cfg(test)]
mod tests;
