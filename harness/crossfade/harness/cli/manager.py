"""Commands that open a manager: ``serve``, ``call``, ``tools``, ``servers``, ``status``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from crossfade.harness.cli import output
from crossfade.harness.cli.reloading import following
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.impls import Config, Manager, ServerInfo, ServerState, load_config, logs, open_manager
from crossfade.impls.config.files import Loaded, load_files

WELL = (ServerState.HEALTHY, ServerState.DEGRADED)


def serve(options: argparse.Namespace) -> int:
    """``crossfade serve``: until SIGINT or SIGTERM (or, on stdio, until the client closes stdin)."""
    loaded = load_files(options.config)
    with logs.writing(loaded.config.telemetry):
        return _run(_serve(options, loaded))


async def _serve(options: argparse.Namespace, loaded: Loaded) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # From the start: a SIGHUP while the servers still connect is a reload afterwards, and not the end.
    reload = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    async with _open(loaded.config, options.impl, stop) as manager:
        if manager is None:
            return EX_OK
        complain_about(manager.servers())
        async with following(manager, loaded, options, reload):
            if options.stdio:
                await _first(manager.serve_stdio(), stop.wait())
            else:
                gateway = await manager.serve(options.host, options.port)
                output.note(f"{options.impl} gateway on {gateway.url}")
                await stop.wait()
                output.note("stopping: requests in flight get five seconds")
                await gateway.close(drain_s=5.0)
    return EX_OK


@contextlib.asynccontextmanager
async def _open(config: Config, impl: str, stop: asyncio.Event) -> AsyncIterator[Manager | None]:
    """The manager, or None if a signal came while it was connecting."""
    manager = open_manager(config, impl)
    entering = asyncio.ensure_future(manager.__aenter__())
    await asyncio.wait({entering, asyncio.ensure_future(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if not entering.done():
        entering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await entering
        yield None
        return
    entering.result()
    try:
        yield manager
    finally:
        await manager.__aexit__(None, None, None)


async def _first(*work: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(w) for w in work]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def call(options: argparse.Namespace) -> int:
    """``crossfade call``: 0, or 1 if the tool itself reports failure."""
    arguments = parse_arguments(options.arg)

    async def work(manager: Manager) -> int:
        result = await manager.call_tool(options.tool, arguments, timeout_s=options.timeout)
        if options.json:
            output.dump(msgspec.Raw(result.raw))
        else:
            for block in result.content:
                output.say(block["text"] if block.get("type") == "text" else msgspec.json.encode(block).decode())
        return 1 if result.is_error else EX_OK

    return _with_manager(options, work)


def tools(options: argparse.Namespace) -> int:
    """``crossfade tools``."""

    async def work(manager: Manager) -> int:
        items = await manager.list_tools()
        if options.json:
            output.dump([{"server": i.server, "name": i.name, "tool": i.data} for i in items])
        for item in () if options.json else items:
            first = str(item.data.get("description") or "").strip().partition("\n")[0]
            output.say(f"{item.name}  {first}".rstrip())
        complain_about(manager.servers())
        return EX_OK

    return _with_manager(options, work)


def servers(options: argparse.Namespace) -> int:
    """``crossfade servers``."""

    async def work(manager: Manager) -> int:
        _print_servers(manager.servers(), json=options.json)
        return EX_OK

    return _with_manager(options, work)


def status(options: argparse.Namespace) -> int:
    """``crossfade status``: probe now; 1 if a server is not well."""

    async def work(manager: Manager) -> int:
        states = await manager.health()
        _print_servers(manager.servers(), json=options.json)
        return EX_OK if all(state in WELL for state in states.values()) else 1

    return _with_manager(options, work)


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """``K=V`` pairs; V is JSON if it parses, else text. Raises UsageError for one without ``=``."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--arg {pair!r} must be KEY=VALUE; write for example --arg path=/etc/hosts")
        try:
            found[key] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[key] = text
    return found


def complain_about(infos: Sequence[ServerInfo]) -> None:
    """Servers that did not connect, on stderr."""
    for info in infos:
        if info.state not in WELL and info.last_error:
            output.note(f"server {info.name!r} is {info.state}: {info.last_error}")


def _print_servers(infos: Sequence[ServerInfo], *, json: bool) -> None:
    if json:
        output.dump([asdict(i) for i in infos])
        return
    rows = [
        (i.name, i.state.value, i.transport, _instances(i), i.era or "", i.protocol_version or "", i.last_error or "")
        for i in infos
    ]
    head = ("server", "state", "transport", "instances", "era", "protocol", "last error")
    output.say(output.table(head, rows) if rows else "no servers are configured")


def _instances(info: ServerInfo) -> str:
    """``2/3, 4 restarts``: those that are well, of how many."""
    well = sum(instance.state in WELL for instance in info.instances)
    restarts = sum(instance.restarts for instance in info.instances)
    told = f"{well}/{len(info.instances)}"
    return f"{told}, {restarts} {'restart' if restarts == 1 else 'restarts'}" if restarts else told


def _with_manager(options: argparse.Namespace, work: Callable[[Manager], Coroutine[Any, Any, int]]) -> int:
    config = load_config(options.config)

    async def opened() -> int:
        async with open_manager(config, options.impl) as manager:
            return await work(manager)

    return _run(opened())


def _run(main: Coroutine[Any, Any, int]) -> int:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
