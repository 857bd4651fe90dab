"""Configuration: validated once, here, for every variant.

An ordinary ``mcpServers`` JSON file works unchanged; everything else is optional keys, camelCase as that file is. The
native side receives :func:`Config.to_json`, so the Rust structs mirror these classes and never validate again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from crossfade.impls.errors import ConfigError

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
PerMille = Annotated[int, msgspec.Meta(ge=1, le=1000)]

_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_)){0,40}")


class _Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class PoolSpec(_Base, frozen=True):
    """Connections to one instance. ``streams`` is requests in flight per connection (1 for HTTP/1.1)."""

    max_connections: Count = 64
    max_waiters: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1024
    acquire_timeout_ms: Millis = 5_000
    idle_timeout_ms: Millis = 60_000
    max_age_ms: Millis = 0
    stdio_streams: Count = 256


class BreakerSpec(_Base, frozen=True):
    """Circuit breaker per instance: a sliding window of outcomes, bounded by count and by time."""

    enabled: bool = True
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 100
    window_ms: Millis = 10_000
    min_calls: Count = 20
    failure_per_mille: PerMille = 500
    slow_call_ms: Millis = 0
    slow_per_mille: PerMille = 1000
    open_ms: Millis = 5_000
    probes: Count = 3


class ServerSpec(_Base, frozen=True):
    """One upstream server: a ``command`` (stdio) or one or more ``urls`` (Streamable HTTP).

    Durations are milliseconds. ``instances`` is the number of stdio children; HTTP has one instance per URL.
    ``lazy`` connects on first use, not at registration. ``stateless`` lets gateway clients share one upstream session.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    urls: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    instances: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    tags: tuple[str, ...] = ()
    lazy: bool = False
    stateless: bool = False
    era: Literal["auto", "legacy", "modern"] = "auto"
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] = 30_000
    start_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)] = 30_000
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    balancer: Literal["round_robin", "p2c"] = "p2c"
    pool: PoolSpec = PoolSpec()
    breaker: BreakerSpec = BreakerSpec()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"server name {self.name!r} must be 1 to 41 letters, digits, '.', '-' or single '_', "
                "so that names like server__tool stay unique and short; rename it"
            )
        if (self.command is None) == (not self.urls):
            raise ValueError(
                "needs either `command` (stdio) or `url` (Streamable HTTP), and not both; add or remove one"
            )
        for url in self.urls:
            if not url.startswith("http://"):
                raise ValueError(
                    f"url {url!r} must start with http:// (https upstreams are not supported yet); change it"
                )

    @property
    def transport(self) -> Literal["stdio", "http"]:
        """``stdio`` for a command, ``http`` for URLs."""
        return "stdio" if self.command is not None else "http"


class GatewaySpec(_Base, frozen=True):
    """The face towards clients. ``prefix`` false is for a single server: its names pass through unchanged."""

    prefix: bool = True
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    max_connections: Count = 100_000
    session_idle_ms: Millis = 1_800_000
    header_timeout_ms: Millis = 30_000
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()


class Config(_Base, frozen=True):
    """Everything a manager needs to start: its servers and its gateway face."""

    servers: tuple[ServerSpec, ...] = ()
    gateway: GatewaySpec = GatewaySpec()
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

    def to_json(self) -> bytes:
        """The canonical form that the native manager takes (camelCase, every default written out)."""
        return msgspec.json.encode(self)


_IGNORED = {"type", "transport", "disabled", "autoApprove", "alwaysAllow", "description"}
"""Keys that other hosts write into ``mcpServers`` entries and that mean nothing to a manager."""


def server_from_entry(name: str, entry: object) -> ServerSpec:
    """One entry of an ``mcpServers`` object as a :class:`ServerSpec`. Raises :class:`ConfigError` naming the key."""
    where = f"mcpServers.{name}"
    if not isinstance(entry, dict):
        raise ConfigError(
            f"{where}: expected an object with command or url, not {type(entry).__name__}; see docs/configuration.md"
        )
    body = {k: v for k, v in entry.items() if k not in _IGNORED}
    if "url" in body:
        body["urls"] = [body.pop("url"), *body.get("urls", ())]
    return _convert({**body, "name": name}, ServerSpec, where)


def parse_config(data: object, *, source: str = "configuration") -> Config:
    """A decoded configuration object as :class:`Config`. Raises :class:`ConfigError` naming ``source`` and key."""
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a JSON object with `mcpServers`; see docs/configuration.md")
    known = {"mcpServers", "gateway", "seed"}
    if extra := sorted(set(data) - known):
        raise ConfigError(f"{source}: unknown key {extra[0]!r}; known keys are {', '.join(sorted(known))}")
    entries = data.get("mcpServers", {})
    if not isinstance(entries, dict):
        raise ConfigError(f"{source}: mcpServers: expected an object of name -> server; see docs/configuration.md")
    try:
        servers = tuple(
            server_from_entry(n, e) for n, e in entries.items() if not (isinstance(e, dict) and e.get("disabled"))
        )
        gateway = _convert(data.get("gateway", {}), GatewaySpec, "gateway")
        return _build(servers, gateway, data.get("seed", 0))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from None


def load_config(path: str | Path) -> Config:
    """Read a JSON configuration file. Raises :class:`ConfigError` naming the file and what is wrong in it."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error}); fix the file") from None
    return parse_config(data, source=str(path))


def _build(servers: tuple[ServerSpec, ...], gateway: GatewaySpec, seed: object) -> Config:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed: expected an integer, got {seed!r}; change it")
    try:
        return Config(servers=servers, gateway=gateway, seed=seed)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _convert(data: Any, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        text = str(error).replace(" - at `$.", f" - at `{where}.").replace(" - at `$`", f" - at `{where}`")
        text = text if where in text else f"{where}: {text}"
        raise ConfigError(f"{text}; change it (docs/configuration.md lists every key)") from None
