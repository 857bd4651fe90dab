//! The upstream fleet: echo servers for both eras, over HTTP and stdio, that cost next to nothing.
//!
//! [`rpc`] decides what to answer, without I/O; [`http`] and [`stdio`] carry it. Configuration is one JSON object:
//!
//! | key | meaning (default) |
//! | --- | --- |
//! | `host`, `port` | where to listen ("127.0.0.1", 0 = any) |
//! | `ports` | how many ports this one process listens on (1) |
//! | `era` | "legacy", "modern" or "both" ("both") |
//! | `latency` | `{"distribution": "constant" \| "exponential", "ms": 5.0}` before each tool answer (none) |
//! | `error_rate`, `error_kind` | share of tool calls that fail (0), and how: "rpc", "tool", "http", "reset", "garbage" ("rpc") |
//! | `answer_bytes` | pad the echo answer's text to this many bytes with a second content item (0) |
//! | `framing` | how answers are framed: "length", "chunked" or "sse" ("length") |
//! | `lie_rate` | share of echoes that answer something else, to test the checkers (0) |
//! | `slow_ports`, `slow_ms` | the last so many ports answer calls and reads so much later (0, 0) |
//! | `stderr_bytes_per_s` | stdio: so much noise on standard error (0) |
//! | `seed`, `cpu` | of the random draws (1); CPU to pin to (none) |

use serde::Deserialize;

use crate::Failure;

pub mod http;
pub mod rpc;
pub mod sessions;
pub mod stdio;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serves {
    Legacy,
    Modern,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    Constant,
    Exponential,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub distribution: Distribution,
    pub ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    Rpc,
    Tool,
    Http,
    Reset,
    Garbage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    Length,
    Chunked,
    Sse,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub host: String,
    pub port: u16,
    pub ports: usize,
    /// Accepted for symmetry with scenario files: one process is one server.
    pub servers: usize,
    pub era: Serves,
    pub latency: Option<Latency>,
    pub error_rate: f64,
    pub error_kind: Fault,
    pub answer_bytes: usize,
    pub framing: Framing,
    pub lie_rate: f64,
    pub slow_ports: usize,
    pub slow_ms: f64,
    pub stderr_bytes_per_s: u64,
    pub seed: u64,
    pub cpu: Option<usize>,
    /// Which implementation was asked for; read by the Python side.
    pub generator: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            ports: 1,
            servers: 1,
            era: Serves::Both,
            latency: None,
            error_rate: 0.0,
            error_kind: Fault::Rpc,
            answer_bytes: 0,
            framing: Framing::Length,
            lie_rate: 0.0,
            slow_ports: 0,
            slow_ms: 0.0,
            stderr_bytes_per_s: 0,
            seed: 1,
            cpu: None,
            generator: None,
        }
    }
}

impl Config {
    pub fn parse(json: &[u8]) -> Result<Self, Failure> {
        let json = if json.trim_ascii().is_empty() {
            b"{}"
        } else {
            json
        };
        let config: Self = serde_json::from_slice(json).map_err(|why| {
            Failure::Usage(format!(
                "fleet configuration: {why}; the keys are listed in crossfade.harness.fleet"
            ))
        })?;
        let wrong = |what: &str| Err(Failure::Usage(format!("fleet configuration: {what}")));
        if config.servers != 1 {
            return wrong("`servers` must be 1: start one process per server, or set `ports`");
        }
        if config.ports == 0 || (config.port != 0 && config.ports != 1) {
            return wrong(
                "`ports` must be at least 1, and 1 when `port` is fixed; set `port` to 0",
            );
        }
        if !(0.0..=1.0).contains(&config.error_rate) || !(0.0..=1.0).contains(&config.lie_rate) {
            return wrong("`error_rate` and `lie_rate` are shares; give a number from 0 to 1");
        }
        if config.slow_ports > config.ports {
            return wrong("`slow_ports` must be at most `ports`");
        }
        if !(0.0..=600_000.0).contains(&config.slow_ms) {
            return wrong("`slow_ms` must be from 0 to 600000");
        }
        if config.stderr_bytes_per_s > 1 << 30 {
            return wrong("`stderr_bytes_per_s` must be at most 1 GiB");
        }
        if config
            .latency
            .is_some_and(|latency| !(0.0..=600_000.0).contains(&latency.ms))
        {
            return wrong("`latency.ms` must be from 0 to 600000");
        }
        Ok(config)
    }
}
