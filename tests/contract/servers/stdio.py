"""The fixture server over stdio: ``python -m tests.contract.servers.stdio --era legacy``.

Rule: protocol on stdout only, one line per message; each tool call runs on its own thread, so a call that never
answers stops nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from typing import Any

from tests.contract.servers.behaviour import Behaviour, Call, Literal, Message, RpcError, answer, failure


class StdioServer:
    """One conversation on stdin and stdout."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._write_lock = threading.Lock()
        self._cancels: dict[Any, threading.Event] = {}
        self._answers: dict[str, Message] = {}
        self._answered = threading.Condition()
        self._initialized = False
        self._asked = 0

    def run(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "method" not in message:
                with self._answered:
                    self._answers[message["id"]] = message
                    self._answered.notify_all()
                continue
            self.behaviour.log.add(message["method"], id=message.get("id"), params=message.get("params"))
            if "id" not in message:
                self._notified(message)
            elif message["method"] in ("tools/call", "resources/read"):
                self._cancels[message["id"]] = threading.Event()
                threading.Thread(target=self._serve, args=(message,), daemon=True).start()
            else:
                self._serve(message)

    def _notified(self, message: Message) -> None:
        if message["method"] == "notifications/initialized":
            self._initialized = True
        elif message["method"] == "notifications/cancelled":
            event = self._cancels.get(message["params"]["requestId"])
            if event is not None:
                event.set()

    def _serve(self, message: Message) -> None:
        cancelled = self._cancels.get(message["id"], threading.Event())
        call = Call(message["id"], message.get("params") or {}, cancelled.wait, self._send, self._ask)
        try:
            modern = self.behaviour.is_modern(message)
            self._check_order(message["method"], modern=modern)
            result = self.behaviour.handle(message["method"], call, modern=modern)
        except RpcError as error:
            self._send(failure(call.id, error))
            return
        if isinstance(result, Literal):
            self._write(result.body + (b"" if result.then_close else b"\n"))
            if result.then_close:
                os._exit(7)
        elif result is not None:
            self._send(answer(call.id, result))

    def _check_order(self, method: str, *, modern: bool) -> None:
        if not (modern or self._initialized or method in ("initialize", "ping")):
            raise RpcError(-32600, f"{method} before the handshake was complete")

    def _ask(self, method: str, params: Message) -> Message:
        """A request to the client; its answer, or a note that none came."""
        with self._answered:
            self._asked += 1
            asked = f"ask-{self._asked}"
        self._send({"jsonrpc": "2.0", "id": asked, "method": method, "params": params})
        with self._answered:
            self._answered.wait_for(lambda: asked in self._answers, timeout=5)
            return self._answers.get(asked, {"unanswered": True})

    def _send(self, message: Message) -> None:
        self._write(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        with self._write_lock:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=("legacy", "modern", "both"), default="legacy")
    parser.add_argument("--name", default="fixture")
    parser.add_argument("--start", choices=("well", "exit", "garbage", "silent", "stderr"), default="well")
    options = parser.parse_args()
    if options.start == "exit":
        sys.exit("fixture: told to end at start")
    if options.start == "garbage":
        sys.stdout.write("Welcome to the fixture server!\n")
    if options.start == "silent":
        sys.stdin.read()
        return
    if options.start == "stderr":
        sys.stderr.write("starting up\n" * 20_000)
    StdioServer(Behaviour(era=options.era, name=options.name)).run()
    os._exit(0)  # calls still running on other threads must not hold up the end


if __name__ == "__main__":
    main()
