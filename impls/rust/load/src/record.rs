//! What a run leaves behind: histograms, errors by kind, a series of 100 ms bins.
//!
//! Rule: only what belongs to the measured window counts. In the open loop that is every request *due* in it, whenever its
//! answer comes; in the closed loop every answer that *arrived* in it. Throughput counts arrivals in both. A failed
//! request has no latency: it is an error, shown beside the throughput.

use std::collections::BTreeMap;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::Serialize;

use crate::Failure;
use crate::answer::Kind;

const BIN_NS: u64 = 100_000_000;
const HIGHEST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds: 3 significant digits, up to 60 s.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("constant bounds are valid")
}

/// HDR V2, compressed, base64.
pub fn blob(histogram: &Histogram<u64>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(|why| Failure::Usage(format!("cannot encode a histogram: {why}; report it")))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// One 100 ms bin of the window.
#[derive(Debug, Clone, Serialize)]
pub struct Bin {
    pub t_ms: u64,
    pub completed: u64,
    pub errors: u64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// What a run reports; the keys are the documented format.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub event: &'static str,
    pub generator: &'static str,
    pub sent: u64,
    pub completed: u64,
    pub errors: BTreeMap<String, u64>,
    pub mismatches: u64,
    pub missed_sends: u64,
    pub duration_s: f64,
    pub throughput_per_s: f64,
    pub latency: String,
    pub service: String,
    pub lag: String,
    pub series: Vec<Bin>,
    pub generator_cpu_s: f64,
}

/// One request that came to an end.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub due_ns: u64,
    /// 0: it was never sent.
    pub sent_ns: u64,
    pub end_ns: u64,
    pub verdict: Result<(), Kind>,
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
        match ended.verdict {
            Ok(()) => {
                if arrived {
                    self.arrived += 1;
                    self.samples.push(latency);
                }
                if counts {
                    self.completed += 1;
                    self.latency.saturating_record(latency);
                    if self.open {
                        self.service
                            .saturating_record(ended.end_ns.saturating_sub(ended.sent_ns));
                    }
                }
            }
            Err(kind) => {
                self.bin_errors += u64::from(arrived);
                if counts {
                    *self.errors.entry(kind.to_string()).or_default() += 1;
                }
            }
        }
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn ended(due_ns: u64, end_ns: u64, verdict: Result<(), Kind>) -> Ended {
        Ended {
            due_ns,
            sent_ns: due_ns,
            end_ns,
            verdict,
        }
    }

    #[test]
    fn the_window_is_of_due_times_when_open_and_of_answers_when_closed() {
        for (open, completed) in [(true, 2), (false, 2)] {
            let mut recorder = Recorder::new(open, S, 2 * S);
            recorder.ended(ended(S - 1, S + 5, Ok(()))); // due before, answered inside
            recorder.ended(ended(S + 1, S + 6, Ok(()))); // inside
            recorder.ended(ended(2 * S - 1, 2 * S + 1, Ok(()))); // due inside, answered after
            recorder.ended(ended(2 * S, 2 * S + 1, Ok(()))); // after
            let outcome = recorder.outcome(0).unwrap();
            assert_eq!(outcome.completed, completed);
            assert!((outcome.throughput_per_s - 2.0).abs() < 1e-9);
            assert_eq!(
                outcome.series.iter().map(|bin| bin.completed).sum::<u64>(),
                2
            );
        }
    }

    #[test]
    fn silence_leaves_empty_bins_not_missing_ones() {
        let mut recorder = Recorder::new(false, 0, S);
        recorder.ended(ended(0, 10_000_000, Ok(())));
        recorder.ended(ended(0, 950_000_000, Err(Kind::Timeout)));
        let outcome = recorder.outcome(0).unwrap();
        assert_eq!(outcome.series.len(), 10);
        assert_eq!(
            (outcome.series[0].completed, outcome.series[5].completed),
            (1, 0)
        );
        assert_eq!(
            (outcome.series[9].errors, outcome.errors["timeout"]),
            (1, 1)
        );
        assert!((outcome.series[0].p50_us - 10_000.0).abs() < 1e-9);
    }
}
