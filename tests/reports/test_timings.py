"""Operations side by side: each figure in the column of its core and place, and a call's time without remainder."""

from __future__ import annotations

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.reports import performance, view
from crossfade.reports.page import Timing, TimingRow, TimingTable
from crossfade.reports.render import timing
from crossfade.reports.timings import CORES_ALONE, against_python


def test_each_core_and_place_has_a_column_and_the_interface_a_table_of_its_own() -> None:
    cores, interface = view(make_results(1)).timings
    assert cores.columns == ("python, in its own language", "Rust, in its own language", "Rust, called from Python")
    assert interface.columns == ("python", "rust")
    rows = {(row.name, row.size): row.cells for row in cores.rows}
    python, rust, called = rows["Choose an instance (P2C)", "1,000 instances"]
    assert python is not None
    assert rust is not None
    assert called is not None
    assert rust.p50_ns < called.p50_ns < python.p50_ns
    assert all(cell is None or cell.min_ns < cell.p50_ns < cell.p99_ns for row in cores.rows for cell in row.cells)
    assert rows["Health verdict", ""][2] is None, "what was not timed there is shown as a figure"


def test_a_calls_time_is_policy_crossing_and_shell_and_nothing_else() -> None:
    shares = {share.who.name: share for share in view(make_results(1)).shares}
    for share in shares.values():
        assert share.policy + (share.crossing or 0) + share.shell == pytest.approx(share.whole)
    assert shares["python"].crossing == 0
    assert (shares["rust"].crossing or 0) > 0


def test_results_without_operations_have_no_such_part() -> None:
    results = make_results(1)
    bare = msgspec.structs.replace(
        results, blocks=tuple(msgspec.structs.replace(b, operations=()) for b in results.blocks)
    )
    assert view(bare).timings == ()
    assert view(bare).shares == ()
    assert "## The cores alone" not in performance(bare)


def test_the_performance_report_says_what_is_open() -> None:
    told = performance(make_results(1))
    assert "| linear scaling to 16 nodes | \u2013 | not measured |" in told
    assert "48 KB per connection" in told
    rows = [line for line in told.splitlines() if line.startswith("| Choose an instance")]
    assert len(rows) == 2
    assert timing(None) == "\u2013"


COLUMNS = ("python, in its own language", "numba, in its own language", "numba, called from Python")


def compared(*rows: tuple[str, str, float, float | None, float]) -> TimingTable:
    """Medians by column; the other quantiles are such that a sentence made of them would be another one."""

    def cell(median: float | None) -> Timing | None:
        return None if median is None else Timing(1.0, median, 1e6)

    return TimingTable(
        CORES_ALONE, COLUMNS, tuple(TimingRow(name, size, tuple(map(cell, medians))) for name, size, *medians in rows)
    )


def test_the_words_say_which_single_steps_numba_loses_and_which_it_does_not() -> None:
    table = compared(
        ("Health verdict", "", 100, 1, 400),
        ("Find a server by name", "10 servers", 40, 4, 42),
        ("Choose an instance (P2C)", "8 instances", 1000, 50, 800),
        ("Choose an instance (P2C)", "100 instances", 1000, 2000, 900),
        ("Metrics of one request", "", 300, None, 300),
    )
    assert against_python(table, "numba") == (
        "One step of numba, called from Python, takes longer than Python\u2019s own for \u201chealth verdict\u201d "
        "(4.0 times); about as long for \u201cfind a server by name\u201d (1.05 times) and \u201cmetrics of one "
        "request\u201d (1.00 times); less for \u201cchoose an instance (P2C)\u201d (0.80 to 0.90 times). In batches, "
        "in its own language, it is below Python in 3 of the 4 figures, by factors of 10 to 100."
    )
    without_loss = compared(("Health verdict", "", 100, 1, 80), ("Load shedding", "", 100, 50, 80))
    told = against_python(without_loss, "numba")
    assert told is not None
    assert "longer" not in told
    assert told.endswith("it is below Python in each of the 2 figures, by factors of 2.0 to 100.")


def test_nothing_is_said_of_a_core_that_was_not_timed() -> None:
    cores, _ = view(make_results(1)).timings
    assert against_python(cores, "numba") is None
    assert "One step of numba" not in performance(make_results(1))


def test_what_no_core_does_is_said_to_be_measured_through_the_interface() -> None:
    told = performance(make_results(1))
    cores, interface = told.split("## Through the interface")
    assert "Registering a server and calling several at once are no decisions of a core" in interface
    assert "Register" not in cores.split("## The cores alone")[1]
