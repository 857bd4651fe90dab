"""Connections that are opened, used once and held: the load of a memory ladder.

The rule: nothing moves between two ``held`` events but what a command asked for. A held connection that the server
closes is counted as lost and never replaced.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable

from crossfade.harness import pyloop
from crossfade.harness.load_py.client import OPENING, Client
from crossfade.harness.load_py.connection import Connection


async def hold(client: Client, emit: Callable[[str], None]) -> str:
    """Open, use once and hold; grow on command."""
    emit('{"event": "ready", "connections": 0}')
    held: list[Connection] = []
    errors: Counter[str] = Counter()
    lines, target, sent = pyloop.stdin_lines(), client.plan.connections, 0
    while True:
        while len(held) < target:
            fresh = await client.settle(min(OPENING, target - len(held)))
            verdicts = await asyncio.gather(*(client.request(conn) for conn in fresh))
            errors.update(verdict.kind for verdict in verdicts if verdict.kind)
            sent += len(fresh)
            held += fresh
        lost = sum(conn.lost for conn in held)
        emit(json.dumps({"event": "held", "n": len(held), "lost": lost, "errors": errors.total()}))
        if (line := await lines.get()) is None:
            break
        command = json.loads(line)
        target = int(command["to"]) if command.get("op") == "grow" else target
    counts = {"held": len(held), "lost": sum(conn.lost for conn in held), "sent": sent}
    done = {"completed": sent - errors.total(), "errors": dict(errors), "mismatches": errors["mismatch"]}
    return json.dumps({"event": "result", "generator": "python", **counts, **done})
