"""The bench of one block: fleet, thing under test and load, each in a fresh process and on its own processor.

Everything that knows how these processes are configured is here; the modules beside it only measure. A *target* is what
the load talks to: a variant's gateway, nginx, or the fleet itself (the ceiling).
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from crossfade.harness import proxies
from crossfade.harness.affinity import Placement
from crossfade.harness.gateways import Gateway
from crossfade.harness.measure import foreign, upstreams
from crossfade.harness.measure.target import Target
from crossfade.harness.measure.upstreams import SERVER, Ports
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import LoadPoint, Mark, Operation, Rung, SoakSample
from crossfade.scenarios import Profile, Rounds, Scenario

__all__ = ["SERVER", "START_S", "TWIN", "Bench", "Measured", "Ports", "echoed", "fleet_config", "warm"]

TWIN = "~"
"""``python~twin`` is the variant ``python`` under a second name, for A/A runs."""
START_S = 30.0
"""How long a variant or a gateway may take until it serves, unless told otherwise."""
LAYOUT = "CROSSFADE_LAYOUT"
"""A variable that nobody reads: its length moves everything behind it."""


class Measured(msgspec.Struct, kw_only=True):
    """What a block yields. ``void`` says why it may not count although it ran, ``failed`` what the target did that it
    must never do."""

    metrics: dict[str, float] = {}
    points: tuple[LoadPoint, ...] = ()
    ladder: tuple[Rung, ...] = ()
    soak: tuple[SoakSample, ...] = ()
    marks: tuple[Mark, ...] = ()
    operations: tuple[Operation, ...] = ()
    turns: dict[str, tuple[float, ...]] = {}
    errors: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    void: str | None = None
    failed: str | None = None


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """One block's settings: ``generator`` is ``rust`` or ``python``, ``seed`` feeds arrivals, arguments and fleet.

    ``gateway`` is there if ``variant`` is one that the user brought.
    """

    scenario: Scenario
    profile: Profile
    variant: str
    placement: Placement
    seed: int
    hash_seed: int
    generator: str
    memray: Path | None = None
    gateway: Gateway | None = None
    start_s: float = START_S
    first: bool = False
    """Of its variant and scenario in this run."""

    @property
    def rounds(self) -> Rounds:
        """Durations of the profile."""
        return self.scenario.rounds(self.profile)

    @property
    def chance(self) -> dict[str, str]:
        """The environment in which a block's processes differ by chance alone: hash seed and address layout.

        The kernel draws addresses by whole pages. Where things lie within one follows from what was allocated before
        them, the environment and the command line first of all, and can cost a process several per cent for its whole
        life, a longer name being enough (Mytkowicz et al. 2009). So the length of the environment is drawn, too.
        """
        return {"PYTHONHASHSEED": str(self.hash_seed), LAYOUT: "x" * (self.hash_seed % mmap.PAGESIZE)}

    def _python(self, what: str, module: str, *arguments: str, cpus: frozenset[int] | None) -> Child:
        # -X utf8: a C locale must not change what a child writes.
        argv = [sys.executable, "-X", "utf8", "-m", module, *arguments]
        return Child(what, argv, cpus=cpus, env=self.chance)

    @contextlib.contextmanager
    def fleet(self) -> Iterator[tuple[Child, Ports]]:
        """The upstream HTTP servers, with their ports."""
        with self._python("fleet", "crossfade.harness.fleet", cpus=self.placement.rest) as child:
            port = self.gateway.fleet_port if self.gateway is not None else None
            child.send(fleet_config(self.scenario, self.generator, self.seed) | ({"port": port} if port else {}))
            ready = child.expect("ready", timeout_s=self.start_s)
            yield child, tuple(ready["ports"])

    def load(self, plan: dict[str, Any]) -> Child:
        """A load generator that has been given its plan."""
        child = self._python("load", "crossfade.harness.load", cpus=self.placement.rest)
        try:
            child.send(plan)
        except BlockFailed:
            child.close(grace_s=0.0)
            raise
        return child

    @contextlib.contextmanager
    def worker(
        self, ports: Ports | None, *, serve: bool, config: dict[str, Any] | None = None
    ) -> Iterator[tuple[Child, dict[str, Any]]]:
        """The variant in a fresh process, with its ready event; ``config`` instead of the scenario's own."""
        what = f"variant {self.variant!r}"
        with self._python(what, "crossfade.harness.worker", cpus=self.placement.variant) as child:
            job: dict[str, Any] = {
                "variant": self.variant.partition(TWIN)[0],
                "config": config or self.manager_config(ports),
                "serve": serve,
            }
            if self.memray is not None:
                job["memray"] = str(self.memray)
            child.send(job)
            yield child, child.expect("ready", timeout_s=self.start_s)

    @contextlib.contextmanager
    def target(self, fleet: Child | None, ports: Ports | None) -> Iterator[Target]:
        """What the load talks to, accepting connections. No fleet: the upstream is a child of the target."""
        if self.gateway is not None:
            era = self.scenario.load.era if self.scenario.load is not None else "modern"
            entry = self._stdio_command() if ports is None else upstreams.plain(ports[0])
            cpus, start_s, env = self.placement.variant, self.start_s, self.chance
            with foreign.opened(self.gateway, entry=entry, cpus=cpus, env=env, era=era, start_s=start_s) as found:
                yield found
        elif self.variant == "ceiling" and fleet is not None and ports is not None:
            yield Target(ports[0], "echo", (fleet.pid,))
        elif self.variant == "nginx" and ports is not None:
            with proxies.nginx(ports[0], cpus=self.placement.variant, env=self.chance) as running:
                yield Target(running.port, "echo", running.pids)
        else:
            tools = upstreams.tools(self.scenario.upstream)
            with self.worker(ports, serve=True) as (child, ready):
                yield Target(int(ready["port"]), tools[0], (child.pid,), tools=tools, worker=child)

    @contextlib.contextmanager
    def front(self) -> Iterator[Target]:
        """The target in front of its upstream, over HTTP or stdio, after a few calls that were checked."""
        with contextlib.ExitStack() as stack:
            over_http = self.scenario.upstream.transport == "http"
            fleet, ports = stack.enter_context(self.fleet()) if over_http else (None, None)
            target = stack.enter_context(self.target(fleet, ports))
            warm(target, self.scenario, calls=3)
            yield target

    def manager_config(self, ports: Ports | None) -> dict[str, Any]:
        """The configuration of the manager under test: its servers, each with the scenario's own keys."""
        entries = {SERVER: {**self.scenario.manager, **self._stdio_command()}} if ports is None else self.entries(ports)
        return {"mcpServers": entries, "seed": self.seed}

    def entries(self, ports: Ports, *, revision: int = 0) -> dict[str, dict[str, Any]]:
        """The servers of the fleet with the scenario's own keys; ``revision`` 1 replaces the first."""
        told = upstreams.entries(self.scenario.upstream, ports, revision=revision)
        return {name: {**self.scenario.manager, **entry} for name, entry in told.items()}

    def _stdio_command(self) -> dict[str, Any]:
        config = msgspec.json.encode(fleet_config(self.scenario, self.generator, self.seed)).decode()
        fleet = ["-m", "crossfade.harness.fleet", "--stdio", "--config", config]
        if self.placement.rest is None:
            return {"command": sys.executable, "args": fleet}
        # The manager starts this child, which would inherit the manager's processor.
        cpus = ",".join(map(str, sorted(self.placement.rest)))
        return {
            "command": sys.executable,
            "args": ["-m", "crossfade.harness.affinity", cpus, "--", sys.executable, *fleet],
        }


