"""Owns ``/metrics`` and ``/healthz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.impls.python import jsonrpc
from crossfade.impls.python.gateway.http_answer import HttpAnswer
from crossfade.impls.python.metrics import prometheus

if TYPE_CHECKING:
    from crossfade.impls.python.manager import PythonManager


def metrics(manager: PythonManager) -> HttpAnswer:
    """Prometheus text."""
    body = prometheus(manager.metrics(), {s.spec.name: s.latency for s in manager.registry.values()})
    return HttpAnswer(200, body, "text/plain; version=0.0.4; charset=utf-8")


def healthz(manager: PythonManager) -> HttpAnswer:
    """``ok`` while the gateway serves; the states of the servers are for whoever reads on."""
    states = {s.spec.name: s.state for s in manager.registry.values()}
    return HttpAnswer(200, jsonrpc.encode({"status": "ok", "servers": states}))
