"""The upstream servers of a block, as the fleet and the manager under test are told of them.

The rule: one process serves every port of the fleet, so that more servers or replicas cost the ruler no more; port
``i * replicas + j`` is replica ``j`` of server ``i``. Where a block updates its server, as many ports again follow, for
the next revision. Optional keys are said only where a scenario asks for them.
"""

from __future__ import annotations

from typing import Any

from crossfade.scenarios import Scenario, Upstream

SERVER = "up"
"""The first server, or the only one; the others are called ``up1``, ``up2`` and so on."""
Ports = tuple[int, ...]


def name(index: int) -> str:
    """What the manager calls a server."""
    return f"{SERVER}{index}" if index else SERVER


def names(upstream: Upstream) -> list[str]:
    """Every server, the slow ones last."""
    return [name(index) for index in range(upstream.servers)]


def tools(upstream: Upstream, *, slow: bool = False) -> tuple[str, ...]:
    """The tool ``echo`` (or ``progress``) of every server that is measured, or of the ``slow`` ones beside them."""
    tool = "progress" if upstream.events else "echo"
    fast = upstream.servers - upstream.slow_servers
    return tuple(f"{server}__{tool}" for server in (names(upstream)[fast:] if slow else names(upstream)[:fast]))


def plain(port: int) -> dict[str, Any]:
    """A server in an ``mcpServers`` file, in words that other products read too."""
    # Some call it type, some transport.
    return {"type": "http", "transport": "http", "url": url(port)}


def url(port: int) -> str:
    """Where a port of the fleet is reached."""
    return f"http://127.0.0.1:{port}/mcp"


def entries(upstream: Upstream, ports: Ports, *, revision: int = 0) -> dict[str, dict[str, Any]]:
    """The servers as the manager is told of them; ``revision`` 1 are those that replace the first."""
    era = {} if upstream.era == "both" else {"era": upstream.era}
    found: dict[str, dict[str, Any]] = {}
    each = upstream.replicas
    for index, server in enumerate(names(upstream)):
        first = (revision * upstream.servers + index) * each
        urls = [url(port) for port in ports[first : first + each]]
        found[server] = ({"url": urls[0]} if each == 1 else {"urls": urls}) | era
    return found


def ports(scenario: Scenario) -> dict[str, Any]:
    """How many ports the fleet needs, and which of them are slow."""
    upstream = scenario.upstream
    count = upstream.servers * upstream.replicas * (2 if scenario.deploy is not None else 1)
    told: dict[str, Any] = {"ports": count} if count > 1 else {}
    if upstream.slow_servers:
        told |= {"slow_ports": upstream.slow_servers * upstream.replicas, "slow_ms": upstream.slow_ms}
    return told


def behaviour(upstream: Upstream) -> dict[str, Any]:
    """What every server of the fleet does."""
    latency = {"distribution": upstream.latency, "ms": upstream.latency_ms} if upstream.latency_ms else None
    told: dict[str, Any] = {"era": upstream.era, "latency": latency, "error_rate": upstream.error_per_mille / 1000}
    if upstream.framing != "length":
        told["framing"] = upstream.framing
    if upstream.stderr_bytes_per_s:
        told["stderr_bytes_per_s"] = upstream.stderr_bytes_per_s
    return told
