"""What a scenario is: a named piece of work with its load, its upstream fleet, its faults, and what it measures.

Everything is validated when it is read, once; an error names the file and the key and ends with the next action. A
scenario's identity is the SHA-256 of its canonical form *for one profile*: two results compare only if it agrees.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

Kind = Literal["throughput", "sweep", "calls", "memory_clients", "memory_upstreams", "ops", "faults"]
Profile = Literal["quick", "standard", "full"]
PROFILES: tuple[Profile, ...] = ("quick", "standard", "full")
LIMITS = ("nginx", "ceiling")

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=600.0)]
Connections = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Rungs = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=10_000)], ...], msgspec.Meta(min_length=3)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=10_000_000.0)]


class ScenarioError(Exception):
    """A scenario does not exist or its file is wrong; the message names file and key and ends with the next action."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Upstream(_Table, frozen=True):
    """The fleet: echo servers. Latency is added per answer; ``error_per_mille`` of answers are tool errors.

    ``era`` ``both`` lets whoever is measured choose, so that those who choose differently do different work.
    """

    transport: Literal["http", "stdio"] = "http"
    era: Literal["modern", "legacy", "both"] = "modern"
    latency: Literal["constant", "exponential"] = "constant"
    latency_ms: Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)] = 0.0
    error_per_mille: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0


class Load(_Table, frozen=True):
    """What clients do. ``rate_per_s`` is for open loops only; ``check_every`` answers are compared with the request."""

    mode: Literal["closed", "open"] = "closed"
    era: Literal["modern", "legacy"] = "modern"
    connections: Connections = 16
    payload_bytes: Annotated[int, msgspec.Meta(ge=0, le=16 * 1024 * 1024)] = 16
    rate_per_s: Rate | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    check_every: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16
    timeout_s: Seconds = 10.0
    drain_s: Seconds = 1.0


class Sweep(_Table, frozen=True):
    """Rates double from ``from_per_s`` to ``to_per_s`` until one fails the objective, then ``refine`` bisections.

    If the first fails, it is halved up to twice.
    """

    from_per_s: Rate
    to_per_s: Rate
    objective_p99_ms: Annotated[float, msgspec.Meta(gt=0.0, le=60_000.0)]
    refine: Annotated[int, msgspec.Meta(ge=0, le=6)] = 2
    keep_share: Annotated[float, msgspec.Meta(gt=0.5, le=1.0)] = 0.98


class Ladder(_Table, frozen=True):
    """Rungs of a memory ladder: numbers of connections, each measured in a fresh process."""

    rungs: Rungs
    settle_s: Seconds = 0.3
    hold_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 800


class Faults(_Table, frozen=True):
    """The upstream crashes and comes back, in seconds from the start of measuring.

    Up to ``jitter_s``, drawn from the round's seed, is added to the recovery: at a fixed moment every round would meet
    the breaker's timer in the same phase.
    """

    crash_at_s: Seconds
    recover_at_s: Seconds
    jitter_s: Seconds = 0.0
    restored_share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.9


class Rounds(_Table, frozen=True):
    """What a profile settles: how often and how long. Fixed beforehand; a run never stops early."""

    rounds: Annotated[int, msgspec.Meta(ge=2, le=1000)]
    duration_s: Annotated[float, msgspec.Meta(gt=0.0, le=600.0)] = 1.5
    warmup_s: Seconds = 0.5


class Profiles(_Table, frozen=True):
    """The three profiles; every scenario has all of them."""

    quick: Rounds
    standard: Rounds
    full: Rounds


_SECTIONS: dict[str, tuple[str, ...]] = {
    "throughput": ("load",),
    "sweep": ("load", "sweep"),
    "calls": ("load",),
    "memory_clients": ("load", "ladder"),
    "memory_upstreams": ("load", "ladder"),
    "ops": (),
    "faults": ("load", "faults"),
}
"""Which sections a kind needs; the ones it does not need must be absent."""


class Scenario(_Table, frozen=True):
    """One scenario. ``needs`` are variant capabilities; ``left_out`` says why a limit cannot be measured here.

    ``manager`` holds configuration keys for the servers of the manager under test, as in a configuration file.
    ``threshold_percent`` is the difference that matters; ``headline`` metrics get verdicts, ``shown`` ones intervals.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=40)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    summary: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Kind
    profiles: Profiles
    headline: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    shown: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    limits: tuple[Literal["nginx", "ceiling"], ...] = ()
    left_out: dict[str, str] = {}
    threshold_percent: Annotated[float, msgspec.Meta(gt=0.0, le=100.0)] = 5.0
    upstream: Upstream = Upstream()
    load: Load | None = None
    sweep: Sweep | None = None
    ladder: Ladder | None = None
    faults: Faults | None = None
    manager: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for section in ("load", "sweep", "ladder", "faults"):
            wanted, there = section in _SECTIONS[self.kind], getattr(self, section) is not None
            if wanted and not there:
                raise ValueError(f"kind {self.kind!r} needs a [{section}] table; add it")
            if there and not wanted:
                raise ValueError(f"kind {self.kind!r} has no use for the [{section}] table; remove it")
        if self.load is not None:
            self._check_load(self.load)
        if self.sweep is not None and self.sweep.from_per_s > self.sweep.to_per_s:
            raise ValueError("sweep.from_per_s lies above sweep.to_per_s; swap them")
        if self.ladder is not None and list(self.ladder.rungs) != sorted(set(self.ladder.rungs)):
            raise ValueError("ladder.rungs must rise and hold no number twice; sort them")
        if self.faults is not None:
            shortest = min(getattr(self.profiles, p).duration_s for p in PROFILES)
            if not self.faults.crash_at_s < self.faults.recover_at_s < shortest - self.faults.jitter_s:
                raise ValueError(
                    "faults: crash_at_s < recover_at_s < duration_s - jitter_s must hold in every profile; change them"
                )

    def _check_load(self, load: Load) -> None:
        if load.mode == "closed" and load.rate_per_s is not None:
            raise ValueError('load.rate_per_s means nothing in a closed loop; remove it or set load.mode to "open"')
        if load.mode == "open" and load.rate_per_s is None and self.kind != "sweep":
            raise ValueError('load.mode "open" needs load.rate_per_s; add it')
        if self.kind == "sweep" and load.mode != "open":
            raise ValueError('a sweep is open loop; set load.mode to "open"')

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
        """Hash of the canonical form: keys sorted, no spaces. Titles and summaries do not count, nor does the number
        of rounds: neither changes what a block measures."""
        body = self.canonical(profile)
        for key in ("title", "summary", "tags", "left_out"):
            body.pop(key)
        body["profile"] = {k: v for k, v in body["profile"].items() if k not in ("name", "rounds")}
        return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
