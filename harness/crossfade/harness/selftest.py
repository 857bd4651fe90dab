"""The ruler measured on this machine: what its comparisons said where the truth was known (method rule 6).

``alarms`` counts verdicts between twins, all of which are false; ``power`` counts planted flaws that were found. Both
judge exactly as a run does, by ``stats.analyse``. A first run takes a quick check instead: one variant twice in every
round of one scenario, and from the paired log-ratios experiments of the usual number of rounds are drawn again and
again with their signs flipped at random (under the null both names are exchangeable); the share of them that would have
given a verdict is its false-alarm rate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from crossfade.harness.environment import fingerprint
from crossfade.harness.planted import PLANTS, Planted
from crossfade.harness.problems import BrokenResults
from crossfade.harness.runner import now
from crossfade.harness.samples import METRICS, Environment, Results
from crossfade.harness.stats import ALPHA, analyse, clopper_pearson, log_ratios, p_beyond, verdict
from crossfade.harness.store import replace
from crossfade.harness.trust import FalseAlarms, Plant, Power, Ruler, SelfTest, Share, Trial

DRAWS = 4000
QUICK_FILE, ALARMS_FILE, POWER_FILE = "quick-check.json", "selftest.json", "power.json"
_T = TypeVar("_T")


def share(hits: int, of: int) -> Share:
    """A count with its exact interval."""
    low, high = clopper_pearson(hits, of)
    return Share(hits=hits, of=of, low=low, high=high)


def trials(results: Results, repetition: int) -> tuple[list[Trial], list[str]]:
    """Every headline comparison of a run, judged; and in words those that too few rounds were left for."""
    found, lost = [], []
    seen = set()
    for c in analyse(results).verdicts:
        logs = log_ratios(results, c.scenario, c.metric, c.baseline, c.candidate)
        if c.p is None or c.p_holm is None or c.verdict is None or len(logs) < 2:
            continue
        seen.add((c.scenario, c.metric, c.candidate))
        found.append(
            Trial(
                repetition=repetition,
                scenario=c.scenario,
                metric=c.metric,
                baseline=c.baseline,
                candidate=c.candidate,
                rounds=c.rounds,
                threshold=c.threshold,
                ratio=c.ratio,
                low=c.low,
                high=c.high,
                p=c.p,
                p_holm=c.p_holm,
                verdict=verdict(math.log(c.ratio), c.p, METRICS[c.metric].better),
                verdict_holm=c.verdict,
                log_ratios=tuple(round(v, 6) for v in logs),
            )
        )
    for record in results.scenarios:
        for candidate in (v for v in results.candidates if v in record.variants):
            for metric in record.headline:
                if (record.name, metric, candidate) not in seen:
                    blocks = results.of(record.name, only_ok=False)
                    why = next((b.error for b in blocks if b.error), "fewer than two whole rounds")
                    lost.append(f"run {repetition}: {record.name} {metric} {candidate}: {why}")
    return found, lost


def alarms(parts: Sequence[Results], seed: int) -> FalseAlarms:
    """The false alarms of A/A runs. Raises BrokenResults if not one comparison could be made."""
    found, lost = _all(parts)
    if not found:
        raise BrokenResults(f"not one comparison could be made ({lost[0] if lost else 'nothing ran'}); run it again")
    return FalseAlarms(
        created=now(),
        machine=fingerprint(parts[0].environment),
        profile=parts[0].profile,
        seed=seed,
        variants=tuple(part.baseline for part in parts),
        scenarios=tuple(dict.fromkeys(s.name for part in parts for s in part.scenarios)),
        trials=tuple(found),
        alone=share(sum(t.verdict != "inconclusive" for t in found), len(found)),
        corrected=share(sum(t.verdict_holm != "inconclusive" for t in found), len(found)),
        lost=tuple(lost),
    )


def refuted(found: FalseAlarms) -> bool:
    """Whether this machine's rate is significantly above the nominal 5 %: its verdicts mean less than they say."""
    return found.alone.low > ALPHA


def power(parts: Sequence[Results], seed: int, plants: Sequence[Planted] = PLANTS) -> Power:
    """The planted flaws that runs convicted after Holm's correction.

    A run that could not compare has not found it.
    """
    found, lost = _all(parts)
    runs = range(1, len(parts) + 1)
    convicted = {(t.repetition, t.candidate, t.scenario) for t in found if t.verdict_holm == "worse"}
    return Power(
        created=now(),
        machine=fingerprint(parts[0].environment),
        profile=parts[0].profile,
        seed=seed,
        runs=len(parts),
        trials=tuple(found),
        plants=tuple(
            Plant(
                name=plant.name,
                what=plant.what,
                scenario=plant.scenario,
                found=share(sum((run, plant.name, plant.scenario) in convicted for run in runs), len(runs)),
            )
            for plant in plants
        ),
        lost=tuple(lost),
    )


def _all(parts: Iterable[Results]) -> tuple[list[Trial], list[str]]:
    found: list[Trial] = []
    lost: list[str] = []
    for number, part in enumerate(parts, start=1):
        made, missed = trials(part, number)
        found += made
        lost += missed
    return found, lost


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


def save(found: SelfTest | FalseAlarms | Power, root: Path) -> Path:
    """Keep it beside the results, for the reports of later runs; where it is now."""
    name = {SelfTest: QUICK_FILE, FalseAlarms: ALARMS_FILE, Power: POWER_FILE}[type(found)]
    replace(root / name, msgspec.json.encode(found) + b"\n")
    return root / name


def last(root: Path) -> SelfTest | None:
    """The last quick check under ``root``, or None if there is none that can be read."""
    return _read(root / QUICK_FILE, SelfTest)


def ruler(root: Path, environment: Environment) -> Ruler | None:
    """What is stored under ``root`` about this machine, or None."""
    machine = fingerprint(environment)
    found, strong = _read(root / ALARMS_FILE, FalseAlarms), _read(root / POWER_FILE, Power)
    found = found if found is not None and found.machine == machine else None
    strong = strong if strong is not None and strong.machine == machine else None
    return Ruler(alarms=found, power=strong) if found is not None or strong is not None else None


def in_brief(ruler: Ruler | None) -> Ruler | None:
    """The same without the rounds of each comparison, for a run that takes it up: those stay where they were."""
    if ruler is None:
        return None
    alarms, strong = ruler.alarms, ruler.power
    return Ruler(
        alarms=alarms and msgspec.structs.replace(alarms, trials=_brief(alarms.trials)),
        power=strong and msgspec.structs.replace(strong, trials=_brief(strong.trials)),
    )


def _brief(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    return tuple(msgspec.structs.replace(trial, log_ratios=()) for trial in trials)


def attached(results: Results, folder: Path) -> Results:
    """Results with what is stored about the ruler of their machine, if they have none of their own.

    Looked for where a run keeps it (beside its folder) and in a folder ``selftest`` there.
    """
    if results.ruler is not None:
        return results
    beside = folder.resolve().parent
    known = ruler(beside, results.environment) or ruler(beside / "selftest", results.environment)
    return results if known is None else msgspec.structs.replace(results, ruler=known)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
