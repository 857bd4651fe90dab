"""The operations ``session.*`` and ``modern.*`` of :mod:`tests.vectors.translation`: what a message must carry."""

from __future__ import annotations

from typing import Any, NamedTuple

from crossfade.impls.python import session_rules
from crossfade.impls.python.envelope import EnvelopeError, parse
from crossfade.impls.python.session_rules import Refusal

BAD = {"bad": True}


class Sent(NamedTuple):
    """The headers of a POST that repeat its body."""

    version: str | None
    mcp_method: str | None
    mcp_name: str | None


def text(raw: bytes | None) -> str | None:
    """A header's value as the gateway's parser gives it."""
    return None if raw is None else raw.decode("latin-1")


def _of(refusal: Refusal | None) -> Any:
    return None if refusal is None else {"status": refusal.status, "code": refusal.code}


def era(version: bytes | None, body: bytes) -> Any:
    try:
        message = parse(body)
    except EnvelopeError:
        return BAD
    return "modern" if session_rules.is_modern(text(version), message) else "legacy"


def verdict(version: bytes | None, found: str) -> Any:
    return _of(session_rules.verdict(text(version), held=found != "none", known=found == "known"))


def agree(params: bytes | None) -> str | None:
    return session_rules.agree(params)


def session_id(value: bytes | None) -> str | None:
    return session_rules.session_id(text(value))


def modern(headers: dict[str, bytes | None] | None, body: bytes) -> Any:
    try:
        message = parse(body)
    except EnvelopeError:
        return BAD
    sent = None if headers is None else Sent(*(text(headers[name]) for name in ("version", "method", "name")))
    return _of(session_rules.modern_verdict(sent, message))