def fleet_config(scenario: Scenario, generator: str, seed: int) -> dict[str, Any]:
    """The fleet's configuration line.

    What it draws (latencies, errors) is alike for all variants of a round, and new in the next, or rounds would repeat
    one sample.
    """
    return {
        **upstreams.behaviour(scenario.upstream),
        **upstreams.ports(scenario),
        "error_kind": "tool",
        "seed": seed,
        "generator": generator,
    }


def warm(target: Target, scenario: Scenario, *, calls: int) -> None:
    """A few calls, each checked, so that lazy parts exist before anything is measured."""
    era = scenario.load.era if scenario.load is not None else "modern"
    with Probe(target.port, host=target.host, path=target.path, era=era) as probe:
        for number, tool in itertools.product(range(calls), target.tools or (target.tool,)):
            text = f"warm-{number}"
            answer = probe.call(tool, {"text": text, "n": number})
            if echoed(answer) != text:
                raise BlockFailed(f"wrong answer to {tool}: sent {text!r}, got {str(answer)[:300]}")


def echoed(answer: dict[str, Any]) -> str | None:
    """The text of an echo's answer, or None if it is none: a gateway that is not ours may answer anything."""
    result = answer.get("result")
    content = result.get("content") if isinstance(result, dict) else None
    if not isinstance(content, list):
        return None
    texts = [block.get("text") for block in content if isinstance(block, dict)]
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else None
