"""The plan of a run, as the Python generator reads it.

The rule: the same keys, defaults and refusals as the native generator's; ``crossfade.harness.load`` lists them. What
makes no sense together is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from crossfade.harness.driven import only_known


@dataclass(frozen=True)
class Plan:
    """The plan of ``crossfade.harness.load``."""

    mode: Literal["closed", "open", "hold", "connect"]
    connections: int
    host: str = "127.0.0.1"
    port: int | None = None
    targets: tuple[tuple[str, int], ...] = ()
    path: str = "/mcp"
    rate_per_s: float | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    burst: int = 0
    parallel: int = 64
    warmup_s: float = 0.0
    duration_s: float = 0.0
    drain_s: float = 1.0
    era: Literal["modern", "legacy"] = "modern"
    tool: str | None = None
    tools: tuple[str, ...] = ()
    mix: dict[str, int] | None = None
    uri: str = "echo:///{text}"
    events: int = 0
    chain: int = 1
    cancel_per_mille: int = 0
    cancel_after_ms: float = 1.0
    session_calls: int = 0
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
        missing = sorted({"mode", "connections"} - raw.keys())
        if missing:
            raise ValueError(f"load plan: {missing[0]!r} is missing; add it")
        targets = tuple(_target(target) for target in raw.get("targets", ()))
        plan = cls(**{**raw, "targets": targets, "tools": tuple(raw.get("tools", ()))})
        for holds, why in (*_ranges(plan), *_together(plan)):
            if not holds:
                raise ValueError(f"load plan: {why}")
        here = ((plan.host, plan.port),) if plan.port is not None else ()
        return replace(plan, targets=targets or here, tools=plan.tools or (plan.tool or "echo",))

    def whither(self) -> str:
        """Where the load goes, in words."""
        return ", ".join(f"{host}:{port}{self.path}" for host, port in self.targets)


def _target(raw: dict[str, Any]) -> tuple[str, int]:
    only_known("load plan: `targets`", raw, ("host", "port"), see="crossfade.harness.load")
    if "port" not in raw:
        raise ValueError("load plan: a target of `targets` has no `port`; add it")
    return raw.get("host", "127.0.0.1"), raw["port"]


def _ranges(plan: Plan) -> Iterator[tuple[bool, str]]:
    """What has to hold, and why not if it does not."""
    modes, eras = ("closed", "open", "hold", "connect"), ("modern", "legacy")
    yield plan.mode in modes, f"mode {plan.mode!r} is unknown; use one of {modes}"
    yield plan.era in eras, f"era {plan.era!r} is unknown; use one of {eras}"
    yield plan.connections > 0 or plan.mode == "hold", "`connections` must be at least 1"
    yield plan.mode == "hold" or plan.duration_s > 0, "`duration_s` must be above 0"
    yield (
        plan.mode != "open" or plan.burst > 0 or (plan.rate_per_s or 0) > 0,
        'mode "open" needs `rate_per_s`, above 0, or `burst`',
    )
    yield plan.chain > 0, "`chain` must be at least 1"
    yield plan.parallel > 0, "`parallel` must be at least 1"
    for key, most in (("burst", 10_000_000), ("events", 1_000_000), ("cancel_per_mille", 1000)):
        yield 0 <= getattr(plan, key) <= most, f"`{key}` must be from 0 to {most}"
    yield plan.cancel_after_ms >= 0, "`cancel_after_ms` must not be negative"
    yield plan.uri.count("{text}") == 1, "`uri` must hold {text} once"
    yield all(map(_plain, (*plan.tools, plan.tool or "echo"))), "`tools` must be plain ASCII without quotes"
    yield _plain(plan.uri), "`uri` must be plain ASCII without quotes"


def _plain(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and not set(' "\\') & set(text)


def _together(plan: Plan) -> Iterator[tuple[bool, str]]:
    yield (plan.port is None) == bool(plan.targets), "give either `port` or `targets`"
    yield plan.tool is None or not plan.tools, "give either `tool` or `tools`"
    mix = plan.mix
    if mix is not None:
        only_known("load plan: `mix`", mix, ("list", "call", "read"), see="crossfade.harness.load")
        yield sum(mix.values()) > 0 and min(mix.values()) >= 0, "`mix` needs a weight above 0, and none below"
    asked = {
        "mix": mix is not None,
        "events": plan.events > 0,
        "chain": plan.chain > 1,
        "cancel_per_mille": plan.cancel_per_mille > 0,
        "session_calls": plan.session_calls > 0,
    }
    for key, given in asked.items():
        yield plan.mode in {"closed", "open"} or not given, f'`{key}` needs mode "closed" or "open"'
        chained = "`chain` is of calls that all come to their end; leave `{}` out"
        yield plan.chain == 1 or key in {"chain", "events"} or not given, chained.format(key)
    yield plan.burst == 0 or plan.mode == "open", '`burst` needs mode "open"'
    yield plan.burst == 0 or plan.rate_per_s is None, "give either `burst` or `rate_per_s`"
    yield (
        plan.session_calls == 0 or plan.era == "legacy",
        '`session_calls` needs era "legacy": modern requests have no session',
    )
