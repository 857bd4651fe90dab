"""The fixture server over stdio: ``python -m tests.contract.servers.stdio --era legacy``.

Rule: protocol on stdout only, one line per message; each call that may last runs on its own thread, so a call that
never answers stops nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from typing import Any

from tests.contract.servers.audience import Listener
from tests.contract.servers.base import Call, Dropped, Literal, Message, Peer, RpcError, answer, failure, notification
from tests.contract.servers.behaviour import Behaviour

LASTING = ("tools/call", "resources/read", "prompts/get")


class StdioServer:
    """One conversation on stdin and stdout."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._write_lock = threading.Lock()
        self._cancels: dict[Any, threading.Event] = {}
        self._answers: dict[str, Message] = {}
        self._answered = threading.Condition()
        self._peer = Peer("stdio")
        self._initialized = False
        self._listens: dict[Any, Listener] = {}
        self._asked = 0

    def run(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "method" not in message:
                self.behaviour.log.add("(answer)", message=message)
                with self._answered:
                    self._answers[message["id"]] = message
                    self._answered.notify_all()
                continue
            self.behaviour.log.add(message["method"], id=message.get("id"), params=message.get("params"))
            if "id" not in message:
                self._notified(message)
            elif message["method"] in LASTING:
                self._cancels[message["id"]] = threading.Event()
                threading.Thread(target=self._serve, args=(message,), daemon=True).start()
            else:
                self._serve(message)

    def _notified(self, message: Message) -> None:
        if message["method"] == "notifications/initialized":
            self._initialized = True
            self.behaviour.audience.join(Listener(self._send, lambda _: None, self._peer))
        elif message["method"] == "notifications/cancelled":
            wanted = message["params"]["requestId"]
            if (listener := self._listens.pop(wanted, None)) is not None:
                self.behaviour.audience.leave(listener)
            if (event := self._cancels.get(wanted)) is not None:
                event.set()

    def _serve(self, message: Message) -> None:
        cancelled = self._cancels.get(message["id"], threading.Event())
        params = message.get("params") or {}
        try:
            modern = self.behaviour.is_modern(message)
            self._check_order(message["method"], modern=modern)
            if modern and message["method"] == "subscriptions/listen":
                self._listen(message)
                return
            peer = Peer.of_request(params["_meta"]) if modern else self._peer
            call = Call(message["id"], params, cancelled.wait, self._send, self._ask, {}, peer, modern)
            result = self.behaviour.handle(message["method"], call)
        except RpcError as error:
            self._send(failure(message["id"], error))
            return
        if isinstance(result, Literal):
            self._write(result.body + (b"" if result.then_close else b"\n"))
            if result.then_close:
                os._exit(7)
        elif result is not None:
            self._send(answer(call.id, result.result if isinstance(result, Dropped) else result))

    def _listen(self, message: Message) -> None:
        params = message["params"]

        def end(last: Message | None) -> None:
            self._send(last or notification("notifications/cancelled", {"requestId": message["id"]}))

        listener = Listener(self._send, end, Peer.of_request(params["_meta"]), params["notifications"], message["id"])
        self._listens[message["id"]] = listener
        self.behaviour.audience.join(listener)

    def _check_order(self, method: str, *, modern: bool) -> None:
        if not (modern or self._initialized or method in ("initialize", "ping")):
            raise RpcError(-32600, f"{method} before the handshake was complete")

    def _ask(
        self, requests: list[tuple[str, Message]], *, via: str = "call", wait_s: float = 5, withdraw: bool = False
    ) -> list[Message | None]:
        """Requests to the client; their answers. There is one stream, so ``via`` makes no difference."""
        del via
        with self._answered:
            ids = [f"ask-{self._asked + number}" for number in range(1, len(requests) + 1)]
            self._asked += len(requests)
        for asked, (method, params) in zip(ids, requests, strict=True):
            self._send({"jsonrpc": "2.0", "id": asked, "method": method, "params": params})
            if withdraw:
                self._send(notification("notifications/cancelled", {"requestId": asked, "reason": "withdrawn"}))
        with self._answered:
            self._answered.wait_for(lambda: all(asked in self._answers for asked in ids), wait_s)
            return [self._answers.get(asked) for asked in ids]

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
