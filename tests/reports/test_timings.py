"""Operations side by side: each figure in the column of its core and place, and a call's time without remainder."""

from __future__ import annotations

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.reports import performance, view
from crossfade.reports.render import timing


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
