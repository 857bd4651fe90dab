"""An update under constant load loses no request: every strategy, transport, era and face."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, children_of, http_spec, is_alive, manager_of, stdio_spec, until
from tests.contract.load import load_on

from crossfade.impls import DeploySpec, Manager, ServerSpec, Strategy

pytestmark = pytest.mark.timeout(60)

QUICK = DeploySpec(min_samples=4, step_timeout_ms=20_000, gate_timeout_ms=15_000, drain_ms=5_000)
STRATEGIES = [strategy.value for strategy in Strategy]
# Every strategy on the ways that differ most, and every way with the strategy that holds and the one that mixes.
WAYS = [
    (upstream, face, strategy)
    for upstream in ("stdio", "http-legacy", "http-modern")
    for face in ("process", "modern", "legacy")
    for strategy in STRATEGIES
    if strategy in ("rolling", "recreate")
    or f"{upstream} {face}" in ("stdio process", "http-legacy legacy", "http-modern modern")
]
Fixtures = Callable[..., HttpServer]


def child(revision: str, **more: Any) -> ServerSpec:
    """The fixture as a child that says which revision it is."""
    return stdio_spec("fix", env={"FIXTURE_ENV": revision}, **{"deploy": QUICK, **more})


async def who_answers(manager: Manager) -> set[str]:
    """The revisions that answer now."""
    answers = [json.loads((await manager.call_tool("fix__process", {})).text)["env"] for _ in range(6)]
    return set(answers)


@pytest.mark.parametrize(("upstream", "face", "strategy"), WAYS)
async def test_an_update_under_load_loses_no_call(
    variant: str, fresh_http: Fixtures, upstream: str, face: str, strategy: str
) -> None:
    if upstream == "stdio":
        old, new = child("old", instances=2), child("new", instances=2)
    else:
        era = upstream.removeprefix("http-")
        urls = [fresh_http(era=era, name=name).url for name in ("old", "old", "new", "new")]
        old = ServerSpec(name="fix", urls=tuple(urls[:2]), deploy=QUICK)
        new = ServerSpec(name="fix", urls=tuple(urls[2:]), deploy=QUICK)
    async with serving(variant, old) as served:
        manager = served.manager
        async with load_on(face, manager, served, "fix") as tally:
            info = await manager.update(new, strategy=strategy)
            seen = tally.answered
        assert tally.errors == []
        assert tally.answered == tally.sent
        assert tally.answered > seen, "the load was over before the update was"
        assert (info.state, info.revision, info.previous, info.strategy) == ("running", 2, 1, strategy)
        assert (info.desired, info.ready, info.candidate) == (2, 2, None)
        instances = manager.get("fix").instances
        assert [i.revision for i in instances] == [2, 2]
        if upstream == "stdio":
            assert await who_answers(manager) == {"new"}
        else:
            assert manager.get("fix").server_name == "new"
            assert [i.url for i in instances] == urls[2:]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_single_instance_is_replaced_without_a_gap(variant: str, strategy: str) -> None:
    async with serving(variant, child("old")) as served:
        async with load_on("modern", served.manager, served, "fix") as tally:
            await served.manager.update(child("new"), strategy=strategy)
        assert tally.errors == []
        assert tally.answered == tally.sent
        assert await who_answers(served.manager) == {"new"}


@pytest.mark.parametrize("strategy", ["recreate", "rolling", "blue_green"])
async def test_calls_in_flight_on_an_old_instance_end(variant: str, strategy: str) -> None:
    async with manager_of(variant, child("old")) as manager:
        slow = [asyncio.create_task(manager.call_tool("fix__sleep", {"ms": 400})) for _ in range(3)]
        await manager.call_tool("fix__echo", {"text": "the sleepers were sent before me"})
        await manager.update(child("new"), strategy=strategy)
        assert [(await call).text for call in slow] == ["slept"] * 3


async def test_a_drain_ends_at_its_limit(variant: str) -> None:
    async with manager_of(variant, child("old", deploy=DeploySpec(drain_ms=50))) as manager:
        pid = manager.get("fix").instances[0].pid or 0
        call = asyncio.create_task(manager.call_tool("fix__never", {}))
        await manager.call_tool("fix__echo", {"text": "the other was sent before me"})
        async with asyncio.timeout(10):
            await manager.update(child("new", deploy=DeploySpec(drain_ms=50)))
        assert not is_alive(pid)
        (lost,) = await asyncio.gather(call, return_exceptions=True)
        assert getattr(lost, "code", None) == "server_crashed"


async def test_scaling_under_load_loses_no_call(variant: str) -> None:
    async with serving(variant, child("one")) as served:
        manager = served.manager
        async with load_on("legacy", manager, served, "fix") as tally:
            for count in (4, 2, 3, 1):
                info = await manager.scale("fix", count)
                assert (info.state, info.desired, info.ready, info.revision) == ("running", count, count, 1)
                assert len(manager.get("fix").instances) == count
                await tally.more(8)
        assert tally.errors == []
        assert tally.answered == tally.sent
        assert len(children_of()) >= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_failed_update_under_load_loses_no_call(variant: str, strategy: str) -> None:
    """The second candidate never starts, so that rolling has retired an old one already."""
    bad = child("new", instances=2, args=("-c", "raise SystemExit('told to end')"), cwd=None)
    async with serving(variant, child("old", instances=2)) as served:
        async with load_on("modern", served.manager, served, "fix") as tally:
            (failed,) = await asyncio.gather(served.manager.update(bad, strategy=strategy), return_exceptions=True)
            assert getattr(failed, "code", None) == "deployment_failed"
        assert tally.errors == []
        assert tally.answered == tally.sent
        assert await who_answers(served.manager) == {"old"}


async def test_a_legacy_session_lives_through_an_update(variant: str, fresh_http: Fixtures) -> None:
    """The client keeps its session; the one upstream is closed with the old server and opened with the new one."""
    old, new = fresh_http(name="old"), fresh_http(name="new")
    async with serving(variant, http_spec(old, "fix", deploy=QUICK)) as served, served.legacy() as client:
        assert await client.text("fix__echo", text="before") == "before"
        await served.manager.update(http_spec(new, "fix", deploy=QUICK))
        assert await client.text("fix__echo", text="after") == "after"
        assert any(call["params"]["arguments"] == {"text": "after"} for call in new.log("tools/call"))
        await until(lambda: len(old.log("DELETE")) >= 2, what="the end of the old sessions, the client's and ours")


async def test_the_relay_goes_on_while_an_update_waits(variant: str) -> None:
    """A canary that gets nothing to judge waits; calls are answered meanwhile, by both, in their proportion."""
    deploy = DeploySpec(strategy=Strategy.CANARY, steps_percent=(20,), min_samples=10_000, step_timeout_ms=60_000)
    async with serving(variant, child("old", deploy=deploy)) as served:
        manager = served.manager
        update = asyncio.create_task(manager.update(child("new", deploy=deploy)))
        await until(lambda: manager.deployments()[0].share_percent == 20, what="the first step")
        async with served.client("modern") as client:
            answers = [json.loads(await client.text("fix__process"))["env"] for _ in range(50)]
        assert 8 <= answers.count("new") <= 12
        info = manager.deployments()[0]
        assert (info.candidate, info.samples, info.failures, info.state) == (2, answers.count("new"), 0, "updating")
        await manager.rollback("fix")
        (failed,) = await asyncio.gather(update, return_exceptions=True)
        assert getattr(failed, "code", None) == "deployment_failed"
        assert await who_answers(manager) == {"old"}
