"""The generated walks of the policies on the path of a request reach every decision that they are there to pin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "impls" / "vectors"


def answers(kind: str, op: str) -> Iterator[Any]:
    for line in (FOLDER / f"{kind}-generated.jsonl").read_text().splitlines():
        for step in json.loads(line)["steps"]:
            if step["op"] == op:
                yield step["expect"]


@pytest.mark.parametrize(
    ("kind", "op"),
    [("gcra", "admit"), ("keyed_limiter", "admit"), ("retry", "next"), ("hedge", "try_start"), ("shedder", "admit")],
)
def test_both_answers_are_frequent(kind: str, op: str) -> None:
    """A wait, a delay or a yes is one answer; 0, -1 or a no is the other."""
    found = [int(answer) > 0 for answer in answers(kind, op)]
    assert 0.05 * len(found) < sum(found) < 0.95 * len(found)


def test_bulkheads_grant_and_reject_for_every_reason() -> None:
    seen = {
        (action[0], action[2] if action[0] == "reject" else "")
        for op in ("acquire", "release", "cancel", "tick", "resize", "drain")
        for actions in answers("bulkhead", op)
        for action in actions
    }
    assert seen == {("grant", ""), ("reject", "queue_full"), ("reject", "deadline"), ("reject", "draining")}


def test_a_key_is_forgotten_and_a_percentile_moves() -> None:
    assert {1, 2, 3, 4, 5} <= set(answers("keyed_limiter", "size"))
    assert len(set(answers("hedge", "delay_ns"))) > 20
    assert True in set(answers("shedder", "shedding"))
