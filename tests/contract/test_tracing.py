"""Spans: one for each call, told as the conventions have it, and its context arrives where the call does."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.contract.clients import Served, modern_meta, serving
from tests.contract.kit import HttpServer, http_spec, stdio_spec

from crossfade.impls import Config, Manager, ServerSpec, TelemetrySpec, open_manager
from crossfade.impls.errors import ConfigError, RemoteError, ServerTimeout

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ON_ASYNCIO = pytest.mark.parametrize("shell", ["python", "numba", "rust-core"])


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What ends while the test runs. The global provider can be set once per process, so it is replaced by hand."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def traced(variant: str, *servers: ServerSpec) -> Manager:
    return open_manager(Config(servers=servers, telemetry=TelemetrySpec(otel=True)), variant)


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    [span] = spans.get_finished_spans()
    spans.clear()
    return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    assert span.attributes is not None
    return dict(span.attributes)


def traceparent(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


async def seen(manager: Manager, method: str) -> dict[str, Any]:
    """``_meta`` of the last request of this method that the fixture received (asking for it is one, too)."""
    log = json.loads((await manager.call_tool("fix__seen", {"method": method})).text)
    found: dict[str, Any] = log[-1]["params"].get("_meta", {})
    return found


@pytest.fixture(params=["stdio-legacy", "stdio-modern", "http-legacy", "http-modern"])
def upstream(request: pytest.FixtureRequest, shared_http: Callable[..., HttpServer]) -> ServerSpec:
    transport, era = request.param.split("-")
    return stdio_spec(era=era) if transport == "stdio" else http_spec(shared_http(era=era))


async def test_a_call_is_one_client_span_whose_context_arrives_at_the_server(
    variant: str, upstream: ServerSpec, spans: InMemorySpanExporter
) -> None:
    tracer = trace.get_tracer("test")
    async with traced(variant, upstream) as manager:
        with tracer.start_as_current_span("agent") as agent:
            meta = json.loads((await manager.call_tool("fix__seen", {"method": "tools/call"})).text)[-1]["params"]
        call, outer = spans.get_finished_spans()
    assert outer.name == "agent"
    assert call.name == "tools/call fix__seen"
    assert call.kind is SpanKind.CLIENT
    assert call.parent is not None
    assert call.parent.span_id == agent.get_span_context().span_id
    assert call.status.status_code is StatusCode.UNSET
    assert attributes(call) == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "fix__seen",
        "crossfade.server": "fix",
        "crossfade.variant": variant,
    }
    assert meta["_meta"]["traceparent"] == traceparent(call)


async def test_every_kind_of_request_has_its_span_and_carries_it(variant: str, spans: InMemorySpanExporter) -> None:
    async with traced(variant, stdio_spec(era="modern")) as manager:
        await manager.read_resource("fixture://greeting", server="fix")
        read = only(spans)
        assert (await seen(manager, "resources/read"))["traceparent"] == traceparent(read)
        assert attributes(read)["mcp.resource.uri"] == "fixture://greeting"
        assert read.name == "resources/read", "a URI is no part of a name"
        spans.clear()
        await manager.get_prompt("fix__greet", {"who": "you"})
        prompt = only(spans)
        assert (await seen(manager, "prompts/get"))["traceparent"] == traceparent(prompt)
        assert (prompt.name, attributes(prompt)["gen_ai.prompt.name"]) == ("prompts/get fix__greet", "fix__greet")
        spans.clear()
        await manager.complete({"type": "ref/prompt", "name": "fix__greet"}, {"name": "who", "value": "a"})
        complete = only(spans)
        assert (await seen(manager, "completion/complete"))["traceparent"] == traceparent(complete)
        spans.clear()
        for listing in (manager.list_tools, manager.list_resources, manager.list_prompts):
            await listing("fix")
            assert attributes(only(spans))["crossfade.server"] == "fix"
        await manager.list_resource_templates()
        assert only(spans).name == "resources/templates/list"


async def test_what_fails_says_so_in_its_span(variant: str, spans: InMemorySpanExporter) -> None:
    async with traced(variant, stdio_spec()) as manager:
        with pytest.raises(RemoteError):
            await manager.call_tool("fix__refuse", {"code": -32050, "message": "no"})
        refused = only(spans)
        assert (refused.status.status_code, refused.status.description) == (StatusCode.ERROR, "no")
        assert attributes(refused)["error.type"] == attributes(refused)["rpc.response.status_code"] == "-32050"
        with pytest.raises(ServerTimeout):
            await manager.call_tool("fix__never", {}, timeout_s=0.05)
        late = only(spans)
        assert (late.status.status_code, attributes(late)["error.type"]) == (StatusCode.ERROR, "server_timeout")
        assert attributes(late)["crossfade.server"] == "fix"
        assert (await manager.call_tool("fix__fail", {})).is_error
        failed = only(spans)
        assert (failed.status.status_code, attributes(failed)["error.type"]) == (StatusCode.ERROR, "tool_error")


async def test_a_cancelled_call_ends_its_span(variant: str, spans: InMemorySpanExporter) -> None:
    async with traced(variant, stdio_spec()) as manager:
        call = asyncio.ensure_future(manager.call_tool("fix__never", {}))
        await manager.call_tool("fix__seen", {"method": "sleeping", "wait_ms": 5000})
        spans.clear()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert attributes(only(spans))["error.type"] == "cancelled"


async def test_a_context_that_the_caller_gave_is_not_replaced(variant: str, spans: InMemorySpanExporter) -> None:
    async with traced(variant, stdio_spec()) as manager:
        meta = {"traceparent": GIVEN, "x-own": 1}
        text = (await manager.call_tool("fix__seen", {"method": "tools/call"}, meta=meta)).text
        assert json.loads(text)[-1]["params"]["_meta"] == meta
        own = {"x-own": 1}
        text = (await manager.call_tool("fix__seen", {"method": "tools/call"}, meta=own)).text
        found = json.loads(text)[-1]["params"]["_meta"]
    assert found == {"x-own": 1, "traceparent": traceparent(spans.get_finished_spans()[-1])}
    assert own == {"x-own": 1}, "the caller's own object was changed"


async def test_without_otel_there_is_no_span_and_no_context(variant: str, spans: InMemorySpanExporter) -> None:
    tracer = trace.get_tracer("test")
    async with open_manager(Config(servers=(stdio_spec(),)), variant) as manager:
        with tracer.start_as_current_span("agent"):
            assert "traceparent" not in await seen(manager, "tools/call")
    assert only(spans).name == "agent"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_clients_context_passes_the_gateway_untouched(variant: str, upstream: ServerSpec, era: str) -> None:
    given = {"traceparent": GIVEN, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "baggage": "a=b%20c"}
    async with serving(variant, upstream) as served, served.client(era) as client:
        for _ in range(2):  # the long way, which learns, and the relay
            meta = {**(modern_meta() if era == "modern" else {}), **given}
            params = {"name": "fix__seen", "arguments": {"method": "tools/call"}, "_meta": meta}
            result = await client.result("tools/call", params)
            found = json.loads(result["content"][0]["text"])[-1]["params"]["_meta"]
            assert {key: found.get(key) for key in given} == given


@ON_ASYNCIO
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_python_gateway_stands_between_the_clients_span_and_the_servers(
    shell: str, upstream: ServerSpec, era: str, spans: InMemorySpanExporter
) -> None:
    given = {"traceparent": GIVEN, "tracestate": "rojo=00f067aa0ba902b7", "baggage": "a=b%20c"}
    async with traced(shell, upstream) as manager:
        served = Served(manager, await manager.serve(port=0))
        async with served.client(era) as client:
            for _ in range(2):
                spans.clear()
                meta = {**(modern_meta() if era == "modern" else {}), **given}
                params = {"name": "fix__seen", "arguments": {"method": "tools/call"}, "_meta": meta}
                result = await client.result("tools/call", params)
                found = json.loads(result["content"][0]["text"])[-1]["params"]["_meta"]
                span = only(spans)
                assert (span.name, span.kind) == ("tools/call fix__seen", SpanKind.SERVER)
                assert span.parent is not None
                assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == GIVEN[3:-3]
                assert {key: found.get(key) for key in given} == {**given, "traceparent": traceparent(span)}
            await client.message("tools/call", {"name": "fix__refuse"})
            assert attributes(only(spans))["error.type"] == "-32050"
            await client.message("tools/call", {"name": "fix__fail"})
            assert attributes(only(spans))["error.type"] == "tool_error"
            await client.message("tools/list")
            assert only(spans).name == "tools/list"
            await client.message("no/such")
            assert attributes(only(spans))["error.type"] == "-32601"


@ON_ASYNCIO
async def test_a_request_that_is_wrong_is_refused_the_same_with_spans(shell: str, spans: InMemorySpanExporter) -> None:
    async with traced(shell, stdio_spec()) as manager:
        served = Served(manager, await manager.serve(port=0))
        async with served.client("legacy") as client:
            odd: list[dict[str, Any]] = [{"name": 7}, {"name": "fix__echo", "_meta": {"traceparent": 7}}, {}]
            for wrong in odd:
                plain = await client.message("tools/call", wrong)
                assert ("error" in plain) == (wrong.get("name") != "fix__echo"), plain
    assert {span.kind for span in spans.get_finished_spans()} == {SpanKind.SERVER}


def test_spans_without_opentelemetry_are_refused_with_what_to_install(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("opentelemetry") else find(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'crossfade\[otel\]'"):
        traced(variant)
    open_manager(Config(), variant)
