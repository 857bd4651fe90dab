"""Rows of the bridge table: what is told during a call, and that it is over, in every place of the grid."""

from __future__ import annotations

import pytest
from tests.contract.bridging import Bridge, text_of, unique
from tests.contract.talker import Pending, call_of


@pytest.mark.bridge("progress")
async def test_progress(bridge: Bridge) -> None:
    """It arrives while the call runs, with the client's own token, of whatever type."""
    async with bridge.open() as talker:
        for token in ("p", 7):
            hold = unique("hold")
            pending = await talker.start("tools/call", call_of("progress", {"hold": hold}, progressToken=token))
            for step in (1, 2):
                told = await talker.hear("notifications/progress")
                assert told["params"] == {"progressToken": token, "progress": step, "total": 2, "x-step": step}
            assert not pending.done.done()
            await talker.text("release", hold=hold)
            assert text_of(await pending.answer()) == "progressed"


async def test_what_is_told_right_before_the_answer_is_not_lost(bridge: Bridge) -> None:
    """Last words and the answer may arrive in one piece, and a call whose client can be asked runs apart."""
    async with bridge.open({"elicitation/create": {"action": "decline"}}) as talker:
        for token in range(1, 41):
            pending = await talker.start("tools/call", call_of("progress", {"steps": 5}, progressToken=token))
            assert text_of(await pending.answer()) == "progressed"
            told = [m["params"]["progress"] for m in talker.heard if m["params"].get("progressToken") == token]
            assert told == [1, 2, 3, 4, 5]


@pytest.mark.bridge("cancellation")
@pytest.mark.relay_hazard("cancellation not forwarded because ids were remapped")
async def test_cancellation(bridge: Bridge) -> None:
    """The one that is meant stops, nothing else does, and nothing is said of it afterwards."""
    async with bridge.open() as talker:
        stopped, kept = unique("stopped"), unique("kept")
        pending = await talker.start("tools/call", call_of("never", {"mark": stopped}))
        other = await talker.start("tools/call", call_of("progress", {"hold": kept}))
        await talker.json("seen", method="sleeping", mark=stopped, wait_ms=5000)
        await talker.json("seen", method="holding", mark=kept, wait_ms=5000)
        await talker.cancel(pending)
        assert await talker.json("seen", method="stopped", mark=stopped, wait_ms=5000)
        await talker.text("release", hold=kept)
        assert text_of(await other.answer()) == "progressed"
        assert is_unanswered(pending)


def is_unanswered(pending: Pending) -> bool:
    return not pending.done.done() or isinstance(pending.done.exception(), ConnectionError)


@pytest.mark.bridge("logging")
async def test_logging(bridge: Bridge) -> None:
    """As much as the client's level admits, and the level can change."""
    async with bridge.open() as talker:
        for level, count in (("error", 4), ("debug", 8), ("emergency", 1)):
            await talker.set_level(level)
            assert await talker.text("speak") == "spoken"
            told = [await talker.hear("notifications/message") for _ in range(count)]
            assert told[-1]["params"] == {"level": "emergency", "logger": "fixture", "data": {"said": "emergency"}}
            assert [m for m in talker.heard if m["method"] == "notifications/message"] == []
