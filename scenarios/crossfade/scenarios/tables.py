"""The tables of a scenario: its load, its upstream fleet, what is done to either, and how long.

The rule: a number that cannot be measured is refused here, when it is read. A key that came later holds, by default,
what was done before there was one, and then it is no part of a scenario's hash (``model.py``): stored results stay
comparable.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=600.0)]
Patience = Annotated[float, msgspec.Meta(gt=0.0, le=600.0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)]
Connections = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Rungs = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=10_000)], ...], msgspec.Meta(min_length=3)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=10_000_000.0)]
PerMille = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Era = Literal["modern", "legacy"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a scenario's file. An unknown key is an error."""


class Upstream(Table, frozen=True):
    """The fleet: echo servers. Latency is added per answer; ``error_per_mille`` of answers are tool errors.

    ``era`` ``both`` lets whoever is measured choose, so that those who choose differently do different work. There are
    ``servers``, each with ``replicas``; the last ``slow_servers`` take ``slow_ms`` per call, and are loaded apart.
    ``events`` are the progress notifications before each answer. ``stderr_bytes_per_s`` is what a child writes there.
    """

    transport: Literal["http", "stdio"] = "http"
    era: Literal["modern", "legacy", "both"] = "modern"
    latency: Literal["constant", "exponential"] = "constant"
    latency_ms: Milliseconds = 0.0
    error_per_mille: PerMille = 0
    servers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    replicas: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    slow_servers: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    slow_ms: Milliseconds = 0.0
    framing: Literal["length", "chunked", "sse"] = "length"
    events: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    stderr_bytes_per_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0

    def __post_init__(self) -> None:
        if self.slow_servers >= self.servers:
            raise ValueError("slow_servers must be fewer than servers, for the others are measured; change one of them")
        if bool(self.slow_servers) != bool(self.slow_ms):
            raise ValueError("slow_servers and slow_ms belong together; give both or neither")
        if self.transport == "stdio" and (self.servers > 1 or self.replicas > 1 or self.framing != "length"):
            raise ValueError('servers, replicas and framing are for transport "http"; remove them')
        if self.transport == "http" and self.stderr_bytes_per_s:
            raise ValueError('stderr_bytes_per_s is for transport "stdio"; remove it')


class Mix(Table, frozen=True):
    """Weights of the methods that clients call: ``tools/list``, ``tools/call``, ``resources/read``."""

    list: Count = 0
    call: Count = 0
    read: Count = 0

    def __post_init__(self) -> None:
        if not self.list + self.call + self.read:
            raise ValueError("every weight is 0; give one of list, call and read")


class Load(Table, frozen=True):
    """What clients do. ``rate_per_s`` is for open loops only; ``check_every`` answers are compared with the request.

    ``chain`` calls, one after the other on one connection, make one unit of work. ``cancel_per_mille`` of calls are
    given up by the client ``cancel_after_ms`` after they were sent. A session ends after ``session_calls`` calls and a
    new one begins (0: it lasts). ``burst`` requests are due at one instant.
    """

    mode: Literal["closed", "open"] = "closed"
    era: Era = "modern"
    connections: Connections = 16
    payload_bytes: Annotated[int, msgspec.Meta(ge=0, le=16 * 1024 * 1024)] = 16
    rate_per_s: Rate | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    check_every: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16
    timeout_s: Patience = 10.0
    drain_s: Seconds = 1.0
    mix: Mix | None = None
    chain: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    cancel_per_mille: PerMille = 0
    cancel_after_ms: Milliseconds = 0.0
    session_calls: Count = 0
    burst: Count = 0

    def __post_init__(self) -> None:
        if bool(self.cancel_per_mille) != bool(self.cancel_after_ms):
            raise ValueError("cancel_per_mille and cancel_after_ms belong together; give both or neither")
        if self.session_calls and self.era != "legacy":
            raise ValueError('session_calls: only legacy clients have sessions; set era to "legacy"')
        if self.chain > 1 and (self.mode != "closed" or self.mix is not None):
            raise ValueError('chain is for closed loops of calls; set mode to "closed" and leave mix out')


class Sweep(Table, frozen=True):
    """Rates double from ``from_per_s`` to ``to_per_s`` until one fails the objective, then ``refine`` bisections.

    If the first fails, it is halved up to twice.
    """

    from_per_s: Rate
    to_per_s: Rate
    objective_p99_ms: Annotated[float, msgspec.Meta(gt=0.0, le=60_000.0)]
    refine: Annotated[int, msgspec.Meta(ge=0, le=6)] = 2
    keep_share: Annotated[float, msgspec.Meta(gt=0.5, le=1.0)] = 0.98

    def __post_init__(self) -> None:
        if self.from_per_s > self.to_per_s:
            raise ValueError("from_per_s lies above to_per_s; swap them")


