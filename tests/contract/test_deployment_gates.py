"""Gates, rollback and refusals: what is wrong with a new revision is found before it serves, or soon."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.kit import HttpServer, children_of, http_spec, manager_of, stdio_spec, until

from crossfade.impls import DeploySpec, Manager, ServerSpec, Strategy
from crossfade.impls.config import MAX_INSTANCES
from crossfade.impls.errors import ConfigError, DeploymentBusy, DeploymentFailed, ServerExists, ServerNotFound

QUICK = DeploySpec(min_samples=4, step_timeout_ms=5_000, gate_timeout_ms=10_000, drain_ms=2_000)


def child(**more: Any) -> ServerSpec:
    return stdio_spec("fix", **{"deploy": QUICK, **more})


async def calls(manager: Manager, done: asyncio.Event) -> None:
    """Calls and reads, whatever comes of them."""
    while not done.is_set():
        reads = (manager.call_tool("fix__echo", {}), manager.read_resource("fixture://greeting", server="fix"))
        await asyncio.gather(*reads, return_exceptions=True)


async def failing(manager: Manager, spec: ServerSpec, strategy: str) -> DeploymentFailed:
    """The failure of an update, while there are calls to judge it by."""
    done = asyncio.Event()
    load = asyncio.create_task(calls(manager, done))
    try:
        with pytest.raises(DeploymentFailed) as caught:
            await manager.update(spec, strategy=strategy)
    finally:
        done.set()
        await load
    assert caught.value.server == "fix"
    assert "; " in caught.value.message, "no next action"
    info = manager.deployments()[0]
    assert (info.state, info.revision, info.candidate, info.share_percent) == ("rolled_back", 1, None, 0)
    assert info.message == caught.value.message
    assert [i.revision for i in manager.get("fix").instances] == [1]
    assert (await manager.call_tool("fix__echo", {"text": "old"})).text == "old"
    return caught.value


@pytest.mark.parametrize("strategy", ["recreate", "rolling", "blue_green"])
async def test_a_revision_that_ends_at_start_is_rolled_back(variant: str, strategy: str) -> None:
    async with manager_of(variant, child()) as manager:
        error = await failing(manager, stdio_spec("fix", start="exit", deploy=QUICK), strategy)
        assert "gate start" in error.message
        assert len(children_of()) >= 1


@pytest.mark.parametrize("strategy", ["recreate", "rolling"])
async def test_a_revision_that_never_says_who_it_is_is_rolled_back(variant: str, strategy: str) -> None:
    deploy = DeploySpec(gate_timeout_ms=300)
    async with manager_of(variant, child()) as manager:
        error = await failing(manager, stdio_spec("fix", start="silent", deploy=deploy), strategy)
        assert "gate health" in error.message
        assert "300 ms" in error.message


async def test_a_canary_that_fails_its_calls_is_rolled_back(variant: str) -> None:
    async with manager_of(variant, child()) as manager:
        error = await failing(manager, child(env={"FIXTURE_FAULT": "internal"}), "canary")
        assert "gate canary at 5 %" in error.message


async def test_a_canary_that_crashes_is_rolled_back(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    old, new = fresh_http(era="modern"), fresh_http(era="modern")
    deploy = DeploySpec(min_samples=1_000, step_timeout_ms=1_500)
    async with manager_of(variant, http_spec(old, deploy=deploy)) as manager:
        update = asyncio.create_task(failing(manager, http_spec(new, deploy=deploy), "canary"))
        await until(lambda: manager.deployments()[0].samples > 0, what="the first sample")
        new.kill()
        assert "gate canary" in (await update).message


@pytest.mark.parametrize(
    ("strategy", "gate"), [("canary", "gate canary at 100 %"), ("shadow", "gate shadow")], ids=["canary", "shadow"]
)
async def test_a_revision_that_too_few_answers_speak_for_is_rolled_back(variant: str, strategy: str, gate: str) -> None:
    deploy = DeploySpec(steps_percent=(100,), min_samples=100_000, step_timeout_ms=500)
    async with manager_of(variant, child()) as manager:
        error = await failing(manager, child(deploy=deploy), strategy)
        assert gate in error.message
        assert re.search(r": [1-9]\d* of the 100000 (copied )?answers that judge it came within 500 ms", error.message)
        assert all(way in error.message for way in ("deploy.minSamples", "deploy.stepTimeoutMs", "another strategy"))


@pytest.mark.parametrize("strategy", ["canary", "shadow"])
async def test_an_idle_server_is_updated_only_by_who_asks_for_no_samples(variant: str, strategy: str) -> None:
    async with manager_of(variant, child()) as manager:
        with pytest.raises(DeploymentFailed, match="0 of the 1 "):
            await manager.update(child(deploy=DeploySpec(min_samples=1, step_timeout_ms=50)), strategy=strategy)
        assert manager.deployments()[0].state == "rolled_back"
        info = await manager.update(child(deploy=DeploySpec(min_samples=0, step_timeout_ms=50)), strategy=strategy)
        assert info.state == "running"
        assert [i.revision for i in manager.get("fix").instances] == [info.revision]


async def test_a_callers_mistakes_do_not_fail_a_canary(variant: str) -> None:
    """Refusals of the tool and of the protocol are answers."""
    async with manager_of(variant, child()) as manager:
        update = asyncio.create_task(manager.update(child(), strategy="canary"))
        while not update.done():
            wrong = (manager.call_tool("fix__refuse", {}), manager.call_tool("fix__fail", {}))
            await asyncio.gather(*wrong, manager.call_tool("fix__nope", {}), return_exceptions=True)
        assert (await update).revision == 2


async def test_a_shadow_that_answers_otherwise_is_rolled_back_and_never_seen(variant: str) -> None:
    async with manager_of(variant, child()) as manager:
        error = await failing(manager, child(env={"FIXTURE_TEXT": "something else"}), "shadow")
        assert "gate shadow" in error.message


async def test_a_shadow_gets_copies_of_reads_and_no_calls(variant: str, fresh_http: Callable[..., HttpServer]) -> None:
    old, new = fresh_http(era="modern"), fresh_http(era="modern")
    deploy = DeploySpec(min_samples=3, step_timeout_ms=10_000)
    async with manager_of(variant, http_spec(old, deploy=deploy)) as manager:
        update = asyncio.create_task(manager.update(http_spec(new, deploy=deploy), strategy="shadow"))
        await until(lambda: new.log("server/discover") != [] and manager.deployments()[0].ready == 2, what="the gate")
        for _ in range(5):
            await manager.call_tool("fix__echo", {})
        assert manager.deployments()[0].samples == 0
        assert new.log("tools/call") == []
        while not update.done():
            await manager.read_resource("fixture://greeting", server="fix")
        await update
        assert len(new.log("resources/read")) >= 3


async def test_cancelling_the_update_brings_the_old_revision_back(variant: str) -> None:
    slow = DeploySpec(strategy=Strategy.CANARY, min_samples=10_000, step_timeout_ms=60_000)
    async with manager_of(variant, child()) as manager:
        update = asyncio.create_task(manager.update(child(deploy=slow)))
        await until(lambda: manager.deployments()[0].share_percent == 5, what="the first step")
        with pytest.raises(DeploymentBusy):
            await manager.update(child())
        with pytest.raises(DeploymentBusy):
            await manager.scale("fix", 2)
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update
        await until(lambda: manager.deployments()[0].state == "rolled_back", what="the rollback")
        assert [i.revision for i in manager.get("fix").instances] == [1]
        assert "aborted" in (manager.deployments()[0].message or "")
        assert (await manager.update(child())).state == "running", "and the next one may begin"


async def test_closing_or_removing_in_the_middle_of_an_update_leaves_nothing(variant: str) -> None:
    slow = DeploySpec(strategy=Strategy.CANARY, min_samples=10_000, step_timeout_ms=60_000)
    before = children_of()
    async with manager_of(variant, child(), stdio_spec("other")) as manager:
        updates = [
            asyncio.create_task(manager.update(child(deploy=slow))),
            asyncio.create_task(manager.update(stdio_spec("other", deploy=slow))),
        ]
        await until(lambda: all(d.share_percent for d in manager.deployments()), what="both first steps")
        await manager.unregister("fix", drain_s=1)
        assert [s.name for s in manager.servers()] == ["other"]
    results = await asyncio.gather(*updates, return_exceptions=True)
    assert all(isinstance(result, BaseException) for result in results)
    assert children_of() == before


async def test_rollback_returns_to_the_revision_before(variant: str) -> None:
    async with manager_of(variant, child(env={"FIXTURE_ENV": "one"})) as manager:
        with pytest.raises(DeploymentFailed):
            await manager.rollback("fix")
        await manager.update(child(env={"FIXTURE_ENV": "two"}))
        assert manager.deployments()[0].previous == 1
        info = await manager.rollback("fix")
        assert (info.revision, info.state, info.previous) == (1, "running", None)
        assert '"env": "one"' in (await manager.call_tool("fix__process", {})).text
        info = await manager.update(child(env={"FIXTURE_ENV": "three"}))
        assert (info.revision, info.previous) == (3, 1)


async def test_deploy_waits_until_everything_is_healthy_and_keeps_nothing_of_a_failure(variant: str) -> None:
    before = children_of()
    async with manager_of(variant) as manager:
        info = await manager.deploy(child(instances=3))
        assert (info.state, info.revision, info.desired, info.ready) == ("running", 1, 3, 3)
        assert len(manager.get("fix").instances) == 3
        with pytest.raises(ServerExists):
            await manager.deploy(child())
        with pytest.raises(DeploymentFailed):
            await manager.deploy(stdio_spec("bad", start="exit"))
        assert [d.name for d in manager.deployments()] == ["fix"]
        assert [s.name for s in manager.servers()] == ["fix"]
        assert len(children_of()) == len(before) + 3
        await manager.undeploy("fix")
        assert manager.deployments() == []
        assert children_of() == before
        with pytest.raises(ServerNotFound):
            await manager.undeploy("fix")


async def test_events_tell_the_course(variant: str) -> None:
    async with manager_of(variant) as manager:
        events = manager.events()
        await manager.deploy(child())
        await manager.update(child())
        await asyncio.gather(manager.update(child(command="/nowhere/at-all")), return_exceptions=True)
        await manager.scale("fix", 2)
        await manager.undeploy("fix")
        seen = []
        async for event in events:
            if event.kind == "deployment":
                seen.append((event.old, event.new))
            elif event.kind == "unregistered":
                break
        states = ["pending", "starting", "running", "updating", "running", "updating", "rolled_back", "scaling"]
        states += ["running", "stopping", "stopped"]
        assert seen == list(itertools.pairwise(states))


@pytest.mark.parametrize("count", [0, -1, MAX_INSTANCES + 1, 10**9])
async def test_an_absurd_number_of_instances_is_refused(variant: str, count: int) -> None:
    async with manager_of(variant, child()) as manager:
        for refused in (
            manager.scale("fix", count),
            manager.update(child(instances=count)),
            manager.deploy(stdio_spec("new", instances=count)),
        ):
            with pytest.raises(ConfigError, match=str(MAX_INSTANCES)):
                await refused
        assert [len(s.instances) for s in manager.servers()] == [1]


async def test_an_unknown_strategy_is_refused_with_the_known_ones(variant: str) -> None:
    async with manager_of(variant, child()) as manager:
        with pytest.raises(ConfigError, match="recreate, rolling, blue_green, canary, shadow"):
            await manager.update(child(), strategy="big_bang")
        assert manager.deployments()[0].state == "running"


async def test_what_cannot_be_changed_says_so(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    web = http_spec(shared_http(), "web")
    async with manager_of(variant, child(), web) as manager:
        with pytest.raises(ServerNotFound):
            await manager.update(stdio_spec("nobody"))
        with pytest.raises(ServerNotFound):
            await manager.scale("nobody", 2)
        with pytest.raises(ServerNotFound):
            await manager.rollback("nobody")
        with pytest.raises(ConfigError, match="urls"):
            await manager.scale("web", 2)
        with pytest.raises(ConfigError, match="stdio"):
            await manager.update(http_spec(shared_http(), "fix"))


async def test_scaling_up_to_what_does_not_start_keeps_what_was(variant: str, tmp_path: Any) -> None:
    """The command is gone by then."""
    link = tmp_path / "python"
    spec = child()
    link.symlink_to(spec.command or "")
    async with manager_of(variant, child(command=str(link))) as manager:
        link.unlink()
        with pytest.raises(DeploymentFailed, match="gate start"):
            await manager.scale("fix", 3)
        info = manager.deployments()[0]
        assert (info.desired, info.ready, info.state) == (1, 1, "rolled_back")
        assert (await manager.call_tool("fix__echo", {"text": "one"})).text == "one"
