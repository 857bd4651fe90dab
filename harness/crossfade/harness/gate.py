"""The gate: is a candidate's result worse than a base's, by more than a threshold?

Exit codes are the contract: 0 fine, 1 regressed, 2 inconclusive, 64 and above usage or broken input. Two results are
two sessions, so pairs cannot be formed between them. Where both hold a limit (nginx, the ceiling) in the same rounds,
each rate is first divided by the limit's of its round, so that a machine that was slower that day is not taken for a
slower variant. Intervals are Welch's on logarithms; claims of regression are corrected together (Holm).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from crossfade.harness.environment import differences
from crossfade.harness.problems import EX_INCONCLUSIVE, EX_OK, EX_REGRESSED, BrokenResults
from crossfade.harness.samples import METRICS, Results, ScenarioRecord
from crossfade.harness.stats import holm, interval, t_cdf, t_quantile

Outcome = Literal["fine", "regressed", "improved", "inconclusive"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one variant, candidate over base; ``yardstick`` names the limit that both were divided by."""

    scenario: str
    variant: str
    metric: str
    ratio: float
    low: float | None
    high: float | None
    base_rounds: int
    candidate_rounds: int
    threshold: float
    p: float
    yardstick: str | None
    outcome: Outcome


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's answer. ``warnings`` are environment differences that were forced, ``missing`` what the base has and
    could not be compared."""

    outcome: Outcome
    exit_code: int
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


def gate(base: Results, candidate: Results, *, threshold: float | None = None, force: bool = False) -> Report:
    """Compare headline metrics of every scenario and variant of ``base``; what ``candidate`` has not is missing.

    ``threshold`` overrides the scenarios' own. Raises BrokenResults if environments or scenarios differ (unless
    ``force``), or if there is nothing to compare.
    """
    warnings = differences(base.environment, candidate.environment)
    if warnings and not force:
        raise BrokenResults(
            f"the environments differ in what matters ({'; '.join(warnings)}); "
            "measure both on one machine, or use --force"
        )
    found: list[Check] = []
    missing: list[str] = []
    theirs = {s.name: s for s in candidate.scenarios}
    for scenario in base.scenarios:
        other = theirs.get(scenario.name)
        variants = (base.baseline, *base.candidates)
        if other is None:
            # Whoever no longer measures what got worse has not passed.
            if any(base.of(scenario.name, variant) for variant in variants):
                missing.append(f"{scenario.name}, which the candidate has not measured")
            continue
        if other.sha256 != scenario.sha256:
            raise BrokenResults(
                f"scenario {scenario.name!r} or its profile differs between the two results; "
                "measure both with the same release and --profile"
            )
        for variant in variants:
            for metric in scenario.headline:
                check = _check(base, candidate, scenario, variant, metric, threshold=threshold)
                if check is not None:
                    found.append(check)
                elif base.of(scenario.name, variant):
                    missing.append(f"{scenario.name}/{variant}/{metric}")
    if not found:
        raise BrokenResults("the two results share no scenario and variant; run the same selection for both")
    checks = _decide(found)
    outcome = _overall(checks, missing)
    codes = {"fine": EX_OK, "improved": EX_OK, "regressed": EX_REGRESSED, "inconclusive": EX_INCONCLUSIVE}
    return Report(
        outcome=outcome,
        exit_code=codes[outcome],
        checks=tuple(checks),
        warnings=tuple(warnings),
        missing=tuple(missing),
    )


def _check(
    base: Results, candidate: Results, scenario: ScenarioRecord, variant: str, metric: str, *, threshold: float | None
) -> Check | None:
    yardstick = _yardstick(base, candidate, scenario, variant, metric)
    left = _logs(base, scenario.name, variant, metric, yardstick)
    right = _logs(candidate, scenario.name, variant, metric, yardstick)
    if len(left) < 2 or len(right) < 2:
        return None
    one, two = interval(left), interval(right)
    difference = two.mean - one.mean
    squares = (one.sd**2 / one.n, two.sd**2 / two.n)
    error = math.sqrt(sum(squares))
    # Welch and Satterthwaite: degrees of freedom of a difference of means with unequal variances.
    df = sum(squares) ** 2 / (squares[0] ** 2 / (one.n - 1) + squares[1] ** 2 / (two.n - 1)) if error else 1e6
    half = t_quantile(0.975, df) * error
    limit = threshold if threshold is not None else scenario.threshold
    return Check(
        scenario=scenario.name,
        variant=variant,
        metric=metric,
        ratio=math.exp(difference),
        low=math.exp(difference - half),
        high=math.exp(difference + half),
        base_rounds=one.n,
        candidate_rounds=two.n,
        threshold=limit,
        p=_p_worse(difference * _sign(metric), math.log1p(limit), error, df),
        yardstick=yardstick,
        outcome="inconclusive",
    )


def _p_worse(worsening: float, margin: float, error: float, df: float) -> float:
    excess = worsening - margin
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return 1 - t_cdf(excess / error, df)


def _decide(checks: list[Check]) -> list[Check]:
    # Holm guards the claim "regressed". "Fine" is the claim that nothing got worse by the threshold; it is read from
    # each interval alone, which errs towards inconclusive.
    adjusted = holm([c.p for c in checks])
    return [msgspec.structs.replace(c, outcome=_outcome(c, p)) for c, p in zip(checks, adjusted, strict=True)]


def _outcome(check: Check, p: float) -> Outcome:
    sign, margin = _sign(check.metric), math.log1p(check.threshold)
    low, high = math.log(check.low or check.ratio), math.log(check.high or check.ratio)
    worst = high if sign > 0 else -low
    if p < 0.025:
        return "regressed"
    if worst < -margin:
        return "improved"
    # A regression that the interval excludes is no regression; one that it neither shows nor excludes is open.
    return "fine" if worst < margin else "inconclusive"


def _overall(checks: list[Check], missing: list[str]) -> Outcome:
    if any(c.outcome == "regressed" for c in checks):
        return "regressed"
    # A block set that could not be compared is never a pass.
    if missing or any(c.outcome == "inconclusive" for c in checks):
        return "inconclusive"
    return "fine"


def _sign(metric: str) -> int:
    return 1 if METRICS[metric].better == "lower" else -1


def _yardstick(base: Results, candidate: Results, scenario: ScenarioRecord, variant: str, metric: str) -> str | None:
    # CPU per request and memory do not follow the machine's speed of the day closely enough to be divided.
    if metric not in ("throughput_per_s", "knee_per_s"):
        return None
    for limit in (v.name for v in base.variants if v.kind == "limit"):
        if (
            len(_logs(base, scenario.name, variant, metric, limit))
            >= 2
            <= len(_logs(candidate, scenario.name, variant, metric, limit))
        ):
            return limit
    return None


def _logs(results: Results, scenario: str, variant: str, metric: str, yardstick: str | None) -> list[float]:
    mine = {b.round: b.metrics[metric] for b in results.of(scenario, variant) if b.metrics.get(metric, 0) > 0}
    if yardstick is None:
        return [math.log(v) for v in mine.values()]
    theirs = {b.round: b.metrics[metric] for b in results.of(scenario, yardstick) if b.metrics.get(metric, 0) > 0}
    return [math.log(mine[r] / theirs[r]) for r in sorted(mine.keys() & theirs.keys())]
