"""Prometheus text: what a scraper reads is well-formed, adds up, and is the same from every variant."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable

from tests.contract.kit import HttpServer, http_spec, stdio_spec

from crossfade.impls import VARIANTS, Config, Manager, TelemetrySpec, missing, open_manager

LINE = re.compile(r'^(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="[^"]*",?)*)\})? (?P<value>[0-9.]+)$')
SAMPLES = ("_bucket", "_sum", "_count")


async def scrape(manager: Manager) -> str:
    """``/metrics`` of a gateway of this manager."""
    gateway = await manager.serve("127.0.0.1", 0)
    url = gateway.url.removesuffix("/mcp") + "/metrics"

    def read() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own gateway, over http
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            text: str = answer.read().decode()
            return text

    try:
        return await asyncio.to_thread(read)
    finally:
        await gateway.close()


def parsed(text: str) -> dict[str, dict[str, float]]:
    """Metric name -> labels -> value. Fails on a line that is neither a comment nor a sample, or on a twin."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = LINE.match(line)
        assert match, f"not a sample: {line!r}"
        samples = found.setdefault(match["name"], {})
        assert (match["labels"] or "") not in samples, f"told twice: {line!r}"
        samples[match["labels"] or ""] = float(match["value"])
    return found


def typed(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


async def test_the_histogram_of_each_server_adds_up(variant: str, shared_http: Callable[..., HttpServer]) -> None:
    specs = (http_spec(shared_http(era="modern"), "web"), stdio_spec("pipe"))
    async with open_manager(Config(servers=specs), variant) as manager:
        for _ in range(20):
            await manager.call_tool("web__echo", {"n": 1})
        await manager.call_tool("pipe__sleep", {"ms": 40})
        found = parsed(await scrape(manager))
        counts = {server: n["requests"] for server, n in manager.metrics().servers.items()}
        slowest = manager.metrics().latency_by_server["pipe"]["max"]
    for server in ("web", "pipe"):
        rising = [
            value
            for labels, value in found["crossfade_request_seconds_bucket"].items()
            if f'server="{server}"' in labels
        ]
        assert rising == sorted(rising)
        assert rising[-1] == found["crossfade_request_seconds_count"][f'server="{server}"'] == counts[server]
        assert found["crossfade_requests_total"][f'server="{server}"'] == counts[server]
    assert 0.04 <= slowest / 1e9 <= found["crossfade_request_seconds_sum"]['server="pipe"']
    quick = found["crossfade_request_seconds_bucket"]['server="pipe",le="0.033554432"']
    assert quick <= counts["pipe"] - 1, "a call of 40 ms counts as one below 34"


async def test_every_variant_tells_the_same_metrics_by_the_same_names() -> None:
    told = {}
    for variant in VARIANTS:
        if missing(variant) is None:
            async with open_manager(Config(servers=(stdio_spec("one"),)), variant) as manager:
                await manager.call_tool("one__echo", {})
                text = await scrape(manager)
                told[variant] = (typed(text), sorted(f"{n}{{{k}}}" for n, s in parsed(text).items() for k in s))
    first = told.pop("python")
    assert first[0]["crossfade_request_seconds"] == "histogram"
    assert told == dict.fromkeys(told, first)


async def test_every_sample_has_a_type(variant: str) -> None:
    async with open_manager(Config(servers=(stdio_spec("one"),)), variant) as manager:
        text = await scrape(manager)
    types = typed(text)
    for name in parsed(text):
        base = next((name.removesuffix(end) for end in SAMPLES if name.endswith(end)), name)
        assert name in types or types.get(base) == "histogram", name


async def test_metrics_switched_off_record_no_latency_and_still_count(variant: str) -> None:
    config = Config(servers=(stdio_spec("one"),), telemetry=TelemetrySpec(metrics=False))
    async with open_manager(config, variant) as manager:
        await manager.call_tool("one__echo", {})
        found = manager.metrics()
    assert found.latency_ns["count"] == 0
    assert found.servers["one"]["requests"] > 0
    assert found.requests > 0
