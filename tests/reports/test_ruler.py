"""What the page says of the ruler: every part that was measured with its figures, every other with its command."""

from __future__ import annotations

from pathlib import Path

import msgspec
from tests.reports import build

from crossfade.harness.samples import Predicted, Results, Validation
from crossfade.harness.trust import FalseAlarms, Plant, Power, Ruler, SelfTest, Share, Trial
from crossfade.reports import render, view


def known() -> Results:
    """The full run on a machine whose ruler was tested: one false alarm in forty, and nine of ten plants found."""
    trial = Trial(
        repetition=1,
        scenario="gateway-echo",
        metric="throughput_per_s",
        baseline="rust",
        candidate="rust~twin",
        rounds=8,
        threshold=0.02,
        ratio=1.05,
        low=1.03,
        high=1.07,
        p=0.01,
        p_holm=0.4,
        verdict="better",
        verdict_holm="inconclusive",
    )
    calm = msgspec.structs.replace(trial, verdict="inconclusive", p=0.6, ratio=1.001)
    alarms = FalseAlarms(
        created="2026-11-22T12:00:00Z",
        machine="m",
        profile="quick",
        seed=1,
        variants=("rust",),
        scenarios=("gateway-echo", "calls-echo"),
        trials=(trial, calm),
        alone=Share(hits=1, of=40, low=0.0006, high=0.13),
        corrected=Share(hits=0, of=40, low=0.0, high=0.09),
    )
    plant = Plant(
        name="slower", what="five per cent more CPU", scenario="gateway-echo",
        found=Share(hits=9, of=10, low=0.55, high=0.997),
    )  # fmt: skip
    power = Power(
        created="2026-11-22T12:00:00Z", machine="m", profile="standard", seed=1, runs=10, plants=(plant,),
        trials=tuple(msgspec.structs.replace(trial, candidate="slower", ratio=ratio) for ratio in (0.95, 0.94, 0.96)),
    )  # fmt: skip
    row = Predicted(
        scenario="nodes-rates", variant="rust", nodes=2, rate_per_s=5000, calibration=False, rounds=4, samples=9000,
        measured_p50_ms=0.4, measured_p99_ms=2.0, low_p99_ms=1.8, high_p99_ms=2.2, predicted_p50_ms=0.4,
        predicted_p99_ms=2.2, error=0.1, phases=32, all_p99_ms=3.0,
    )  # fmt: skip
    validation = Validation(created="2026-11-22T12:00:00Z", results="r", target=0.2, rows=(row,))
    return msgspec.structs.replace(build.full(), ruler=Ruler(alarms=alarms, power=power), validation=validation)


def test_what_a_machine_has_not_measured_is_named_with_its_command() -> None:
    checks = view(build.full()).checks
    unknown = {check.title: check.says for check in checks if not check.known}
    assert "`crossfade selftest` makes one" in unknown["False alarms"]
    assert "`crossfade selftest --power`" in unknown["Planted flaws"]
    assert "no cross-check of this machine; `crossfade crosscheck` makes one" in unknown["Cross-check"]
    assert "`crossfade run nodes-rates nodes-pool` has" in unknown["The simulator against measured nodes"]


def test_the_quick_check_of_a_first_run_is_told_where_the_long_one_is_missing() -> None:
    quick = SelfTest(
        variant="python", scenario="gateway-echo", rounds=8, rounds_per_verdict=6, threshold=0.02,
        log_ratios={"throughput_per_s": (0.01, -0.01)}, false_alarms={"throughput_per_s": 0.03}, created="t",
    )  # fmt: skip
    found = {check.title: check for check in view(msgspec.structs.replace(build.full(), selftest=quick)).checks}
    says = found["False alarms"].says
    assert says.startswith("The ruler was checked quickly: python against itself on gateway-echo")
    assert says.endswith("`crossfade selftest` makes one.")


def test_counts_intervals_and_false_alarms_are_printed() -> None:
    checks = {check.title: check for check in view(known()).checks}
    alarms, power = checks["False alarms"], checks["Planted flaws"]
    assert alarms.says.startswith("40 A/A comparisons over 2 scenarios, 1 false alarm: 2.5\u202f%, 95\u202f% interval")
    assert [row[0] for row in alarms.rows] == ["gateway-echo"]
    assert alarms.rows[0][-1] == "called off"
    assert power.rows[0][3] == "throughput 0.950 (0.925 to 0.975)"
    assert power.rows[0][4] == "9 of 10"


def test_the_simulator_stands_beside_what_was_measured() -> None:
    check = next(c for c in view(known()).checks if c.title.startswith("The simulator"))
    assert check.known
    assert check.rows == (
        (
            "nodes-rates", "rust", "2", "5,000", "2.0\u202fms (1.8\u202fms to 2.2\u202fms)", "3.0\u202fms",
            "2.2\u202fms", "+10%",
        ),
    )  # fmt: skip


def test_the_section_is_on_the_page_and_linked(tmp_path: Path) -> None:
    text = render(known(), tmp_path).read_text(encoding="utf-8")
    section = text.partition('<section id="ruler">')[2].partition("</section>")[0]
    assert "9 of 10" in section
    assert '<a href="#ruler">' in text
