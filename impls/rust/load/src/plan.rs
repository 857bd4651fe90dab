//! The plan of a load: one JSON object, validated once. Times are seconds in the plan and nanoseconds inside.
//!
//! Rule: what a plan asks for is done or refused by name; `checks` refuses what makes no sense together.

use serde::Deserialize;

use crate::Failure;

mod checks;
#[cfg(test)]
mod tests;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every connection sends its next request when the last was answered: saturation throughput, nothing else.
    Closed,
    /// Requests are due at times drawn in advance, whatever the server does: latency.
    Open,
    /// Connections are opened, used once and held: memory.
    Hold,
    /// Connections are opened as fast as they can be, used once and closed: a storm.
    Connect,
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

/// One of several servers; connections are spread over them in turn.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    #[serde(default = "host")]
    pub host: String,
    pub port: u16,
}

/// Weights of the methods that requests are drawn from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    pub list: u32,
    pub call: u32,
    pub read: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    pub host: String,
    pub port: Option<u16>,
    /// Never empty once parsed: `host` and `port` are the only one if none is given.
    pub targets: Vec<Target>,
    pub path: String,
    pub mode: Mode,
    pub connections: usize,
    /// Mode "connect": how many may be between their opening and their answer.
    pub parallel: usize,
    pub rate_per_s: Option<f64>,
    pub arrivals: Spacing,
    /// Open loop: so many requests are due at the start of the window, and no others.
    pub burst: u64,
    pub warmup_s: f64,
    pub duration_s: f64,
    pub drain_s: f64,
    pub era: Era,
    pub tool: Option<String>,
    /// Never empty once parsed: `tool` is the only one if none is given.
    pub tools: Vec<String>,
    pub mix: Option<Mix>,
    /// What a read asks for; `{text}` stands for the nonce.
    pub uri: String,
    /// Progress notifications that a call asks its tool for.
    pub events: u32,
    /// So many calls, one after the other, are one unit.
    pub chain: u32,
    pub cancel_per_mille: u32,
    pub cancel_after_ms: f64,
    /// Legacy: a session is ended after so many calls and a new one begun (0: never).
    pub session_calls: u32,
    pub payload_bytes: usize,
    pub seed: u64,
    /// Every n-th answer's text is compared with what was sent (1: all, 0: none); errors are seen in all of them.
    pub check_every: u64,
    pub timeout_s: f64,
    /// How long the connections may take to be up before the run begins.
    pub connect_timeout_s: f64,
    pub cpu: Option<usize>,
    /// More tool arguments, put before `text` and `n` in each request.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// Which implementation was asked for; read by the Python side.
    pub generator: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            host: host(),
            port: None,
            targets: Vec::new(),
            path: "/mcp".into(),
            mode: Mode::Closed,
            connections: 0,
            parallel: 64,
            rate_per_s: None,
            arrivals: Spacing::Poisson,
            burst: 0,
            warmup_s: 0.0,
            duration_s: 0.0,
            drain_s: 1.0,
            era: Era::Modern,
            tool: None,
            tools: Vec::new(),
            mix: None,
            uri: "echo:///{text}".into(),
            events: 0,
            chain: 1,
            cancel_per_mille: 0,
            cancel_after_ms: 1.0,
            session_calls: 0,
            payload_bytes: 16,
            seed: 1,
            check_every: 1,
            timeout_s: 10.0,
            connect_timeout_s: 10.0,
            cpu: None,
            arguments: serde_json::Map::new(),
            generator: None,
        }
    }
}

fn host() -> String {
    "127.0.0.1".into()
}

impl Plan {
    pub fn parse(json: &[u8]) -> Result<Self, Failure> {
        let refused = |why: &dyn std::fmt::Display| {
            Failure::Usage(format!(
                "load plan: {why}; the keys are listed in crossfade.harness.load"
            ))
        };
        let given: serde_json::Value = serde_json::from_slice(json).map_err(|why| refused(&why))?;
        for key in ["mode", "connections"] {
            if given.get(key).is_none() {
                return Err(refused(&format_args!("`{key}` is missing")));
            }
        }
        let mut plan: Self = serde_json::from_value(given).map_err(|why| refused(&why))?;
        if let Err(why) = checks::check(&plan) {
            return Err(Failure::Usage(format!("load plan: {why}")));
        }
        if let Some(port) = plan.port {
            let host = plan.host.clone();
            plan.targets.push(Target { host, port });
        }
        if plan.tools.is_empty() {
            plan.tools
                .push(plan.tool.clone().unwrap_or_else(|| "echo".into()));
        }
        Ok(plan)
    }

    /// Where the load goes, in words.
    pub fn whither(&self) -> String {
        let all: Vec<String> = self
            .targets
            .iter()
            .map(|target| format!("{}:{}{}", target.host, target.port, self.path))
            .collect();
        all.join(", ")
    }

    /// The target of a connection.
    pub fn target(&self, key: usize) -> &Target {
        &self.targets[key % self.targets.len()]
    }
}

/// Seconds of a validated plan, in nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most a day, never negative
pub fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
