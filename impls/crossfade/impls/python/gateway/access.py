"""Owns the first look at a request head: who may speak (Host and Origin), to which endpoint, with which HTTP method.

Rule: a verdict depends on the head alone, so it is kept on the remembered head and costs nothing the second time. The
Host check stops DNS rebinding: a page in a browser can reach a loopback port under a name of its own choosing
(streamable-http "Security & Endpoint").
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from crossfade.impls.config import GatewaySpec
from crossfade.impls.python.http_head import RequestHead

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Endpoint(enum.Enum):
    """What an admitted request is for."""

    POST = enum.auto()
    GET = enum.auto()
    DELETE = enum.auto()
    METRICS = enum.auto()
    HEALTHZ = enum.auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status and why; ``allow`` goes with 405."""

    status: int
    why: str
    allow: str | None = None


class Access:
    """The rules of one listening address."""

    __slots__ = ("_check_host", "_hosts", "_max_body", "_origins")

    def __init__(self, spec: GatewaySpec, host: str) -> None:
        self._check_host = is_loopback(host)
        self._hosts = frozenset(h.lower() for h in spec.allowed_hosts)
        self._origins = frozenset(o.lower() for o in spec.allowed_origins)
        self._max_body = spec.max_body_bytes

    def judge(self, head: RequestHead) -> Endpoint | Refusal:
        """Where the request goes, or why not."""
        host = head.header(b"host")
        if host is None:
            return Refusal(400, "the Host header is missing; send it once")
        if self._check_host and host.lower() not in self._hosts and _host_name(host) not in _LOCAL | self._hosts:
            return Refusal(403, f"Host {host!r} is not served here; use localhost, or add it to gateway.allowedHosts")
        origin = head.header(b"origin")
        if origin is not None and not self._origin_allowed(origin.lower()):
            return Refusal(403, f"Origin {origin!r} is not allowed; add it to gateway.allowedOrigins")
        if head.length > self._max_body:
            return Refusal(413, f"the body is longer than {self._max_body} bytes; raise gateway.maxBodyBytes")
        return _route(head)

    def _origin_allowed(self, origin: str) -> bool:
        if origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.hostname in _LOCAL


def _route(head: RequestHead) -> Endpoint | Refusal:  # noqa: PLR0911  one return per verdict
    method, path = head.method, head.path
    if path in ("/mcp", "/mcp/"):
        if method == "POST":
            return Endpoint.POST
        if method in ("GET", "DELETE"):
            # 2026-07-28 has neither stream nor session: only a legacy client may ask (streamable-http, "Earlier ...").
            if head.version == "2026-07-28":
                return Refusal(405, f"{method} is not part of revision 2026-07-28; POST the request", "POST")
            return Endpoint.GET if method == "GET" else Endpoint.DELETE
        return Refusal(405, f"{method} is not supported at /mcp; use POST", "POST, GET, DELETE")
    if path in ("/metrics", "/healthz"):
        if method not in ("GET", "HEAD"):
            return Refusal(405, f"{method} is not supported at {path}; use GET", "GET")
        return Endpoint.METRICS if path == "/metrics" else Endpoint.HEALTHZ
    return Refusal(404, f"there is nothing at {path}; the endpoint is /mcp")


def is_loopback(host: str) -> bool:
    """Whether an address to bind is reachable from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    """``Host`` without its port, and without the brackets of IPv6."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
