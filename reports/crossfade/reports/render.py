"""The page on disk: one file that holds everything it needs, the same bytes for the same results.

The rule: every value goes through autoescape; the only trusted markup is the SVG that :mod:`figures` drew and our own
CSS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from crossfade.harness.samples import Results
from crossfade.reports import words
from crossfade.reports.groups import GROUPS
from crossfade.reports.page import Against, Fault, Page, Tally, Timing, TimingTable, VerdictTable, Work
from crossfade.reports.plate import NONE, Table, gain
from crossfade.reports.plates import plates
from crossfade.reports.view import view

FILE = "report.html"
T = TypeVar("T")


def render(results: Results, out: Path, *, raw: str = "results.json") -> Path:
    """Write the report and return its path. ``out`` is a folder, or the file if it ends in ``.html``.

    ``raw`` is the address of the results relative to the page. Raises OSError if the file cannot be written.
    """
    path = out if out.suffix == ".html" else out / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html(view(results, raw=raw)), encoding="utf-8")
    return path


def html(page: Page) -> str:
    """The document of a page."""
    environment = Environment(
        loader=PackageLoader("crossfade.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        along=along,
        code=code,
        gain=gain,
        groupby_order=grouped,
        nanoseconds=words.nanoseconds,
        percent=words.percent,
        plural=words.plural,
        quantity=quantity,
        span=words.span,
        tick=tick,
        times=words.times,
    )
    css = (resources.files("crossfade.reports") / "templates" / "style.css").read_text(encoding="utf-8")
    dirty = [fault for fault in page.faults if not fault.clean]
    return environment.get_template("report.html.j2").render(
        page=page,
        plates=plates(page),
        css=Markup(css),  # noqa: S704 - our own file
        against_table=against_table,
        dirty=dirty,
        clean=len(page.faults) - len(dirty),
        faults_table=faults_table,
        shown_table=shown_table,
        timing_table=timing_table,
        told=told,
        work_table=work_table,
        measures={key: [m for m in page.measures if m.group == key] for key in (g.key for g in GROUPS)},
    )


def along(value: float, axis: tuple[float, float]) -> float:
    """Where a value stands on the forest's logarithmic axis, in per cent, kept on it."""
    low, high = (math.log(end) for end in axis)
    if not value > 0:
        return 0.0
    return min(100.0, max(0.0, 100 * (min(math.log(value), high) - low) / (high - low)))


def code(text: str) -> Markup:
    """Escaped text in which `words in backticks` are set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def grouped(rows: Iterable[T], attribute: str) -> list[tuple[str, list[T]]]:
    """Rows by an attribute in order of first appearance; jinja's own groupby would sort."""
    found: dict[str, list[T]] = {}
    for row in rows:
        found.setdefault(getattr(row, attribute), []).append(row)
    return list(found.items())


def tick(value: float) -> str:
    """0.5, 1, 20 on an axis of factors."""
    return f"{value:.2g}\u00d7" if value < 100 else f"{value:g}\u00d7"


def quantity(value: float, unit: str) -> str:
    """A value with its unit, as short as it can be."""
    if not math.isfinite(value):
        return NONE
    match unit:
        case "requests/s" | "connections/s":
            return f"{words.rate(value)}/s"
        case "us" | "ns" | "ms":
            return words.nanoseconds(value * {"ns": 1.0, "us": 1e3, "ms": 1e6}[unit])
        case "requests":
            return words.digits(value) if value % 1 else f"{value:,.0f}"
        case _:
            return f"{words.digits(value)}{words.THIN}{unit}"


def faults_table(faults: Sequence[Fault]) -> Table:
    """Requests and errors beside each other, lost blocks with their reasons."""
    return Table(
        ("scenario", "", "sent", "answered", "errors", "wrong answers", "sends missed", "lost blocks"),
        tuple(
            (
                fault.scenario,
                fault.who.name,
                f"{fault.sent:,}",
                f"{fault.completed:,}",
                (", ".join(f"{count:,} {kind}" for kind, count in fault.errors) or "none")
                + (", provoked" if fault.errors and fault.provoked else ""),
                f"{fault.mismatches:,}" if fault.mismatches else "none",
                f"{fault.missed_sends:,}" if fault.missed_sends else "none",
                f"{fault.lost} of {fault.blocks}: {'; '.join(fault.voided)}"
                if fault.voided
                else f"none of {fault.blocks}",
            )
            for fault in faults
        ),
    )


def told(tally: Tally) -> Markup:
    """12 better, 1 worse, 2 undecided; what did not occur is not said."""
    parts = (
        ("better", tally.better, "better"),
        ("worse", tally.worse, "worse"),
        ("equal", tally.equal, "equal"),
        ("inconclusive", tally.inconclusive, "undecided"),
    )
    spans = (
        Markup('<span class="{}">{}\u202f{}</span>').format(css, count, word) for css, count, word in parts if count
    )
    return Markup(", ").join(spans)


def work_table(found: Sequence[Work]) -> Table:
    """Every scenario in a line, everyone in a column: requests per second and the CPU of one."""
    who = list(dict.fromkeys(bar.who.name for work in found for bar in work.throughput))
    rows = []
    for work in found:
        served = {bar.who.name: words.rate(bar.value) for bar in work.throughput}
        spent = {bar.who.name: f" ({words.digits(bar.value)})" for bar in work.cpu_us}
        rows.append((work.scenario, *(served[n] + spent.get(n, "") if n in served else NONE for n in who)))
    return Table(("scenario", *who), tuple(rows))


def against_table(rows: Sequence[Against]) -> Table:
    """Ratios to the limits; these are yardsticks, and nobody is judged by them."""
    return Table(
        ("scenario", "quantity", "variant", "limit", "times the limit\u2019s"),
        tuple((row.scenario, row.quantity, row.who, row.limit, gain(row.ratio)) for row in rows),
    )


def timing_table(table: TimingTable) -> Table:
    """Operations side by side: median and 99th percentile."""
    return Table(
        ("operation", *table.columns),
        tuple(
            (f"{row.name}, {row.size}" if row.size else row.name, *(timing(cell) for cell in row.cells))
            for row in table.rows
        ),
    )


def timing(cell: Timing | None) -> str:
    """13 to 15 ns: the median and the 99th percentile, the unit said once."""
    return NONE if cell is None else f"{words.span(cell.p50_ns, cell.p99_ns)}"


def shown_table(table: VerdictTable) -> Table:
    """The quantities that have an interval and no verdict."""
    return Table(
        ("scenario", "quantity", table.baseline.name, table.candidate.name, "times better", "rounds"),
        tuple(
            (
                row.scenario,
                row.quantity,
                quantity(row.baseline, row.unit),
                quantity(row.candidate, row.unit),
                gain(row.gain),
                str(row.pairs),
            )
            for row in table.shown
        ),
    )
