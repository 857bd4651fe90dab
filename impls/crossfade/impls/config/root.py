"""Everything around the servers: the face towards clients, the manager's own limits, storage pools, telemetry."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from crossfade.impls.config.base import Bytes, Count, CountOrOff, Millis, SomeMillis, Spec
from crossfade.impls.config.server import ServerSpec
from crossfade.impls.states import StorageClass


class GatewaySpec(Spec, frozen=True):
    """The face towards clients. ``prefix`` false is for a single server: its names pass through unchanged.

    The value of ``principal_header`` says who calls: it keys rate limits, affinity and cached answers, owns the legacy
    sessions that it opened, and is kept only as a hash. Callers without it share the principal ``anonymous``.

    Lists are cut into pages of ``page_size`` items (0: one page). A client that is asked in the middle of a call has
    ``input_timeout_ms`` for its answer. The last ``replay_events`` events of a legacy session can be read again by
    ``Last-Event-ID`` (0: none). A quiet stream says a comment every ``keep_alive_ms``. A legacy session without a call
    and a stream ends after ``session_idle_ms``, and sooner if it is the longest idle of ``max_sessions``.
    """

    prefix: bool = True
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    max_connections: Count = 100_000
    max_sessions: Count = 10_000
    session_idle_ms: Millis = 1_800_000
    header_timeout_ms: Millis = 30_000
    input_timeout_ms: SomeMillis = 300_000
    keep_alive_ms: SomeMillis = 15_000
    replay_events: CountOrOff = 256
    page_size: CountOrOff = 0
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    principal_header: str = "authorization"


class ShedSpec(Spec, frozen=True):
    """When the manager refuses work at once: more than ``max_in_flight`` requests (0: no bound), or requests have
    waited longer than ``target_ms`` (0: not looked at) for a whole ``interval_ms`` (CoDel, RFC 8289)."""

    max_in_flight: CountOrOff = 0
    target_ms: Millis = 0
    interval_ms: SomeMillis = 100


class StoragePoolSpec(Spec, frozen=True):
    """A directory of ``capacity_bytes`` that claims of one class are served from. Sizes are looked at every
    ``check_interval_ms``: the first ``max_entries`` files and directories of a claim; that there are more is told."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    capacity_bytes: Bytes
    storage_class: StorageClass = StorageClass.STANDARD
    check_interval_ms: SomeMillis = 10_000
    max_entries: Count = 200_000


class TelemetrySpec(Spec, frozen=True):
    """What is recorded and written about requests. ``otel`` needs the extra ``crossfade[otel]``."""

    metrics: bool = True
    log_level: Literal["debug", "info", "warning", "error", "off"] = "warning"
    log_format: Literal["text", "json"] = "text"
    otel: bool = False


class Config(Spec, frozen=True):
    """Everything a manager needs to start: its servers, its gateway face, and what they share."""

    servers: tuple[ServerSpec, ...] = ()
    gateway: GatewaySpec = GatewaySpec()
    shed: ShedSpec = ShedSpec()
    storage: tuple[StoragePoolSpec, ...] = ()
    telemetry: TelemetrySpec = TelemetrySpec()
    seed: int = 0

    def __post_init__(self) -> None:
        names = [s.name for s in self.servers]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"server {min(twice)!r} is configured twice; rename one of them")
        if not self.gateway.prefix and len(self.servers) > 1:
            raise ValueError(
                f"gateway.prefix is false but {len(names)} servers are configured; names would collide, "
                "so keep one server or set prefix to true"
            )
        classes = [pool.storage_class for pool in self.storage]
        if again := {c for c in classes if classes.count(c) > 1}:
            raise ValueError(f"storage class {str(min(again))!r} has two pools; keep one of them")

    def to_json(self) -> bytes:
        """The canonical form that the native manager takes (camelCase, every default written out)."""
        return msgspec.json.encode(self)
