"""The fleet in Python, for machines without the native wheel: same configuration, same answers, more CPU.

``Responder`` decides what to answer, without I/O, by the rules of the native fleet (``impls/rust/load/src/fleet``);
``server`` (with one ``connection`` each) and ``stdio`` carry it. The rule is the native one's as well: a strict server.
"""

from __future__ import annotations

from crossfade.harness.fleet_py.server import serve_http
from crossfade.harness.fleet_py.stdio import serve_stdio

__all__ = ["serve_http", "serve_stdio"]
