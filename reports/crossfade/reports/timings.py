"""Single operations in every core, and what they tell about a whole call: policy, crossing, shell. Pure.

The rule: a figure stands for one core in one place. ``core`` is the loop in the core's own language, ``called`` the
same operation called from Python, as the asyncio shell does; the difference is the crossing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from crossfade.harness.samples import Operation, Results, ScenarioRecord
from crossfade.harness.stats import Analysis
from crossfade.reports.measured import Cast, summary
from crossfade.reports.page import Share, Timing, TimingRow, TimingTable
from crossfade.reports.words import joined, lowered, plain, times

TITLES = {
    "pool_checkout": ("Pool checkout and release", "connections"),
    "route": ("Choose an instance (P2C)", "instances"),
    "round_robin": ("Choose an instance (round robin)", "instances"),
    "weighted": ("Choose an instance (weighted)", "instances"),
    "least_pending": ("Choose an instance (least pending)", "instances"),
    "rendezvous": ("Choose an instance (rendezvous)", "instances"),
    "registry_lookup": ("Find a server by name", "servers"),
    "breaker": ("Circuit breaker: admit and record", "verdicts kept"),
    "health": ("Health verdict", ""),
    "restart": ("Restart: delay or crash loop", ""),
    "rate_limit": ("Rate limit", "keys"),
    "bulkhead": ("Bulkhead: enter and leave", "places"),
    "retry": ("Retry: budget and delay", ""),
    "hedge": ("Hedge: budget and delay", ""),
    "shed": ("Load shedding", ""),
    "metrics": ("Metrics of one request", ""),
    "register": ("Register and unregister a server", ""),
    "call": ("One call", ""),
    "broadcast": ("One call to each server at once", "servers"),
}
PROBE = "Health probe of a live server"
EQUAL = 1.1
"""Medians that differ by less than this factor are told as about equal."""
PER_CALL = (("pool_checkout", 8), ("route", 8), ("breaker", 100))
"""What every call asks of the policy."""
_PLACES = (("core", "in its own language"), ("called", "called from Python"))
CORES_ALONE = "The cores alone"


def tables(results: Results) -> tuple[TimingTable, ...]:
    """Cores first, the interface after."""
    found = []
    for record in results.scenarios:
        if record.kind == "ops":
            found += [_cores(results, record), _interface(results, record)]
    return tuple(table for table in found if table.rows)


def _cores(results: Results, record: ScenarioRecord) -> TimingTable:
    """One column per core and place. Variants that share a core measure the same thing: their blocks are pooled."""
    columns: list[tuple[str, Callable[[str, str], bool]]] = []
    for core, variants in CORES.items():
        for where, words in _PLACES:
            there = [op for v in variants for op in _of(results, record, v) if op.where == where]
            if there:
                columns.append((f"{core}, {words}", _matcher(variants, where)))
    return _table(CORES_ALONE, results, record, columns, interface=False)


CORES = {"python": ("python",), "numba": ("numba",), "Rust": ("rust-core", "rust")}
"""Cores, and the variants that run on them."""


def _interface(results: Results, record: ScenarioRecord) -> TimingTable:
    columns = [
        (plain(variant), _matcher((variant,), "interface"))
        for variant in record.variants
        if any(op.where == "interface" for op in _of(results, record, variant))
    ]
    return _table("Through the interface, as the caller waits", results, record, columns, interface=True)


def _matcher(variants: Sequence[str], where: str) -> Callable[[str, str], bool]:
    return lambda variant, place: variant in variants and place == where


def _table(
    what: str,
    results: Results,
    record: ScenarioRecord,
    columns: Sequence[tuple[str, Callable[[str, str], bool]]],
    *,
    interface: bool,
) -> TimingTable:
    pairs = [
        (v, op) for v in record.variants for op in _of(results, record, v) if (op.where == "interface") == interface
    ]
    keys = list(dict.fromkeys((op.name, op.size) for _, op in pairs))
    places = {name: i for i, name in enumerate(TITLES)}
    rows = []
    for name, size in sorted(keys, key=lambda key: (places.get(key[0], len(places)), key[1])):
        title, unit = TITLES.get(name, (plain(name), ""))
        if name == "health" and interface:
            title = PROBE
        cells = tuple(
            _timing([op for variant, op in pairs if (op.name, op.size) == (name, size) and fits(variant, op.where)])
            for _, fits in columns
        )
        rows.append(TimingRow(title, f"{size:,} {unit}" if unit else "", cells))
    return TimingTable(what, tuple(label for label, _ in columns), tuple(rows))


def _of(results: Results, record: ScenarioRecord, variant: str) -> list[Operation]:
    return [op for block in results.of(record.name, variant) for op in block.operations]


def _timing(found: Sequence[Operation]) -> Timing | None:
    if not found:
        return None
    return Timing(*(median(getattr(op, field) for op in found) for field in ("min_ns", "p50_ns", "p99_ns")))


def against_python(table: TimingTable, core: str) -> str | None:
    """Where a compiled core's single steps, called from Python, take longer than Python's own, and where not; and its
    batches beside them. None for a table that has no such columns."""
    own, called, steps = (f"{core}, {_PLACES[0][1]}", f"{core}, {_PLACES[1][1]}", f"python, {_PLACES[0][1]}")
    if not {own, called, steps} <= set(table.columns):
        return None
    single, batched = (_ratios(table, column, steps) for column in (called, own))
    groups = [
        ("longer than Python\u2019s own", {row: gain for row, gain in single.items() if gain >= EQUAL}),
        ("about as long", {row: gain for row, gain in single.items() if 1 / EQUAL < gain < EQUAL}),
        ("less", {row: gain for row, gain in single.items() if gain <= 1 / EQUAL}),
    ]
    told = [f"{words} for {_listed(found)}" for words, found in groups if found]
    if not told or not batched:
        return None
    faster = [1 / gain for gain in batched.values() if gain < 1]
    of = "each" if len(faster) == len(batched) else f"{len(faster)}"
    gains = f", by factors of {times(min(faster))} to {times(max(faster))}" if faster else ""
    return (
        f"One step of {core}, called from Python, takes {'; '.join(told)}. In batches, in its own language, it is "
        f"below Python in {of} of the {len(batched)} figures{gains}."
    )


def _ratios(table: TimingTable, column: str, base: str) -> dict[tuple[str, str], float]:
    """Median of a column over that of another, by operation and size, where both were timed."""
    places = [table.columns.index(name) for name in (column, base)]
    found = {}
    for row in table.rows:
        of, over = (row.cells[place] for place in places)
        if of is not None and over is not None:
            found[row.name, row.size] = of.p50_ns / over.p50_ns
    return found


def _listed(found: dict[tuple[str, str], float]) -> str:
    """Ratios in words, the sizes of one operation together."""
    by_name: dict[str, list[float]] = {}
    for (name, _), gain in found.items():
        by_name.setdefault(name, []).append(gain)
    words = []
    for name, gains in by_name.items():
        low, high = times(min(gains)), times(max(gains))
        words.append(f"\u201c{lowered(name)}\u201d ({low if low == high else f'{low} to {high}'} times)")
    return joined(words)


def shares(results: Results, analysis: Analysis, cast: Cast) -> tuple[Share, ...]:
    """Processor time of one in-process call, split by what the operations cost alone."""
    ops = next((s for s in results.scenarios if s.kind == "ops"), None)
    if ops is None:
        return ()
    found = []
    for variant in ops.variants:
        whole = summary(analysis, ops.name, variant, "call_cpu_us")
        alone = _per_call(_of(results, ops, variant), "core")
        if whole is None or alone is None or variant not in cast.variants:
            continue
        called = _per_call(_of(results, ops, variant), "called")
        crossing = None if called is None else max(0.0, called - alone)
        if variant == "python":
            crossing = 0.0
        found.append(Share(cast[variant], whole.mean, alone, crossing))
    return tuple(found)


def _per_call(found: Sequence[Operation], where: str) -> float | None:
    """Microseconds of policy in one call, or None if an operation was not timed there."""
    costs = []
    for name, size in PER_CALL:
        timing = _timing([op for op in found if (op.name, op.size, op.where) == (name, size, where)])
        if timing is None:
            return None
        costs.append(timing.p50_ns)
    return sum(costs) / 1000


def instructions(results: Results) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and rows of the counted instructions: an operation a line, a core a column; empty if none were counted."""
    found = results.instructions
    if found is None:
        return (), ()
    cores = tuple(dict.fromkeys(count.core for count in found.counts))
    each = {(c.operation, c.core): f"{c.per_operation:,.0f}" for c in found.counts}
    rows = []
    for name, size in dict.fromkeys((c.operation, c.size) for c in found.counts):
        words, unit = TITLES.get(name, (plain(name), ""))
        told = f"{words}, {size:,} {unit}" if unit else words
        rows.append((told, *(each.get((name, core), "\u2013") for core in cores)))
    return ("operation", *map(plain, cores)), tuple(rows)
