"""What a cross-check stores: samples and what was known beforehand, never a verdict.

The rule: every ratio, interval and "met" is computed from these by :mod:`crossfade.harness.crosscheck.judge`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One generator for one closed-loop window. Its own processor time and the target's are per completed request.

    ``target`` is nginx as a plain reverse proxy, or the fleet itself (the generator's ceiling). ``undone`` counts the
    samples by which wrk had "corrected" its histogram, and which were taken out again.
    """

    round: int
    position: int
    generator: Literal["crossfade", "wrk"]
    target: Literal["nginx", "fleet"]
    duration_s: float
    requests: int
    throughput_per_s: float
    p50_us: float
    p99_us: float
    generator_cpu_us: float
    target_cpu_us: float
    undone: int = 0
    turn: int = 0


class Generators(msgspec.Struct, frozen=True, kw_only=True):
    """Ours and wrk, in turn, on one nginx before one fleet, both fresh in every round."""

    created: str
    wrk: str
    nginx: str
    seed: int
    connections: int
    request_bytes: int
    sent: tuple[Sent, ...]


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """An open loop over a server that left everything unread for ``stalled_s`` (by the harness's own clock).

    ``drain_per_s`` is what the generator reached against the same server in a closed loop: how fast the line moved
    once the server was back.
    """

    generator: Literal["rust", "python"]
    arrivals: Literal["constant", "poisson"]
    rate_per_s: float
    duration_s: float
    connections: int
    stalled_s: float
    drain_per_s: float
    requests: int
    p99_ms: float
    p999_ms: float


class Stalls(msgspec.Struct, frozen=True, kw_only=True):
    created: str
    runs: tuple[Stall, ...]


class Arena(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder of a manager that holds exactly ``kib`` per connection: (round, connections, PSS in KiB)."""

    created: str
    kib: float
    rungs: tuple[tuple[int, int, float], ...]


class Large(msgspec.Struct, frozen=True, kw_only=True):
    """The largest results file that a run can leave, read and rendered in a process of its own. ``cpu_s`` is that
    process's own time: what is left of the seconds on a machine that does nothing else."""

    created: str
    samples: int
    blocks: int
    intervals: int
    file_mb: float
    load_s: float
    render_s: float
    cpu_s: float
    peak_mb: float
    page_mb: float


class CrossCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The last of each part that this machine has made; ``machine`` says which."""

    machine: str
    native: str
    commit: str | None = None
    generators: Generators | None = None
    stalls: Stalls | None = None
    arena: Arena | None = None
    large: Large | None = None
