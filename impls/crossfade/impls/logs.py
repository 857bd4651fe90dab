"""Owns what a manager tells through ``logging``: its events as lines, the two forms of a line, and where they go.

Rules: a library never decides where lines go. Events go to the logger ``crossfade.events`` (and what servers write to
stderr to ``crossfade.server.<name>``), from where the program's own configuration takes them; only ``crossfade serve``,
which is a program, puts a handler there. No request costs anything: lines come from changes, not from calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from crossfade.impls.config import TelemetrySpec

if TYPE_CHECKING:
    from crossfade.impls.snapshots import Event, EventKind

ROOT: Final = logging.getLogger("crossfade")
ROOT.addHandler(logging.NullHandler())  # a program that configured no logging hears nothing (Python, "Logging HOWTO")
EVENTS: Final = logging.getLogger("crossfade.events")

_LEVELS: Final[dict[EventKind, int]] = {
    "list_changed": logging.DEBUG,
    "restart": logging.WARNING,
    "quota": logging.WARNING,
    "gap": logging.WARNING,
}
_BAD: Final = frozenset(
    {("state", "unhealthy"), ("circuit", "open"), ("deployment", "failed"), ("deployment", "rolled_back")}
)
_MESSAGES: Final[dict[EventKind, str]] = {
    "registered": "server %(server)r is registered",
    "unregistered": "server %(server)r is unregistered",
    "state": "server %(server)r is %(new)s, it was %(old)s",
    "circuit": "server %(server)r: a circuit is %(new)s, it was %(old)s",
    "list_changed": "server %(server)r has changed its %(new)s",
    "deployment": "server %(server)r: its deployment is %(new)s, it was %(old)s",
    "restart": "server %(server)r ended by itself as process %(old)s and was restarted as %(new)s",
    "quota": "server %(server)r uses %(new)s bytes of storage and claimed %(old)s; clean up, or raise its claim",
    "gap": "%(missed)s events came faster than they could be logged and are not here",
}


def level_of(event: Event) -> int:
    """How loud an event is: WARNING if somebody may have to look, DEBUG for what servers do every day."""
    return logging.WARNING if (event.kind, event.new) in _BAD else _LEVELS.get(event.kind, logging.INFO)


class EventLog:
    """Logs the events of one manager, from its opening to its end; nothing with ``logLevel`` ``off``."""

    def __init__(self, telemetry: TelemetrySpec) -> None:
        self._off = telemetry.log_level == "off"
        self._task: asyncio.Task[None] | None = None

    def follow(self, events: Callable[[], AsyncIterator[Event]]) -> None:
        """Begin. Events from this call on are logged, not only from when the task first runs."""
        if not self._off:
            self._task = asyncio.get_running_loop().create_task(_follow(events()), name="crossfade event log")

    async def ended(self) -> None:
        """Wait for the last lines. The stream has ended, because the manager has closed it."""
        if self._task is not None:
            await asyncio.wait([self._task])


async def _follow(events: AsyncIterator[Event]) -> None:
    async for event in events:
        level = level_of(event)
        if EVENTS.isEnabledFor(level):
            fields = {"server": event.server, "old": event.old, "new": event.new, "missed": event.missed or None}
            EVENTS.log(level, _MESSAGES[event.kind], fields, extra={"event": event.kind, **fields})


# -- the forms of a line

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One object a line, ASCII only: ``ts`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, then what the record
    carries as ``extra`` and is not empty, and ``exception`` with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON. A value that JSON does not know is told as its ``str``."""
        line: dict[str, Any] = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in vars(record).items():
            if key not in _STANDARD and key not in line and value not in (None, ""):
                line[key] = value
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, skipkeys=True)


class TextFormatter(logging.Formatter):
    """``2026-11-22T15:44:22.123Z warning crossfade.events: server 'x' is unhealthy, it was healthy``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(level)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line for people, with the traceback below it."""
        record.level = record.levelname.lower()
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  logging's name
        """In UTC, whatever the machine's zone."""
        del datefmt
        return _timestamp(record)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextlib.contextmanager
def writing(telemetry: TelemetrySpec, stream: TextIO | None = None) -> Iterator[None]:
    """For programs: lines from ``logLevel`` on go to ``stream`` (stderr) in ``logFormat`` while the block runs.

    Not if the level is ``off``, nor if somebody configured logging already: who did that knows where lines belong.
    """
    if telemetry.log_level == "off" or _is_configured():
        yield
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if telemetry.log_format == "json" else TextFormatter())
    before = ROOT.level
    ROOT.setLevel(telemetry.log_level.upper())
    ROOT.addHandler(handler)
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        ROOT.setLevel(before)


def _is_configured() -> bool:
    handlers = (*ROOT.handlers, *logging.getLogger().handlers)
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)
