"""What ``fleet`` and ``load`` have in common: processes that one line configures and further lines drive.

The rule: such a process never guesses. Which implementation runs is asked for or named, an unknown key is an error that
names it, and whatever goes wrong is said as an event and on stderr before the exit status says it again: 64 for bad
input, 1 for a refusal by the system.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
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


def only_known(what: str, raw: dict[str, Any], known: Iterable[str], *, see: str) -> None:
    """Raises ValueError that names the first key that is not ``known`` and the module to ``see``."""
    unknown = sorted(raw.keys() - set(known))
    if unknown:
        raise ValueError(f"{what}: unknown key {unknown[0]!r}; see {see}")


def fail(program: str, error: Exception, *, to_stdout: bool = True) -> NoReturn:
    """Say what is wrong on stderr (and as an event, for whoever follows those), and exit."""
    message = " ".join(str(error).split())
    if to_stdout:
        emit(json.dumps({"event": "error", "message": message}))
    sys.stderr.write(f"{program}: {message}\n")
    raise SystemExit(64 if isinstance(error, ValueError) else 1)
