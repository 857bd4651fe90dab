"""A client that talks back, of either era: it answers what it is asked, and hears what it is told.

Rule: it takes what comes in any order and notes everything; a request from the server in the modern era, an answer to
a question never asked or one that comes twice is a fault that :meth:`Talker.close` raises.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from tests.contract.clients import META, modern_meta

Message = dict[str, Any]
Answer = Message | Callable[[Message], Any] | None
WITHIN_S = 10.0
DECLARES = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
REPLIES: dict[str, Message] = {
    "roots/list": {"roots": [{"uri": "file:///home", "name": "home"}], "x-kept": [1]},
    "elicitation/create": {"action": "accept", "content": {"name": "Ada"}, "x-kept": [2]},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "It"},
        "model": "m",
        "x-kept": [3],
    },
}
"""What a client answers unless the test says otherwise."""


class RpcFailure(Exception):
    """Raised by an answer to answer with an error."""

    def __init__(self, code: int, message: str = "the client said no") -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


@dataclass(eq=False)
class Pending:
    """One request under way; ``heard`` is what came on its stream before its answer."""

    id: Any
    method: str
    done: asyncio.Future[Message]
    heard: list[Message] = field(default_factory=list)
    abandon: Callable[[], None] = lambda: None

    async def answer(self) -> Message:
        async with asyncio.timeout(WITHIN_S):
            return await self.done


class Talker:
    """What both eras and both transports share."""

    era: str

    def __init__(self, answers: dict[str, Answer] | None = None, capabilities: Message | None = None) -> None:
        self.answers: dict[str, Answer] = dict(answers or {})
        declared: Message = {DECLARES[method]: {} for method in self.answers if method in DECLARES}
        self.capabilities = declared if capabilities is None else capabilities
        self.heard: list[Message] = []
        self.asked: list[Message] = []
        self.level: str | None = None
        self._faults: list[str] = []
        self._pending: dict[Any, Pending] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = 0

    async def start(self, method: str, params: Message | None = None) -> Pending:
        """Sends one request; its answer may come while others do."""
        self._last_id += 1
        pending = Pending(self._last_id, method, asyncio.get_running_loop().create_future())
        self._pending[pending.id] = pending
        message = {"jsonrpc": "2.0", "id": pending.id, "method": method, "params": self.dress(params or {})}
        await self.transmit(message, pending)
        return pending

    async def ask(self, method: str, params: Message | None = None) -> Message:
        """One request, in as many rounds as the server wants; the JSON-RPC answer."""
        params = dict(params or {})
        while True:
            answer = await (await self.start(method, params)).answer()
            result = answer.get("result", {})
            if self.era != "modern" or result.get("resultType") != "input_required":
                return answer
            params["inputResponses"] = {
                key: await self.reply_to(request) for key, request in result.get("inputRequests", {}).items()
            }
            params.pop("requestState", None)
            if "requestState" in result:
                params["requestState"] = result["requestState"]

    async def result(self, method: str, params: Message | None = None) -> Message:
        answer = await self.ask(method, params)
        assert "result" in answer, answer
        result: Message = answer["result"]
        return result

    async def error(self, method: str, params: Message | None = None) -> Message:
        answer = await self.ask(method, params)
        assert "error" in answer, answer
        error: Message = answer["error"]
        return error

    async def call(self, tool: str, arguments: Message | None = None, **meta: Any) -> Message:
        return await self.result("tools/call", call_of(tool, arguments, **meta))

    async def text(self, tool: str, **arguments: Any) -> str:
        """The text of a tool's answer."""
        return str((await self.call(tool, arguments))["content"][0]["text"])

    async def json(self, tool: str, **arguments: Any) -> Any:
        return json.loads(await self.text(tool, **arguments))

    async def hear(self, method: str, where: Callable[[Message], bool] = lambda _: True) -> Message:
        """The next notification of that method, taken out of ``heard``."""

        def found() -> Message | None:
            return next((one for one in self.heard if one["method"] == method and where(one["params"])), None)

        async with asyncio.timeout(WITHIN_S), self._changed:
            await self._changed.wait_for(lambda: found() is not None)
            message = found()
            assert message is not None
            self.heard.remove(message)
            return message

    async def was_asked(self, method: str) -> Message:
        """Once the server has asked that, answered or not."""
        async with asyncio.timeout(WITHIN_S), self._changed:
            await self._changed.wait_for(lambda: any(one["method"] == method for one in self.asked))
        return next(one for one in self.asked if one["method"] == method)

    async def reply_to(self, request: Message) -> Message:
        """The result for a request of the server; :class:`RpcFailure` passes."""
        async with self._changed:
            self.asked.append(request)
            self._changed.notify_all()
        reply = self.answers.get(request["method"])
        if reply is None:
            await asyncio.Event().wait()  # a client that never answers
        given: Any = reply(request) if callable(reply) else reply
        result: Message = await given if asyncio.iscoroutine(given) else given
        return result

    async def receive(self, message: Message, pending: Pending | None) -> None:
        """One message from the gateway, on the stream of ``pending`` if it belongs to one."""
        if "method" not in message:
            waiting = self._pending.get(message.get("id"))
            if waiting is None or waiting.done.done() or (pending is not None and waiting is not pending):
                self._faults.append(f"an answer that nobody waits for: {message}")
            else:
                waiting.done.set_result(message)
        elif "id" in message:
            if self.era == "modern":
                self._faults.append(f"a request to a modern client: {message}")
            self.task(self._respond(message))
        else:
            if pending is not None:
                pending.heard.append(message)
            async with self._changed:
                self.heard.append(message)
                self._changed.notify_all()

    async def _respond(self, request: Message) -> None:
        try:
            outcome = {"result": await self.reply_to(request)}
        except RpcFailure as failure:
            outcome = {"error": failure.error}
        await self.tell({"jsonrpc": "2.0", "id": request["id"], **outcome})

    def task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._faults.append(f"{type(error).__name__}: {error}")

    async def notify(self, method: str, params: Message | None = None) -> None:
        await self.tell({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})})

    async def set_level(self, level: str) -> None:
        """From now on log messages of that level and above: told once (legacy) or with each request (modern)."""
        self.level = level
        if self.era == "legacy":
            await self.result("logging/setLevel", {"level": level})

    def dress(self, params: Message) -> Message:
        """The params with what the era demands in every request."""
        if self.era == "legacy":
            return params
        own = modern_meta(**{META + "clientCapabilities": self.capabilities})
        level = {} if self.level is None else {META + "logLevel": self.level}
        return {**params, "_meta": {**own, **level, **params.get("_meta", {})}}

    def hello(self, version: str) -> Message:
        """The params of ``initialize``."""
        info = {"name": "talker", "version": "1"}
        return {"protocolVersion": version, "capabilities": self.capabilities, "clientInfo": info}

    async def watch(self, *uris: str) -> None:
        """Lists and ``uris``, from now on: returns once the gateway has said that it listens."""
        if self.era == "legacy":
            await self.open_stream()
            for uri in uris:
                await self.result("resources/subscribe", {"uri": uri})
            return
        every = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
        wanted = {"notifications": {**every, **({"resourceSubscriptions": list(uris)} if uris else {})}}
        self.listening = await self.start("subscriptions/listen", wanted)
        hearing = asyncio.ensure_future(self.hear("notifications/subscriptions/acknowledged", self._is_of_listen))
        await asyncio.wait({hearing, self.listening.done}, return_when=asyncio.FIRST_COMPLETED)
        if not hearing.done():
            hearing.cancel()
            pytest.fail(f"subscriptions/listen was not acknowledged: {self.listening.done}")
        await hearing

    def _is_of_listen(self, params: Message) -> bool:
        return bool(params["_meta"][META + "subscriptionId"] == self.listening.id)

    async def unwatch(self, *uris: str) -> None:
        if self.era == "legacy":
            for uri in uris:
                await self.result("resources/unsubscribe", {"uri": uri})
        else:
            await self.cancel(self.listening)

    async def open_stream(self) -> None:
        """The session's own stream, where the transport has one."""

    async def cancel(self, pending: Pending) -> None:
        """As the era and the transport want it."""
        await self.notify("notifications/cancelled", {"requestId": pending.id, "reason": "the test said so"})

    async def transmit(self, message: Message, pending: Pending) -> None:
        raise NotImplementedError

    async def tell(self, message: Message) -> None:
        """Sends what needs no answer."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.close()
        if kind is None:
            assert not self._faults, self._faults

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await task


def call_of(tool: str, arguments: Message | None = None, **meta: Any) -> Message:
    """The params of ``tools/call`` of the server ``fix``."""
    more = {"_meta": meta} if meta else {}
    return {"name": f"fix__{tool}", "arguments": arguments or {}, **more}
