//! `/metrics` (Prometheus text) and `/healthz` (JSON).

use std::fmt::Write;

use super::answer::Answer;
use crate::manager::Inner;
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

pub(crate) fn metrics(manager: &Inner) -> Answer {
    let snapshot = manager.metrics();
    let mut out = String::new();
    metric(
        &mut out,
        "crossfade_requests_total",
        "counter",
        "Requests that a server answered or failed.",
    );
    for (name, server) in &snapshot.servers {
        let _ = writeln!(
            out,
            "crossfade_requests_total{{server=\"{}\"}} {}",
            label(name),
            server.requests
        );
    }
    metric(
        &mut out,
        "crossfade_server_errors_total",
        "counter",
        "Requests that a server failed.",
    );
    for (name, server) in &snapshot.servers {
        let _ = writeln!(
            out,
            "crossfade_server_errors_total{{server=\"{}\"}} {}",
            label(name),
            server.errors
        );
    }
    metric(
        &mut out,
        "crossfade_rejected_total",
        "counter",
        "Requests refused before they were sent.",
    );
    for (name, server) in &snapshot.servers {
        let _ = writeln!(
            out,
            "crossfade_rejected_total{{server=\"{}\"}} {}",
            label(name),
            server.rejected
        );
    }
    metric(
        &mut out,
        "crossfade_in_flight",
        "gauge",
        "Requests in flight.",
    );
    for (name, server) in &snapshot.servers {
        let _ = writeln!(
            out,
            "crossfade_in_flight{{server=\"{}\"}} {}",
            label(name),
            server.in_flight
        );
    }
    metric(
        &mut out,
        "crossfade_connections",
        "gauge",
        "Open upstream connections.",
    );
    for (name, server) in &snapshot.servers {
        let _ = writeln!(
            out,
            "crossfade_connections{{server=\"{}\"}} {}",
            label(name),
            server.connections
        );
    }
    metric(
        &mut out,
        "crossfade_errors_total",
        "counter",
        "Errors by code.",
    );
    for (code, count) in &snapshot.errors_by_code {
        let _ = writeln!(out, "crossfade_errors_total{{code=\"{code}\"}} {count}");
    }
    metric(
        &mut out,
        "crossfade_clients",
        "gauge",
        "Open client connections.",
    );
    let _ = writeln!(out, "crossfade_clients {}", snapshot.clients);
    metric(
        &mut out,
        "crossfade_sessions",
        "gauge",
        "Sessions of legacy clients.",
    );
    let _ = writeln!(out, "crossfade_sessions {}", snapshot.sessions);
    let latency = snapshot.latency_ns;
    metric(
        &mut out,
        "crossfade_request_seconds",
        "summary",
        "Latency of requests to servers.",
    );
    for (quantile, value) in [
        ("0.5", latency.p50),
        ("0.9", latency.p90),
        ("0.99", latency.p99),
        ("0.999", latency.p999),
    ] {
        let _ = writeln!(
            out,
            "crossfade_request_seconds{{quantile=\"{quantile}\"}} {}",
            seconds(value)
        );
    }
    let _ = writeln!(
        out,
        "crossfade_request_seconds_sum {}",
        seconds(latency.mean.saturating_mul(latency.count))
    );
    let _ = writeln!(out, "crossfade_request_seconds_count {}", latency.count);
    Answer {
        kind: TEXT,
        ..Answer::new(200, out.into_bytes())
    }
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
