"""A gateway that is not ours, put before the fleet: started from its command, or found at its URL, and asked for the
fleet's tools until it has them.

The rule: it is started in one process group that ends with the block, and with the harness, however that ends.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from crossfade.harness.gateways import Gateway
from crossfade.harness.measure.target import Target
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.processtree import tree
from crossfade.harness.proxies import free_port

Era = Literal["modern", "legacy"]
ASK_EVERY_S = 0.05

_UNTIL_EOF = (
    'exec 3<&0; "$@" </dev/null >&2 & p=$!; (read -r _ <&3; kill $p) >/dev/null & r=$!; '
    'echo "{\\"event\\":\\"started\\",\\"pid\\":$p}"; wait $p; c=$?; kill $r 2>/dev/null; exit $c'
)
"""It may never read stdin. A shell does that in its place; what it prints goes where its complaints go."""


@contextlib.contextmanager
def opened(
    gateway: Gateway,
    *,
    entry: Mapping[str, Any],
    cpus: frozenset[int] | None,
    env: dict[str, str] | None = None,
    era: Era,
    start_s: float,
) -> Iterator[Target]:
    """The gateway, with the fleet behind it. ``entry`` is the fleet as an entry of an ``mcpServers`` file.

    ``env`` is added to its environment.

    Raises BlockFailed if it ends, stays silent, or does not serve the fleet's tool, quoting its last words.
    """
    deadline = time.monotonic() + start_s
    if gateway.url is not None:
        host, port, path = gateway.address()
        found = Target(port, "", host=host, path=path, look=gateway.local_pids)
        yield _with_tool(gateway.name, found, era, deadline, start_s, alive=lambda: None)
        return
    with tempfile.TemporaryDirectory(prefix="crossfade-gateway-") as folder:
        port = free_port()
        argv = arguments(gateway, port=port, entry=entry, folder=Path(folder))
        command = ["/bin/sh", "-c", _UNTIL_EOF, "sh", *argv]
        with Child(gateway.name, command, cpus=cpus, env=env, cwd=Path(folder)) as child:
            pid = int(child.expect("started", timeout_s=start_s)["pid"])
            found = Target(port, "", look=lambda: tree(pid))
            yield _with_tool(gateway.name, found, era, deadline, start_s, alive=child.alive)


def arguments(gateway: Gateway, *, port: int, entry: Mapping[str, Any], folder: Path) -> list[str]:
    """The command with its placeholders filled in; a word that is ``{server}`` alone becomes as many as it has."""
    server = [str(word) for word in (entry.get("command", ""), *entry.get("args", ())) if word]
    file = folder / "mcp.json"
    file.write_bytes(msgspec.json.encode({"mcpServers": {"up": entry}}))
    values = {
        "port": str(port),
        "upstream": str(entry.get("url", "")),
        "server": shlex.join(server),
        "config": str(file),
    }
    words: list[str] = []
    for word in shlex.split(gateway.command or ""):
        if word == "{server}":
            words.extend(server)
        else:
            words.append(re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), word))
    return words


def _with_tool(
    name: str, target: Target, era: Era, deadline: float, patience_s: float, *, alive: Callable[[], None]
) -> Target:
    """The target with the name that the gateway gives the fleet's tool ``echo``."""
    last = f"nothing listens on port {target.port}; is {{port}} where its command takes the port?"
    while time.monotonic() < deadline:
        alive()
        try:
            with Probe(target.port, host=target.host, path=target.path, era=era, timeout_s=5.0) as probe:
                answer = probe.request("tools/list")
        except BlockFailed as error:
            if "ConnectionRefusedError" not in str(error):
                last = f"{error}; if it does not speak the {era} revision, choose another with --set load.era=..."
        else:
            tools = tool_names(answer)
            if tool := echo_among(tools):
                return msgspec.structs.replace(target, tool=tool)
            last = _no_echo(answer, tools)
        time.sleep(ASK_EVERY_S)
    raise BlockFailed(f"{name}: did not serve the fleet's tools within {patience_s:g} s: {last}")


def tool_names(answer: dict[str, Any]) -> list[str]:
    """The names in an answer to ``tools/list``; what is no list of tools with names has none."""
    result = answer.get("result")
    listed = result.get("tools") if isinstance(result, dict) else None
    found = [tool.get("name") for tool in listed if isinstance(tool, dict)] if isinstance(listed, list) else []
    return [name for name in found if isinstance(name, str)]


def echo_among(tools: list[str]) -> str | None:
    """``echo``, or the one tool whose name ends with it after a separator (``up_echo``, ``up__echo``, ``up/echo``)."""
    found = [tool for tool in tools if re.fullmatch(r"(.*[^A-Za-z0-9])?echo", tool)]
    return "echo" if "echo" in found else found[0] if len(found) == 1 else None


def _no_echo(answer: dict[str, Any], tools: list[str]) -> str:
    if "error" in answer:
        return f"tools/list is answered with {str(answer['error'])[:200]}; see what the gateway's log says"
    listed = ", ".join(tools[:5]) or f"none in {str(answer)[:160]}"
    return f"no tool called echo is listed (tools: {listed}); does it reach its upstream, and in its era (--set)?"
