"""Calls, lists, resources, prompts and completion in process, over each transport and era."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
from tests.contract.kit import ROOT, HttpServer, http_spec, manager_of, stdio_spec

from crossfade.impls import Manager
from crossfade.impls.errors import RemoteError, UnknownTarget

KINDS = [(transport, era) for transport in ("stdio", "http") for era in ("legacy", "modern")]
Opener = Callable[[str], AbstractAsyncContextManager[Manager]]


@pytest.fixture(params=[*KINDS, ("sse", "legacy"), ("sse", "modern")], ids="-".join)
def opened(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> Opener:
    """Opens a manager over one fixture server ``fix`` of each transport and era."""
    transport, era = request.param

    def of(variant: str) -> AbstractAsyncContextManager[Manager]:
        if transport == "stdio":
            return manager_of(variant, stdio_spec("fix", era=era))
        kind = {"era": era, "sse": True} if transport == "sse" else {"era": era}
        return manager_of(variant, http_spec(shared_http(**kind), "fix"))

    return of


async def test_everything_that_can_be_asked_is_answered(variant: str, opened: Opener) -> None:
    async with opened(variant) as manager:
        assert (await manager.call_tool("fix__echo", {"text": "héllo 😀"})).text == "héllo 😀"
        assert (await manager.call_tool("fix__echo", {"text": "a", "n": 7})).structured == {"text": "a", "n": 7}
        raw = msgspec.Raw(b'{"text":"raw","n":12345678901234567890}')
        assert (await manager.call_tool("fix__echo", raw)).structured["n"] == 12345678901234567890
        assert not (await manager.call_tool("fix__echo")).is_error

        tools = {item.name: item for item in await manager.list_tools()}
        assert {"fix__echo", "fix__process"} <= tools.keys(), "a page was left out"
        assert tools["fix__echo"].data["name"] == "fix__echo"
        assert tools["fix__echo"].data["x-tool"] == "echo"
        assert tools["fix__echo"].data["inputSchema"]["$defs"] == {"kept": {"$anchor": "kept"}}

        (resource,) = await manager.list_resources()
        assert (resource.uri, resource.data["x-r"], resource.server) == ("fixture://greeting", 1, "fix")
        read = await manager.read_resource("fixture://greeting")
        assert read.data["contents"][0]["text"] == "content of fixture://greeting"
        assert [item.uri for item in await manager.list_resource_templates()] == ["fixture://item/{id}"]
        item = await manager.read_resource("fixture://item/42")
        assert item.data["contents"][0]["uri"] == "fixture://item/42"
        named = await manager.read_resource("fixture://item/43", server="fix")
        assert named.data["contents"][0]["uri"] == "fixture://item/43"

        (prompt,) = await manager.list_prompts()
        assert (prompt.name, prompt.data["x-p"]) == ("fix__greet", 1)
        greeting = await manager.get_prompt("fix__greet", {"who": "Ada"})
        assert greeting.data["messages"][0]["content"]["text"] == "Hello, Ada"

        argument = {"name": "who", "value": "A"}
        done = await manager.complete({"type": "ref/prompt", "name": "fix__greet"}, argument)
        assert done.data["completion"]["values"] == ["greet:who:A"]
        by_uri = {"type": "ref/resource", "uri": "fixture://item/{id}"}
        done = await manager.complete(by_uri, {"name": "id", "value": "4"}, context={"arguments": {"a": "b"}})
        assert done.data["completion"]["values"] == ["fixture://item/{id}:id:4"]


async def test_what_the_manager_does_not_know_survives_to_the_byte(variant: str, opened: Opener) -> None:
    async with opened(variant) as manager:
        result = await manager.call_tool("fix__odd", {})
        assert b"12345678901234567890123" in result.raw, "a number went through a float"
        assert b"1.5e+300" in result.raw
        data = json.loads(result.raw)
        assert data["x-top"] == {
            "$defs": {"a": {"$anchor": "here"}},
            "integer": 12345678901234567890123,
            "float": 1.5e300,
            "empty": {},
        }
        assert data["content"][0]["x-block"] == [1, {"deep": None}]
        assert data["content"][1] == {"type": "x-unknown", "payload": "😀"}
        assert data["_meta"]["x-vendor/key"] == ["untouched"]


async def test_a_failing_tool_is_a_result_and_a_refusal_is_an_error(variant: str, opened: Opener) -> None:
    async with opened(variant) as manager:
        failed = await manager.call_tool("fix__fail", {})
        assert failed.is_error
        assert failed.text == "the tool failed"
        with pytest.raises(RemoteError, match="no way") as caught:
            await manager.call_tool("fix__refuse", {"code": -32055, "message": "no way", "data": {"a": [1]}})
        assert (caught.value.remote_code, caught.value.data, caught.value.server) == (-32055, {"a": [1]}, "fix")


async def test_progress_before_an_answer_does_not_confuse_it(variant: str, opened: Opener) -> None:
    async with opened(variant) as manager:
        assert (await manager.call_tool("fix__progress", {}, meta={"progressToken": "p"})).text == "progressed"
        assert (await manager.call_tool("fix__echo", {"text": "after"})).text == "after"


async def test_the_callers_meta_reaches_the_server(variant: str, opened: Opener) -> None:
    async with opened(variant) as manager:
        await manager.call_tool("fix__echo", {"text": "with meta"}, meta={"x-vendor/trace": "abc"})
        seen = json.loads((await manager.call_tool("fix__seen", {"method": "tools/call"})).text)
        mine = [e for e in seen if (e["params"].get("arguments") or {}).get("text") == "with meta"]
        assert mine[-1]["params"]["_meta"]["x-vendor/trace"] == "abc"
        assert mine[-1]["params"]["name"] == "echo"


@pytest.mark.parametrize("name", ["fix__nothing", "echo", "ghost__echo", "fix__", "__echo", ""])
async def test_an_unknown_tool_is_told_before_or_by_the_server(variant: str, name: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        with pytest.raises((UnknownTarget, RemoteError)):
            await manager.call_tool(name, {})


async def test_unknown_prompts_and_resources_are_told(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        with pytest.raises((UnknownTarget, RemoteError), match="missing"):
            await manager.get_prompt("fix__missing")
        with pytest.raises(UnknownTarget, match="ghost"):
            await manager.get_prompt("ghost__greet")
        with pytest.raises((UnknownTarget, RemoteError), match="other://thing"):
            await manager.read_resource("other://thing")
        with pytest.raises(RemoteError, match="other://thing"):
            await manager.read_resource("other://thing", server="fix")


async def test_two_servers_share_one_roof(variant: str) -> None:
    async with manager_of(variant, stdio_spec("a"), stdio_spec("b", era="modern")) as manager:
        assert [i.server for i in await manager.list_tools()] == sorted(i.server for i in await manager.list_tools())
        assert {i.name for i in await manager.list_prompts()} == {"a__greet", "b__greet"}
        assert {i.server for i in await manager.list_tools("b")} == {"b"}
        pids = {json.loads((await manager.call_tool(f"{name}__process", {})).text)["pid"] for name in "ab"}
        assert len(pids) == 2


async def test_without_prefix_the_names_of_a_single_server_pass_unchanged(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix"), prefix=False) as manager:
        assert "echo" in {item.name for item in await manager.list_tools()}
        assert (await manager.call_tool("echo", {"text": "plain"})).text == "plain"
        assert [item.name for item in await manager.list_prompts()] == ["greet"]


async def test_a_child_gets_its_directory_and_environment(variant: str) -> None:
    spec = stdio_spec("fix", env={"FIXTURE_ENV": "given"})
    async with manager_of(variant, spec) as manager:
        told = json.loads((await manager.call_tool("fix__process", {})).text)
        assert told["env"] == "given"
        assert told["cwd"] == str(ROOT)
        assert told["pid"] == manager.get("fix").instances[0].pid


async def test_configured_headers_reach_an_http_server(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    spec = http_spec(shared_http(era="legacy"), "fix", headers={"X-Api-Key": "secret"})
    async with manager_of(variant, spec) as manager:
        headers = json.loads((await manager.call_tool("fix__headers", {})).text)
        assert headers["x-api-key"] == "secret"
        assert "text/event-stream" in headers["accept"]
        assert "application/json" in headers["accept"]
        assert headers["mcp-protocol-version"] == "2025-11-25"


async def test_several_children_share_the_calls(variant: str) -> None:
    spec = stdio_spec("fix", instances=3, balancer="round_robin")
    async with manager_of(variant, spec) as manager:
        assert len(manager.get("fix").instances) == 3
        pids = [json.loads((await manager.call_tool("fix__process", {})).text)["pid"] for _ in range(9)]
        assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3, 3]
