"""pytest-benchmark's JSON, for ``pytest-benchmark compare``: one benchmark per scenario, metric and variant.

That format knows times only. A rate becomes the time of one (its inverse, whose ``ops`` is the rate again); figures
that are neither times nor rates (memory, shares, counts) have no place in it. A round of ours is a round of theirs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence

from crossfade.harness.samples import METRICS, Metric, Results

VERSION = "5.3.1"
"""The release whose files these are like; the reader goes by the fields, not by this."""
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def pytest_benchmark(results: Results) -> str:
    """The document; grouped by scenario and metric, so that variants stand beside each other in one table."""
    environment = results.environment
    body = {
        "machine_info": {
            "node": environment.hostname_hash,
            "processor": environment.cpu.model,
            "machine": environment.os,
            "release": environment.kernel,
            "system": environment.os,
            "python_version": environment.python,
            "cpu": {"brand_raw": environment.cpu.model, "count": environment.cpu.count},
        },
        "commit_info": {
            "id": environment.commit or "unknown",
            "time": results.created,
            "author_time": results.created,
            "dirty": bool(environment.dirty),
            "project": "crossfade",
            "branch": "(unknown)",
        },
        "benchmarks": list(_benchmarks(results)),
        "datetime": results.finished or results.created,
        "version": VERSION,
    }
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def _benchmarks(results: Results) -> Iterator[dict[str, object]]:
    for record in results.scenarios:
        for metric in METRICS.values():
            for variant in record.variants:
                values = [b.metrics[metric.name] for b in results.of(record.name, variant) if metric.name in b.metrics]
                data = times(metric, values)
                if data:
                    yield {
                        "group": f"{record.name} {metric.name}",
                        "name": f"{record.name}[{metric.name}-{variant}]",
                        "fullname": f"{record.name}::{metric.name}[{variant}]",
                        "params": {"variant": variant, "metric": metric.name},
                        "param": f"{metric.name}-{variant}",
                        "extra_info": {"metric": metric.name, "unit": metric.unit, "better": metric.better},
                        "options": {
                            "disable_gc": False,
                            "timer": "perf_counter",
                            "min_rounds": record.rounds,
                            "max_time": 0.0,
                            "min_time": 0.0,
                            "warmup": False,
                        },
                        "stats": stats(data),
                    }


def times(metric: Metric, values: Sequence[float]) -> list[float]:
    """Seconds of one operation in every round; empty if the metric is no time and no rate, or nought in some round."""
    if metric.name.endswith("_per_s"):
        return [1 / value for value in values] if all(value > 0 for value in values) else []
    factor = _SECONDS.get(metric.unit)
    return [value * factor for value in values] if factor is not None and all(value > 0 for value in values) else []


def stats(data: Sequence[float]) -> dict[str, object]:
    """The figures that pytest-benchmark stores, by its definitions."""
    ordered = sorted(data)
    mean = statistics.fmean(ordered)
    stddev = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    median = statistics.median(ordered)
    low, high = _quartile(ordered), _quartile(ordered[::-1])
    spread = high - low
    inner = [value for value in ordered if low - 1.5 * spread <= value <= high + 1.5 * spread]
    beyond = sum(abs(value - mean) > stddev for value in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": len(ordered),
        "median": median,
        "iqr": spread,
        "q1": low,
        "q3": high,
        "iqr_outliers": len(ordered) - len(inner),
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{len(ordered) - len(inner)}",
        "ld15iqr": inner[0],
        "hd15iqr": inner[-1],
        "ops": 1 / mean,
        "total": sum(ordered),
        "data": list(data),
        "iterations": 1,
    }


def _quartile(ordered: Sequence[float]) -> float:
    """The first quartile (the third of a reversed list), as theirs: method 2 of an even count, 3 of an odd one."""
    count, rest = divmod(len(ordered), 4)
    if len(ordered) == 1:
        return ordered[0]
    if rest == 1:
        return 0.25 * ordered[count - 1] + 0.75 * ordered[count]
    if rest == 3:
        return 0.75 * ordered[count] + 0.25 * ordered[count + 1]
    return statistics.median(ordered[: len(ordered) // 2])
