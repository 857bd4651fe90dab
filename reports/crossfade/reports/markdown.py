"""The comparison as Markdown tables, for a comment on a pull request or for a README.

The rule: the same view model as the page, so that the two can never say different things.
"""

from __future__ import annotations

import re

from crossfade.harness.samples import Results
from crossfade.reports.page import Goal, Page, Verdict, VerdictTable
from crossfade.reports.plate import gain
from crossfade.reports.render import quantity
from crossfade.reports.view import view
from crossfade.reports.words import plural

_MARKS = {
    "better": "\u25b6 better",
    "worse": "\u25c0 **worse**",
    "equal": "= equal",
    "inconclusive": "\u25cb inconclusive",
}
BEGIN, END = "<!-- crossfade:begin -->", "<!-- crossfade:end -->"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def markdown(results: Results) -> str:
    """Headline, warnings and verdict tables; ends with a newline."""
    return of_page(view(results))


def of_page(page: Page) -> str:
    """The same from a page that is already there."""
    lines = [f"**{escaped(page.headline)}**", ""]
    for banner in page.banners:
        lines += [f"> **{escaped(banner.title)}** {escaped(banner.text)}", ""]
    for found in page.verdicts:
        lines += [*_table(found), ""]
    if page.goals:
        lines += [*_goals(page.goals), ""]
    lines.append(f"{escaped(' '.join(page.standfirst))} Again: {_code(page.command)}")
    return "\n".join(lines) + "\n"


def _table(found: VerdictTable) -> list[str]:
    pair = f"{escaped(found.baseline.name)} | {escaped(found.candidate.name)}"
    head = f"| scenario | quantity | {pair} | times better | verdict |"
    return [head, "| --- | --- | ---: | ---: | --- | --- |", *(_row(row) for row in found.rows)]


def _row(row: Verdict) -> str:
    told = _MARKS[row.word or "inconclusive"]
    if row.pairs_needed:
        told += f" ({plural(row.pairs_needed, 'round')} would tell)"
    elif row.corrected:
        told += " (after correction for all questions)"
    values = (quantity(row.baseline, row.unit), quantity(row.candidate, row.unit), gain(row.gain))
    return f"| {escaped(row.scenario)} | {escaped(row.quantity)} | {' | '.join(values)} | {told} |"


_MET = {True: "met", False: "**missed**", None: "open"}


def _goals(goals: tuple[Goal, ...]) -> list[str]:
    rows = (
        f"| {escaped(goal.text)} | {escaped(goal.measured or 'not measured')} | {escaped(goal.asked)} "
        f"| {_MET[goal.met]} |"
        for goal in goals
    )
    return ["| goal | measured | asked | |", "| --- | ---: | ---: | --- |", *rows]


def insert(document: str, text: str) -> str:
    """``document`` with ``text`` between its two markers. Raises ValueError if it has not exactly one pair of them."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"one line {BEGIN} and below it one line {END} must mark where the tables go; add them")
    head, tail = document.split(BEGIN, maxsplit=1)[0], document.split(END)[1]
    return f"{head}{BEGIN}\n{text}{END}{tail}"


def escaped(words: str) -> str:
    """Text that Markdown prints as it stands, on one line."""
    return _SPECIAL.sub(lambda match: "\\" + match[1], " ".join(words.split()))


def _code(words: str) -> str:
    """A code span that holds any backtick the words have."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    return f"{fence} {words} {fence}" if "`" in words else f"`{words}`"
