"""The HTTP+SSE transport of 2024-11-05 as an upstream: found when nothing newer answers, and shared by many calls."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.contract.clients import serving
from tests.contract.kit import PYTHON, ROOT, manager_of
from tests.contract.talker import call_of
from tests.contract.talker_http import LegacyHttpTalker, ModernHttpTalker

from crossfade.impls import ServerSpec
from crossfade.impls.config.files import server_from_entry
from crossfade.impls.errors import ServerCrashed, ServerStartError


@contextmanager
def old_server(*options: str) -> Iterator[ServerSpec]:
    command = [*PYTHON, "tests.contract.servers.old_sse", *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield ServerSpec(name="fix", urls=(f"http://127.0.0.1:{port}/mcp",))
        assert process.stdin is not None
        process.stdin.close()


async def test_a_server_without_streamable_http_is_called_over_its_stream(variant: str) -> None:
    with old_server() as spec:
        async with manager_of(variant, spec) as manager:
            assert manager.get("fix").protocol_version == "2024-11-05"
            texts = await asyncio.gather(*(manager.call_tool("fix__echo", {"text": str(n)}) for n in range(20)))
            assert [result.text for result in texts] == [str(n) for n in range(20)], "answers went to others' calls"


async def test_a_stream_that_breaks_fails_its_calls_at_once_and_is_opened_again(variant: str) -> None:
    with old_server() as spec:
        async with manager_of(variant, spec) as manager:
            with pytest.raises(ServerCrashed):
                await manager.call_tool("fix__drop", {}, timeout_s=10)
            assert (await manager.call_tool("fix__echo", {"text": "back"})).text == "back"


async def test_an_endpoint_of_another_origin_gets_nothing(variant: str) -> None:
    with old_server("--foreign") as spec:
        async with manager_of(variant, spec) as manager:
            with pytest.raises(ServerStartError, match="origin"):
                await manager.list_tools("fix")


@pytest.mark.parametrize("talker", [LegacyHttpTalker, ModernHttpTalker])
async def test_clients_of_both_eras_use_it_and_hear_of_progress_and_changes(
    variant: str, talker: type[LegacyHttpTalker] | type[ModernHttpTalker]
) -> None:
    with old_server() as spec:
        async with serving(variant, spec) as served, talker(served.gateway) as client:
            await client.watch()
            pending = await client.start("tools/call", call_of("progress", {}, progressToken="mine"))
            progress = await client.hear("notifications/progress")
            assert progress["params"]["progressToken"] == "mine"
            await pending.answer()
            assert await client.text("announce") == "announce"
            await client.hear("notifications/tools/list_changed")


async def test_a_server_that_is_said_to_be_of_type_sse_is_asked_for_nothing_newer(variant: str) -> None:
    with old_server() as spec:
        entry = {"type": "sse", "url": spec.urls[0]}
        async with manager_of(variant, server_from_entry("fix", entry)) as manager:
            assert (await manager.call_tool("fix__refused", {})).text == "[]"
    told = ServerSpec(name="fix", urls=("http://127.0.0.1:9/mcp",), era="sse")
    with pytest.raises(ServerStartError):
        async with manager_of(variant, told) as manager:
            await manager.list_tools("fix")
