"""The configuration of a fleet, as the Python one reads it.

The rule: the same keys, defaults and refusals as the native fleet's; ``crossfade.harness.fleet`` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from crossfade.harness.driven import only_known


@dataclass(frozen=True)
class Config:
    """The configuration of ``crossfade.harness.fleet``."""

    host: str = "127.0.0.1"
    port: int = 0
    ports: int = 1
    servers: int = 1
    era: Literal["legacy", "modern", "both"] = "both"
    latency: dict[str, Any] | None = None
    error_rate: float = 0.0
    error_kind: Literal["rpc", "tool", "http", "reset", "garbage"] = "rpc"
    answer_bytes: int = 0
    framing: Literal["length", "chunked", "sse"] = "length"
    lie_rate: float = 0.0
    slow_ports: int = 0
    slow_ms: float = 0.0
    stderr_bytes_per_s: int = 0
    seed: int = 1
    cpu: int | None = None
    generator: str | None = None

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Config:
        """Raises ValueError that names the key."""
        only_known("fleet configuration", raw, cls.__dataclass_fields__, see="crossfade.harness.fleet")
        config = cls(**raw)
        choices = {"era": ("legacy", "modern", "both"), "error_kind": ("rpc", "tool", "http", "reset", "garbage")}
        for key, allowed in {**choices, "framing": ("length", "chunked", "sse")}.items():
            if getattr(config, key) not in allowed:
                raise ValueError(f"fleet configuration: {key} is {getattr(config, key)!r}; use one of {allowed}")
        if config.latency is not None and config.latency.get("distribution") not in {"constant", "exponential"}:
            raise ValueError('fleet configuration: latency.distribution must be "constant" or "exponential"')
        if not 0 <= config.slow_ports <= config.ports:
            raise ValueError("fleet configuration: `slow_ports` must be at most `ports`")
        for key, most in (("slow_ms", 600_000), ("stderr_bytes_per_s", 1 << 30)):
            if not 0 <= getattr(config, key) <= most:
                raise ValueError(f"fleet configuration: `{key}` must be from 0 to {most}")
        return config
