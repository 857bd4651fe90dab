"""CSV: one row per block and metric, in running order, with the unit beside the value.

A block without metrics has one row with both left empty: what failed is in the table, too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from crossfade.harness.samples import METRICS, Block, Results

COLUMNS = (
    "run", "scenario", "variant", "kind", "round", "position", "status", "started", "wall_s", "metric", "value", "unit",
    "better", "error",
)  # fmt: skip


def table(results: Results) -> str:
    """The table with its head; lines end in CR LF, as RFC 4180 has them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for block in results.blocks:
        writer.writerows(_rows(results.id, block))
    return out.getvalue()


def _rows(run: str, block: Block) -> Iterator[tuple[object, ...]]:
    head = (
        run, block.scenario, block.variant, block.kind, block.round, block.position, block.status, block.started,
        block.wall_s,
    )  # fmt: skip
    error = " ".join((block.error or "").split())
    for name, value in block.metrics.items():
        yield (*head, name, repr(value), METRICS[name].unit, METRICS[name].better, error)
    if not block.metrics:
        yield (*head, "", "", "", "", error)
