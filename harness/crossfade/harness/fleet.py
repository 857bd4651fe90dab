"""The upstream fleet as a process: strict MCP echo servers of both eras that cost next to nothing.

``python -m crossfade.harness.fleet`` reads one line of configuration (JSON) from stdin, prints events as JSON lines
and ends at the end of stdin. ``--stdio [--config JSON]`` *is* a stdio echo server instead: stdin and stdout are the
protocol. The rule: this process is chosen, never guessed at. ``generator`` says which implementation serves: ``rust``
(an error if the native wheel is missing), ``python``, or absent: the native one if installed; ``ready`` names it.

Configuration, all optional::

    host "127.0.0.1", port 0 (0: any), ports 1 (so many ports on this one process)
    era "legacy" | "modern" | "both" ("both")
    latency {"distribution": "constant" | "exponential", "ms": 5.0}       before each tool answer
    error_rate 0.0, error_kind "rpc" | "tool" | "http" | "reset"          share of tool calls that fail, and how
    answer_bytes 0      pad the echo's answer to this many bytes of text with a second content item
    framing "length" | "chunked" | "sse"                                  how HTTP answers are framed
    lie_rate 0.0        share of echoes that answer something else, to test the checkers
    seed 1, cpu null (pin to this CPU), generator

Events: ``{"event": "ready", "port", "ports", "pid", "generator"}``; after each command its acknowledgement
(``crashed``, ``hung``, ``recovered``, ``stats``) with ``requests, calls, accepted, open, sessions, cpu_ns``; at the
end ``stopped`` with the same. Commands on stdin: ``{"op": "crash"}`` closes the listeners and all connections and
forgets the sessions, ``{"op": "hang"}`` leaves everything unread, ``{"op": "recover"}`` undoes either,
``{"op": "stats"}``.

Tools: ``echo`` {"text", "n"} answers its text, ``sleep`` {"text", "ms"} does so later, ``fail`` {"text"} answers
isError. Over HTTP the answer to ``initialize`` carries ``Mcp-Session-Id``; GET is 405, DELETE ends a session. Modern
requests with missing or contradicting headers or ``_meta`` are refused as the specification says. Exit status: 64 for
a broken configuration, 1 for a refusal by the system.

Without Python: ``cargo run -p crossfade-load --bin crossfade-fleet`` takes the same line (or as its argument).
"""

from __future__ import annotations

import importlib
import json
import sys
from io import FileIO
from typing import Any, NoReturn

INSTALL = 'install it with `pip install crossfade[rust]` (in a checkout: `make setup`), or ask for generator "python"'


def native(asked: str | None) -> Any:
    """The native module, or None if Python is to serve. Raises ValueError if ``rust`` is asked for and missing."""
    if asked == "python":
        return None
    if asked not in {None, "rust"}:
        raise ValueError(f'generator is {asked!r}; use "rust" or "python", or leave it out')
    try:
        return importlib.import_module("crossfade_native._native")
    except ModuleNotFoundError as error:
        if asked == "rust":
            raise ValueError(f"the native module is not installed ({error}); {INSTALL}") from error
        return None


def first_line() -> bytes:
    """One line of stdin and not a byte more: whoever serves reads the rest."""
    with FileIO(0, closefd=False) as stdin:
        return stdin.readline()


def emit(event: str) -> None:
    """One event; it has left the process when this returns."""
    sys.stdout.write(event + "\n")
    sys.stdout.flush()


def parse(what: str, line: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises ValueError."""
    try:
        found = json.loads(line or b"{}")
    except ValueError as error:
        raise ValueError(f"{what} is not JSON ({error}); send one object on one line") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what} is not a JSON object; send one object on one line")  # noqa: TRY004 - one kind: bad input
    return found


def fail(program: str, error: Exception, *, to_stdout: bool = True) -> NoReturn:
    """Say what is wrong on stderr (and as an event, for whoever follows those), and exit."""
    message = " ".join(str(error).split())
    if to_stdout:
        emit(json.dumps({"event": "error", "message": message}))
    sys.stderr.write(f"{program}: {message}\n")
    raise SystemExit(64 if isinstance(error, ValueError) else 1)


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
