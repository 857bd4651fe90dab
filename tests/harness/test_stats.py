"""Statistics against scipy, against known figures, and against what they must never claim."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from scipy import stats as oracle  # type: ignore[import-untyped]
from tests.fabricated import SLOPE_KIB, encode_hdr, make_ops_only, make_results

from crossfade.harness.plan import order
from crossfade.harness.samples import Block, Results
from crossfade.harness.stats import (
    analyse,
    beta_cdf,
    beta_quantile,
    classify,
    clopper_pearson,
    distribution,
    equivalent,
    fit,
    holm,
    interval,
    p_beyond,
    percentiles,
    rounds_needed,
    sign_test,
    t_cdf,
    t_quantile,
    verdict,
)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 19, 30, 100, 1000, 2.5])
@pytest.mark.parametrize("p", [1e-6, 0.001, 0.025, 0.3, 0.5, 0.7, 0.975, 0.999, 1 - 1e-6])
def test_t_quantile_agrees_with_scipy(p: float, df: float) -> None:
    assert t_quantile(p, df) == pytest.approx(oracle.t.ppf(p, df), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2, 4, 19, 200, 3.7])
@pytest.mark.parametrize("t", [-40.0, -2.0, -0.01, 0.0, 0.01, 1.0, 2.776, 12.0, 400.0])
def test_t_cdf_agrees_with_scipy(t: float, df: float) -> None:
    assert t_cdf(t, df) == pytest.approx(oracle.t.cdf(t, df), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.1])
def test_a_quantile_outside_zero_and_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_quantile(p, 4)


def test_interval_agrees_with_scipy() -> None:
    values = [random.Random(n).gauss(3, 1) for n in range(7)]
    found = interval(values)
    low, high = oracle.t.interval(0.95, 6, loc=found.mean, scale=oracle.sem(values))
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_one_round_gives_no_interval_and_no_verdict() -> None:
    assert interval([1.0]).low is None
    assert p_beyond([1.0], 0.05) == 1.0


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_a_verdict_needs_the_interval_to_clear_the_threshold_and_not_just_zero() -> None:
    logs = [0.031, 0.029, 0.030, 0.032, 0.028]
    assert p_beyond(logs, 0.0) < 0.001
    assert p_beyond(logs, math.log1p(0.05)) == 1.0


def test_p_beyond_is_significant_exactly_when_the_interval_clears_the_margin() -> None:
    rng = random.Random(5)
    for _ in range(300):
        logs = [rng.gauss(0.06, 0.03) for _ in range(5)]
        found = interval(logs)
        assert found.low is not None
        assert found.high is not None
        clears = found.low > 0.05 or found.high < -0.05
        assert clears == (p_beyond(logs, 0.05) < 0.05)


def test_false_alarms_stay_at_or_below_five_percent_under_the_null() -> None:
    rng = random.Random(11)
    alarms = sum(p_beyond([rng.gauss(0, 0.1) for _ in range(5)], 0.0) < 0.05 for _ in range(4000))
    assert 0.035 < alarms / 4000 < 0.065


def test_identical_rounds_have_a_verdict_without_dividing_by_zero() -> None:
    assert p_beyond([0.2, 0.2, 0.2], 0.05) == 0.0
    assert p_beyond([0.0, 0.0, 0.0], 0.05) == 1.0


def test_holm_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def suite(p_values: Sequence[float], rounds: int = 6) -> Results:
    """A run with one comparison for each of these p-values, in a scenario each: rust takes longer than python."""
    full = make_ops_only()
    (model,) = full.scenarios
    scenarios, blocks = [], []
    for number, p in enumerate(p_values):
        name = f"number-{number}"
        record = msgspec.structs.replace(model, name=name, headline=("breaker_ns",), shown=(), rounds=rounds)
        scenarios.append(record)
        scatter = [0.01 * (-1) ** at for at in range(rounds)]
        error = math.sqrt(math.fsum(x * x for x in scatter) / (rounds - 1) / rounds)
        beyond = math.log1p(record.threshold) + t_quantile(1 - p / 2, rounds - 1) * error
        for at, apart in enumerate(scatter):
            for variant, value in (("python", 1.0), ("rust", math.exp(beyond + apart))):
                block = full.of(model.name, variant)[0]
                mine = {"scenario": record.name, "round": at, "metrics": {"breaker_ns": value}}
                blocks.append(msgspec.structs.replace(block, **mine))
    return msgspec.structs.replace(full, scenarios=tuple(scenarios), blocks=tuple(blocks))


def test_what_is_a_verdict_alone_is_none_among_twenty() -> None:
    (alone,) = analyse(suite([0.03])).verdicts
    assert (alone.p, alone.p_holm) == pytest.approx((0.03, 0.03))
    assert alone.verdict == "worse"
    first, *others = analyse(suite([0.03, *[0.5] * 19])).verdicts
    assert (first.p, first.p_holm) == pytest.approx((0.03, 0.6))
    assert first.verdict == "inconclusive"
    assert [c.verdict for c in others] == ["inconclusive"] * 19
    # What is clear enough stays clear.
    assert analyse(suite([0.002, *[0.5] * 19])).verdicts[0].verdict == "worse"


def test_sequential_runs_on_a_drifting_machine_raise_false_alarms_and_paired_rounds_do_not() -> None:
    """Twins, and twins of which one is 1 % faster, in twenty rounds; the machine jitters by 1 % from block to block,
    and drifts by some 3 % from the first to the last."""
    rng = random.Random(17)
    record = msgspec.structs.replace(make_ops_only().scenarios[0], rounds=20, variants=("a", "b"))
    alarms: Counter[str] = Counter()
    runs = 1000
    for seed in range(runs):
        drift = rng.gauss(0, 0.03)
        planned = order([record], seed)
        for how, slots in (("rounds", planned), ("all of a, all of b", sorted(planned, key=lambda slot: slot.variant))):
            speed = {
                (slot.variant, slot.round): drift * at / len(slots) + rng.gauss(0, 0.01)
                for at, slot in enumerate(slots)
            }
            logs = [speed["b", number] - speed["a", number] for number in range(20)]
            alarms[how] += p_beyond(logs, 0.0) < 0.05
            alarms[f"{how}, faster"] += p_beyond([x + 0.01 for x in logs], 0.0) < 0.05
    assert alarms["all of a, all of b"] > 5 * 0.05 * runs
    assert 0.03 < alarms["rounds"] / runs < 0.07
    assert alarms["rounds, faster"] > 0.7 * runs


def test_verdict_follows_the_direction_of_the_metric() -> None:
    assert verdict(0.5, 0.01, "higher") == "better"
    assert verdict(0.5, 0.01, "lower") == "worse"
    assert verdict(-0.5, 0.01, "lower") == "better"
    assert verdict(0.5, 0.05, "higher") == "inconclusive"


def test_equivalence_needs_a_narrow_interval_around_nothing() -> None:
    assert equivalent([0.001, -0.001, 0.0005, 0.0], 0.05)
    assert not equivalent([0.2, -0.2, 0.1, -0.1], 0.05)
    assert not equivalent([0.0], 0.05)


def test_rounds_needed_known_figures() -> None:
    assert rounds_needed(0.02, 0.01) == 32  # (2.8 * 2)^2 = 31.36
    assert rounds_needed(0.0001, 0.05) == 3
    assert rounds_needed(0.3, 0.05, mean_log=-0.9) == 3
    assert rounds_needed(0.3, 0.05, mean_log=0.02) == 283


def test_line_agrees_with_scipy() -> None:
    rng = random.Random(2)
    xs = [0.0, 50, 100, 200, 400] * 3
    ys = [1000 + 9.5 * x + rng.gauss(0, 20) for x in xs]
    found, theirs = fit(xs, ys), oracle.linregress(xs, ys)
    half = oracle.t.ppf(0.975, len(xs) - 2) * theirs.stderr
    assert found.slope == pytest.approx(theirs.slope)
    assert found.intercept == pytest.approx(theirs.intercept)
    assert found.r_squared == pytest.approx(theirs.rvalue**2)
    assert found.low == pytest.approx(theirs.slope - half)
    assert found.high == pytest.approx(theirs.slope + half)


def test_a_line_through_one_rung_is_refused() -> None:
    with pytest.raises(ValueError, match="two distinct"):
        fit([100, 100], [1.0, 2.0])


def test_what_shifts_a_whole_round_is_no_error_of_the_slope() -> None:
    rng = np.random.default_rng(7)
    xs = [0.0, 500.0, 1000.0, 2000.0] * 5
    rounds = [r for r in range(5) for _ in range(4)]
    offsets = [0.0, 900.0, -700.0, 1200.0, -300.0]
    ys = [40_000 + 1.5 * x + offsets[r] + rng.normal(0, 5) for x, r in zip(xs, rounds, strict=True)]
    found = fit(xs, ys, rounds)
    design = np.array([[x, *(float(r == g) for g in range(5))] for x, r in zip(xs, rounds, strict=True)])
    theirs, residual, *_ = np.linalg.lstsq(design, np.array(ys), rcond=None)
    assert found.slope == pytest.approx(theirs[0])
    assert found.intercept == pytest.approx(theirs[1:].mean())
    error = np.sqrt(residual[0] / (20 - 6) * np.linalg.inv(design.T @ design)[0, 0])
    assert found.high is not None
    assert found.high - found.slope == pytest.approx(oracle.t.ppf(0.975, 14) * error)
    pooled = fit(xs, ys)
    assert pooled.high is not None
    assert found.high - found.slope < (pooled.high - pooled.slope) / 20


@pytest.mark.parametrize(
    ("count", "has_p99", "has_p999"), [(367, False, False), (368, True, False), (3688, True, True)]
)
def test_percentiles_say_too_few(count: int, has_p99: bool, has_p999: bool) -> None:
    found = percentiles([encode_hdr([1000 + n for n in range(count)])])
    assert (found.p99_us is not None, found.p999_us is not None) == (has_p99, has_p999)
    assert found.count == count


def test_histograms_are_merged_and_percentiles_never_averaged() -> None:
    fast, slow = encode_hdr([100_000] * 900), encode_hdr([10_000_000] * 100)
    found = percentiles([fast, slow])
    assert found.p50_us == pytest.approx(100, rel=0.001)
    assert found.p99_us == pytest.approx(10_000, rel=0.001)
    assert distribution([fast, slow])[-1][0] == 99.5


def test_merged_percentiles_agree_with_the_sorted_values() -> None:
    rng = random.Random(9)
    values = [int(rng.lognormvariate(12, 1)) for _ in range(20_000)]
    found = percentiles([encode_hdr(values[:7000]), encode_hdr(values[7000:])])
    values.sort()
    assert found.p50_us == pytest.approx(values[9_999] / 1000, rel=0.002)
    assert found.p999_us == pytest.approx(values[19_979] / 1000, rel=0.002)


@pytest.mark.parametrize(
    ("rates", "shape"),
    [
        ([100] * 15, "flat"),
        ([40, 60, 80, 90, 95] + [100] * 10, "warm-up"),
        ([100] * 10 + [80] * 5, "slowdown"),
        ([100, 10] * 8, "unstable"),
        ([0] * 15, "unstable"),
        ([100] * 5, "too short"),
        ([100] * 7 + [3] + [100] * 7, "flat"),
    ],
)
def test_the_shape_of_a_series_is_detected(rates: list[int], shape: str) -> None:
    assert classify(rates) == shape


def test_analysis_finds_the_fabricated_truths() -> None:
    found = analyse(make_results())
    verdicts = {(c.scenario, c.metric): c for c in found.verdicts}
    throughput = verdicts["gateway-echo", "throughput_per_s"]
    assert throughput.verdict == "better"
    assert throughput.low is not None
    assert throughput.high is not None
    assert throughput.low < 31 / 12 < throughput.high
    assert verdicts["policy-ops", "breaker_ns"].verdict == "inconclusive"
    assert verdicts["policy-ops", "breaker_ns"].more_rounds is not None
    slopes = {(x.scenario, x.variant, x.state): x.line for x in found.ladders}
    line = slopes["memory-clients", "rust", "idle"]
    assert line.low is not None
    assert line.high is not None
    assert line.low < SLOPE_KIB["rust"] < line.high
    assert len(found.lost) == 2
    assert all(c.verdict is None for c in (*found.shown, *found.limits))


def test_a_failed_block_breaks_its_pair_and_no_other() -> None:
    whole, flawed = analyse(make_results(flaws=False)), analyse(make_results(flaws=True))
    rounds = {(c.scenario, c.metric, c.candidate): c.rounds for c in flawed.verdicts}
    lost = {x.scenario for x in flawed.lost if x.variant in ("python", "rust")}
    for c in whole.verdicts:
        assert rounds[c.scenario, c.metric, c.candidate] == c.rounds - (c.scenario in lost)


def test_a_rate_costs_what_all_its_requests_cost_together() -> None:
    full = make_results(1, rounds=2, flaws=False)

    def at_the_lowest(*cpu_us: float | None) -> float | None:
        def costing(block: Block) -> Block:
            clocked = {"completed": (3000, 1000)[block.round], "cpu_us_per_request": cpu_us[block.round]}
            first = msgspec.structs.replace(block.points[0], **clocked)
            return msgspec.structs.replace(block, points=(first, *block.points[1:]))

        blocks = tuple(costing(b) if b.scenario == "rate-sweep" else b for b in full.blocks)
        found = analyse(msgspec.structs.replace(full, blocks=blocks))
        return next(c for c in found.curves if c.variant == "rust").points[0].cpu_us_per_request

    assert at_the_lowest(10.0, 30.0) == pytest.approx(15.0)
    assert at_the_lowest(10.0, None) is None


def test_two_rounds_and_one_scenario_are_enough_to_analyse() -> None:
    found = analyse(make_ops_only())
    assert found.curves == ()
    assert {c.scenario for c in found.verdicts} == {"policy-ops"}


def test_the_beta_distribution_agrees_with_scipy() -> None:
    for a, b in ((1, 42), (3, 40), (0.5, 7.5), (10, 1)):
        for p in (0.001, 0.025, 0.5, 0.975, 0.999):
            assert beta_quantile(p, a, b) == pytest.approx(oracle.beta.ppf(p, a, b), rel=1e-9)
            assert beta_cdf(p, a, b) == pytest.approx(oracle.beta.cdf(p, a, b), rel=1e-9)


def test_the_interval_of_a_share_is_exact() -> None:
    for hits, of in ((0, 42), (2, 42), (9, 10), (10, 10), (1, 1)):
        theirs = oracle.binomtest(hits, of).proportion_ci(0.95, method="exact")
        assert clopper_pearson(hits, of) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no share"):
        clopper_pearson(3, 2)


def test_the_sign_test_is_exact() -> None:
    for more, fewer in ((0, 0), (6, 0), (0, 6), (7, 5), (12, 0)):
        theirs = oracle.binomtest(more, more + fewer).pvalue if more + fewer else 1.0
        assert sign_test(more, fewer) == pytest.approx(theirs)
