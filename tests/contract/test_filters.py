"""What of a server is shown and under which name: what is hidden can be reached in no way at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.clients import serving
from tests.contract.kit import HttpServer, http_spec, manager_of, stdio_spec

from crossfade.impls import DeploySpec, Manager, NameFilter, ServerSpec, Strategy
from crossfade.impls.errors import ConfigError, RemoteError, UnknownTarget

TOOLS = NameFilter(allow=("e*", "s[el]e*", "odd"), deny=("see?",), alias={"echo": "say"})
PROMPTS = NameFilter(alias={"greet": "hello"})
RESOURCES = NameFilter(allow=("fixture://item/*",), deny=("fixture://item/secret*",))
SHOWN: dict[str, Any] = {"tools": TOOLS, "prompts": PROMPTS, "resources": RESOURCES}
LONG = "a-name-that-is-far-too-long-for-the-providers-of-models-and-so-it-is-cut-" + "x" * 20


async def names_of(manager: Manager) -> set[str]:
    return {item.name for item in await manager.list_tools()}


def upstreams(shared_http: Callable[..., HttpServer], **more: Any) -> dict[str, ServerSpec]:
    """The same server in every way that the gateway reaches one."""
    return {
        "stdio": stdio_spec(**more),
        "modern": http_spec(shared_http(era="modern"), **more),
        "legacy": http_spec(shared_http(era="legacy"), **more),
    }


async def test_lists_hold_what_is_shown_under_its_alias(variant: str) -> None:
    async with manager_of(variant, stdio_spec(**SHOWN)) as manager:
        assert await names_of(manager) == {"fix__say", "fix__sleep", "fix__odd"}
        (said,) = [item for item in await manager.list_tools() if item.name == "fix__say"]
        assert (said.data["name"], said.data["x-tool"]) == ("fix__say", "echo"), "more than the name was changed"
        assert [item.name for item in await manager.list_prompts()] == ["fix__hello"]
        assert await manager.list_resources() == []
        assert [item.uri for item in await manager.list_resource_templates()] == ["fixture://item/{id}"]


async def test_what_is_shown_works_under_its_shown_name(variant: str) -> None:
    async with manager_of(variant, stdio_spec(**SHOWN)) as manager:
        assert (await manager.call_tool("fix__say", {"text": "aliased"})).text == "aliased"
        greeting = await manager.get_prompt("fix__hello", {"who": "Ada"})
        assert greeting.data["messages"][0]["content"]["text"] == "Hello, Ada"
        for server in (None, "fix"):
            read = await manager.read_resource("fixture://item/7", server=server)
            assert read.data["contents"][0]["uri"] == "fixture://item/7"
            for name in ("fix__hello", *(["hello"] if server else [])):
                ref = {"type": "ref/prompt", "name": name}
                done = await manager.complete(ref, {"name": "who", "value": "A"}, server=server)
                assert done.data["completion"]["values"] == ["greet:who:A"]


@pytest.mark.parametrize("name", ["fix__seen", "fix__echo", "fix__refuse", "fix__Odd", "fix__od", "fix__odd2"])
async def test_a_hidden_tool_cannot_be_called(variant: str, name: str, fresh_http: Callable[..., HttpServer]) -> None:
    server = fresh_http(era="modern")
    async with manager_of(variant, http_spec(server, **SHOWN)) as manager:
        with pytest.raises(UnknownTarget, match=name):
            await manager.call_tool(name, {})
        await manager.list_tools()
        with pytest.raises(UnknownTarget, match=name):
            await manager.call_tool(name, {})
        assert server.log("tools/call") == []


async def test_a_hidden_prompt_or_resource_cannot_be_got_read_or_completed(
    variant: str, fresh_http: Callable[..., HttpServer]
) -> None:
    server = fresh_http(era="modern")
    argument = {"name": "who", "value": "A"}
    async with manager_of(variant, http_spec(server, **SHOWN)) as manager:
        for named in (None, "fix"):
            for uri in ("fixture://greeting", "fixture://item/secret1"):
                with pytest.raises(UnknownTarget, match=uri):
                    await manager.read_resource(uri, server=named)
                with pytest.raises(UnknownTarget, match=uri):
                    await manager.complete({"type": "ref/resource", "uri": uri}, argument, server=named)
            with pytest.raises(UnknownTarget, match="fix__greet"):
                await manager.complete({"type": "ref/prompt", "name": "fix__greet"}, argument, server=named)
        with pytest.raises(UnknownTarget, match="fix__greet"):
            await manager.get_prompt("fix__greet")
        with pytest.raises(UnknownTarget, match="greet"):
            await manager.complete({"type": "ref/prompt", "name": "greet"}, argument, server="fix")
        reached = {entry["method"] for entry in server.log()} & {
            "resources/read", "prompts/get", "completion/complete"
        }  # fmt: skip
        assert not reached


async def test_of_two_servers_the_one_that_hides_a_uri_is_not_asked_for_it(variant: str) -> None:
    hiding = stdio_spec("a", resources=NameFilter(deny=("fixture://greeting",)))
    async with manager_of(variant, hiding, stdio_spec("b")) as manager:
        assert [item.server for item in await manager.list_resources()] == ["b"]
        assert (await manager.read_resource("fixture://greeting")).data["contents"]
        with pytest.raises(UnknownTarget):
            await manager.read_resource("fixture://greeting", server="a")


@pytest.mark.parametrize("client_era", ["modern", "legacy"])
@pytest.mark.parametrize("upstream", ["stdio", "modern", "legacy"])
async def test_the_gateway_shows_and_hides_the_same_on_every_way(
    variant: str, client_era: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    spec = upstreams(shared_http, **SHOWN)[upstream]
    async with serving(variant, spec) as served, served.client(client_era) as client:
        listed = await client.result("tools/list")
        assert {tool["name"] for tool in listed["tools"]} == {"fix__say", "fix__sleep", "fix__odd"}
        assert (await client.result("resources/list"))["resources"] == []
        for _ in range(3):  # the first may learn the way, the others take the hot one
            assert await client.text("fix__say", text="hot") == "hot"
            for hidden in ("fix__seen", "fix__echo"):
                error = await client.error("tools/call", {"name": hidden, "arguments": {}})
                assert (error["code"], error["data"]["code"]) == (-32602, "unknown_target")
            error = await client.error("resources/read", {"uri": "fixture://greeting"})
            assert error["data"]["code"] == "unknown_target"
            error = await client.error("prompts/get", {"name": "fix__greet"})
            assert error["data"]["code"] == "unknown_target"
            ref = {"ref": {"type": "ref/prompt", "name": "fix__greet"}, "argument": {"name": "who", "value": "A"}}
            assert (await client.error("completion/complete", ref))["data"]["code"] == "unknown_target"
        assert (await client.result("resources/read", {"uri": "fixture://item/1"}))["contents"]
        assert (await client.result("prompts/get", {"name": "fix__hello"}))["messages"]


@pytest.mark.parametrize("upstream", ["stdio", "modern", "legacy"])
@pytest.mark.relay_hazard("prefixed names exceed 64 characters")
async def test_a_long_alias_is_shortened_and_found_again(
    variant: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    more = {"tools": NameFilter(alias={"echo": LONG}), "prompts": NameFilter(alias={"greet": LONG})}
    spec = upstreams(shared_http, **more)[upstream]
    async with serving(variant, spec) as served, served.client("modern") as client:
        (prompt,) = (await client.result("prompts/list"))["prompts"]
        tool = prompt["name"]
        assert len(tool) == 63
        assert (await client.result("prompts/get", {"name": tool}))["messages"], "a tool's alias was taken"
        for _ in range(2):
            assert await client.text(tool, text="long") == "long"
    async with manager_of(variant, spec) as manager:
        assert (await manager.call_tool(tool, {"text": "never listed"})).text == "never listed"
        ref = {"type": "ref/prompt", "name": tool}
        done = await manager.complete(ref, {"name": "who", "value": "A"}, server="fix")
        assert done.data["completion"]["values"] == ["greet:who:A"]


@pytest.mark.parametrize("upstream", ["stdio", "modern", "legacy"])
async def test_without_prefix_an_alias_is_the_whole_name(
    variant: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    async with (
        serving(variant, upstreams(shared_http, **SHOWN)[upstream], prefix=False) as served,
        served.client("modern") as client,
    ):
        tools = (await client.result("tools/list"))["tools"]
        assert {tool["name"] for tool in tools} == {"say", "sleep", "odd"}
        for _ in range(2):
            assert await client.text("say", text="bare") == "bare"
            for hidden in ("echo", "seen"):
                error = await client.error("tools/call", {"name": hidden, "arguments": {}})
                assert error["data"]["code"] == "unknown_target"


async def test_an_alias_that_takes_another_tools_name_is_an_error_that_names_both(variant: str) -> None:
    clash = stdio_spec("clash", tools=NameFilter(alias={"echo": "fail"}))
    async with manager_of(variant, clash, stdio_spec("well")) as manager:
        with pytest.raises(ConfigError, match="'echo' the name 'fail'"):
            await manager.list_tools("clash")
        assert {item.server for item in await manager.list_tools()} == {"well"}, "one clash hid the other server"
        assert (await manager.call_tool("clash__fail", {"text": "the alias wins"})).text == "the alias wins"


async def test_denying_the_name_settles_the_clash(variant: str) -> None:
    spec = stdio_spec(tools=NameFilter(allow=("echo", "fail"), deny=("fail",), alias={"echo": "fail"}))
    async with manager_of(variant, spec) as manager:
        assert await names_of(manager) == {"fix__fail"}
        assert (await manager.call_tool("fix__fail", {"text": "echo answers"})).text == "echo answers"


async def test_two_tools_may_swap_names(variant: str) -> None:
    spec = stdio_spec(tools=NameFilter(allow=("echo", "fail"), alias={"echo": "fail", "fail": "echo"}))
    async with manager_of(variant, spec) as manager:
        assert await names_of(manager) == {"fix__fail", "fix__echo"}
        assert (await manager.call_tool("fix__echo", {})).is_error
        assert not (await manager.call_tool("fix__fail", {})).is_error


async def test_what_the_server_does_not_know_is_its_own_error(variant: str) -> None:
    async with manager_of(variant, stdio_spec(tools=NameFilter(alias={"gone": "here"}))) as manager:
        with pytest.raises(RemoteError, match="gone"):
            await manager.call_tool("fix__here", {})


@pytest.mark.parametrize("upstream", ["stdio", "modern"])
async def test_an_update_changes_what_is_shown_at_once(
    variant: str, upstream: str, shared_http: Callable[..., HttpServer]
) -> None:
    specs = [
        upstreams(shared_http, tools=NameFilter(alias={"echo": name}), deploy=DeploySpec(strategy=Strategy.BLUE_GREEN))[
            upstream
        ]
        for name in ("old", "new", LONG)
    ]
    async with serving(variant, specs[0]) as served, served.client("modern") as client:
        for _ in range(2):
            assert await client.text("fix__old", text="hot") == "hot"
        await served.manager.update(specs[1])
        for _ in range(2):
            assert await client.text("fix__new", text="hot") == "hot"
            error = await client.error("tools/call", {"name": "fix__old", "arguments": {}})
            assert error["message"] == "Unknown tool: old", "the alias of the old revision lives on"
        await served.manager.update(specs[2])
        listed = (await client.result("tools/list"))["tools"]
        (long,) = [tool["name"] for tool in listed if tool["x-tool"] == "echo"]
        assert await client.text(long, text="long") == "long"


def test_an_alias_given_twice_or_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="'x' is given to two names"):
        NameFilter(alias={"a": "x", "b": "x"})
    with pytest.raises(ValueError, match="empty"):
        NameFilter(alias={"a": ""})
