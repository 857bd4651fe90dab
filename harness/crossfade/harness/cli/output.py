"""Text for people: tables on stdout, notices on stderr. Knows how to print, not what is true."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crossfade.harness.problems import UsageError


def note(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"crossfade: {text}\n")


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def dump(value: object) -> None:
    """JSON on stdout, for machines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def put(text: str, into: Path) -> None:
    """Generated text between the marks of a document. Raises UsageError that names the option."""
    from crossfade.reports import insert  # noqa: PLC0415  imported late, as write_report says

    try:
        into.write_text(insert(into.read_text(), text))
    except OSError as error:
        raise UsageError(f"--into {into}: {error.strerror}; name a file that exists and can be written") from None
    except ValueError as error:
        raise UsageError(f"--into {into}: {error}") from None


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Columns padded to their widest cell; columns of numbers to the right."""
    cells = [list(head), *[list(r) for r in rows]]
    widths = [max(len(r[i]) for r in cells) for i in range(len(head))]
    left = {i for i in range(len(head)) if not all(r[i][:1].isdigit() for r in rows if r[i])}

    def line(row: Sequence[str]) -> str:
        padded = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return ("| " + " | ".join(padded) + " |") if markdown else "  ".join(padded).rstrip()

    rule = [("-" * w if i in left else "-" * (w - 1) + ":") for i, w in enumerate(widths)]
    middle = "| " + " | ".join(rule) + " |" if markdown else "  ".join("-" * w for w in widths)
    return "\n".join([line(cells[0]), middle, *[line(r) for r in cells[1:]]])
