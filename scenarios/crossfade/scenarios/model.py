"""What a scenario is: a named piece of work with its load, its upstream fleet, its faults, and what it measures.

Everything is validated when it is read, once; an error names the file and the key and ends with the next action. A
scenario's identity is the SHA-256 of its canonical form *for one profile*: two results compare only if it agrees.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from crossfade.scenarios.tables import (
    Connect,
    Deploy,
    Faults,
    Ladder,
    Lifecycle,
    Load,
    Nodes,
    Profiles,
    Rounds,
    Soak,
    Sweep,
    Upstream,
)

Kind = Literal[
    "throughput",
    "latency",
    "burst",
    "connect",
    "calls",
    "sweep",
    "memory_clients",
    "memory_upstreams",
    "memory_stdio",
    "memory_sessions",
    "soak",
    "ops",
    "lifecycle",
    "faults",
    "deploy",
    "nodes",
]
Profile = Literal["quick", "standard", "full"]
PROFILES: tuple[Profile, ...] = ("quick", "standard", "full")
LIMITS = ("nginx", "ceiling")


class ScenarioError(Exception):
    """A scenario does not exist or its file is wrong; the message names file and key and ends with the next action."""


SECTIONS: dict[Kind, tuple[str, ...]] = {
    "throughput": ("load",),
    "latency": ("load",),
    "burst": ("load",),
    "connect": ("load", "connect"),
    "calls": ("load",),
    "sweep": ("load", "sweep"),
    "memory_clients": ("load", "ladder"),
    "memory_upstreams": ("load", "ladder"),
    "memory_stdio": ("ladder",),
    "memory_sessions": ("load", "ladder"),
    "soak": ("load", "soak"),
    "ops": (),
    "lifecycle": ("lifecycle",),
    "faults": ("load", "faults"),
    "deploy": ("load", "deploy"),
    "nodes": ("load", "nodes"),
}
"""Which tables a kind needs; the ones it does not need must be absent."""

MODE: dict[Kind, Literal["closed", "open"]] = {
    "latency": "open",
    "burst": "open",
    "sweep": "open",
    "deploy": "open",
    "calls": "closed",
}
"""The mode of load that a kind measures with, where it is not free to choose."""

TURNS: tuple[Kind, ...] = ("throughput", "latency", "calls")
"""Kinds whose variants can take turns: one phase of load, which may as well be many short ones."""

MOST_CHILDREN = 256
"""Rungs of children: each is an interpreter of its own."""
AT_ONCE_BYTES = 1 << 30
"""Payloads under way at once, which generator, manager and fleet hold a copy of each."""

LATER: dict[str, tuple[str, ...]] = {
    "": ("soak", "connect", "lifecycle", "deploy", "nodes"),
    "upstream": ("servers", "replicas", "slow_servers", "slow_ms", "framing", "events", "stderr_bytes_per_s"),
    "load": ("mix", "chain", "cancel_per_mille", "cancel_after_ms", "session_calls", "burst"),
    "ladder": ("in_flight",),
    "faults": ("fault", "flaps"),
}
"""Keys that came after the first stored results, by table. Holding their defaults they change nothing that is measured,
and are no part of the hash."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scenario. ``needs`` are variant capabilities; ``left_out`` says why a limit cannot be measured here.

    ``manager`` holds configuration keys for the servers of the manager under test, as in a configuration file.
    ``threshold_percent`` is the difference that matters; ``headline`` metrics get verdicts, ``shown`` ones intervals.
    ``suites`` are the profiles in whose whole run it takes part; by name or tag it runs in every profile.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    summary: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Kind
    profiles: Profiles
    headline: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    shown: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    suites: tuple[Profile, ...] = ("standard", "full")
    needs: tuple[str, ...] = ()
    limits: tuple[Literal["nginx", "ceiling"], ...] = ()
    left_out: dict[str, str] = {}
    threshold_percent: Annotated[float, msgspec.Meta(gt=0.0, le=100.0)] = 5.0
    upstream: Upstream = Upstream()
    load: Load | None = None
    sweep: Sweep | None = None
    ladder: Ladder | None = None
    soak: Soak | None = None
    faults: Faults | None = None
    connect: Connect | None = None
    lifecycle: Lifecycle | None = None
    deploy: Deploy | None = None
    nodes: Nodes | None = None
    manager: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for section in dict.fromkeys(s for sections in SECTIONS.values() for s in sections):
            wanted, there = section in SECTIONS[self.kind], getattr(self, section) is not None
            if wanted and not there:
                raise ValueError(f"kind {self.kind!r} needs a [{section}] table; add it")
            if there and not wanted:
                raise ValueError(f"kind {self.kind!r} has no use for the [{section}] table; remove it")
        if self.load is not None:
            self._check_load(self.load)
        if any(getattr(self.profiles, p).turns > 1 for p in PROFILES) and (
            self.kind not in TURNS or self.upstream.slow_servers
        ):
            raise ValueError(f"profiles: only {', '.join(TURNS)} without slow servers can take turns; remove turns")
        shortest = min(getattr(self.profiles, p).duration_s for p in PROFILES)
        if (f := self.faults) is not None and not f.crash_at_s < f.recover_at_s < shortest - f.jitter_s:
            raise ValueError(
                "faults: crash_at_s < recover_at_s < duration_s - jitter_s must hold in every profile; change them"
            )
        if self.ladder is not None:
            self._check_ladder(self.ladder)
        if self.kind == "memory_sessions" and self.load is not None and self.load.era != "legacy":
            raise ValueError('kind "memory_sessions" needs clients with sessions; set load.era to "legacy"')
        if self.deploy is not None and self.deploy.update_at_s >= shortest:
            raise ValueError("deploy.update_at_s must lie below duration_s in every profile; change it")
        if self.lifecycle is not None and self.lifecycle.kill_child != (self.upstream.transport == "stdio"):
            raise ValueError('lifecycle.kill_child belongs to upstream.transport "stdio"; give both or neither')

        if self.nodes is not None and self.load is not None:
            self._check_nodes(self.nodes, self.load)

    def _check_ladder(self, ladder: Ladder) -> None:
        if ladder.in_flight and self.kind != "memory_clients":
            raise ValueError(f"ladder.in_flight means nothing for kind {self.kind!r}; remove it")
        if self.kind == "memory_stdio" and self.upstream.transport != "stdio":
            raise ValueError('kind "memory_stdio" counts children; set upstream.transport to "stdio"')
        if self.kind == "memory_stdio" and max(ladder.rungs) > MOST_CHILDREN:
            raise ValueError(f"ladder.rungs: each child is an interpreter, {MOST_CHILDREN} at the most; lower them")

    @staticmethod
    def _check_nodes(nodes: Nodes, load: Load) -> None:
        if load.rate_per_s is not None:
            raise ValueError("load.rate_per_s means nothing here; give nodes.rates_per_s, over all nodes together")
        if max(nodes.counts) > load.connections:
            raise ValueError("load.connections is less than the most nodes, of which each needs one; raise it")
        if bool(nodes.rates_per_s) != (load.mode == "open"):
            raise ValueError('nodes.rates_per_s and load.mode "open" belong together; give both or neither')

    def _check_load(self, load: Load) -> None:
        if load.mode == "closed" and load.rate_per_s is not None:
            raise ValueError('load.rate_per_s means nothing in a closed loop; remove it or set load.mode to "open"')
        if (mode := MODE.get(self.kind)) is not None and load.mode != mode:
            raise ValueError(f'kind {self.kind!r} measures in the {mode} loop; set load.mode to "{mode}"')
        if bool(load.burst) != (self.kind == "burst"):
            raise ValueError("load.burst and kind 'burst' belong together; give both or neither")
        if load.mode == "open" and load.rate_per_s is None and self.kind not in ("sweep", "burst", "nodes"):
            raise ValueError('load.mode "open" needs load.rate_per_s; add it')
        if self.kind == "burst" and load.rate_per_s is not None:
            raise ValueError("load.rate_per_s means nothing in a burst, which is due at one instant; remove it")
        clients = max((load.connections, *(self.ladder.rungs if self.ladder is not None else ())))
        if clients * load.payload_bytes > AT_ONCE_BYTES:
            raise ValueError(
                f"load.payload_bytes: {clients} of them at once are more than {AT_ONCE_BYTES >> 30} GiB; lower either"
            )

    def rounds(self, profile: Profile) -> Rounds:
        """Rounds and durations of a profile."""
        found: Rounds = getattr(self.profiles, profile)
        return found

    def canonical(self, profile: Profile) -> dict[str, Any]:
        """What ran, as plain data: every default written out, and of the profiles only the one that was used."""
        # Through JSON: tuples become lists, as they will be when the results are read again.
        body: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        body["profile"] = {"name": profile, **body.pop("profiles")[profile]}
        return body

    def sha256(self, profile: Profile) -> str:
        """Hash of the canonical form: keys sorted, no spaces. Titles, summaries and suites do not count, nor does the
        number of rounds: none changes what a block measures."""
        body = self.canonical(profile)
        for key in ("title", "summary", "tags", "left_out", "suites"):
            body.pop(key)
        for table, keys in LATER.items():
            within = body[table] if table else body
            default = _defaults(type(getattr(self, table)) if table else Scenario) if within else {}
            for key in keys if within else ():
                if within[key] == default[key]:
                    del within[key]
        without = ("name", "rounds", "turns") if body["profile"]["turns"] == 1 else ("name", "rounds")
        body["profile"] = {k: v for k, v in body["profile"].items() if k not in without}
        return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()


def _defaults(table: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(table)}
