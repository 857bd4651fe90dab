"""Soaks: growth is told from a warm-up, on fabricated readings and on real processes of some seconds."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_point

from crossfade.harness.affinity import available, place
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.gateways import Gateway
from crossfade.harness.measure import loadrun, soak
from crossfade.harness.measure.churn import Churn
from crossfade.harness.measure.target import Target
from crossfade.harness.samples import Block, SeriesPoint, Slot, SoakSample
from crossfade.harness.stats.soaks import fits
from crossfade.impls import missing
from crossfade.scenarios import Soak, builtin, changed

ROOT = Path(__file__).parents[2]
SOAK = Soak(least_kib=512)


def readings(seed: int, *, leak_kib_per_call: float, warm_kib: float = 800.0, n: int = 60) -> tuple[SoakSample, ...]:
    """A minute at 500 calls/s, read every second; other processes come and go, and with them the shared pages."""
    rng = random.Random(seed)
    return tuple(
        SoakSample(
            t_ms=1000.0 * (i + 1),
            calls=500 * (i + 1),
            own_kib=20_000 + leak_kib_per_call * 500 * i + warm_kib * (1 - 0.5**i) + rng.gauss(0, 20),
            pss_kib=25_000 + 3000 * rng.random(),
        )
        for i in range(n)
    )


def judged(samples: tuple[SoakSample, ...]) -> tuple[str, str]:
    lines = fits(samples)
    assert lines is not None
    return soak.verdict(samples, lines, SOAK)


def test_a_leak_is_told_with_its_interval_and_its_twin_is_acquitted() -> None:
    for seed in range(30):
        says, told = judged(readings(seed, leak_kib_per_call=0.1))
        assert says == "grows"
        assert "KiB per 1,000 calls [" in told
        assert judged(readings(seed, leak_kib_per_call=0.0))[0] == "steady"


def test_growth_is_a_failure_and_no_noise_of_the_machine() -> None:
    point = make_point(random.Random(1), mode="open", connections=4, rate=500, throughput=500, median_us=300)
    target = Target(1, "echo", (1,))
    watch = soak.Watch(target, Churn(target, SOAK), duration_s=60.0)
    for leak, grows in ((0.1, True), (0.0, False)):
        watch.readings = list(readings(3, leak_kib_per_call=leak))
        found = soak.conclude(msgspec.structs.replace(point, series=()), watch, watch.churn, SOAK)
        assert found.void is None
        assert ("memory grows by" in (found.failed or "")) is grows
        # What it measured is kept all the same.
        assert len(found.soak) == 60
        assert "soak_kib_per_1000_calls" in found.metrics


def test_both_slopes_are_of_the_same_readings() -> None:
    found = fits(readings(3, leak_kib_per_call=0.1))
    assert found is not None
    assert found.per_1000_calls.slope == pytest.approx(100, rel=0.03)
    # 30,000 calls a minute.
    assert found.per_minute.slope == pytest.approx(30 * found.per_1000_calls.slope, rel=0.01)
    assert found.per_1000_calls.cut == found.per_minute.cut > 0


def test_a_soak_without_calls_or_readings_has_no_slope() -> None:
    none = tuple(msgspec.structs.replace(s, calls=0) for s in readings(1, leak_kib_per_call=0.0))
    assert fits(none) is None
    assert fits(readings(1, leak_kib_per_call=0.0, n=10)) is None
    assert fits(()) is None


def test_calls_of_the_load_and_of_the_churn_are_counted_until_each_reading() -> None:
    target = Target(1, "echo", (1,))
    watch = soak.Watch(target, Churn(target, SOAK), duration_s=8.0)
    watch.readings = [SoakSample(t_ms=t, pss_kib=1, calls=c) for t, c in ((50.0, 1), (150.0, 2), (900.0, 3))]
    series = [SeriesPoint(t_ms=100.0 * (i + 1), completed=40, errors=0, p50_us=1, p99_us=1) for i in range(2)]
    assert [s.calls for s in watch.samples(series)] == [21, 62, 83]


def test_a_long_soak_is_stored_coarser_and_no_call_is_lost() -> None:
    point = make_point(random.Random(1), mode="open", connections=4, rate=10, throughput=10, median_us=300)
    series = tuple(
        SeriesPoint(t_ms=100.0 * (i + 1), completed=i, errors=1, p50_us=i, p99_us=2 * i) for i in range(1205)
    )
    found = loadrun.coarser(msgspec.structs.replace(point, series=series), 400)
    assert len(found.series) <= 400
    assert sum(p.completed for p in found.series) == sum(p.completed for p in series)
    assert (found.series[-1].t_ms, found.series[-1].p99_us) == (120_500.0, 2408)
    assert loadrun.coarser(found, 400) is found


def test_a_churn_that_fails_or_falls_behind_voids_its_block() -> None:
    churn = Churn(Target(1, "echo"), SOAK)
    churn.clients, churn.ran_s = 200, 10.0
    assert churn.doubt() is None
    churn.failed = 3
    assert "3 of 200 clients" in (churn.doubt() or "")
    churn.failed, churn.clients = 0, 100
    assert "lower soak.churn_per_s" in (churn.doubt() or "")


def block(name: str, *changes: str, command: str | None = None) -> Block:
    scenario = changed(builtin()["soak"], ("soak.least_kib=1024", *changes))
    gateways = [Gateway(name=name, command=command)] if command else []
    generator = "rust" if missing("rust") is None else "python"
    executor = LocalExecutor(placement=place(available()), generator=generator, gateways=gateways, start_s=20.0)
    slot = Slot(scenario="soak", round=0, position=0, variant=name)
    return executor.block(Task(scenario=scenario, profile="quick", slot=slot, seed=5, hash_seed=6))


@pytest.mark.slow
def test_a_real_soak_convicts_what_leaks_per_call_and_acquits_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{':'.join(p for p in sys.path if p)}")
    # The relay passes both eras on, so that the fleet has to speak both.
    changes = ('upstream.era="both"', "load.rate_per_s=300", "profiles.quick.duration_s=6")
    found = {
        flaw: block(
            flaw, *changes, command=f"{sys.executable} -m tests.harness.miniatures {flaw} {{port}} {{upstream}}"
        )
        for flaw in ("leaks-per-call", "none")
    }
    leaking, twin = found["leaks-per-call"], found["none"]
    assert leaking.status == "failed", leaking.error
    assert "memory grows by" in (leaking.error or "")
    assert 800 < leaking.metrics["soak_kib_per_1000_calls"] < 1300
    assert "memory grows" not in (twin.error or "")
    assert twin.status != "failed", twin.error
    assert twin.metrics["soak_kib_per_1000_calls"] < leaking.metrics["soak_kib_per_1000_calls"] / 2
    # 1 KiB of each call, so that a line over calls goes through the readings.
    rise = leaking.soak[-1].line_kib() - leaking.soak[0].line_kib()
    assert rise == pytest.approx(leaking.soak[-1].calls - leaking.soak[0].calls, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [v for v in ("python", "rust") if missing(v) is None])
def test_a_short_soak_of_a_variant_counts_what_came_and_went(variant: str) -> None:
    found = block(variant, "profiles.quick.duration_s=5")
    assert found.status != "failed", found.error
    assert "memory grows" not in (found.error or "")
    assert {"soak_kib_per_1000_calls", "soak_kib_per_min", "soak_pss_mib"} <= found.metrics.keys()
    assert any("clients came and went" in note for note in found.notes)
    assert list(found.soak) == sorted(found.soak, key=lambda s: s.t_ms)
    assert found.soak[-1].calls > 0
