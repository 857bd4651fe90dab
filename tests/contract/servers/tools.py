"""The tools that answer, fail and misbehave on demand: each hazard is a tool, so that one server serves them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.servers.base import Call, Literal, Message, Outcome, RpcError, notification, text
from tests.contract.servers.talking import TALKING

if TYPE_CHECKING:
    from tests.contract.servers.behaviour import Behaviour

ODD = {
    "content": [
        {"type": "text", "text": "odd", "x-block": [1, {"deep": None}]},
        {"type": "x-unknown", "payload": "😀"},
    ],
    "x-top": {"$defs": {"a": {"$anchor": "here"}}, "integer": 12345678901234567890123, "float": 1.5e300, "empty": {}},
    "_meta": {"x-vendor/key": ["untouched"]},
}


def _echo(_: Behaviour, arguments: Message, __: Call) -> Message:
    return text(str(arguments.get("text", "")), structuredContent=arguments)


def _sleep(server: Behaviour, arguments: Message, call: Call) -> Message | None:
    mark = arguments.get("mark")
    server.log.add("sleeping", id=call.id, mark=mark)
    if call.wait(arguments.get("ms", 0) / 1000):
        server.log.add("stopped", id=call.id, mark=mark)
        return None
    return text("slept")


def _refuse(_: Behaviour, arguments: Message, __: Call) -> Message:
    raise RpcError(arguments.get("code", -32050), arguments.get("message", "refused"), arguments.get("data"))


def _crash(_: Behaviour, __: Message, ___: Call) -> Message:
    os._exit(9)


def _huge(_: Behaviour, arguments: Message, call: Call) -> Literal:
    head = (
        json.dumps({"jsonrpc": "2.0", "id": call.id})[:-1].encode()
        + b', "result": {"content": [{"type": "text", "text": "'
    )
    return Literal(head + b"x" * int(arguments["bytes"]) + b'"}]}}')


def _flood(_: Behaviour, arguments: Message, __: Call) -> Message:
    sys.stderr.write("stderr noise\n" * (int(arguments["bytes"]) // 13))
    sys.stderr.flush()
    return text("flooded")


def _spawn(_: Behaviour, __: Message, ___: Call) -> Message:
    return text(str(subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid))


def _seen(server: Behaviour, arguments: Message, _: Call) -> Message:
    """What was received, as JSON; waits up to ``wait_ms`` for one of ``method``, with that ``mark`` if one is given."""
    wait_s = arguments.get("wait_ms", 0) / 1000
    return text(json.dumps(server.log.wait(arguments.get("method"), wait_s, arguments.get("mark"))))


def _forget(server: Behaviour, _: Message, __: Call) -> Message:
    server.forget_sessions()
    return text("forgotten")


def _hint(server: Behaviour, arguments: Message, _: Call) -> Message:
    server.hints = arguments
    return text("hinted")


def _tell(_: Behaviour, arguments: Message, call: Call) -> Message:
    call.emit(notification(f"notifications/{arguments['what']}", arguments.get("params", {})))
    return text("told")


def _half(_: Behaviour, arguments: Message, __: Call) -> Literal:
    """The beginning of an answer; many ``bytes`` of it are passed on before anybody knows that the rest is missing."""
    filler = b"." * arguments.get("bytes", 0)
    return Literal(b'{"jsonrpc": "2.0", "id": 1, "result": {"half": "' + filler, then_close=True)


def _flaky(_: Behaviour, arguments: Message, call: Call) -> Message | None:
    """No answer the first ``times``, counted in a file because a child that ends forgets; then one."""
    path = Path(arguments["file"])
    made = int(path.read_text()) if path.exists() else 0
    path.write_text(str(made + 1))
    if made >= arguments.get("times", 1):
        return text(f"answered at attempt {made + 1}")
    if not call.headers:
        os._exit(9)
    return None


def _pid(_: Behaviour, __: Message, call: Call) -> Message:
    env = {"env": os.environ.get("FIXTURE_ENV"), "storage": os.environ.get("CROSSFADE_STORAGE")}
    return text(json.dumps({"pid": os.getpid(), "cwd": str(os.getcwd()), **env}))  # noqa: PTH109


TOOLS: dict[str, Callable[[Behaviour, Message, Call], Outcome]] = {
    "echo": _echo,
    "sleep": _sleep,
    "never": lambda server, arguments, call: _sleep(server, {**arguments, "ms": 600_000}, call),
    "fail": lambda *_: text("the tool failed", isError=True),
    "refuse": _refuse,
    "crash": _crash,
    "garbage": lambda *_: Literal(b"this is not JSON"),
    "wrong": lambda *_: Literal(b"[1, 2, 3]"),
    "huge": _huge,
    "half": _half,
    "hint": _hint,
    "tell": _tell,
    "odd": lambda *_: ODD,
    "flood": _flood,
    "seen": _seen,
    "spawn": _spawn,
    "forget": _forget,
    "headers": lambda _, __, call: text(json.dumps(call.headers)),
    "process": _pid,
    "flaky": _flaky,
    "look": _echo,
    "again": _echo,
    **TALKING,
}
