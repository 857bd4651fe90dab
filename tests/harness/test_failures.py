"""Lost requests get a verdict by rounds: what is convicted, what is acquitted, and what must not count."""

from __future__ import annotations

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.harness.cli import tables
from crossfade.harness.samples import Results, ScenarioKind
from crossfade.harness.stats import analyse
from crossfade.reports import markdown


def lost(base: list[int], mine: list[int], kind: ScenarioKind = "throughput") -> Results:
    """Rounds in which python and rust failed so many of a thousand requests."""
    full = make_results(1, rounds=2, flaws=False)
    record = msgspec.structs.replace(next(s for s in full.scenarios if s.name == "gateway-echo"), kind=kind)
    blocks = []
    for name, counts in (("python", base), ("rust", mine)):
        model = full.of(record.name, name)[0]
        for number, count in enumerate(counts):
            points = (msgspec.structs.replace(model.points[0], sent=1000),)
            errors = {"reset": count} if count else {}
            blocks.append(msgspec.structs.replace(model, round=number, errors=errors, points=points))
    return msgspec.structs.replace(full, scenarios=(record,), blocks=tuple(blocks))


CASES = {
    "one lost in a thousand, in every round, is worse": ([0] * 8, [1] * 8, "worse"),
    "six rounds are enough": ([0] * 6, [1] * 6, "worse"),
    "five are not": ([0] * 5, [1] * 5, "inconclusive"),
    "the baseline's losses make the candidate better": ([1] * 8, [0] * 8, "better"),
    "one stall that fails many requests is one round": ([0] * 8, [0] * 7 + [400], "inconclusive"),
    "both lose": ([1, 0, 2, 1, 0, 1, 0, 2], [0, 1, 1, 2, 1, 0, 2, 0], "inconclusive"),
}


@pytest.mark.parametrize(("base", "mine", "word"), CASES.values(), ids=CASES.keys())
def test_who_loses_requests_is_told_by_rounds(base: list[int], mine: list[int], word: str) -> None:
    (found,) = analyse(lost(base, mine)).failures
    assert found.verdict == word
    assert (found.baseline_failed, found.candidate_failed) == (sum(base), sum(mine))
    assert found.candidate_sent == 1000 * len(mine)


def test_nothing_is_asked_where_nobody_lost_anything_or_something_is_broken_on_purpose() -> None:
    assert analyse(lost([0] * 8, [0] * 8)).failures == ()
    assert analyse(lost([0] * 8, [9] * 8, kind="faults")).failures == ()


def test_honest_pairs_do_not_acquit_a_bad_one() -> None:
    """Forty scenarios with a stray error here and there are no forty questions."""
    bad = lost([0] * 7, [1] * 7)
    (record,) = bad.scenarios
    scenarios, blocks = [record], list(bad.blocks)
    for number in range(40):
        scenarios.append(msgspec.structs.replace(record, name=f"stray-{number}"))
        for block in bad.blocks:
            errors = {"reset": 1} if block.round == 0 and block.variant == "rust" else {}
            blocks.append(msgspec.structs.replace(block, scenario=f"stray-{number}", errors=errors))
    found = analyse(msgspec.structs.replace(bad, scenarios=tuple(scenarios), blocks=tuple(blocks))).failures
    assert {f.scenario for f in found if f.verdict == "worse"} == {"gateway-echo"}
    assert len(found) == 41


def test_a_conviction_is_said_on_the_command_line_and_above_the_tables() -> None:
    results = lost([0] * 8, [1] * 8)
    (line,) = tables.losses(analyse(results))
    assert line.startswith("worse: on gateway-echo rust failed 8 of 8,000 requests, python 0 of 8,000")
    assert "rust loses requests that python does not" in markdown(results)
