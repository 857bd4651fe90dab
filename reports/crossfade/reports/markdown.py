"""The comparison as Markdown tables, for a comment on a pull request or for a README.

The rule: the same view model as the page, so that the two can never say different things.
"""

from __future__ import annotations

import re
from html import escape as html

from crossfade.harness.samples import Results
from crossfade.reports import trusted
from crossfade.reports.page import Goal, Page, Tally, Verdict, VerdictTable
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
    text = of_page(view(results))
    if results.ruler is not None:
        text += f"\n{escaped(' '.join(trusted.sentences(results)))}\n"
    return text


def of_page(page: Page) -> str:
    """The same from a page that is already there."""
    lines = [f"**{escaped(page.headline)}**", ""]
    for banner in page.banners:
        lines += [f"> **{escaped(banner.title)}** {escaped(banner.text)}", ""]
    if page.folded:
        lines += [*_glance(page), ""]
    for found in page.verdicts:
        lines += [*(_folded(found) if page.folded else _table(found)), ""]
    if page.goals:
        lines += [*_goals(page.goals), ""]
    lines.append(f"{escaped(' '.join(page.standfirst))} Again: {_code(page.command)}")
    return "\n".join(lines) + "\n"


def _table(found: VerdictTable) -> list[str]:
    return [_head(found), _RULE, *(_row(row) for row in found.rows)]


_RULE = "| --- | --- | ---: | ---: | --- | --- |"


def _head(found: VerdictTable) -> str:
    pair = f"{escaped(found.baseline.name)} | {escaped(found.candidate.name)}"
    return f"| scenario | quantity | {pair} | times better | verdict |"


def _glance(page: Page) -> list[str]:
    """Tallies by group, a column per candidate."""
    pairs = [f"{escaped(table.candidate.name)} against {escaped(table.baseline.name)}" for table in page.verdicts]
    groups = dict.fromkeys(tally.group for table in page.verdicts for tally in table.tallies)
    rows = [f"| | {' | '.join(pairs)} |", f"| --- |{' --- |' * len(pairs)}"]
    for group in groups:
        cells = [
            next((_tally(t) for t in table.tallies if t.group == group), "not compared") for table in page.verdicts
        ]
        rows.append(f"| {group} | {' | '.join(cells)} |")
    return rows


def _tally(found: Tally) -> str:
    counts = ((found.better, "better"), (found.worse, "**worse**"), (found.equal, "equal"))
    return ", ".join(f"{n} {word}" for n, word in (*counts, (found.inconclusive, "undecided")) if n)


def _folded(found: VerdictTable) -> list[str]:
    """The whole table behind one line, and before it whatever came out worse."""
    worse = [_head(found), _RULE, *(_row(row) for row in found.worse), ""] if found.worse else []
    what = f"All {len(found.rows)} comparisons of {html(found.candidate.name)} against {html(found.baseline.name)}"
    return [*worse, f"<details><summary>{what}</summary>", "", *_table(found), "", "</details>"]


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
