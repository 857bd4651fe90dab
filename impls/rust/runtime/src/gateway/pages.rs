//! `/metrics` (Prometheus text) and `/healthz` (JSON).

use std::fmt::Write;

use crossfade_core::histogram;

use super::answer::Answer;
use crate::manager::Inner;
use crate::metrics::{MetricsSnapshot, ServerCounters};
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

/// A sample of each server: name, type, help, and where it is.
type PerServer = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ServerCounters) -> u64,
);

const PER_SERVER: [PerServer; 14] = [
    (
        "crossfade_requests_total",
        "counter",
        "Attempts that a server answered or failed.",
        |server| server.requests,
    ),
    (
        "crossfade_server_errors_total",
        "counter",
        "Attempts that a server failed.",
        |server| server.errors,
    ),
    (
        "crossfade_rejected_total",
        "counter",
        "Requests refused before they were sent.",
        |server| server.rejected,
    ),
    (
        "crossfade_rate_limited_total",
        "counter",
        "Of these, by a rate limit.",
        |server| server.rate_limited,
    ),
    (
        "crossfade_shed_total",
        "counter",
        "Of these, by load shedding.",
        |server| server.shed,
    ),
    (
        "crossfade_queued_total",
        "counter",
        "Requests that waited for a place in the bulkhead.",
        |server| server.queued,
    ),
    (
        "crossfade_retries_total",
        "counter",
        "Attempts after the first.",
        |server| server.retries,
    ),
    (
        "crossfade_hedges_total",
        "counter",
        "Second copies of late requests.",
        |server| server.hedges,
    ),
    (
        "crossfade_hedged_wins_total",
        "counter",
        "Second copies that answered first.",
        |server| server.hedged_wins,
    ),
    (
        "crossfade_cache_hits_total",
        "counter",
        "Reads answered from the cache.",
        |server| server.cache_hits,
    ),
    (
        "crossfade_cache_misses_total",
        "counter",
        "Reads that the cache could not answer.",
        |server| server.cache_misses,
    ),
    (
        "crossfade_coalesced_total",
        "counter",
        "Reads that shared another one's request.",
        |server| server.coalesced,
    ),
    (
        "crossfade_in_flight",
        "gauge",
        "Requests in flight.",
        |server| server.in_flight,
    ),
    (
        "crossfade_connections",
        "gauge",
        "Open upstream connections.",
        |server| server.connections,
    ),
];

/// One sample per server.
fn per_server(
    out: &mut String,
    snapshot: &MetricsSnapshot,
    name: &str,
    (kind, help): (&str, &str),
    value: fn(&ServerCounters) -> u64,
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
    for (name, kind, help, value) in PER_SERVER {
        per_server(&mut out, &all, name, (kind, help), value);
    }
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
    latency(&mut out, manager);
    Answer {
        kind: TEXT,
        ..Answer::new(200, out.into_bytes())
    }
}

/// A histogram per server, with the bounds of the core.
fn latency(out: &mut String, manager: &Inner) {
    let name = "crossfade_request_seconds";
    metric(out, name, "histogram", "Latency of requests to servers.");
    for server in &manager.registry.load().servers {
        let (found, server) = (&server.latency, label(server.name()));
        for octave in histogram::OCTAVES {
            let _ = writeln!(
                out,
                "{name}_bucket{{server=\"{server}\",le=\"{}\"}} {}",
                seconds(1 << octave),
                found.below(octave)
            );
        }
        let count = found.count();
        let _ = writeln!(
            out,
            "{name}_bucket{{server=\"{server}\",le=\"+Inf\"}} {count}\n{name}_sum{{server=\"{server}\"}} {}\n{name}_count{{server=\"{server}\"}} {count}",
            seconds(found.sum_ns()),
        );
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
