"""What is known of the ruler itself, in sentences: its false alarms between twins, the planted flaws it found, and what
a warm figure leaves out.

The rule: a share is never printed without the counts it comes from and its interval.
"""

from __future__ import annotations

from crossfade.harness.samples import METRICS, Results, SelfTest
from crossfade.harness.stats import Analysis
from crossfade.harness.trust import FalseAlarms, Power, Share
from crossfade.reports.words import joined, lowered, milliseconds, percent, plain, plural

_COMPILED = ("numba_cold_ms", "numba_cached_ms", "numba_warm_ms")
NOT_MEASURED = (
    "The false-alarm rate of this machine was not measured; `crossfade selftest` runs variants against themselves and "
    "adds it here."
)


def sentences(results: Results) -> tuple[str, ...]:
    """What was found out about the ruler on the machine of these results."""
    ruler = results.ruler
    lines: list[str] = []
    if ruler is not None and ruler.alarms is not None:
        lines.append(alarms(ruler.alarms))
    elif results.selftest is not None:
        lines.append(quick(results.selftest))
    else:
        lines.append(NOT_MEASURED)
    if ruler is not None and ruler.power is not None:
        lines.append(power(ruler.power))
    return tuple(plain(line) for line in lines)


def compiled(analysis: Analysis) -> tuple[str, ...]:
    """What compiling costs a variant before its first decision: cold, cached and warm (method rule 7)."""
    found = {(s.scenario, s.variant, s.metric): s.mean for s in analysis.summaries if s.metric in _COMPILED}
    lines = []
    for scenario, variant, _ in (key for key in found if key[2] == _COMPILED[0]):
        told = [found.get((scenario, variant, metric)) for metric in _COMPILED]
        cold, cached, warm = (milliseconds(value) if value is not None else "\u2013" for value in told)
        lines.append(
            f"One decision of every policy by {plain(variant)}, from its import: {cold} with nothing compiled, "
            f"{cached} from its cache in a new process, {warm} warm. Timings of single operations are warm."
        )
    return tuple(lines)


def alarms(found: FalseAlarms) -> str:
    """Verdicts between twins."""
    corrected = found.corrected.hits
    return (
        f"The ruler measured itself: {plural(found.alone.of, 'A/A comparison')} over "
        f"{plural(len(found.scenarios), 'scenario')} ({joined(sorted(set(found.variants)))} against themselves, "
        f"{plain(found.profile)} profile), {plural(found.alone.hits, 'false alarm')} ({share(found.alone)}), "
        f"{corrected or 'none'} of them left after Holm\u2019s correction."
    )


def power(found: Power) -> str:
    """Planted flaws."""
    told = [
        f"{plain(p.name)} on {plain(p.scenario)} ({plain(p.what)}) in {p.found.hits} of {p.found.of} ({share(p.found)})"
        for p in found.plants
    ]
    runs = f"{plural(found.runs, 'run')} of the {plain(found.profile)} profile"
    return f"In {runs} it convicted, of gateways known beforehand: {'; '.join(told)}."


def share(found: Share) -> str:
    """2.4 %, 95 % interval 0.1 % to 13 %"""
    return f"{percent(found.share)}, 95\u202f% interval {percent(found.low)} to {percent(found.high)}"


def quantity(metric: str) -> str:
    """A metric within a sentence; one that this version does not know keeps its name."""
    return lowered(plain(METRICS[metric].title if metric in METRICS else metric))


def quick(test: SelfTest) -> str:
    """The quick check of a first run."""
    rates = joined([f"{percent(rate)} for {quantity(name)}" for name, rate in sorted(test.false_alarms.items())])
    return (
        f"The ruler was checked quickly: {test.variant} against itself on {test.scenario}, {test.rounds} rounds, "
        f"judged {test.rounds_per_verdict} at a time, gave a false verdict in {rates}."
    )
