"""The stored comparison of the simulator with measured runs: where it lies, and what it says in words.

Nothing is simulated here, and numba is not needed. The rules: how far the model can be trusted is read from a stored
result wherever the model answers, and nowhere written by hand; a measured p99 that is itself known less well than the
target can neither bear a prediction out nor refute it, and such points are told apart, never left out.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import msgspec

from crossfade.harness.environment import checkout
from crossfade.harness.problems import UsageError
from crossfade.harness.samples import Predicted, Validation

FILE = "validation.json"
BASELINE = Path("reports") / "baselines" / "plan" / FILE
COLUMNS = (
    "scenario",
    "variant",
    "nodes",
    "requests/s",
    "p99 measured (95 %), ms",
    "of all phases",
    "p99 predicted, ms",
    "error",
)
NEVER = "not yet validated on this machine: measure with `crossfade run nodes-rates nodes-pool`"


def read(path: Path) -> Validation:
    """A stored comparison. Raises UsageError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Validation)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name the file that `crossfade plan --validate` wrote") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: is no stored validation ({error}); write it anew with --validate") from None


def write(found: Validation, path: Path) -> None:
    """Store a comparison. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file that can be written") from None


def nearest(beside: Path) -> Validation | None:
    """The comparison stored beside the results, else the one that the checkout brings; None if there is neither."""
    root = checkout()
    folder = beside if beside.is_dir() else beside.parent
    places = [folder / FILE, folder.resolve().parent / FILE, *([root / BASELINE] if root is not None else [])]
    return next((read(path) for path in places if path.is_file()), None)


def counted(found: Validation, variant: str | None = None) -> list[Predicted]:
    """The rows that prove something: not those that the model was fitted to."""
    return [row for row in found.rows if not row.calibration and variant in (None, row.variant)]


def tells(row: Predicted, target: float) -> bool:
    """Whether rounds agree about the measured p99 so well that an error of ``target`` would show."""
    if row.low_p99_ms is None or row.high_p99_ms is None:
        return False
    return math.sqrt(row.high_p99_ms / row.low_p99_ms) - 1 <= target


def missed(row: Predicted, target: float) -> str:
    """The error of a prediction in words; in brackets where what was measured cannot tell."""
    if row.calibration:
        return "fitted"
    if row.error is None:
        return "none"
    return f"{row.error:+.0%}" if tells(row, target) else f"({row.error:+.0%})"


def words(found: Validation | None, variant: str | None = None) -> str:
    """How far the model was validated, in a sentence."""
    every = counted(found, variant) if found is not None else []
    if found is None or not every:
        return NEVER
    rows = [row for row in every if tells(row, found.target)]
    blurred = [row for row in every if not tells(row, found.target)]
    run = f" (run {found.results})"
    if not rows:
        return (
            f"not validated: at none of {len(every)} points did rounds agree about p99 within {found.target:.0%}{run}"
        )
    errors = [abs(row.error) for row in rows if row.error is not None]
    within = sum(error < found.target for error in errors)
    nodes = sorted({row.nodes for row in rows})
    span = f"{', '.join(map(str, nodes[:-1]))} and {nodes[-1]}" if len(nodes) > 1 else str(nodes[0])
    points = "measured point" if len(rows) == 1 else "measured points"
    text = (
        f"validated against {len(rows)} {points} of {span} {'node' if nodes == [1] else 'nodes'}: "
        f"p99 within {found.target:.0%} at {within}"
    )
    if errors:
        text += f", median error {statistics.median(errors):.0%}, largest {max(errors):.0%}"
    if len(errors) < len(rows):
        text += f", no answer at {len(rows) - len(errors)}"
    if blurred:
        names = " and ".join(sorted({row.scenario for row in blurred}))
        text += (
            f"; {len(blurred)} more ({names}) cannot tell, for rounds differ about their p99 by more than "
            f"{found.target:.0%}"
        )
    return text + run


def table(found: Validation) -> str:
    """Every row in Markdown, under the sentence."""
    fast = f" It simulated {found.events_per_s / 1e6:.0f} million events per second." if found.events_per_s else ""
    head = f"| {' | '.join(COLUMNS)} |"
    lines = [f"The model is {words(found)}.{fast}", "", head, "| --- | --- | --: | --: | --: | --: | --: | --: |"]
    for row in found.rows:
        ends = "" if row.low_p99_ms is None else f" ({row.low_p99_ms:.3g} to {row.high_p99_ms or 0.0:.3g})"
        said = "grows" if row.predicted_p99_ms is None else f"{row.predicted_p99_ms:.3g}"
        what = f"| {row.scenario} | {row.variant} | {row.nodes} | {row.rate_per_s:,.0f} "
        whole = "" if row.all_p99_ms is None else f"{row.all_p99_ms:.3g}"
        lines.append(f"{what}| {row.measured_p99_ms:.3g}{ends} | {whole} | {said} | {missed(row, found.target)} |")
    return "\n".join(lines) + "\n"
