"""The upstream fleet as a process: strict MCP echo servers of both eras that cost next to nothing.

``python -m crossfade.harness.fleet`` reads one line of configuration (JSON) from stdin, prints events as JSON lines
and ends at the end of stdin. ``--stdio [--config JSON]`` *is* a stdio echo server instead: stdin and stdout are the
protocol. The rule: this process is chosen, never guessed at. ``generator`` says which implementation serves: ``rust``
(an error if the native wheel is missing), ``python``, or absent: the native one if installed; ``ready`` names it.

Configuration, all optional::

    host "127.0.0.1", port 0 (0: any), ports 1 (so many ports on this one process)
    era "legacy" | "modern" | "both" ("both")
    latency {"distribution": "constant" | "exponential", "ms": 5.0}       before each tool answer
    error_rate 0.0, error_kind "rpc" | "tool" | "http" | "reset" | "garbage"    share of tool calls that fail, and how
    answer_bytes 0      pad the echo's answer to this many bytes of text with a second content item
    framing "length" | "chunked" | "sse"                                  how HTTP answers are framed
    slow_ports 0, slow_ms 0.0   the last so many of ``ports`` answer calls and reads so much later
    stderr_bytes_per_s 0        stdio: log so much; answers wait while the log cannot be written
    lie_rate 0.0        share of echoes that answer something else, to test the checkers
    seed 1, cpu null (pin to this CPU), generator

Events: ``{"event": "ready", "port", "ports", "pid", "generator"}``; after each command its acknowledgement
(``crashed``, ``hung``, ``garbage``, ``reset``, ``drip``, ``recovered``, ``stats``) with ``requests, calls, accepted,
open, sessions, cpu_ns``; at the end ``stopped`` with the same. Commands on stdin: ``{"op": "crash"}`` closes the
listeners and all connections and forgets the sessions, ``{"op": "hang"}`` leaves everything unread,
``{"op": "garbage"}`` answers every POST with what is no HTTP or no JSON, in turn, ``{"op": "reset"}`` resets (RST) its
connection instead, ``{"op": "drip", "ms": 10}`` sends a byte of each answer every so often, ``{"op": "recover"}``
undoes them all, and ``{"op": "stats"}`` changes nothing. The last of garbage, reset and drip counts.

Tools: ``echo`` {"text", "n"} answers its text, ``sleep`` {"text", "ms"} does so later, ``fail`` {"text"} answers
isError, ``progress`` {"text", "n", "events"} answers its text after that many ``notifications/progress`` if the request
has a ``progressToken`` (over HTTP in one event stream). Resources: ``echo:///hello`` is listed, the template
``echo:///{text}`` reads as its text. On stdio, ``error_kind`` "http" is "rpc", "reset" ends the server, "garbage" is a
line that is no JSON.

Over HTTP the answer to ``initialize`` carries ``Mcp-Session-Id``; GET is 405, DELETE ends a session. Modern requests
with missing or contradicting headers or ``_meta`` are refused as the specification says. Exit status: 64 for a broken
configuration, 1 for a refusal by the system.

Without Python: ``cargo run -p crossfade-load --bin crossfade-fleet`` takes the same line (or as its argument).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from crossfade.harness.driven import emit, fail, first_line, native, parse


def configuration(arguments: list[str]) -> tuple[bool, dict[str, Any]]:
    """Whether to serve stdio, and the configuration. Raises ValueError."""
    if not arguments:
        return False, parse("fleet configuration", first_line())
    if arguments == ["--stdio"]:
        return True, {}
    if len(arguments) == 3 and arguments[:2] == ["--stdio", "--config"]:
        return True, parse("fleet configuration", arguments[2].encode())
    raise ValueError(f"unknown arguments {arguments}; use --stdio [--config JSON], or send the configuration on stdin")


def serve(stdio: bool, config: dict[str, Any]) -> None:
    """Serve with the implementation that the configuration asks for."""
    module = native(config.get("generator"))
    if module is None:
        from crossfade.harness import fleet_py  # noqa: PLC0415 - only whoever needs it pays for asyncio

        (fleet_py.serve_stdio if stdio else fleet_py.serve_http)(config)
    elif stdio:
        module.fleet_stdio(json.dumps(config).encode())
    else:
        module.fleet_http(json.dumps(config).encode(), emit)


def main() -> None:
    """The process."""
    try:
        serve(*configuration(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ValueError, RuntimeError, OSError) as error:
        fail("crossfade fleet", error, to_stdout="--stdio" not in sys.argv)


if __name__ == "__main__":
    main()
