"""The gate: three exit codes that a CI can trust, and refusals that are neither."""

from __future__ import annotations

import math

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.harness.gate import gate
from crossfade.harness.problems import BrokenResults
from crossfade.harness.samples import Block, Results


def only(results: Results, *scenarios: str) -> Results:
    return msgspec.structs.replace(
        results,
        scenarios=tuple(s for s in results.scenarios if s.name in scenarios),
        blocks=tuple(b for b in results.blocks if b.scenario in scenarios),
    )


def only_blocks(results: Results, scenario: str) -> Results:
    return msgspec.structs.replace(results, blocks=tuple(b for b in results.blocks if b.scenario == scenario))


def known(*logs: float, seed: int = 1) -> Results:
    """One scenario, no limits in it, and rust throughputs of exp(logs); python does not change."""
    full = only(make_results(seed, rounds=len(logs), flaws=False), "gateway-stdio")
    scenario = msgspec.structs.replace(full.scenarios[0], headline=("throughput_per_s",))

    def block(b: Block) -> Block:
        value = 1000 * math.exp(logs[b.round]) if b.variant == "rust" else 1000.0
        return msgspec.structs.replace(b, metrics={"throughput_per_s": value})

    return msgspec.structs.replace(full, scenarios=(scenario,), blocks=tuple(block(b) for b in full.blocks))


JITTER = (-0.004, 0.001, 0.003, -0.002, 0.002)


def shifted(by: float) -> Results:
    return known(*(j + math.log1p(by) for j in JITTER))


@pytest.mark.parametrize(
    ("change", "code", "outcome"),
    [(0.0, 0, "fine"), (0.3, 0, "fine"), (-0.02, 0, "fine"), (-0.08, 1, "regressed"), (-0.5, 1, "regressed")],
)
def test_exit_codes_of_a_clear_change(change: float, code: int, outcome: str) -> None:
    found = gate(shifted(0.0), shifted(change), threshold=0.05)
    assert (found.exit_code, found.outcome) == (code, outcome)


def test_noise_wider_than_the_threshold_is_inconclusive_and_not_a_pass() -> None:
    noisy = known(-0.2, 0.15, -0.1, 0.2, 0.0)
    found = gate(noisy, known(0.1, -0.2, 0.2, -0.1, 0.05), threshold=0.05)
    assert (found.exit_code, found.outcome) == (2, "inconclusive")


def test_a_lower_is_better_metric_that_rises_is_a_regression() -> None:
    def cpu(factor: float) -> Results:
        base = shifted(0.0)
        scenario = msgspec.structs.replace(base.scenarios[0], headline=("cpu_us_per_request",))
        blocks = tuple(
            msgspec.structs.replace(b, metrics={"cpu_us_per_request": 30 * factor * math.exp(JITTER[b.round])})
            for b in base.blocks
        )
        return msgspec.structs.replace(base, scenarios=(scenario,), blocks=blocks)

    assert gate(cpu(1.0), cpu(1.2), threshold=0.05).exit_code == 1
    assert gate(cpu(1.2), cpu(1.0), threshold=0.05).exit_code == 0


def test_a_slower_machine_is_not_a_slower_variant_where_a_limit_tells_them_apart() -> None:
    base = only(make_results(1, flaws=False), "gateway-echo")
    base = msgspec.structs.replace(
        base, scenarios=(msgspec.structs.replace(base.scenarios[0], headline=("throughput_per_s",)),)
    )
    slow_day = msgspec.structs.replace(
        base,
        blocks=tuple(
            msgspec.structs.replace(b, metrics={"throughput_per_s": b.metrics["throughput_per_s"] * 0.7})
            for b in base.blocks
        ),
    )
    found = gate(base, slow_day, threshold=0.05)
    assert {c.yardstick for c in found.checks} == {"nginx"}
    assert found.outcome != "regressed"
    assert all(c.ratio == pytest.approx(1.0) for c in found.checks)


def test_a_candidate_that_lost_its_blocks_never_passes() -> None:
    candidate = shifted(0.0)
    failed = tuple(
        msgspec.structs.replace(b, status="failed", error="died", metrics={}) if b.variant == "rust" else b
        for b in candidate.blocks
    )
    found = gate(shifted(0.0), msgspec.structs.replace(candidate, blocks=failed))
    assert found.exit_code == 2
    assert found.missing == ("gateway-stdio/rust/throughput_per_s",)


def test_a_scenario_that_the_candidate_has_not_measured_is_no_pass() -> None:
    base = make_results(1, flaws=False)
    everything = gate(base, base, threshold=0.5)
    assert (everything.exit_code, everything.missing) == (0, ())
    found = gate(base, only(base, "gateway-echo"), threshold=0.5)
    assert (found.exit_code, found.outcome) == (2, "inconclusive")
    assert {c.scenario for c in found.checks} == {"gateway-echo"}
    assert "policy-ops, which the candidate has not measured" in found.missing
    assert len(found.missing) == len(base.scenarios) - 1
    # What the base has planned and never measured is not lost.
    assert gate(only_blocks(base, "gateway-echo"), only(base, "gateway-echo"), threshold=0.5).missing == ()
    # Nor is it a loss that the candidate has more.
    assert gate(only(base, "gateway-echo"), base, threshold=0.5).exit_code == 0


def test_another_machine_is_refused_unless_forced_and_then_labelled() -> None:
    base, candidate = shifted(0.0), shifted(0.0)
    cpu = msgspec.structs.replace(candidate.environment.cpu, model="Another CPU")
    moved = msgspec.structs.replace(candidate, environment=msgspec.structs.replace(candidate.environment, cpu=cpu))
    with pytest.raises(BrokenResults, match=r"cpu\.model.*--force"):
        gate(base, moved)
    found = gate(base, moved, force=True)
    assert found.exit_code == 0
    assert len(found.warnings) == 1


def test_a_changed_scenario_is_refused_even_when_forced() -> None:
    base = shifted(0.0)
    other = msgspec.structs.replace(base, scenarios=(msgspec.structs.replace(base.scenarios[0], sha256="0" * 64),))
    with pytest.raises(BrokenResults, match="differs between the two"):
        gate(base, other, force=True)


def test_nothing_in_common_is_refused() -> None:
    results = make_results(1)
    with pytest.raises(BrokenResults, match="share no scenario"):
        gate(only(results, "gateway-echo"), only(results, "policy-ops"))


def test_false_alarms_between_twins_are_rare() -> None:
    alarms = [gate(make_results(n, flaws=False), make_results(n + 500, flaws=False)).outcome for n in range(6)]
    assert alarms.count("regressed") <= 1
