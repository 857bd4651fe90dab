"""A/A: the ruler measured against itself on this machine (method rule 6).

One variant runs twice in every round under two names. From the paired log-ratios, experiments of the usual number of
rounds are drawn again and again with their signs flipped at random (under the null both names are exchangeable), and
the share of them that would have given a verdict is the false-alarm rate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crossfade.harness.problems import BrokenResults
from crossfade.harness.runner import now
from crossfade.harness.samples import Results, SelfTest
from crossfade.harness.stats import ALPHA, log_ratios, p_beyond

DRAWS = 4000
FILE = "selftest.json"


def conclude(results: Results, *, rounds_per_verdict: int) -> SelfTest:
    """The self-test out of an A/A run of one scenario. Raises BrokenResults if no round has both blocks."""
    scenario = results.scenarios[0]
    logs = {
        metric: tuple(log_ratios(results, scenario.name, metric, results.baseline, results.candidates[0]))
        for metric in scenario.headline
    }
    if not any(len(values) >= 2 for values in logs.values()):
        raise BrokenResults("the self-test has fewer than two whole rounds; see its failed blocks, then run it again")
    usable = {metric: values for metric, values in logs.items() if len(values) >= 2}
    return SelfTest(
        variant=results.baseline,
        scenario=scenario.name,
        rounds=max(len(v) for v in usable.values()),
        rounds_per_verdict=rounds_per_verdict,
        log_ratios=usable,
        false_alarms={m: false_alarm_rate(v, scenario.threshold, rounds_per_verdict) for m, v in usable.items()},
        threshold=scenario.threshold,
        created=now(),
    )


def false_alarm_rate(logs: Sequence[float], threshold: float, rounds: int, *, draws: int = DRAWS) -> float:
    """Share of re-drawn experiments of ``rounds`` rounds whose interval would clear the threshold."""
    rng = random.Random(f"self-test {len(logs)} {rounds}")  # noqa: S311 - reproducible
    margin = math.log1p(threshold)
    # Experiments as long as the data or longer draw with replacement: without, there would be only one of them.
    alarms = 0
    for _ in range(draws):
        drawn = rng.choices(logs, k=rounds) if rounds >= len(logs) else rng.sample(list(logs), rounds)
        flipped = [value if rng.random() < 0.5 else -value for value in drawn]
        alarms += p_beyond(flipped, margin) < ALPHA
    return alarms / draws


def save(found: SelfTest, root: Path) -> None:
    """Keep it beside the results, for the reports of later runs."""
    root.mkdir(parents=True, exist_ok=True)
    beside = root / f"{FILE}.tmp"
    beside.write_bytes(msgspec.json.encode(found))
    beside.replace(root / FILE)


def last(root: Path) -> SelfTest | None:
    """The last self-test under ``root``, or None if there is none that can be read."""
    try:
        return msgspec.json.decode((root / FILE).read_bytes(), type=SelfTest)
    except (OSError, msgspec.DecodeError):
        return None
