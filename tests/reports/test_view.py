"""The view model, to the digit: what the page claims is what the samples hold."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest
from tests.fabricated_standard import make_standard
from tests.reports import build

from crossfade.harness.samples import Block, Results
from crossfade.harness.stats import percentiles
from crossfade.reports import captions_events, view
from crossfade.reports.page import Page
from crossfade.reports.plate import NONE
from crossfade.reports.plates import plates


@pytest.fixture(scope="module")
def page() -> Page:
    return view(build.full())


def test_headline_says_what_the_verdicts_say(page: Page) -> None:
    assert page.headline == (
        "rust serves 2.5 times the requests of python at 40\u202f% of the CPU per request, and reaches "
        "75\u202f% of nginx."
    )


def test_standfirst_names_scenario_interval_and_errors(page: Page) -> None:
    assert page.standfirst == (
        "That is gateway-echo (\u201cTitle of gateway-echo\u201d): throughput ratio 2.5, 95\u202f% interval 2.5 "
        "to 2.5, "
        "from 3 paired rounds.",
        "In all 9 comparisons rust is better.",
        f"Of {_sent(build.full()):,} requests none failed; no block was lost.",
    )


def test_what_fails_past_the_knee_of_a_sweep_is_not_counted_as_a_failure_of_the_run() -> None:
    whole = build.full()
    blocks = tuple(
        msgspec.structs.replace(
            b,
            points=tuple(msgspec.structs.replace(p, errors={"timeout": 2}) if p.held is False else p for p in b.points),
        )
        for b in whole.blocks
    )
    past = sum(2 for b in blocks for p in b.points if p.held is False)
    assert past > 0
    told = view(msgspec.structs.replace(whole, blocks=blocks)).standfirst[-1]
    assert told == (
        f"Of {_sent(whole):,} requests none failed, {past} past the knee of a sweep apart; no block was lost."
    )


def _sent(results: Results) -> int:
    return sum(p.sent for b in results.blocks if b.scenario != "faults-crash" for p in b.points)


def test_a_lower_is_better_quantity_is_turned_with_its_interval(page: Page) -> None:
    cpu = next(row for row in page.verdicts[0].rows if row.quantity == "CPU per request")
    assert [cpu.baseline, cpu.candidate] == pytest.approx([80.0, 32.0])
    assert cpu.gain.value == pytest.approx(2.5)
    assert cpu.gain.low is not None
    assert cpu.gain.high is not None
    assert cpu.gain.low <= cpu.gain.value <= cpu.gain.high
    assert cpu.word == "better"


def test_an_interval_keeps_its_order_when_it_is_turned() -> None:
    results = build.scaled(build.full(), "gateway-echo", "cpu_us_per_request", (1.1, 0.9, 1.0))
    cpu = next(row for row in view(results).verdicts[0].rows if row.quantity == "CPU per request")
    assert cpu.gain.low is not None
    assert cpu.gain.high is not None
    assert cpu.gain.low < cpu.gain.value < cpu.gain.high


def test_every_row_lies_on_the_axis_and_the_axis_has_room_for_its_labels(page: Page) -> None:
    table = page.verdicts[0]
    low, high = table.axis
    assert all(low <= row.gain.value <= high for row in table.rows)
    assert 1 in table.ticks
    steps = [math.log(b / a) / math.log(high / low) for a, b in zip(table.ticks, table.ticks[1:], strict=False)]
    assert min(steps) >= 0.12


def test_key_figures(page: Page) -> None:
    assert [(key.value, key.text) for key in page.keys] == [
        ("2.5\u00d7", "the requests of python"),
        ("75\u202f%", "of nginx\u2019s throughput"),
        ("40\u202f%", "of python\u2019s CPU per request"),
        ("10.0 KiB", "for each idle client of rust"),
    ]
    assert page.keys[1].detail == "95\u202f% interval 75\u202f% to 75\u202f%"


def test_slope_and_intercept_of_an_exact_ladder(page: Page) -> None:
    rust = next(fit for fit in page.ladders[0].fits if fit.who.name == "rust")
    assert rust.slope.value == pytest.approx(10.0)
    assert rust.intercept_mib == pytest.approx(40.0)
    assert rust.r2 == pytest.approx(1.0)
    assert rust.target == 16


def test_policy_operations_are_in_nanoseconds(page: Page) -> None:
    costs = {op.name: {who.name: cost.value for who, cost in op.costs} for op in page.operations}
    assert costs["Pool checkout and release"] == {"python": pytest.approx(1500.0), "rust": pytest.approx(100.0)}


def test_microseconds_become_nanoseconds() -> None:
    results = build.full()
    blocks = tuple(
        msgspec.structs.replace(b, metrics={"register_us": 30.0}) if b.scenario == "policy-ops" else b
        for b in results.blocks
    )
    (operation,) = view(msgspec.structs.replace(results, blocks=blocks)).operations
    assert operation.costs[0][1].value == pytest.approx(30_000.0)


def test_the_crash_clock_starts_when_the_server_dies(page: Page) -> None:
    python = page.crashes[0]
    assert python.blocks[0].marks == ((0.0, "server dies"), (1.0, "server is back"))
    assert python.blocks[0].t_s[0] == pytest.approx(-0.95)
    assert sum(python.blocks[0].errors_per_s) / 10 == pytest.approx(1100)
    assert (python.failed, python.hung, python.restored_ms) == (1100, 0, 400)


def test_a_series_told_by_its_starts_lies_where_one_told_by_its_ends_does(page: Page) -> None:
    results = build.full()

    def shifted(block: Block) -> Block:
        points = tuple(
            msgspec.structs.replace(p, series=tuple(msgspec.structs.replace(s, t_ms=s.t_ms - 100) for s in p.series))
            for p in block.points
        )
        return msgspec.structs.replace(block, points=points)

    found = view(msgspec.structs.replace(results, blocks=tuple(map(shifted, results.blocks))))
    for mine, theirs in zip(found.crashes[0].blocks, page.crashes[0].blocks, strict=True):
        assert mine.t_s == pytest.approx(theirs.t_s)
        assert mine.completed_per_s == pytest.approx(theirs.completed_per_s)


def test_errors_on_purpose_are_shown_and_not_held_against_anyone(page: Page) -> None:
    provoked = [fault for fault in page.faults if fault.scenario == "faults-crash"]
    assert [fault.errors for fault in provoked] == [(("-32001", 3300),)] * 2
    assert all(fault.clean for fault in page.faults)


def test_the_knee_is_the_blocks_own_and_a_held_last_rate_is_open_ended() -> None:
    results = build.full()
    curves = {curve.who.name: curve for curve in view(results).sweeps[0].curves}
    assert curves["rust"].knee == pytest.approx(22_627)
    assert not curves["rust"].beyond
    blocks = tuple(
        msgspec.structs.replace(b, points=b.points[:-1]) if b.scenario == "rate-sweep" else b for b in results.blocks
    )
    assert all(c.beyond for c in view(msgspec.structs.replace(results, blocks=blocks)).sweeps[0].curves)


def test_percentiles_are_taken_at_the_highest_rate_that_all_variants_held(page: Page) -> None:
    assert page.tails[0].load == "8,000 requests/s, open loop"
    assert all(tail.too_few == () for tail in page.tails[0].curves)


def test_percentiles_that_the_samples_do_not_carry_are_not_there() -> None:
    results = build.full()
    thin = build.blob(400.0, 50)
    blocks = tuple(
        msgspec.structs.replace(b, points=tuple(msgspec.structs.replace(p, latency=thin) for p in b.points))
        for b in results.blocks
    )
    found = view(msgspec.structs.replace(results, blocks=blocks))
    tail = found.tails[0].curves[0]
    assert tail.too_few == (99.0, 99.9)
    assert max(p for p, _ in tail.points) < 99
    assert all(point.p99_ms is None for curve in found.sweeps[0].curves for point in curve.points)


def beside(results: Results, **more: Any) -> Results:
    """The same run, with more in every phase of its sweep."""
    blocks = tuple(
        msgspec.structs.replace(b, points=tuple(msgspec.structs.replace(p, **more) for p in b.points))
        if b.scenario == "rate-sweep"
        else b
        for b in results.blocks
    )
    return msgspec.structs.replace(results, blocks=blocks)


def test_service_time_and_the_generators_lag_stand_beside_open_loop_latency() -> None:
    service, lag = build.blob(200.0, 4000), build.blob(15.0, 4000)
    found = view(beside(build.full(), service=service, lag=lag))
    for tail in found.tails[0].curves:
        for told, blob in ((tail.service_ms, service), (tail.lag_ms, lag)):
            truth = percentiles([blob])
            assert [1000 * (value or 0) for value in told] == pytest.approx([truth.p50_us, truth.p99_us])
    (plate,) = plates(found).tails
    assert plate.table.head[-2:] == ("service p50 / p99", "generator lag p50 / p99")
    assert all(re.fullmatch(r"0\.20.ms / \d\.\d+.ms", row[-2]) for row in plate.table.rows)
    assert all(re.fullmatch(r"0\.015.ms / 0\.\d+.ms", row[-1]) for row in plate.table.rows)


def test_service_and_lag_that_are_not_known_are_dashes_and_thin_ones_have_no_p99(page: Page) -> None:
    assert {(tail.service_ms, tail.lag_ms) for tail in page.tails[0].curves} == {((None, None), (None, None))}
    assert {row[-2:] for row in plates(page).tails[0].table.rows} == {(NONE, NONE)}
    thin = view(beside(build.full(), service=build.blob(200.0, 50), lag=build.blob(15.0, 50)))
    assert all(row[-2].endswith(f" / {NONE}") for row in plates(thin).tails[0].table.rows)


def test_a_sweep_says_what_a_request_costs_at_each_rate(page: Page) -> None:
    table = plates(view(beside(build.full(), cpu_us_per_request=31.5))).sweep[0].table
    column = table.head.index("CPU \u00b5s per request")
    assert {row[column] for row in table.rows} == {"31.5"}
    assert {row[column] for row in plates(page).sweep[0].table.rows} == {NONE}


def test_goals_say_met_missed_and_why_one_is_open(page: Page) -> None:
    found = {goal.text: (goal.asked, goal.measured, goal.met) for goal in page.goals}
    assert found["rust: throughput, gateway-echo"] == ("at least 0.6 of nginx", "0.750 of nginx", True)
    assert found["python: throughput, gateway-echo"] == ("at least 0.25 of nginx", "0.300 of nginx", True)
    assert found["rust: CPU per request, gateway-echo"][1] == "1.60 of nginx"
    assert found["python: throughput, calls-echo"] == ("at least 5,000 requests/s", "6,000 requests/s", True)


def test_a_goal_out_of_reach_of_the_machine_is_open() -> None:
    results = build.scaled(build.full(), "calls-echo", "throughput_per_s", (0.5, 0.5, 0.5))
    goal = next(g for g in view(results).goals if g.text == "rust: throughput, calls-echo")
    assert goal.met is False, "the ceiling of 50,000/s allows it"
    less = build.scaled(results, "calls-echo", "throughput_per_s", (0.9, 0.9, 0.9), variant="ceiling")
    goal = next(g for g in view(less).goals if g.text == "rust: throughput, calls-echo")
    assert goal.met is None
    assert goal.asked.endswith("where the ceiling allows 50,000")


def test_a_variant_nobody_knows_gets_a_colour_of_its_own() -> None:
    results = build.hostile("other")
    looks = {series.name: (series.ink, series.marker) for series in view(results).series}
    assert looks["python"] == ("v0", "o")
    assert looks["other"] == ("v4", "s")


def test_cost_per_request_over_nodes_is_flat_and_says_what_two_cores_cannot_show() -> None:
    found = view(make_standard(rounds=2))
    (scaling,) = found.scalings
    assert [point.nodes for point in scaling.curves[0].points] == [1, 2, 4, 8]
    said = captions_events.scaling(scaling)
    assert said.count(": flat") == 2
    assert "This machine has 2 cores for all nodes, fleet and load." in said
    assert [row[:4] for row in found.node_latencies[:2]] == [
        ("nodes", "python", "1", "3,000"),
        ("nodes", "python", "2", "3,000"),
    ]


def test_a_burst_is_drained_when_its_last_answer_came() -> None:
    (drains,) = view(make_standard(rounds=2)).drains
    done = {curve.who.name: curve.points[-1] for curve in drains.curves}
    assert all(share == 100.0 for _, share in done.values())
    assert done["python"][0] == pytest.approx(833, rel=0.1)
    assert done["rust"][0] == pytest.approx(323, rel=0.1)
