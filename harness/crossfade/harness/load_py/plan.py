"""The plan of a run, as the Python generator reads it.

The rule: the same keys, defaults and refusals as the native generator's; ``crossfade.harness.load`` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from crossfade.harness.driven import only_known


@dataclass(frozen=True)
class Plan:
    """The plan of ``crossfade.harness.load``."""

    port: int
    mode: Literal["closed", "open", "hold"]
    connections: int
    host: str = "127.0.0.1"
    path: str = "/mcp"
    rate_per_s: float | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    warmup_s: float = 0.0
    duration_s: float = 0.0
    drain_s: float = 1.0
    era: Literal["modern", "legacy"] = "modern"
    tool: str = "echo"
    payload_bytes: int = 16
    arguments: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    check_every: int = 1
    timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    cpu: int | None = None
    generator: str | None = None

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Plan:
        """Raises ValueError that names the key."""
        only_known("load plan", raw, cls.__dataclass_fields__, see="crossfade.harness.load")
        missing = sorted({"port", "mode", "connections"} - raw.keys())
        if missing:
            raise ValueError(f"load plan: {missing[0]!r} is missing; add it")
        plan = cls(**raw)
        if plan.mode not in {"closed", "open", "hold"} or plan.era not in {"modern", "legacy"}:
            raise ValueError(
                f"load plan: mode {plan.mode!r} or era {plan.era!r} is unknown; see crossfade.harness.load"
            )
        if plan.mode == "open" and not (plan.rate_per_s and plan.rate_per_s > 0):
            raise ValueError('load plan: mode "open" needs `rate_per_s`, above 0')
        if plan.mode != "hold" and not (plan.duration_s > 0 and plan.connections > 0):
            raise ValueError("load plan: `duration_s` and `connections` must be above 0")
        return plan
