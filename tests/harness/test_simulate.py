"""The model against queueing theory, its calibration against what was put in, and its speed."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from tests.fabricated import make_ops_only, make_results

from crossfade.harness.cli import main
from crossfade.harness.problems import UsageError
from crossfade.harness.simulate.events import node
from crossfade.harness.simulate.planning import Node, calibrate, plan, try_nodes
from crossfade.harness.store import Store

NOTHING = np.zeros(1)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_core_with_constant_service_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    service_s = 1e-3
    found = node(5, 1_000_000, 1, load / service_s, np.array([service_s]), NOTHING)
    assert found.mean() == pytest.approx(service_s * (1 + load / (2 * (1 - load))), rel=0.02)


def test_one_core_with_exponential_service_has_the_exponential_latency_of_theory() -> None:
    # Quantiles of the exponential distribution stand for it.
    service = -np.log(1 - (np.arange(4096) + 0.5) / 4096) * 1e-3
    found = node(6, 2_000_000, 1, 700.0, service, NOTHING)
    assert np.percentile(found, 99) == pytest.approx(math.log(100) / (1000 - 700), rel=0.05)


def test_several_cores_wait_as_erlang_says() -> None:
    cores, load = 4, 0.8
    service = -np.log(1 - (np.arange(4096) + 0.5) / 4096) * 1e-3
    found = node(7, 2_000_000, cores, load * cores * 1000, service, NOTHING)
    offered = cores * load
    last = offered**cores / math.factorial(cores) / (1 - load)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(cores)) + last)
    assert found.mean() == pytest.approx(1e-3 * (1 + waits / (cores * (1 - load))), rel=0.03)


def test_the_same_seed_is_the_same_future() -> None:
    arguments = (3, 1000, 2, 500.0, np.array([1e-3, 2e-3]), np.array([1e-4]))
    assert np.array_equal(node(*arguments), node(*arguments))


def exact() -> Node:
    return Node(variant="v", scenario="s", rate_per_s=1.0, service_s=(20e-6,), wait_s=(100e-6,))


def test_the_answer_is_the_first_number_that_holds_and_overload_never_does() -> None:
    found = plan(exact(), rate_per_s=500_000, slo_p99_s=1e-3, cores=1)
    assert found[-1].holds
    assert not any(p.holds for p in found[:-1])
    # Ten cores' worth of work, and room for chance.
    assert 10 < found[-1].nodes <= 12
    assert not try_nodes(exact(), 10, rate_per_s=500_001, slo_p99_s=1.0, cores=1).holds
    assert plan(exact(), rate_per_s=500_000, slo_p99_s=1e-3, cores=4)[-1].nodes == 3
    with pytest.raises(UsageError, match="ask for less"):
        plan(exact(), rate_per_s=1000, slo_p99_s=50e-6, cores=1)


def test_calibration_finds_what_was_stored_and_refuses_what_was_not() -> None:
    one = calibrate(make_results(1, flaws=False), "python")
    assert one.rate_per_s == 4000
    assert 1e6 / one.capacity_per_s == pytest.approx(0.8e6 / 31_000)
    with pytest.raises(UsageError, match="rate-sweep"):
        calibrate(make_ops_only(), "python")
    with pytest.raises(UsageError, match="'go'"):
        calibrate(make_results(1), "go")


def test_the_command_says_how_many_and_that_it_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_results(1, flaws=False)
    Store(tmp_path, results.id).save(results)
    given = ["plan", "--rate", "50000", "--slo-p99", "10ms", "--results", str(tmp_path / "latest")]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "nodes of python with one core each" in said
    assert "not yet validated" in said
    assert main([*given, "--json", "--impl", "rust"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["holds"]
    for wrong in (["--rate", "0"], ["--rate", "nan"], ["--slo-p99", "10"], ["--cores", "0"]):
        assert main([*given, *wrong]) == 64


def test_five_million_events_a_second() -> None:
    arguments = (1, 2_000_000, 1, 40_000.0, np.array([20e-6]), np.array([1e-4]))
    node(*arguments)
    best = 0.0
    for _ in range(5):
        begin = time.process_time()
        node(*arguments)
        # A request is an arrival and a departure. Processor time: other tests share the machine.
        best = max(best, 2 * arguments[1] / (time.process_time() - begin))
    print(f"{best / 1e6:.1f} million events per second")  # noqa: T201 - the figure
    assert best > 5e6
