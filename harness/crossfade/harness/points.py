"""What a block of results holds besides scalars: load phases with their series, marks, operations.

Part of the format in ``docs/results-format.md``, under the rule of ``samples.py``: immutable, and nothing computed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["closed", "open", "connect"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    pass


class SeriesPoint(_Record, frozen=True):
    """One interval of a load run, ``t_ms`` from the start of measuring to the end of the interval."""

    t_ms: float
    completed: int
    errors: int
    p50_us: float
    p99_us: float


class LoadPoint(_Record, frozen=True):
    """One load phase against one variant. Blobs are HdrHistogram V2 compressed, base64, nanoseconds.

    ``latency`` runs from the intended send time when ``mode`` is open and from the actual one when closed (then it
    equals ``service``). ``held`` says that the objective and the offered rate were kept; None without an objective.
    ``cancelled`` requests were given up by the client on purpose, ``events`` are progress notifications, ``sessions``
    those that were ended and begun anew; ``drain_ms`` is there of a burst, ``connects_per_s`` of a storm. ``nodes`` is
    how many managers shared the load; processor time is then that of all of them, and the fleet's stands beside it.
    """

    mode: Mode
    connections: int
    rate_per_s: float | None
    duration_s: float
    sent: int
    completed: int
    errors: dict[str, int]
    mismatches: int
    missed_sends: int
    throughput_per_s: float
    cpu_us_per_request: float | None
    latency: str
    service: str = ""
    lag: str = ""
    series: tuple[SeriesPoint, ...] = ()
    generator: str = ""
    generator_cpu_s: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    held: bool | None = None
    by_method: dict[str, int] = {}
    cancelled: int = 0
    events: int = 0
    sessions: int = 0
    drain_ms: float | None = None
    connects_per_s: float | None = None
    nodes: int | None = None
    fleet_cpu_us_per_request: float | None = None


class Mark(_Record, frozen=True):
    """Something that was done to the fleet during a load phase, in milliseconds from the start of measuring."""

    t_ms: float
    what: str


class Operation(_Record, frozen=True):
    """One operation timed alone, in nanoseconds: quantiles over ``batches``, each the mean of ``per_batch`` in a row.

    ``where`` says what stands around it: ``core`` nothing, the loop is in the core's own language; ``called`` each one
    is called from Python, as the asyncio shell does; ``interface`` each one is awaited through ``Manager``. ``size`` is
    the number of servers, instances or connections it works on.
    """

    name: str
    where: Literal["core", "called", "interface"]
    size: int
    per_batch: int
    batches: int
    min_ns: float
    p50_ns: float
    p99_ns: float


class InstructionCount(_Record, frozen=True):
    """Instructions that one operation of a core takes, the harness's loop around it included."""

    core: str
    operation: str
    size: int
    per_operation: float


class Instructions(_Record, frozen=True):
    """callgrind's counts: fixed hash seed, no address-space randomisation, starts and preparation taken off."""

    created: str
    valgrind: str
    machine: str
    python: str
    counts: tuple[InstructionCount, ...]
