"""Several runs one after another, of which each is kept and may be gone on with: what a self-test is made of.

``<folder>/series.json`` is the plan, ``<folder>/<number>/results.json`` each run. The rule: the plan is on disk before
anything is measured, and going on with it never measures a block twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from crossfade.harness import environment
from crossfade.harness.executor import Executor
from crossfade.harness.plan import estimate_s
from crossfade.harness.problems import UsageError
from crossfade.harness.progress import Progress
from crossfade.harness.runner import execute
from crossfade.harness.samples import Results
from crossfade.harness.store import Store, load
from crossfade.scenarios import Profile, Scenario

FILE = "series.json"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One run: who is compared, on what, and the seed that draws it."""

    number: int
    seed: int
    baseline: str
    candidates: tuple[str, ...]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """The plan. ``selectors`` and ``rounds`` are what was asked for on the command line."""

    kind: Literal["alarms", "power"]
    profile: Profile
    seed: int
    selectors: tuple[str, ...]
    rounds: int | None
    parts: tuple[Part, ...]


Build = Callable[[Part, str], tuple[Results, Sequence[Scenario]]]
"""A part and the name of its folder -> its plan without blocks, and its scenarios."""
Say = Callable[[str], None]


def write(series: Series, folder: Path) -> None:
    """Put the plan on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(series)))


def read(folder: Path) -> Series:
    """The plan of a folder. Raises UsageError if there is none."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Series)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"--resume {folder}: holds no {FILE} of a self-test ({error}); give its folder") from None


def measure(series: Series, folder: Path, build: Build, executor: Executor, say: Say) -> Iterator[Results]:
    """Every run of the series in turn, whole ones as they are. Raises Interrupted, and UsageError if an unfinished one
    is not of this machine or no longer of these scenarios."""
    for part in series.parts:
        store = Store(folder, f"{part.number:02d}")
        planned, scenarios = build(part, store.folder.name)
        results = planned
        if store.path.exists():
            results = load(store.path)
            _check(results, planned, store.folder)
        if not results.complete:
            say(f"run {part.number} of {len(series.parts)}: {part.baseline} and {', '.join(part.candidates)}")
            estimate = estimate_s(scenarios, results.scenarios, series.profile)
            results = execute(results, scenarios, executor, store.save, Progress(len(results.order), estimate))
        yield results


def _check(results: Results, planned: Results, folder: Path) -> None:
    if changed := environment.differences(results.environment, planned.environment):
        raise UsageError(f"{folder}: this machine differs ({'; '.join(changed)}); start a new self-test")
    if [s.sha256 for s in results.scenarios] != [s.sha256 for s in planned.scenarios]:
        raise UsageError(f"{folder}: its scenarios have changed since; start a new self-test")
