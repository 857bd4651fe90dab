"""What one ``await`` of native work costs: ``python impls/rust/py/benches/bridge.py [--loop asyncio|uvloop]``.

Rounds interleave the subjects, and each cell is the median over rounds of wall microseconds per await. The floor is a
pure Python future that the same loop resolves; read the ratio to it, not the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import crossfade_native as native

IN_FLIGHT = (1, 16, 64, 1000)


async def floor(_payload: bytes) -> None:
    """One trip through the loop without any native code."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future


async def echo(payload: bytes) -> bytes:
    """To tokio and back."""
    return await native.bridge_probe("echo", payload)


async def known(payload: bytes) -> bytes:
    """An answer that never reaches tokio."""
    return await native.bridge_probe("known", payload)


SUBJECTS: dict[str, Callable[[bytes], Awaitable[object]]] = {"floor": floor, "known": known, "echo": echo}


async def measure(subject: Callable[[bytes], Awaitable[object]], in_flight: int, awaits: int) -> float:
    async def caller(count: int) -> None:
        for _ in range(count):
            await subject(b"0123456789abcdef")

    each = max(1, awaits // in_flight)
    began = time.perf_counter()
    await asyncio.gather(*(caller(each) for _ in range(in_flight)))
    return (time.perf_counter() - began) / (each * in_flight) * 1e6


async def rounds(count: int, awaits: int) -> None:
    cells: dict[tuple[str, int], list[float]] = {}
    for _ in range(count):
        for in_flight in IN_FLIGHT:
            for name, subject in SUBJECTS.items():
                cost = await measure(subject, in_flight, awaits)
                cells.setdefault((name, in_flight), []).append(cost)
    sys.stdout.write("us per await" + "".join(f"{n:>10}" for n in IN_FLIGHT) + "   (in flight)\n")
    for name in SUBJECTS:
        row = "".join(f"{statistics.median(cells[name, n]):10.2f}" for n in IN_FLIGHT)
        sys.stdout.write(f"{name:<12}{row}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--awaits", type=int, default=5000)
    options = parser.parse_args()
    factory = asyncio.new_event_loop
    if options.loop == "uvloop":
        import uvloop  # noqa: PLC0415 - optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(rounds(options.rounds, options.awaits))


if __name__ == "__main__":
    main()
