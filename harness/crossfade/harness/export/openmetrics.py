"""OpenMetrics text: a gauge per metric in base units, labelled with scenario, variant and which figure it is.

The rule is the format's: seconds, bytes and ratios, the unit as suffix of the name and in ``# UNIT``; a family stands
in one piece; the last line is ``# EOF``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from crossfade.harness.samples import METRICS, Metric, Results
from crossfade.harness.stats import Summary, analyse

_BASE = {
    "ns": ("seconds", 1e-9),
    "us": ("seconds", 1e-6),
    "ms": ("seconds", 1e-3),
    "s": ("seconds", 1.0),
    "KiB": ("bytes", 1024.0),
    "MiB": ("bytes", 1024.0**2),
    "%": ("ratio", 0.01),
}
_TOKENS = {"ns", "us", "ms", "s", "kib", "mib", "percent"}


def openmetrics(results: Results) -> str:
    """The exposition of one run: what it was, how many blocks count, and every metric's mean and bounds."""
    lines = [
        "# TYPE crossfade_run info",
        "# HELP crossfade_run The run these figures are of.",
        _sample("crossfade_run_info", _run(results), 1),
        "# TYPE crossfade_blocks gauge",
        "# HELP crossfade_blocks Blocks of the run, by whether they count.",
    ]
    blocks = Counter((b.scenario, b.variant, b.status) for b in results.blocks)
    lines += [
        _sample("crossfade_blocks", {"scenario": s, "variant": v, "status": status}, count)
        for (s, v, status), count in sorted(blocks.items())
    ]
    summaries = analyse(results).summaries
    for metric in METRICS.values():
        lines += _family(metric, [s for s in summaries if s.metric == metric.name])
    return "\n".join([*lines, "# EOF"]) + "\n"


def family_name(metric: Metric) -> tuple[str, str, float]:
    """Name, base unit (empty where the format has none) and the factor that leads to it."""
    unit, factor = _BASE.get(metric.unit, ("", 1.0))
    words = metric.name.split("_")
    if metric.name.endswith("_per_s"):
        words = [*words[:-1], "second"]
    elif unit:
        words = [*(word for word in words if word not in _TOKENS), unit]
    return "_".join(["crossfade", *words]), unit, factor


def _family(metric: Metric, found: list[Summary]) -> Iterator[str]:
    if not found:
        return
    name, unit, factor = family_name(metric)
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escaped(metric.title)}: mean over rounds, and the bounds of its 95 % interval."
    for summary in found:
        for stat, value in (("mean", summary.mean), ("low", summary.low), ("high", summary.high)):
            if value is not None:
                labels = {"scenario": summary.scenario, "variant": summary.variant, "stat": stat}
                yield _sample(name, labels, value * factor)


def _run(results: Results) -> dict[str, str]:
    environment = results.environment
    told = {
        "id": results.id,
        "profile": results.profile,
        "created": results.created,
        "complete": str(results.complete).lower(),
        "baseline": results.baseline,
        "cpu": environment.cpu.model,
        "kernel": environment.kernel,
        "python": environment.python,
        "commit": environment.commit or "",
    }
    return {key: value for key, value in told.items() if value}


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
