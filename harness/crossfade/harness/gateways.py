"""Gateways that are not ours: what a user names with ``--command`` and ``--url``, checked before anything runs.

Only their HTTP face is reached, with the same load, in the same rounds, as a variant's. The rule: what a gateway cannot
be measured on follows from how it was named, and is left out with that reason; nothing is guessed while measuring.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from crossfade.harness.problems import Unavailable, UsageError
from crossfade.harness.processtree import listeners
from crossfade.scenarios import LIMITS, Scenario

FLEET_PORT = 9100
"""Where the fleet listens for a gateway named by URL, which has to know its upstream beforehand."""
PATH = "/mcp"
PLACEHOLDERS = ("port", "upstream", "server", "config")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: ``command`` (with placeholders) is started anew for every block, ``url`` runs already."""

    name: str
    command: str | None = None
    url: str | None = None
    fleet_port: int | None = None

    def holds(self, placeholder: str) -> bool:
        """Whether the command has ``{placeholder}``."""
        return self.command is not None and f"{{{placeholder}}}" in self.command

    def address(self) -> tuple[str, int, str]:
        """Host, port and path of its URL."""
        parts = urlsplit(self.url or "")
        return parts.hostname or "127.0.0.1", parts.port or 80, parts.path or "/"

    def describe(self) -> str:
        """One sentence for the report: what was started, or what was found at the URL."""
        if self.command is not None:
            return f"started for every block as: {self.command}"
        told = "the processes that listen there are clocked" if self.local_pids() else "its processor time is unknown"
        return f"ran already at {self.url}, the same process in every block; {told}"

    def local_pids(self) -> tuple[int, ...]:
        """The processes that listen at the URL; none if they run on another machine or belong to another user."""
        host, port, _ = self.address()
        return listeners(port) if _is_local(host) else ()

    def lacks(self, scenario: Scenario) -> str | None:
        """Why a scenario cannot be measured on it, or None."""
        needs = set(scenario.needs)
        if beyond := sorted(needs - {"gateway", "http", "stdio", "modern", "legacy"}):
            return f"only its HTTP face can be reached, and this needs {', '.join(beyond)}"
        if why := self._out_of_reach(scenario):
            return why
        over_stdio = scenario.upstream.transport == "stdio"
        if self.url is not None:
            return "it would have to start its upstream itself; name it with --command" if over_stdio else None
        if self.holds("config") or self.holds("server" if over_stdio else "upstream"):
            return None
        wanted = "{server}" if over_stdio else "{upstream}"
        return f"its command has no {wanted} (nor {{config}}), so it cannot be put before this fleet"

    def _out_of_reach(self, scenario: Scenario) -> str | None:
        if scenario.upstream.servers > 1 or scenario.upstream.replicas > 1:
            return "one upstream is put behind a gateway that was brought, and this has several servers or replicas"
        if self.url is None:
            return None
        if scenario.kind == "lifecycle":
            return "it runs already, so that its start cannot be timed; name it with --command"
        if scenario.kind in ("memory_clients", "memory_sessions"):
            return "a ladder needs a fresh process per rung, and this one runs already; name it with --command"
        return None


def parse(commands: Sequence[str], urls: Sequence[str], *, fleet_port: int, known: Sequence[str]) -> list[Gateway]:
    """The gateways of a command line, in order. Raises UsageError or Unavailable; ``known`` names are taken."""
    found: dict[str, Gateway] = {}
    for option, texts in (("--command", commands), ("--url", urls)):
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals or not value.strip():
                raise UsageError(f"{option} {text!r} must be NAME=...; write for example {_EXAMPLES[option]}")
            if not _NAME.fullmatch(name) or len(name) > 40:
                raise UsageError(f"{option}: the name {name!r} must be lower case letters, digits and single dashes")
            if name in known or name in LIMITS or name in found:
                raise UsageError(f"{option}: the name {name!r} is taken; choose another")
            made = _command if option == "--command" else _url
            found[name] = made(name, value.strip(), fleet_port)
    return list(found.values())


_EXAMPLES = {
    "--command": "--command other='other-gateway --port {port} {upstream}'",
    "--url": "--url other=http://127.0.0.1:9000/mcp",
}


def _command(name: str, text: str, fleet_port: int) -> Gateway:
    del fleet_port  # a command is told where its upstream is
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--command {name}: {error}; quote it as for a shell") from None
    for unknown in _PLACEHOLDER.findall(text):
        if unknown not in PLACEHOLDERS:
            known = ", ".join(f"{{{p}}}" for p in PLACEHOLDERS)
            raise UsageError(f"--command {name}: {{{unknown}}} is no placeholder; there are {known}")
    if "{port}" not in text:
        raise UsageError(f"--command {name}: has no {{port}}; put it where the command takes the port to listen on")
    if not any(f"{{{p}}}" in text for p in PLACEHOLDERS[1:]):
        raise UsageError(
            f"--command {name}: does not say what it serves; add {{upstream}} (a URL), {{server}} (a command line) or "
            "{config} (the path of an mcpServers file)"
        )
    if shutil.which(words[0]) is None:
        raise Unavailable(f"--command {name}: {words[0]!r} is not on PATH; install it or give its whole path")
    return Gateway(name=name, command=text)


def _url(name: str, text: str, fleet_port: int) -> Gateway:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme != "http" or not parts.hostname or port == -1:
        raise UsageError(f"--url {name}: {text!r} must be http://HOST:PORT/PATH; the load generator speaks plain HTTP")
    if parts.query or parts.username:
        raise UsageError(f"--url {name}: a query or a user in {text!r} is not sent; leave it out")
    found = Gateway(name=name, url=text, fleet_port=fleet_port)
    host, number, _ = found.address()
    try:
        socket.create_connection((host, number), timeout=5).close()
    except OSError as error:
        raise Unavailable(f"--url {name}: nothing answers at {text} ({error}); start it before the run") from None
    return found


def _is_local(host: str) -> bool:
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Only an address of this machine can be bound.
            probe.bind((address, 0))
        except OSError:
            return False
    return True
