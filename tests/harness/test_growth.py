"""Growth in a soak: what is a leak, what only settles, and an interval that correlated readings do not fool."""

from __future__ import annotations

import math
import random

import pytest

from crossfade.harness.stats.growth import Growth, course, growth, warm_up
from crossfade.harness.stats.lines import fit


def noise(rng: random.Random, n: int, rho: float, sd: float) -> list[float]:
    """A stationary AR(1) series."""
    values = [rng.gauss(0, sd)]
    while len(values) < n:
        values.append(rho * values[-1] + rng.gauss(0, sd * math.sqrt(1 - rho * rho)))
    return values


def series(
    seed: int, *, leak: float = 0.0, warm: float = 0.0, tau: float = 0.5, rho: float = 0.4, n: int = 64
) -> tuple[list[float], list[float]]:
    """KiB over 8 units of x: a warm-up of ``warm`` KiB with time constant ``tau``, and a leak per unit."""
    rng = random.Random(seed)
    xs = [8 * i / n for i in range(n)]
    drawn = noise(rng, n, rho, 20.0)
    return xs, [40_000 + warm * (1 - math.exp(-x / tau)) + leak * x + e for x, e in zip(xs, drawn, strict=True)]


def judged(xs: list[float], ys: list[float]) -> tuple[Growth, str]:
    found = growth(xs, ys)
    assert found is not None
    return found, course(xs, ys, found, threshold=20.0, least_rise=64.0)


@pytest.mark.parametrize(("rho", "least"), [(0.0, 0.93), (0.5, 0.92), (0.8, 0.91), (0.9, 0.88)])
def test_the_interval_covers_the_truth_though_readings_are_correlated(rho: float, least: float) -> None:
    hit = 0
    for seed in range(600):
        xs, ys = series(seed, leak=30.0, rho=rho)
        found = growth(xs, ys, cut=0)
        assert found is not None
        hit += found.low <= 30.0 <= found.high
    assert least <= hit / 600 <= 0.99


def test_an_interval_that_took_readings_for_independent_would_be_fooled() -> None:
    """The reason for the rule: at a correlation of 0.9 the plain interval is right in fewer than six of ten soaks."""
    hit = 0
    for seed in range(300):
        line = fit(*series(seed, rho=0.9))
        assert line.low is not None
        assert line.high is not None
        hit += line.low <= 0 <= line.high
    assert hit / 300 < 0.6


def test_a_warm_up_is_cut_and_a_leak_is_not_cut_away() -> None:
    xs, ys = series(1, warm=3000.0)
    assert 8 <= warm_up(xs, ys) <= 32
    xs, ys = series(1, leak=400.0)
    assert warm_up(xs, ys) <= 3
    found, says = judged(xs, ys)
    assert says == "grows"
    assert found.low < 400 < found.high


@pytest.mark.parametrize("warm", [0.0, 500.0, 3000.0])
def test_what_warms_up_and_stays_is_acquitted(warm: float) -> None:
    says = [judged(*series(seed, warm=warm))[1] for seed in range(100)]
    assert "grows" not in says


@pytest.mark.parametrize("warm", [0.0, 3000.0])
def test_a_leak_is_convicted_behind_a_warm_up_too(warm: float) -> None:
    assert [judged(*series(seed, leak=400.0, warm=warm))[1] for seed in range(100)] == ["grows"] * 100


def test_a_rise_that_ebbs_is_no_leak_yet() -> None:
    says = [judged(*series(seed, warm=3000.0, tau=1.5))[1] for seed in range(100)]
    assert says.count("settles") > 30
    assert says.count("grows") <= 5


def test_a_rise_that_a_bounded_memory_may_take_is_no_leak_yet() -> None:
    xs = [i / 64 for i in range(64)]
    ys = [40_000 + 50.0 * x for x in xs]
    assert judged(xs, ys)[1] == "settles"


def test_an_interval_with_the_threshold_inside_is_neither_steady_nor_a_leak() -> None:
    says = {judged(*series(seed, leak=20.0, rho=0.8))[1] for seed in range(30)}
    assert "undecided" in says
    assert "grows" not in says


def test_memory_that_never_moves_is_steady_and_few_samples_say_nothing() -> None:
    xs = [float(i) for i in range(30)]
    found, says = judged(xs, [1000.0] * 30)
    assert (found.slope, found.low, found.high, says) == (0.0, 0.0, 0.0, "steady")
    assert growth(xs[:23], [1.0] * 23) is None
    assert course(xs[:23], [1.0] * 23, None, threshold=1.0, least_rise=1.0) == "too short"
