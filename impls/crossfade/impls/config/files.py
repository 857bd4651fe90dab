"""From a file to a :class:`Config`: read once, validated here for every variant, with errors that name file and key.

An ordinary ``mcpServers`` JSON file works unchanged; everything else is optional keys, camelCase as that file is. The
native side receives :func:`Config.to_json`, so the Rust structs mirror these classes and never validate again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from crossfade.impls.config.root import Config
from crossfade.impls.config.server import ServerSpec
from crossfade.impls.errors import ConfigError

_T = TypeVar("_T")

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
    known = {"mcpServers", *(name for name in _encoded_fields(Config) if name != "servers")}
    if extra := sorted(set(data) - known):
        raise ConfigError(f"{source}: unknown key {extra[0]!r}; known keys are {', '.join(sorted(known))}")
    entries = data.get("mcpServers", {})
    if not isinstance(entries, dict):
        raise ConfigError(f"{source}: mcpServers: expected an object of name -> server; see docs/configuration.md")
    try:
        servers = tuple(
            server_from_entry(n, e) for n, e in entries.items() if not (isinstance(e, dict) and e.get("disabled"))
        )
        rest = _convert({k: v for k, v in data.items() if k != "mcpServers"}, Config, "")
        return _build(servers, rest)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from None


def _encoded_fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


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


def _build(servers: tuple[ServerSpec, ...], rest: Config) -> Config:
    # The constructor, not `replace`: it is what looks at servers and gateway together.
    shared = {name: getattr(rest, name) for name in rest.__struct_fields__ if name != "servers"}
    try:
        return Config(servers=servers, **shared)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _convert(data: Any, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        at = f"{where}." if where else ""
        text = str(error).replace(" - at `$.", f" - at `{at}").replace(" - at `$`", f" - at `{where or 'top level'}`")
        text = text if not where or where in text else f"{where}: {text}"
        raise ConfigError(f"{text}; change it (docs/configuration.md lists every key)") from None
