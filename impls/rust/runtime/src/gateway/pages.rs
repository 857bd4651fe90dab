//! `/metrics` (Prometheus text) and `/healthz` (JSON).

use std::fmt::Write;

use super::answer::Answer;
use crate::manager::Inner;
use crate::metrics::{LatencySummary, MetricsSnapshot, ServerCounters};
use crate::translate;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn metric(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[allow(clippy::cast_precision_loss)] // nanoseconds as seconds, for people
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// One sample per server.
fn per_server(
    out: &mut String,
    snapshot: &MetricsSnapshot,
    name: &str,
    (kind, help): (&str, &str),
    value: impl Fn(&ServerCounters) -> u64,
) {
    metric(out, name, kind, help);
    for (server, counters) in &snapshot.servers {
        let _ = writeln!(
            out,
            "{name}{{server=\"{}\"}} {}",
            label(server),
            value(counters)
        );
    }
}

pub(crate) fn metrics(manager: &Inner) -> Answer {
    let all = manager.metrics();
    let mut out = String::new();
    let requests = ("counter", "Requests that a server answered or failed.");
    per_server(
        &mut out,
        &all,
        "crossfade_requests_total",
        requests,
        |server| server.requests,
    );
    let errors = ("counter", "Requests that a server failed.");
    per_server(
        &mut out,
        &all,
        "crossfade_server_errors_total",
        errors,
        |server| server.errors,
    );
    let rejected = ("counter", "Requests refused before they were sent.");
    per_server(
        &mut out,
        &all,
        "crossfade_rejected_total",
        rejected,
        |server| server.rejected,
    );
    per_server(
        &mut out,
        &all,
        "crossfade_in_flight",
        ("gauge", "Requests in flight."),
        |server| server.in_flight,
    );
    let connections = ("gauge", "Open upstream connections.");
    per_server(
        &mut out,
        &all,
        "crossfade_connections",
        connections,
        |server| server.connections,
    );
    metric(
        &mut out,
        "crossfade_errors_total",
        "counter",
        "Errors by code.",
    );
    for (code, count) in &all.errors_by_code {
        let _ = writeln!(out, "crossfade_errors_total{{code=\"{code}\"}} {count}");
    }
    metric(
        &mut out,
        "crossfade_clients",
        "gauge",
        "Open client connections.",
    );
    let _ = writeln!(out, "crossfade_clients {}", all.clients);
    metric(
        &mut out,
        "crossfade_sessions",
        "gauge",
        "Sessions of legacy clients.",
    );
    let _ = writeln!(out, "crossfade_sessions {}", all.sessions);
    latency(&mut out, &all.latency_ns);
    Answer {
        kind: TEXT,
        ..Answer::new(200, out.into_bytes())
    }
}

fn latency(out: &mut String, latency: &LatencySummary) {
    let name = "crossfade_request_seconds";
    metric(out, name, "summary", "Latency of requests to servers.");
    let quantiles = [
        ("0.5", latency.p50),
        ("0.9", latency.p90),
        ("0.99", latency.p99),
        ("0.999", latency.p999),
    ];
    for (quantile, value) in quantiles {
        let _ = writeln!(out, "{name}{{quantile=\"{quantile}\"}} {}", seconds(value));
    }
    let _ = writeln!(
        out,
        "{name}_sum {}",
        seconds(latency.mean.saturating_mul(latency.count))
    );
    let _ = writeln!(out, "{name}_count {}", latency.count);
}

pub(crate) fn health(manager: &Inner) -> Answer {
    let mut out = b"{\"status\":\"ok\",\"servers\":{".to_vec();
    for (index, server) in manager.registry.load().servers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        translate::push_json_string(&mut out, server.name());
        out.push(b':');
        translate::push_json_string(&mut out, server.state().as_str());
    }
    out.extend_from_slice(b"}}");
    Answer::new(200, out)
}
