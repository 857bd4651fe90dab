//! What a run reports: the keys of its result and the bytes of its histograms.
//!
//! Rule: the keys are the documented format (`crossfade.harness.load`); one that means nothing for a plan is left out.

use std::collections::BTreeMap;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::Serialize;

use crate::Failure;

const HIGHEST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds: 3 significant digits, up to 60 s.
pub(super) fn histogram() -> Histogram<u64> {
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
    pub by_method: BTreeMap<&'static str, u64>,
    pub cancelled: u64,
    pub events: u64,
    pub events_per_s: f64,
    pub sessions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_latency: Option<String>,
    /// A burst's: until the last answer; null if one never came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects_per_s: Option<f64>,
}
