"""The Python fleet as a stdio server: one line, one message.

The rule: without delays nothing but this thread runs; delayed answers leave when due, and a cancelled one never does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from typing import Any

from crossfade.harness import pyloop
from crossfade.harness.fleet_py.config import Config
from crossfade.harness.fleet_py.responder import Responder


def serve_stdio(raw: dict[str, Any]) -> None:
    """Be a stdio server until the input ends. Delayed answers leave when due; a cancelled one never does."""
    config = Config.parse(raw)
    pyloop.pin(config.cpu)
    mind, lock, late = Responder(config), threading.Lock(), dict[str, threading.Timer]()

    def send(key: str, message: dict[str, Any]) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            late.pop(key, None)
            sys.stdout.buffer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            sys.stdout.buffer.flush()

    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        reply = mind.answer(line, None)
        if reply.reset:
            os._exit(1)
        if reply.message is None:
            with contextlib.suppress(ValueError, AttributeError, KeyError):
                message = json.loads(line)
                if message["method"] == "notifications/cancelled":
                    late.pop(json.dumps(message["params"]["requestId"])).cancel()
        elif reply.delay_s > 0:
            key = json.dumps(reply.message["id"])
            late[key] = threading.Timer(reply.delay_s, send, (key, reply.message))
            late[key].daemon = True
            late[key].start()
        else:
            send("", reply.message)
