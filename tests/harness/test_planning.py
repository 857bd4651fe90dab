"""Plans: calibration finds what was put in, the answer is the first number that holds, trust in it is stored."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.fabricated import encode_hdr, make_ops_only, make_results

from crossfade.harness import foretold
from crossfade.harness.cli import main
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import Block, LoadPoint, Predicted, Results, ScenarioRecord, Validation
from crossfade.harness.simulate import validation
from crossfade.harness.simulate.calibration import costs, fitted, lowest, outside, stalls
from crossfade.harness.simulate.cluster import Beside, Cluster, Stalls, run
from crossfade.harness.simulate.planning import Node, Upstreams, calibrate, plan, try_nodes
from crossfade.harness.store import Store

COUNTS, RATES = (1, 2, 4), (4000.0, 12_000.0)
TRUE = Cluster(
    nodes=1,
    rate_per_s=RATES[0],
    service_s=(30e-6,),
    wake_s=20e-6,
    wait_s=tuple((100e-6 - 50e-6 * np.log(1 - (np.arange(512) + 0.5) / 512)).tolist()),
    front="connections",
    pool=64,
    beside=Beside(send_s=4e-6, receive_s=4e-6, accept_s=8e-6, answer_s=0.0, client_wake_s=20e-6, fleet_wake_s=10e-6),
    stalls=Stalls(per_s=8.0, for_s=(3e-3,)),
)
"""What the fabricated run was measured on."""


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


def test_no_core_is_given_more_than_it_kept_when_it_was_measured() -> None:
    modest = msgspec.structs.replace(exact(), most_per_s=10_000.0)
    assert plan(modest, rate_per_s=100_000, slo_p99_s=1e-3, cores=1)[-1].nodes == 10
    assert plan(modest, rate_per_s=100_000, slo_p99_s=1e-3, cores=4)[-1].nodes == 3
    assert plan(exact(), rate_per_s=100_000, slo_p99_s=1e-3, cores=1)[-1].nodes < 10


def test_instances_that_cannot_serve_the_rate_hold_nothing_and_failures_are_said() -> None:
    few = Upstreams(instances=2, slots=4)
    # Eight calls of 100 us at once are 80,000/s.
    assert not try_nodes(exact(), 8, rate_per_s=90_000, slo_p99_s=1.0, cores=1, behind=few).holds
    assert try_nodes(exact(), 8, rate_per_s=60_000, slo_p99_s=1.0, cores=1, behind=few).holds
    failing = try_nodes(
        exact(), 2, rate_per_s=50_000, slo_p99_s=1.0, cores=1, behind=Upstreams(instances=3, failure_rate=0.05)
    )
    assert failing.failed == pytest.approx(0.05, rel=0.1)
    assert failing.refused == 0
    broken = try_nodes(exact(), 2, rate_per_s=50_000, slo_p99_s=1.0, cores=1, behind=Upstreams(failure_rate=0.9))
    assert broken.refused > 0.9


def test_calibration_finds_what_was_stored_and_refuses_what_was_not() -> None:
    one = calibrate(make_results(1, flaws=False), "python")
    assert one.rate_per_s == 4000
    assert 1e6 / one.capacity_per_s == pytest.approx(0.8e6 / 31_000)
    assert one.most_per_s == 8000
    with pytest.raises(UsageError, match="rate-sweep"):
        calibrate(make_ops_only(), "python")
    with pytest.raises(UsageError, match="'go'"):
        calibrate(make_results(1), "go")


def test_time_outside_is_what_makes_the_model_agree_where_it_was_measured() -> None:
    at = np.array([10.0, 50.0, 90.0, 99.0])
    truth = run(TRUE_WITH_CONNECTIONS, 400_000, 9).latency_s
    measured = np.quantile(truth, (np.arange(2048) + 0.5) / 2048)
    bare = msgspec.structs.replace(TRUE_WITH_CONNECTIONS, wait_s=(0.0,), stalls=None)
    found = run(msgspec.structs.replace(bare, wait_s=outside(bare, measured)), 400_000, 8).latency_s
    assert np.percentile(found, at) == pytest.approx(np.percentile(truth, at), rel=0.03)


TRUE_WITH_CONNECTIONS = msgspec.structs.replace(TRUE, connections=64)


def measured(cluster: Cluster, seed: int) -> LoadPoint:
    """A phase as it would have been stored, had this cluster been measured."""
    latency_s = run(cluster, 60_000, seed).latency_s[2000:]
    rate, closed = cluster.rate_per_s, cluster.arrivals == "constant"
    node, client, fleet = (30.0, 8.0, 8.0) if closed else (70.0, 48.0, 18.0)
    rng = np.random.default_rng(seed)
    # Of 1,000 sends 24 fall into one of eight stalls a second, of 3 ms each.
    lag = [int(n) for n in rng.uniform(0, 3e6, 240)] + [40_000] * 9760
    return LoadPoint(
        mode="closed" if closed else "open",
        connections=64 * cluster.nodes,
        rate_per_s=None if closed else rate,
        duration_s=1.0,
        sent=latency_s.size,
        completed=latency_s.size,
        errors={},
        mismatches=0,
        missed_sends=0,
        throughput_per_s=rate,
        cpu_us_per_request=node,
        latency=encode_hdr([int(s * 1e9) for s in latency_s]),
        lag=encode_hdr(lag),
        generator_cpu_s=client / 1e6 * latency_s.size,
        p99_us=float(np.percentile(latency_s, 99)) * 1e6,
        nodes=cluster.nodes,
        fleet_cpu_us_per_request=fleet,
    )


@functools.cache
def fabricated_nodes(*, pinned: bool = True) -> Results:
    """A run of three rounds of ``nodes-rates`` on the machine that ``TRUE`` describes."""
    base = make_results(1, flaws=False)
    sample = base.of("gateway-echo", "python")[0]
    record = base.scenario("gateway-echo")
    load = {"mode": "open", "arrivals": "poisson", "payload_bytes": 16, "era": "modern"}
    spec = {"load": load, "upstream": {"latency_ms": 0.0}, "manager": {}}
    closed_spec = {**spec, "load": {**load, "mode": "closed"}}

    def blocks(name: str, rates: tuple[float, ...], *, closed: bool) -> list[Block]:
        return [
            msgspec.structs.replace(
                sample,
                scenario=name,
                round=number,
                points=tuple(
                    measured(
                        msgspec.structs.replace(
                            TRUE,
                            nodes=nodes,
                            shared=nodes,
                            rate_per_s=rate,
                            connections=64 * nodes,
                            arrivals="constant" if closed else "poisson",
                        ),
                        100 * number + nodes,
                    )
                    for nodes in COUNTS
                    for rate in rates
                ),
            )
            for number in range(3)
        ]

    def told(name: str, told_spec: dict[str, object]) -> ScenarioRecord:
        return msgspec.structs.replace(record, name=name, kind="nodes", spec=told_spec, variants=("python",))

    return msgspec.structs.replace(
        base,
        scenarios=(told("nodes-rates", spec), told("nodes", closed_spec)),
        blocks=(*blocks("nodes-rates", RATES, closed=False), *blocks("nodes", (1000.0,), closed=True)),
        environment=msgspec.structs.replace(
            base.environment, pinning="variant on CPU 0; fleet and load share CPU 1" if pinned else "not pinned"
        ),
    )


def test_costs_are_read_where_work_is_never_short_and_stalls_from_the_generators_lag() -> None:
    results = fabricated_nodes()
    record = results.scenario("nodes-rates")
    found = lowest(results, record, "python")
    assert {p.rate_per_s for p in found} == {RATES[0]}
    assert {p.nodes for p in found} == {1}
    assert costs(results, record, "python", found) == pytest.approx((30e-6, 70e-6))
    stalled = stalls(found)
    assert stalled is not None
    assert stalled.for_s[0] == pytest.approx(3e-3, rel=0.1)
    assert stalled.per_s == pytest.approx(8.0, rel=0.3)
    assert stalls([msgspec.structs.replace(p, lag=encode_hdr([1000] * 100)) for p in found]) is None


def test_a_run_that_the_model_describes_is_predicted_and_its_calibration_not_counted() -> None:
    found = validation.validate(fabricated_nodes())
    assert [(row.nodes, row.rate_per_s) for row in found.rows] == [(n, r) for n in COUNTS for r in RATES]
    assert [row.calibration for row in found.rows] == [True, *[False] * 5]
    assert len(foretold.counted(found)) == 5
    for row in found.rows:
        assert row.error is not None
        assert abs(row.error) < found.target, row
        assert row.low_p99_ms is not None
        assert row.low_p99_ms < row.measured_p99_ms * 1.5


def test_a_phase_in_which_the_machine_stood_still_is_no_part_of_a_rounds_p99() -> None:
    """All of them are kept beside it."""
    results = fabricated_nodes()
    still = encode_hdr([50_000_000] * 10_000)

    def passes(block: Block) -> Block:
        spoilt = (msgspec.structs.replace(p, latency=still, p99_us=50_000.0) for p in block.points)
        return msgspec.structs.replace(block, points=(*block.points, *spoilt, *block.points, *block.points))

    blocks = tuple(passes(b) if b.scenario == "nodes-rates" else b for b in results.blocks)
    one, many = validation.validate(results), validation.validate(msgspec.structs.replace(results, blocks=blocks))
    for row, again in zip(one.rows, many.rows, strict=True):
        assert again.phases == 4 * (row.phases or 0)
        assert again.measured_p99_ms == row.measured_p99_ms
        assert again.predicted_p99_ms == pytest.approx(row.predicted_p99_ms, rel=0.02)
        assert again.all_p99_ms == pytest.approx(50.0, rel=0.01)


def test_what_others_in_the_caches_cost_a_node_is_found_from_processor_time_alone() -> None:
    for true_s in (0.0, 15e-6):
        four = msgspec.structs.replace(TRUE, nodes=4, shared=4, connections=256, switch_s=true_s)
        spent_us = run(four, 60_000, 3).spent_s / 60_000 * 1e6
        point = msgspec.structs.replace(measured(four, 3), cpu_us_per_request=spent_us, latency=None, connections=256)
        found = validation.switching(TRUE, {(1, RATES[0]): [[point]], (4, RATES[0]): [[point]]})
        assert found == pytest.approx(true_s, rel=0.1, abs=1e-6)
    assert validation.switching(TRUE, {(1, RATES[0]): [[point]]}) == 0.0


def test_stalls_that_the_measured_tail_has_no_room_for_are_not_believed() -> None:
    calm = msgspec.structs.replace(TRUE_WITH_CONNECTIONS, stalls=None)
    truth = np.quantile(run(calm, 200_000, 9).latency_s, (np.arange(2048) + 0.5) / 2048)
    # The generator's core stood still a quarter of the time; the requests did not.
    bare = msgspec.structs.replace(calm, wait_s=(0.0,), stalls=Stalls(per_s=50.0, for_s=(5e-3,)))
    found = run(fitted(bare, truth), 200_000, 8).latency_s
    assert np.percentile(found, [50, 99]) == pytest.approx(np.percentile(truth, [50, 99]), rel=0.08)


def foreseen(low: float | None, high: float | None, error: float | None = 0.1, *, fitted: bool = False) -> Predicted:
    return Predicted(
        scenario="nodes-rates", variant="rust", nodes=2, rate_per_s=5000, calibration=fitted, rounds=4, samples=9000,
        measured_p50_ms=0.4, measured_p99_ms=2.0, low_p99_ms=low, high_p99_ms=high, predicted_p50_ms=0.4,
        predicted_p99_ms=None if error is None else 2.0 * (1 + error), error=error,
    )  # fmt: skip


def test_a_point_whose_rounds_disagree_bears_nothing_out_and_refutes_nothing() -> None:
    """And it is shown all the same. The edge: an interval of 20 % to either side can just tell."""
    rows = (foreseen(1.67, 2.40), foreseen(1.66, 2.40, 2.0), foreseen(None, None), foreseen(0.5, 9.0, fitted=True))
    found = Validation(created="t", results="r", target=0.2, rows=rows)
    said = foretold.words(found)
    assert said.startswith("validated against 1 measured point of 2 nodes: p99 within 20% at 1, ")
    assert "2 more (nodes-rates) cannot tell" in said
    table = foretold.table(found)
    assert [line.split("|")[-2].strip() for line in table.splitlines()[4:]] == ["+10%", "(+200%)", "(+10%)", "fitted"]
    blurred = msgspec.structs.replace(found, rows=rows[1:])
    assert foretold.words(blurred).startswith("not validated: at none of 2 points")


def test_a_prediction_without_an_answer_is_counted_against_the_model() -> None:
    found = Validation(created="t", results="r", target=0.2, rows=(foreseen(1.9, 2.1), foreseen(1.9, 2.1, None)))
    assert "2 measured points of 2 nodes: p99 within 20% at 1, " in foretold.words(found)
    assert "no answer at 1" in foretold.words(found)


def test_the_document_shows_the_stored_comparison_and_nothing_else() -> None:
    root = Path(__file__).parents[2]
    shown = (root / "docs" / "planning.md").read_text().split("<!-- crossfade:begin -->\n")[1]
    stored = root / foretold.BASELINE
    wanted = foretold.table(foretold.read(stored)) if stored.is_file() else "No comparison is stored yet.\n"
    assert shown.split("<!-- crossfade:end -->")[0] == wanted, (
        "it is stale; docs/planning.md says which command writes it"
    )


def test_what_was_not_measured_or_not_pinned_is_not_validated() -> None:
    with pytest.raises(UsageError, match="nodes-rates nodes-pool"):
        validation.validate(make_results(1))
    with pytest.raises(UsageError, match="not pinned"):
        validation.validate(fabricated_nodes(pinned=False))
    assert not validation.possible(fabricated_nodes(pinned=False))


def test_the_command_says_how_many_and_that_it_is_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foretold, "checkout", lambda: None)
    results = make_results(1, flaws=False)
    Store(tmp_path, results.id).save(results)
    given = ["plan", "--rate", "50000", "--slo-p99", "10ms", "--results", str(tmp_path / "latest")]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "nodes of python with one core each" in said
    assert "a model's answer, not a measurement" in said
    assert "not yet validated" in said
    assert main([*given, "--json", "--impl", "rust", "--instances", "4", "--failure-rate", "1%"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["failed"] > 0
    for wrong in (
        *(["--rate", "0"], ["--rate", "nan"], ["--slo-p99", "10"], ["--cores", "0"], ["--failure-rate", "100%"]),
        *(["--slots", "-1"], ["--validation", str(tmp_path / "none.json")]),
    ):
        assert main([*given, *wrong]) == 64
    assert main(["plan"]) == 64


def test_a_stored_validation_is_quoted_by_the_next_plan_and_put_into_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = fabricated_nodes()
    Store(tmp_path, results.id).save(results)
    stored = tmp_path / foretold.FILE
    assert main(["plan", "--validate", str(tmp_path / "latest"), "--validation", str(stored)]) == 0
    said = capsys.readouterr().out
    assert "p99 within 20% at 4" in said
    assert "1 more (nodes-rates) cannot tell" in said
    assert "fitted" in said
    assert main(["plan", "--rate", "9000", "--slo-p99", "10ms", "--results", str(tmp_path / "latest")]) == 0
    assert "validated against 4 measured points of 1, 2 and 4 nodes: p99 within 20% at 4" in capsys.readouterr().out
    document = tmp_path / "planning.md"
    document.write_text("before\n<!-- crossfade:begin -->\nold\n<!-- crossfade:end -->\nafter\n")
    assert main(["plan", "--validation", str(stored), "--into", str(document)]) == 0
    assert "| nodes-rates | python | 4 | 12,000 |" in document.read_text()
    assert "old" not in document.read_text()
    stored.write_text("{}")
    assert main(["plan", "--validation", str(stored), "--into", str(document)]) == 64
