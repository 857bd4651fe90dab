"""The process under test: one variant, freshly started, told what to do over JSON lines.

``python -m crossfade.harness.worker`` reads one line of :class:`Job` from stdin, opens the manager, prints
``{"event": "ready", "port", "pid"}`` and then obeys orders until stdin closes. The rule: nothing happens in this
process that the variant's user would not pay for; parts that only some orders need are imported by those orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from crossfade.harness.problems import HarnessError
from crossfade.impls import CrossfadeError, Manager, open_manager, parse_config

if TYPE_CHECKING:
    from crossfade.harness.worker_changes import Watch


class Job(msgspec.Struct, forbid_unknown_fields=True):
    """What to open. ``config`` is an ordinary configuration object; ``serve`` opens the gateway face on port 0."""

    variant: str
    config: dict[str, Any]
    serve: bool = True
    memray: str | None = None


Order = dict[str, Any]


def emit(message: object) -> None:
    """One JSON line on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def _orders() -> AsyncIterator[Order]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield msgspec.json.decode(line)


async def hold(manager: Manager, order: Order) -> None:
    """Keep a call of each of ``tools`` waiting upstream at once, say so, then say when all are answered.

    The manager has to open a connection for each; ``connections`` is what it counts itself.
    """
    tools = order["tools"]
    arguments = msgspec.Raw(msgspec.json.encode({"ms": order["hold_ms"]}))
    calls = [asyncio.ensure_future(manager.call_tool(tool, arguments, timeout_s=60)) for tool in tools]
    servers = {tool.partition("__")[0] for tool in tools}
    # The upstream answers after hold_ms; what waits in it is read before the first call is answered.
    last = asyncio.get_running_loop().time() + order["hold_ms"] * 0.00085
    while _connections(manager, servers) < len(tools) and asyncio.get_running_loop().time() < last:  # noqa: ASYNC110  a counter
        await asyncio.sleep(0.005)
    emit({"event": "holding", "connections": _connections(manager, servers)})
    for result in await asyncio.gather(*calls):
        if result.is_error:
            emit({"event": "error", "message": f"a held call failed: {result.text}"})
            return
    del calls
    gc.collect()
    emit({"event": "idle", "connections": _connections(manager, servers)})


def _connections(manager: Manager, servers: set[str]) -> int:
    return sum(i.connections for server in servers for i in manager.get(server).instances)


async def obey(manager: Manager, orders: AsyncIterator[Order]) -> None:
    """Carry out orders until there are no more."""
    watch: Watch | None = None
    # Where variants take turns, every turn is an order to the same process: a cache may not know its questions.
    asked = 0
    async for order in orders:
        match order["op"]:
            case "calls":
                from crossfade.harness.worker_calls import run_calls  # noqa: PLC0415 - its imports are not the variant's

                asked = await run_calls(manager, order, emit, asked=asked)
            case "hold":
                await hold(manager, order)
            case "ops":
                from crossfade.harness.worker_ops import run_ops  # noqa: PLC0415 - its imports are not the variant's

                await run_ops(manager, order, emit)
            case "watch":
                from crossfade.harness import worker_changes  # noqa: PLC0415 - its imports are not the variant's

                watch = worker_changes.Watch(manager)
                emit({"event": "watching"})
            case "watched":
                emit({"event": "watched", "changes": await watch.end() if watch is not None else []})
            case "update":
                from crossfade.harness.worker_changes import update  # noqa: PLC0415 - its imports are not the variant's

                await update(manager, order, emit)
            case "collect":
                # Collectable cycles are not what a connection costs.
                gc.collect()
                emit({"event": "collected"})
            case unknown:
                emit({"event": "error", "message": f"unknown order {unknown!r}"})


async def work() -> None:
    """Read the job, open the variant, obey."""
    orders = _orders()
    job = msgspec.convert(await anext(orders), Job)
    with _profiled(job.memray):
        async with open_manager(parse_config(job.config, source="job"), job.variant) as manager:
            port = None
            if job.serve:
                gateway = await manager.serve("127.0.0.1", 0)
                port = gateway.port
            if broken := [s for s in manager.servers() if s.last_error]:
                emit({"event": "error", "message": f"server {broken[0].name!r}: {broken[0].last_error}"})
                return
            emit({"event": "ready", "port": port, "pid": os.getpid()})
            await obey(manager, orders)


def _profiled(path: str | None) -> contextlib.AbstractContextManager[object]:
    if path is None:
        return contextlib.nullcontext()
    import memray  # noqa: PLC0415 - an extra, and only in blocks that are not timed

    return memray.Tracker(path, native_traces=True)


def main() -> int:
    """Entry point; errors become one ``error`` event and exit code 1."""
    # A job without stdin is a person who tries the module by hand.
    if sys.stdin.isatty():
        sys.stderr.write("crossfade.harness.worker is started by the harness; use `crossfade serve` instead\n")
        return 64
    try:
        _run(work())
    except (CrossfadeError, HarnessError, msgspec.ValidationError, StopAsyncIteration) as error:
        emit({"event": "error", "message": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def _run(main_: Coroutine[Any, Any, None]) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main_)


if __name__ == "__main__":
    sys.exit(main())
