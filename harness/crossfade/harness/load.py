"""The load generator as a process.

``python -m crossfade.harness.load`` reads one line of plan (JSON) from stdin and prints events as JSON lines. The
rule: a number from here can be trusted or is not printed. Open-loop latency counts from the time a request was *due*,
every request carries a distinct nonce that its answer must echo, and what went wrong is counted by kind.

Plan (defaults in parentheses)::

    host ("127.0.0.1") and port, or targets [{"host", "port"}]: connections are spread over them in turn
    path ("/mcp"), connections, mode "closed" | "open" | "hold" | "connect"
    rate_per_s, arrivals "poisson" | "constant" ("poisson")      open loop
    burst (0)                  open loop without rate: so many are due at the start of the window, and no others
    parallel (64)              mode "connect": so many are between their opening and their answer
    warmup_s (0), duration_s
    drain_s (1)                open loop: how long to wait for answers after the window
    era "modern" | "legacy" ("modern")
    tool ("echo"), or tools [names]: one is drawn for each call
    mix {"list", "call", "read"}     weights of tools/list, tools/call and resources/read (absent: calls alone)
    uri ("echo:///{text}")     what a read asks for; {text} is its nonce of sixteen digits
    payload_bytes (16)         of the text argument
    arguments ({})             more arguments, put before "text" and "n"
    events (0)                 progress: each call sends a token and the argument "events" (the fleet's tool "progress")
    chain (1)                  so many calls, one after the other on one connection, make one unit
    cancel_per_mille (0), cancel_after_ms (1)    so many requests are given up if not answered by then
    session_calls (0)          legacy: after so many calls a session is ended (DELETE) and another begun
    seed (1)                   of nonces, arrivals and all that is drawn
    check_every (1)            compare the text of every n-th answer (0: of none); errors are always seen
    timeout_s (10) per request, connect_timeout_s (10) for all connections, cpu (null: do not pin)
    generator "rust" | "python" (absent: the native one if installed)

Events: ``ready`` (all connections up, legacy sessions initialized), ``measuring`` and ``measured`` at the very edges
of the window, then ``{"event": "result", "generator", "sent", "completed", "errors": {kind: count}, "mismatches",
"missed_sends", "duration_s", "throughput_per_s", "latency", "service", "lag", "series": [{"t_ms", "completed",
"errors", "p50_us", "p99_us"}], "generator_cpu_s", "by_method": {"list" | "call" | "read": completed}, "cancelled",
"events", "events_per_s", "sessions"}`` and, where they mean something, ``session_latency``, ``drain_ms``,
``connects_per_s``. Histograms are HdrHistogram V2 compressed, base64, nanoseconds up to 60 s at three digits. Open
loop: everything counts by due time, ``missed_sends`` were due and never sent, ``lag`` is how late the generator itself
noticed due requests. Closed loop: answers count by arrival, ``service`` equals ``latency``. Throughput and the 100 ms
``series`` count arrivals within the window. ``generator_cpu_s`` is its CPU time in the window.

A closed loop stands back where it shares a processor: its process preempts nobody (``SCHED_BATCH``), and the native
one lets whoever is ready there run before it looks for answers. An open loop has send times to keep, and does not.

Error kinds: ``connect, reset, timeout, http_<status>, rpc_<code>, tool_error, mismatch, garbage``. A request is never
sent twice; a connection that failed is opened again, and an attempt that fails is one ``connect`` error. A list has to
list something and a read to echo; progress for another's token is a ``mismatch``.

``chain``: ``sent``, ``completed``, throughput and latency are of units; a unit ends with its first failure, which is
one error. ``cancel_per_mille``: modern requests are given up by closing their connection; a legacy server is told by
``notifications/cancelled`` on another connection of the session, and then the first is closed. They count as
``cancelled``: no error and no sample. ``session_latency`` is from the DELETE to the next session being up.

``burst``: warm-up is a closed loop on all connections that has come to rest before; latency counts from the start of
the window, which ends with the last answer (at the latest after ``duration_s`` and ``drain_s``), and ``drain_ms`` is
how long that took (null if one was never answered).

``connect``: ``connections`` are opened as fast as possible, each makes one call (legacy: after its handshake) and is
closed; latency runs from its opening, none is tried again, the window ends with the last (what is not done after
``duration_s`` is in ``missed_sends``), and ``warmup_s`` is a storm that does not count.

``hold`` opens ``connections``, uses each once and prints ``{"event": "held", "n", "lost", "errors"}``; then it obeys
``{"op": "grow", "to": M}`` on stdin (``held`` again) until stdin ends, and prints a short ``result``. Exit status: 64
for a broken plan, 1 if the server cannot be reached.

After its result another plan may follow on the next line, and so on until stdin ends; each is a run of its own.

Without Python: ``cargo run -p crossfade-load --bin crossfade-load`` takes the same line (or as its argument).
"""

from __future__ import annotations

import json
from typing import Any

from crossfade.harness.driven import emit, fail, first_line, native, parse


def run(plan: dict[str, Any]) -> str:
    """Run a plan with the generator it asks for; the result event."""
    module = native(plan.get("generator"))
    if module is None:
        from crossfade.harness import load_py  # noqa: PLC0415 - only whoever needs it pays for asyncio

        return load_py.run(plan, emit)
    result: bytes = module.load_run(json.dumps(plan).encode(), emit)
    return result.decode()


def main() -> None:
    """The process."""
    try:
        line = first_line()
        while True:
            emit(run(parse("load plan", line)))
            if not (line := first_line()):
                return
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ValueError, RuntimeError, OSError) as error:
        fail("crossfade load", error)


if __name__ == "__main__":
    main()
