"""What calls return: payloads that stay bytes until somebody looks, so a relay never pays for a parse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


class Result:
    """A JSON-RPC ``result`` as bytes, decoded on first access. Unknown fields survive."""

    __slots__ = ("_decoded", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._decoded: dict[str, Any] | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The decoded object, cached."""
        if self._decoded is None:
            self._decoded = msgspec.json.decode(self.raw, type=dict[str, Any])
        return self._decoded

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw[:120]!r}{'...' if len(self.raw) > 120 else ''})"


class CallResult(Result):
    """What ``tools/call`` returned. ``is_error`` is the tool's own verdict; transport and protocol errors raise."""

    __slots__ = ()

    @property
    def content(self) -> list[dict[str, Any]]:
        """Content blocks, in order."""
        content: list[dict[str, Any]] = self.data.get("content", [])
        return content

    @property
    def is_error(self) -> bool:
        """True if the tool reports failure."""
        return bool(self.data.get("isError", False))

    @property
    def structured(self) -> Any:
        """``structuredContent``, or None."""
        return self.data.get("structuredContent")

    @property
    def text(self) -> str:
        """All text blocks, joined by newlines."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Item:
    """One listed tool, prompt, resource or resource template.

    ``name`` is the name to call it by (prefixed with the server's); for resources ``uri`` is the key. ``data`` is the
    server's definition with ``name`` as exposed and every other field untouched.
    """

    server: str
    name: str
    data: Mapping[str, Any]

    @property
    def uri(self) -> str | None:
        """The resource's URI (or its template), None for tools and prompts."""
        return self.data.get("uri") or self.data.get("uriTemplate")
