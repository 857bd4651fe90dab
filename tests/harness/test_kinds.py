"""What a block of each newer kind concludes from its phase: which figures, and when it is void or has failed."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from tests.fabricated import make_point

from crossfade.harness.measure import burst, connect, deploy, faults, latency
from crossfade.harness.samples import LoadPoint, Mark
from crossfade.scenarios import Faults

FLAP = Faults(fault="flap", flaps=3, crash_at_s=1.0, recover_at_s=2.0)


def phase(**changes: Any) -> LoadPoint:
    point = make_point(random.Random(1), mode="open", connections=16, rate=1000.0, throughput=1000, median_us=1500)
    return msgspec.structs.replace(point, **changes)


def test_a_burst_that_was_not_over_has_no_end_and_is_void() -> None:
    whole = burst.conclude(phase(sent=2000, completed=2000, drain_ms=321.0), wanted=2000)
    assert (whole.void, whole.metrics["drain_ms"]) == (None, 321.0)
    cut = burst.conclude(phase(sent=2000, completed=1500, drain_ms=None), wanted=2000)
    assert "only 1500 of 2000" in (cut.void or "")
    assert "drain_ms" not in cut.metrics


def test_a_burst_that_is_refused_is_not_fast() -> None:
    found = burst.conclude(phase(sent=2000, completed=1000, errors={"http_503": 1000}, drain_ms=5.0), wanted=2000)
    assert "1000 of 2000 requests failed (http_503: 1000)" in (found.void or "")
    assert found.metrics["failed_requests"] == 1000


def test_a_storm_bills_a_connection_what_its_one_request_cost() -> None:
    found = connect.conclude(phase(sent=500, completed=500, connects_per_s=4000.0, cpu_us_per_request=50.0), wanted=500)
    assert found.void is None
    assert (found.metrics["connects_per_s"], found.metrics["cpu_us_per_connection"]) == (4000.0, 50.0)
    late = connect.conclude(phase(sent=500, completed=400), wanted=500)
    assert "only 400 of 500" in (late.void or "")


def test_an_update_that_loses_one_request_fails_its_block_and_keeps_its_figures() -> None:
    said = {"ms": 40.0, "problem": None}
    good = deploy.conclude(phase(), said, 500.0, "rolling")
    assert (good.failed, good.void, good.metrics["update_ms"]) == (None, None, 40.0)
    assert [(m.what, m.t_ms) for m in good.marks] == [("update", 500.0), ("updated", 540.0)]
    lost = deploy.conclude(phase(errors={"rpc_-32603": 1}), said, 500.0, "rolling")
    assert "1 of 1503 requests failed during the rolling update" in (lost.failed or "")
    assert lost.metrics["failed_requests"] == 1


def test_an_update_that_ended_otherwise_or_after_the_load_does_not_count() -> None:
    back = deploy.conclude(phase(), {"ms": 40.0, "problem": "it ended rolled_back: gate"}, 500.0, "canary")
    assert "the canary update failed: it ended rolled_back" in (back.failed or "")
    late = deploy.conclude(phase(), {"ms": 9000.0, "problem": None}, 500.0, "canary")
    assert "outlasted the load" in (late.void or "")


def test_flapping_begins_with_a_crash_and_ends_recovered() -> None:
    steps = faults.schedule(FLAP, recover_at_s=2.0)
    assert [what for _, what in steps] == ["crash", "recover"] * 3
    assert [at for at, _ in steps] == pytest.approx([1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert faults.schedule(Faults(fault="drip", crash_at_s=1, recover_at_s=2), 2.3) == [(1, "drip"), (2.3, "recover")]


class Done:
    """What a conductor leaves behind."""

    begin_ns = 1_000_000_000
    marks = (Mark(t_ms=100.0, what="crash"), Mark(t_ms=900.0, what="recover"))
    first_success_ms = 20.0


def change(at_ms: float, new: str, kind: str = "circuit") -> dict[str, Any]:
    return {"at_ns": Done.begin_ns + int(at_ms * 1e6), "kind": kind, "server": "up", "old": None, "new": new}


def test_the_breaker_is_timed_from_the_fault_and_from_the_last_recovery() -> None:
    seen = [
        change(50, "open"),
        change(130, "unhealthy", "state"),
        change(140, "open"),
        change(450, "half_open"),
        change(460, "open"),
        change(950, "closed"),
    ]
    assert faults.circuit(seen, Done()) == {"breaker_open_ms": 40.0, "breaker_heal_ms": 50.0}  # type: ignore[arg-type]
    assert faults.circuit([], Done()) == {}  # type: ignore[arg-type]


def test_errors_of_a_fault_are_figures_and_a_request_without_an_answer_voids() -> None:
    found = phase(errors={"rpc_-32603": 500})
    done: Any = Done()
    assert faults.conclude(found, done, 600.0, 0.9).void is None
    hung = faults.conclude(phase(errors={"timeout": 3}), done, 600.0, 0.9)
    assert "3 requests got no answer at all" in (hung.void or "")


def test_a_fault_bills_a_request_too() -> None:
    done: Any = Done()
    found = faults.conclude(phase(errors={"rpc_-32603": 500}, cpu_us_per_request=40.0), done, 600.0, 0.9)
    assert found.metrics["cpu_us_per_request"] == 40.0
    unknown = faults.conclude(phase(cpu_us_per_request=None), done, 600.0, 0.9)
    assert "cpu_us_per_request" not in unknown.metrics


def test_latency_says_what_failed_beside_what_was_answered() -> None:
    found = latency.conclude(phase(errors={"timeout": 2, "rpc_-32603": 1}))
    assert (found.metrics["failed_requests"], found.metrics["hung_requests"]) == (1, 2)
    assert found.metrics["p99_us"] > found.metrics["p50_us"]
