"""``crossfade run --memray``: one more block under memray, whose flamegraph is attached to the results.

The rule: memray explains and never supplies a number (method rule 18). What it needs is looked for before anything is
measured, and what goes wrong afterwards costs the flamegraph and nothing else.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from crossfade.harness.cli import output
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.problems import BlockFailed, HarnessError, Unavailable, UsageError
from crossfade.harness.runner import draw
from crossfade.harness.samples import Attachment, Results, Slot
from crossfade.harness.store import Store
from crossfade.scenarios import Profile, Scenario

VARIANT = "python"
"""What other variants allocate outside Python's allocator, memray sees without its reasons."""
INSTALL = "pip install 'crossfade[memray]'"


def explainable(results: Results, scenarios: Sequence[Scenario]) -> Scenario:
    """The scenario that is explained. Raises UsageError if none can be, Unavailable without memray."""
    if importlib.util.find_spec("memray") is None:
        raise Unavailable(f"--memray needs memray, which is not installed; {INSTALL}")
    scenario = next((s for s in scenarios if s.kind == "throughput"), None)
    if scenario is None or VARIANT not in (results.baseline, *results.candidates):
        raise UsageError(f"--memray needs a throughput scenario and the {VARIANT} variant; select gateway-echo")
    return scenario


def explain(results: Results, scenarios: Sequence[Scenario], executor: LocalExecutor, store: Store) -> Results:
    """The results with the flamegraph attached, or as they were, with a note that says why."""
    try:
        return drawn(results, explainable(results, scenarios), executor, store)
    except HarnessError as error:
        output.note(f"no flamegraph: {error}")
    except KeyboardInterrupt:
        output.note("no flamegraph: interrupted; all that was measured is kept")
    return results


def drawn(results: Results, scenario: Scenario, executor: LocalExecutor, store: Store) -> Results:
    """One block under memray, not timed, and its flamegraph as an attachment. Raises BlockFailed."""
    trace, page = store.folder / "memray.bin", store.folder / f"memray-{scenario.name}-{VARIANT}.html"
    trace.unlink(missing_ok=True)
    profile: Profile = msgspec.convert(results.profile, Profile)
    slot = Slot(scenario=scenario.name, round=0, position=0, variant=VARIANT)
    task = Task(scenario=scenario, profile=profile, slot=slot, seed=draw(results.seed, "memray"), hash_seed=1)
    output.note(f"one more block of {scenario.name} under memray, which is not timed")
    from crossfade.harness.measure import measure  # noqa: PLC0415 - only here

    try:
        measure(executor.bench(task, memray=trace))
        done = subprocess.run(
            [sys.executable, "-m", "memray", "flamegraph", "--force", "-o", str(page), str(trace)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        trace.unlink(missing_ok=True)
    if done.returncode:
        raise BlockFailed(f"memray drew no flamegraph: {done.stderr.strip()[-300:]}; {INSTALL}")
    added = Attachment(path=page.name, what="memray flamegraph", scenario=scenario.name, variant=VARIANT)
    results = msgspec.structs.replace(results, attachments=(*results.attachments, added))
    store.save(results)
    return results
