//! The plan of a load: one JSON object, validated once. Times are seconds in the plan and nanoseconds inside.

use serde::Deserialize;

use crate::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every connection sends its next request when the last was answered: saturation throughput, nothing else.
    Closed,
    /// Requests are due at times drawn in advance, whatever the server does: latency.
    Open,
    /// Connections are opened, used once and held: memory.
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    Poisson,
    Constant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    Modern,
    Legacy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    #[serde(default = "host")]
    pub host: String,
    pub port: u16,
    #[serde(default = "path")]
    pub path: String,
    pub mode: Mode,
    pub connections: usize,
    #[serde(default)]
    pub rate_per_s: Option<f64>,
    #[serde(default = "poisson")]
    pub arrivals: Spacing,
    #[serde(default)]
    pub warmup_s: f64,
    #[serde(default)]
    pub duration_s: f64,
    #[serde(default = "one_second")]
    pub drain_s: f64,
    #[serde(default = "modern")]
    pub era: Era,
    #[serde(default = "echo")]
    pub tool: String,
    #[serde(default = "sixteen")]
    pub payload_bytes: usize,
    #[serde(default = "one")]
    pub seed: u64,
    /// Every n-th answer's text is compared with what was sent (1: all, 0: none); errors are seen in all of them.
    #[serde(default = "one")]
    pub check_every: u64,
    #[serde(default = "ten_seconds")]
    pub timeout_s: f64,
    /// How long the connections may take to be up before the run begins.
    #[serde(default = "ten_seconds")]
    pub connect_timeout_s: f64,
    #[serde(default)]
    pub cpu: Option<usize>,
    /// More tool arguments, put before `text` and `n` in each request.
    #[serde(default)]
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// Which implementation was asked for; read by the Python side.
    #[serde(default)]
    pub generator: Option<String>,
}

fn host() -> String {
    "127.0.0.1".into()
}
fn path() -> String {
    "/mcp".into()
}
fn echo() -> String {
    "echo".into()
}
fn poisson() -> Spacing {
    Spacing::Poisson
}
fn modern() -> Era {
    Era::Modern
}
fn sixteen() -> usize {
    16
}
fn one() -> u64 {
    1
}
fn one_second() -> f64 {
    1.0
}
fn ten_seconds() -> f64 {
    10.0
}

impl Plan {
    pub fn parse(json: &[u8]) -> Result<Self, Failure> {
        let plan: Self = serde_json::from_slice(json).map_err(|why| {
            Failure::Usage(format!(
                "load plan: {why}; the keys are listed in crossfade.harness.load"
            ))
        })?;
        let wrong = |what: &str| Err(Failure::Usage(format!("load plan: {what}")));
        if plan.connections == 0 && plan.mode != Mode::Hold {
            return wrong("`connections` must be at least 1");
        }
        if plan.connections > 200_000 {
            return wrong("`connections` must be at most 200000");
        }
        if plan.mode == Mode::Open
            && !plan
                .rate_per_s
                .is_some_and(|rate| rate > 0.0 && rate <= 10e6)
        {
            return wrong("mode \"open\" needs `rate_per_s`, above 0 and at most 10 million");
        }
        if plan.mode != Mode::Hold && !(plan.duration_s > 0.0 && plan.duration_s <= 86_400.0) {
            return wrong("`duration_s` must be above 0 and at most a day");
        }
        for (name, value) in [("warmup_s", plan.warmup_s), ("drain_s", plan.drain_s)] {
            if !(0.0..=86_400.0).contains(&value) {
                return wrong(&format!("`{name}` must be from 0 to a day"));
            }
        }
        for (name, value) in [
            ("timeout_s", plan.timeout_s),
            ("connect_timeout_s", plan.connect_timeout_s),
        ] {
            if !(value > 0.0 && value <= 86_400.0) {
                return wrong(&format!("`{name}` must be above 0 and at most a day"));
            }
        }
        if plan.payload_bytes > 64 * 1024 * 1024 {
            return wrong("`payload_bytes` must be at most 64 MiB");
        }
        if !plan.path.starts_with('/') || plan.path.bytes().any(|byte| byte <= b' ') {
            return wrong("`path` must begin with / and hold no spaces");
        }
        if plan.tool.is_empty()
            || !plan
                .tool
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        {
            return wrong("`tool` must be plain ASCII without quotes");
        }
        Ok(plan)
    }
}

/// Seconds of a validated plan, in nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most a day, never negative
pub fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