class Ladder(Table, frozen=True):
    """Rungs of a memory ladder: numbers of connections, each measured in a fresh process.

    ``in_flight``: clients have a call in flight each when memory is read. Calls wait ``hold_ms`` in the upstream.
    """

    rungs: Rungs
    settle_s: Seconds = 0.3
    hold_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 800
    in_flight: bool = False

    def __post_init__(self) -> None:
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError("rungs must rise and hold no number twice; sort them")


class Soak(Table, frozen=True):
    """Steady churn beside the load: ``churn_per_s`` clients come, make ``churn_calls`` calls each and go, modern ones
    and legacy ones (with a session each) in turn. More than ``growth_kib`` per 1,000 calls is a failure, if memory has
    grown by more than ``least_kib`` in all: caches that have a bound may take so much until they are full."""

    churn_per_s: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] = 20.0
    churn_calls: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 5
    growth_kib: Annotated[float, msgspec.Meta(gt=0.0, le=1_000_000.0)] = 20.0
    least_kib: Annotated[float, msgspec.Meta(ge=0.0, le=1_000_000.0)] = 12_288.0


class Faults(Table, frozen=True):
    """What is done to the upstream, and when it is undone, in seconds from the start of measuring.

    Up to ``jitter_s``, drawn from the round's seed, is added to the recovery: at a fixed moment every round would meet
    the breaker's timer in the same phase. ``flap`` crashes and recovers ``flaps`` times in between.
    """

    crash_at_s: Seconds
    recover_at_s: Seconds
    jitter_s: Seconds = 0.0
    restored_share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.9
    fault: Literal["crash", "hang", "flap", "garbage", "reset", "drip"] = "crash"
    flaps: Annotated[int, msgspec.Meta(ge=1, le=50)] = 1

    def __post_init__(self) -> None:
        if self.flaps > 1 and self.fault != "flap":
            raise ValueError('flaps means nothing here; set fault to "flap" or remove it')


class Connect(Table, frozen=True):
    """A storm: ``load.connections`` are opened, ``parallel`` at a time, and each makes one call."""

    parallel: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64


class Lifecycle(Table, frozen=True):
    """Cold start to the first answer, and shutdown, ``starts`` times per block. ``kill_child``: a child of the manager
    is killed in between, and the time to the next answer is taken."""

    starts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    kill_child: bool = False


class Deploy(Table, frozen=True):
    """An update under load: ``strategy``, and when it begins, in seconds from the start of measuring."""

    strategy: Literal["recreate", "rolling", "blue_green", "canary", "shadow"]
    update_at_s: Seconds = 0.5


class Nodes(Table, frozen=True):
    """So many managers at once, rising, that share the ``load.connections`` clients; ``rates_per_s`` over all of them
    together (open loop). What exceeds ``most_per_s`` for each node is left out. All of that is gone through ``passes``
    times in a round, ``duration_s`` for each phase."""

    counts: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=64)], ...], msgspec.Meta(min_length=1)]
    rates_per_s: tuple[Rate, ...] = ()
    most_per_s: Rate | None = None
    passes: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1

    def __post_init__(self) -> None:
        for name, values in (("counts", self.counts), ("rates_per_s", self.rates_per_s)):
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} must rise and hold no number twice; sort them")
        if self.most_per_s is not None and not all(
            any(rate <= self.most_per_s * count for rate in self.rates_per_s) for count in self.counts
        ):
            raise ValueError("most_per_s leaves some count without a rate; raise it or add a lower rate")

    def rates(self, count: int) -> tuple[float | None, ...]:
        """The rates that so many nodes are asked for; None is the closed loop."""
        most = math.inf if self.most_per_s is None else self.most_per_s * count
        return tuple(rate for rate in self.rates_per_s if rate <= most) or (None,)


class Rounds(Table, frozen=True):
    """What a profile settles: how often and how long. Fixed beforehand; a run never stops early.

    With ``turns`` above 1 the variants of a round stand side by side and are loaded in so many turns, of ``duration_s``
    together.
    """

    rounds: Annotated[int, msgspec.Meta(ge=2, le=1000)]
    duration_s: Annotated[float, msgspec.Meta(gt=0.0, le=3600.0)] = 1.5
    warmup_s: Seconds = 0.5
    turns: Annotated[int, msgspec.Meta(ge=1, le=200)] = 1


class Profiles(Table, frozen=True):
    """The three profiles; every scenario has all of them."""

    quick: Rounds
    standard: Rounds
    full: Rounds
