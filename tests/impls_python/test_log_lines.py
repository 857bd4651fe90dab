"""Lines of the log: one record is one line, whatever it carries, and a program's own logging stays its own."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from crossfade.impls import TelemetrySpec, logs
from crossfade.impls.snapshots import Event, EventKind


@contextmanager
def bare() -> Iterator[None]:
    """No handler but the library's own: pytest's, there while a test runs, would count as somebody's logging."""
    root = logging.getLogger()
    kept, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = kept


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("crossfade.events", logging.WARNING, __file__, 1, message, args, None)
    made.created = 1_795_362_262.123456
    vars(made).update(extra)
    return made


def test_a_record_is_one_json_object_a_line_whatever_it_carries() -> None:
    line = logs.JsonFormatter().format(
        record(
            "two\nlines and \ud800 %s", "é", server="x", old=None, odd={1, 2}.__class__, nested={("a",): 1, "b": [2]}
        )
    )
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2026-11-22T15:44:22.123Z",
        "level": "warning",
        "logger": "crossfade.events",
        "message": "two\nlines and \ud800 é",
        "server": "x",
        "odd": "<class 'set'>",
        "nested": {"b": [2]},
    }


def test_an_exception_is_part_of_its_line() -> None:
    failed = record("failed")
    try:
        int("why")
    except ValueError:
        failed.exc_info = sys.exc_info()
    line = json.loads(logs.JsonFormatter().format(failed))
    assert line["exception"].endswith("invalid literal for int() with base 10: 'why'")
    assert "exc_text" not in line


def test_text_lines_tell_the_time_in_utc() -> None:
    line = logs.TextFormatter().format(record("all is %s", "well"))
    assert line == "2026-11-22T15:44:22.123Z warning crossfade.events: all is well"


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_kind_of_event_has_its_words(kind: EventKind) -> None:
    event = Event(kind=kind, server="x", old="before", new="after", missed=3)
    fields = {"server": event.server, "old": event.old, "new": event.new, "missed": event.missed}
    text = logs._MESSAGES[kind] % fields
    assert "'x'" in text or kind == "gap"


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (Event("state", "x", "healthy", "unhealthy"), logging.WARNING),
        (Event("state", "x", "unhealthy", "healthy"), logging.INFO),
        (Event("circuit", "x", "closed", "open"), logging.WARNING),
        (Event("circuit", "x", "open", "half_open"), logging.INFO),
        (Event("deployment", "x", "updating", "rolled_back"), logging.WARNING),
        (Event("deployment", "x", "updating", "running"), logging.INFO),
        (Event("restart", "x", "1", "2"), logging.WARNING),
        (Event("quota", "x", "1", "2"), logging.WARNING),
        (Event("gap", "", missed=2), logging.WARNING),
        (Event("list_changed", "x", None, "tools"), logging.DEBUG),
        (Event("registered", "x"), logging.INFO),
    ],
    ids=lambda value: f"{value.kind}-{value.new}" if isinstance(value, Event) else "",
)
def test_loud_is_what_somebody_may_have_to_look_at(event: Event, level: int) -> None:
    assert logs.level_of(event) == level


def test_a_program_writes_from_its_level_on_and_only_while_it_runs() -> None:
    stream = io.StringIO()
    with bare(), logs.writing(TelemetrySpec(log_level="warning", log_format="json"), stream):
        logs.EVENTS.info("not this")
        logs.EVENTS.warning("but this")
        logging.getLogger("crossfade.server.x").error("and this")
        with logs.writing(TelemetrySpec(log_level="debug"), stream):
            logs.EVENTS.warning("once")
    logs.EVENTS.error("no more")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["but this", "and this", "once"]
    assert logs.ROOT.level == logging.NOTSET


@pytest.mark.parametrize("where", ["", "crossfade"])
def test_who_configured_logging_is_not_overridden(where: str) -> None:
    own = logging.StreamHandler(io.StringIO())
    try:
        stream = io.StringIO()
        with bare():
            logging.getLogger(where).addHandler(own)
            with logs.writing(TelemetrySpec(log_level="debug"), stream):
                logs.EVENTS.error("theirs")
        assert stream.getvalue() == ""
        assert "theirs" in own.stream.getvalue()
    finally:
        logging.getLogger(where).removeHandler(own)
