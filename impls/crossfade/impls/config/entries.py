"""What may stand in a server's entry besides its specification: keys of other hosts, variables, a second file's say.

Variables are those of the environment, as other MCP hosts write them: ``${NAME}`` or ``${env:NAME}``, and
``${NAME:-value}`` for one that may be unset. They count in what starts or reaches the server, and nowhere else: tokens
stay out of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from crossfade.impls.errors import ConfigError

IGNORED = frozenset({"type", "transport", "disabled", "autoApprove", "alwaysAllow", "description"})
"""Keys that other hosts write into ``mcpServers`` entries and that mean nothing to a manager; but see ``SSE``."""

SSE = "sse"
"""The ``type`` (or ``transport``) of a server that speaks HTTP+SSE of 2024-11-05; it is asked for nothing newer."""

EXPANDED = ("command", "args", "env", "cwd", "url", "urls", "headers")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top: objects are merged key by key, everything else is replaced."""
    found = dict(base)
    for key, value in over.items():
        below = found.get(key)
        found[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def expand(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """The entry with its variables replaced. Raises :class:`ConfigError` for one that is not set."""
    return {key: _expanded(value, f"{where}.{key}") if key in EXPANDED else value for key, value in entry.items()}


def _expanded(value: Any, where: str) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _value(match, where), value)
    if isinstance(value, list):
        return [_expanded(item, where) for item in value]
    if isinstance(value, dict):
        return {key: _expanded(item, f"{where}.{key}") for key, item in value.items()}
    return value


def _value(match: re.Match[str], where: str) -> str:
    name, default = match.groups()
    found = os.environ.get(name, default)
    if found is None:
        raise ConfigError(
            f"{where}: the environment variable {name} is not set; set it, or write ${{{name}:-value}} for a default"
        )
    return str(found)
