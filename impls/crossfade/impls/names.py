"""Owns the names under which clients see the tools and prompts of many servers: ``server__tool``.

The rules, which the Rust mirror replays from ``impls/vectors/names.jsonl``:

1. The exposed name is ``server + "__" + name``. A server's name holds no ``__`` (``config.py``), so the first ``__``
   splits.
2. Model providers refuse names of more than 64 characters. A longer one than ``LIMIT`` keeps the server, as much of the
   name as fits, ``_`` and ten hex digits of FNV-1a 64 (its high 40 bits) over the UTF-8 bytes of the whole exposed
   name. The hash depends on nothing else, so the name is the same after a restart and in every process.
3. Lengths are counted in code points.
4. A shortened name cannot be undone: whoever routes it keeps the list of the server's names (``is_shortened`` tells
   when).
"""

from __future__ import annotations

from typing import Final

SEPARATOR: Final = "__"
LIMIT: Final = 63
"""The longest exposed name: "under 64", as some providers count a terminator."""

_DIGITS: Final = 10
_MASK: Final = (1 << 64) - 1


def exposed(server: str, name: str) -> str:
    """The name that clients see for ``name`` of ``server``."""
    full = f"{server}{SEPARATOR}{name}"
    if len(full) <= LIMIT:
        return full
    return f"{full[: LIMIT - _DIGITS - 1]}_{fnv1a(full.encode()) >> 24:010x}"


def split(name: str) -> tuple[str, str] | None:
    """``(server, name)`` of an exposed name, or None if it has no server in front."""
    server, separator, rest = name.partition(SEPARATOR)
    return (server, rest) if separator and server and rest else None


def is_shortened(name: str) -> bool:
    """Whether ``name`` may be the result of rule 2, so that only the server's own list tells what it stands for."""
    tail = name[-_DIGITS:]
    return len(name) == LIMIT and name[-_DIGITS - 1] == "_" and all(c in "0123456789abcdef" for c in tail)


def fnv1a(data: bytes) -> int:
    """FNV-1a 64 (http://www.isthe.com/chongo/tech/comp/fnv/). Stable and short; not for secrets."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & _MASK
    return h
