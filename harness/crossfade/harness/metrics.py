"""What a scalar of a block means: its name, unit, and which way improvement lies.

The rule: reports and verdicts take the direction from here and never guess it from a name.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What a scalar means. ``better`` says which way improvement lies; reports never guess it from a name."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(name="throughput_per_s", title="Throughput", unit="requests/s", better="higher"),
        Metric(name="cpu_us_per_request", title="CPU per request", unit="us", better="lower"),
        Metric(name="p50_us", title="Latency p50", unit="us", better="lower"),
        Metric(name="p99_us", title="Latency p99", unit="us", better="lower"),
        Metric(name="p999_us", title="Latency p99.9", unit="us", better="lower"),
        Metric(name="knee_per_s", title="Highest rate within the objective", unit="requests/s", better="higher"),
        Metric(name="slope_kib", title="Memory per connection, idle", unit="KiB", better="lower"),
        Metric(name="slope_load_kib", title="Memory per connection, calls in flight", unit="KiB", better="lower"),
        Metric(name="intercept_mib", title="Memory without connections", unit="MiB", better="lower"),
        Metric(name="session_kib", title="Memory per idle session", unit="KiB", better="lower"),
        Metric(name="child_kib", title="Memory of one stdio child, shown apart", unit="KiB", better="lower"),
        Metric(name="kernel_kib", title="Kernel memory per connection, own cgroup", unit="KiB", better="lower"),
        Metric(
            name="machine_kernel_kib",
            title="Kernel memory per connection, both ends, whole machine",
            unit="KiB",
            better="lower",
        ),
        Metric(name="soak_pss_mib", title="Memory at the end of a soak", unit="MiB", better="lower"),
        Metric(name="soak_kib_per_1000_calls", title="Growth per 1,000 calls", unit="KiB", better="lower"),
        Metric(name="soak_kib_per_min", title="Growth per minute", unit="KiB", better="lower"),
        Metric(name="call_cpu_us", title="Processor time of one call in process", unit="us", better="lower"),
        Metric(
            name="metrics_percent", title="Metrics, share of a call\u2019s processor time", unit="%", better="lower"
        ),
        Metric(name="spans_percent", title="Spans, added to a call\u2019s processor time", unit="%", better="lower"),
        Metric(name="register_us", title="Register and unregister a server", unit="us", better="lower"),
        Metric(name="health_us", title="Health probe of a server", unit="us", better="lower"),
        Metric(name="pool_checkout_ns", title="Pool checkout and release", unit="ns", better="lower"),
        Metric(name="route_ns", title="Choose an instance (balancer)", unit="ns", better="lower"),
        Metric(name="route_1000_ns", title="Choose among 1,000 instances", unit="ns", better="lower"),
        Metric(name="breaker_ns", title="Circuit breaker, admit and record", unit="ns", better="lower"),
        Metric(name="numba_cold_ms", title="numba to its first decisions, no cache", unit="ms", better="lower"),
        Metric(name="numba_cached_ms", title="numba to its first decisions, from its cache", unit="ms", better="lower"),
        Metric(name="numba_warm_ms", title="numba, the same decisions again", unit="ms", better="lower"),
        Metric(name="broadcast_us", title="One call to each of ten servers", unit="us", better="lower"),
        Metric(name="first_success_ms", title="Recovery to the first success", unit="ms", better="lower"),
        Metric(name="restored_ms", title="Recovery to 90 % of the rate", unit="ms", better="lower"),
        Metric(name="breaker_open_ms", title="Fault to the open circuit", unit="ms", better="lower"),
        Metric(name="breaker_heal_ms", title="Recovery to the closed circuit", unit="ms", better="lower"),
        Metric(name="events_per_s", title="Progress notifications passed on", unit="events/s", better="higher"),
        Metric(name="sessions_per_s", title="Sessions ended and begun anew", unit="sessions/s", better="higher"),
        Metric(name="drain_ms", title="Burst to its last answer", unit="ms", better="lower"),
        Metric(name="connects_per_s", title="Clients connected and answered", unit="connections/s", better="higher"),
        Metric(name="cpu_us_per_connection", title="CPU per connection", unit="us", better="lower"),
        Metric(name="start_ms", title="Cold start to the first answer", unit="ms", better="lower"),
        Metric(name="stop_ms", title="Shutdown", unit="ms", better="lower"),
        Metric(name="child_recovery_ms", title="Killed child to the next answer", unit="ms", better="lower"),
        Metric(name="update_ms", title="Update under load", unit="ms", better="lower"),
        Metric(name="nodes_cpu_ratio", title="CPU per request, most nodes over one", unit="ratio", better="lower"),
        Metric(name="failed_requests", title="Requests that failed", unit="requests", better="lower"),
        Metric(name="hung_requests", title="Requests that got no answer in time", unit="requests", better="lower"),
    )
}
"""Every metric a block may carry, in the order reports show them."""
