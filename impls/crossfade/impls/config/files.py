"""From a file to a :class:`Config`: read once, validated here for every variant, with errors that name file and key.

An ordinary ``mcpServers`` JSON file works unchanged; everything else is optional keys, camelCase as that file is, in
the same JSON file or in a TOML file beside it (``entries`` says how the two meet). The native side receives
:func:`Config.to_json`, so the Rust structs mirror these classes and never validate again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from crossfade.impls.config.entries import IGNORED, SSE, expand, merge
from crossfade.impls.config.root import Config
from crossfade.impls.config.server import ServerSpec
from crossfade.impls.errors import ConfigError

_T = TypeVar("_T")
Stamp = tuple[tuple[int, int, int] | None, ...]

_SHARED = tuple(field.encode_name for field in msgspec.structs.fields(Config) if field.name != "servers")
KEYS = ("mcpServers", "servers", "defaults", *_SHARED)
"""The keys of a configuration file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, the files that it came from, which are the ones to watch, and their stamp from before they were
    read: what is written later than that is a change."""

    config: Config
    files: tuple[Path, ...]
    stamp: Stamp


def server_from_entry(
    name: str, entry: object, *, defaults: Mapping[str, Any] | None = None, where: str | None = None
) -> ServerSpec:
    """One entry of an ``mcpServers`` object as a :class:`ServerSpec`. Raises :class:`ConfigError` naming the key."""
    where = where or f"mcpServers.{name}"
    if not isinstance(entry, dict):
        raise ConfigError(
            f"{where}: expected an object with command or url, not {type(entry).__name__}; see docs/configuration.md"
        )
    body = expand({k: v for k, v in entry.items() if k not in IGNORED}, where)
    if "url" in body and SSE in (entry.get("type"), entry.get("transport")):
        body.setdefault("era", SSE)
    if "url" in body:
        body["urls"] = [body.pop("url"), *body.get("urls", ())]
    return _convert({**merge(defaults or {}, body), "name": name}, ServerSpec, where)


def parse_config(data: object, *, source: str = "configuration") -> Config:
    """A decoded configuration object as :class:`Config`. Raises :class:`ConfigError` naming ``source`` and key."""
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: expected a JSON object with `mcpServers`; see docs/configuration.md")
    if extra := sorted(set(data) - set(KEYS)):
        raise ConfigError(f"{source}: unknown key {extra[0]!r}; known keys are {', '.join(sorted(KEYS))}")
    try:
        for key in ("mcpServers", "servers", "defaults"):
            if not isinstance(data.get(key, {}), dict):
                raise ConfigError(f"{key}: expected an object of name -> server; see docs/configuration.md")  # noqa: TRY301
        servers = _servers(data.get("mcpServers", {}), data.get("servers", {}), data.get("defaults", {}))
        rest = _convert({key: data[key] for key in _SHARED if key in data}, Config, "")
        return _build(servers, rest)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}") from None


def load_config(path: str | Path) -> Config:
    """Read a configuration file, JSON or TOML. Raises :class:`ConfigError` naming the file and what is wrong in it."""
    return load_files(path).config


def load_files(path: str | Path) -> Loaded:
    """As :func:`load_config`, together with every file that was read."""
    path = Path(path)
    files, seen = [path], stamp([path])
    data = _read(path)
    listed = data.get("mcpServers")
    if isinstance(listed, str):
        other = path.parent / listed
        files, seen = [path, other], seen + stamp([other])
        inner = _read(other)
        entries = inner.get("mcpServers")
        if not isinstance(entries, dict) or set(inner) != {"mcpServers"}:
            raise ConfigError(
                f"{other}: {path.name} takes it for an mcpServers file, so that must be its only key; fix it"
            )
        data = {**data, "mcpServers": entries}
    return Loaded(parse_config(data, source=str(path)), tuple(files), seen)


def stamp(files: Sequence[Path]) -> Stamp:
    """What changes when a file is written or replaced: (mtime in ns, bytes, inode), or None if it is not there."""

    def of(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    return tuple(of(path) for path in files)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    is_toml = path.suffix.lower() == ".toml"
    try:
        data = tomllib.loads(raw.decode()) if is_toml else msgspec.json.decode(raw)
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid {'TOML' if is_toml else 'JSON'} ({error}); fix the file") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a JSON object with `mcpServers`; see docs/configuration.md")
    return data


def _servers(entries: dict[str, Any], more: dict[str, Any], defaults: dict[str, Any]) -> tuple[ServerSpec, ...]:
    """``entries`` with what ``more`` adds to them, then those that only ``more`` has."""
    found = []
    for name in [*entries, *(name for name in more if name not in entries)]:
        entry, extra = entries.get(name, {}), more.get(name, {})
        where = f"mcpServers.{name}" if name in entries else f"servers.{name}"
        if isinstance(entry, dict) and isinstance(extra, dict):
            entry = merge(entry, extra)
            if entry.get("disabled"):
                continue
        elif isinstance(entry, dict):
            entry, where = extra, f"servers.{name}"
        found.append(server_from_entry(name, entry, defaults=defaults, where=where))
    return tuple(found)


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
        # Checks of our own say what to do; msgspec's say only what they expected.
        todo = "" if ";" in text else "; change it"
        raise ConfigError(f"{text}{todo} (docs/configuration.md lists every key)") from None
