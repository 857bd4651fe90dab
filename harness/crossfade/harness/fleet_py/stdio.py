"""The Python fleet as a stdio server: one line, one message.

The rule: without delays nothing but this thread runs; delayed answers leave when due, and a cancelled one never does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

from crossfade.harness import pyloop
from crossfade.harness.fleet_py.config import Config
from crossfade.harness.fleet_py.responder import Responder


def serve_stdio(raw: dict[str, Any]) -> None:
    """Be a stdio server until the input ends. Delayed answers leave when due; a cancelled one never does."""
    config = Config.parse(raw)
    pyloop.pin(config.cpu)
    mind, lock, late = Responder(config), threading.Lock(), dict[str, threading.Timer]()
    if config.stderr_bytes_per_s:
        threading.Thread(target=_noise, args=(config.stderr_bytes_per_s, lock), daemon=True).start()

    def send(key: str, *messages: dict[str, Any]) -> None:
        lines = b"".join(json.dumps(message, separators=(",", ":")).encode() + b"\n" for message in messages)
        with lock, contextlib.suppress(BrokenPipeError):
            late.pop(key, None)
            sys.stdout.buffer.write(lines if messages else b"this is no JSON\n")
            sys.stdout.buffer.flush()

    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        reply = mind.answer(line, None)
        if reply.reset:
            os._exit(1)
        if reply.garbage:
            send("")
        elif reply.message is None:
            with contextlib.suppress(ValueError, AttributeError, KeyError):
                message = json.loads(line)
                if message["method"] == "notifications/cancelled":
                    late.pop(json.dumps(message["params"]["requestId"])).cancel()
        elif reply.delay_s > 0:
            key = json.dumps(reply.message["id"])
            late[key] = threading.Timer(reply.delay_s, send, (key, *reply.notes, reply.message))
            late[key].daemon = True
            late[key].start()
        else:
            send("", *reply.notes, reply.message)


def _noise(bytes_per_s: int, lock: threading.Lock) -> None:
    """A server that logs a lot: while its log cannot be written, it cannot answer either."""
    line = b"crossfade-fleet: this line is noise, as it was asked for by stderr_bytes_per_s\n"
    begin, written = time.monotonic(), 0
    while True:
        count = int(((time.monotonic() - begin) * bytes_per_s - written) / len(line))
        try:
            with lock:
                os.write(2, line * count)
        except OSError:
            return  # nobody reads any more
        written += count * len(line)
        time.sleep(0.01)
