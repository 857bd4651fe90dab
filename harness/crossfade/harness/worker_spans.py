"""What OpenTelemetry costs a call in process: the same calls through the manager under test, and one with spans.

The rule: every call is sampled, and its span ends up in memory: what a collector would cost is not the manager's. The
two are clocked by turns, so that a machine that changes its speed does not look like a cost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crossfade.harness.problems import BlockFailed
from crossfade.impls import Config, Manager, ServerSpec, TelemetrySpec, open_manager

TURNS = 3


async def spans_percent(
    manager: Manager, order: dict[str, Any], cpu_us: Callable[[Manager], Awaitable[float]]
) -> float:
    """What spans add to the processor time of a call, in percent of a call without.

    ``cpu_us`` clocks calls of ``order["server"]``. The provider stays this process's. Raises BlockFailed if there was
    no span to pay for.
    """
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    server = ServerSpec(name=order["server"], urls=(order["url"],))
    config = Config(servers=(server,), telemetry=TelemetrySpec(otel=True))
    added = []
    async with open_manager(config, manager.variant) as traced:
        for _ in range(TURNS):
            without, spanned = await cpu_us(manager), await cpu_us(traced)
            if not kept.get_finished_spans():
                raise BlockFailed(f"{manager.variant}: no spans with telemetry.otel; look at crossfade.impls.tracing")
            kept.clear()
            added.append(100 * (spanned / without - 1))
    return median(added)
