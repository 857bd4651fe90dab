"""What reading and rendering the largest results file takes (:mod:`crossfade.harness.crosscheck.madeup`).

``python -m crossfade.harness.cli.large FILE`` does it in a process of its own, and reports seconds from its
first line on, imports included, and the most memory that it ever held.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crossfade.harness.crosscheck.record import Large
from crossfade.harness.driven import emit

SAMPLES = 10_000_000
BLOCKS = 4_000
PATIENCE_S = 300.0


def measure(
    *, seed: int, samples: int = SAMPLES, blocks: int = BLOCKS, say: Callable[[str], None] = lambda _: None
) -> Large:
    """Make the file, then read and render it. Raises BlockFailed."""
    # The child imports this module too, and what it does not need would be in its figures.
    from crossfade.harness.crosscheck import madeup  # noqa: PLC0415
    from crossfade.harness.processes import Child  # noqa: PLC0415
    from crossfade.harness.runner import now  # noqa: PLC0415
    from crossfade.harness.store import Store  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="crossfade-large-") as name:
        results = madeup.results(seed, samples=samples, blocks=blocks)
        store = Store(Path(name), "large")
        store.save(results)
        file_mb = store.path.stat().st_size / 1e6
        say(f"made up {len(results.blocks):,} blocks with {samples:,} samples: {file_mb:.0f} MB")
        with Child("large", [sys.executable, "-m", __spec__.name, str(store.path)]) as child:
            said = child.expect("rendered", timeout_s=PATIENCE_S)
    say(f"read in {said['load_s']:.1f} s, rendered in {said['render_s']:.1f} s, {said['peak_mb']:.0f} MB at most")
    return Large(
        created=now(),
        samples=samples,
        blocks=len(results.blocks),
        intervals=sum(len(point.series) for block in results.blocks for point in block.points),
        file_mb=file_mb,
        load_s=said["load_s"],
        render_s=said["render_s"],
        cpu_s=said["cpu_s"],
        peak_mb=said["peak_mb"],
        page_mb=said["page_mb"],
    )


def peak_mb() -> float:
    """The most memory this process ever held. Not ``ru_maxrss``: that begins with the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("/proc/self/status has no VmHWM; this check needs Linux")


def main(path: Path) -> None:
    """Read, render, report."""
    import json  # noqa: PLC0415 - see measure

    begin = time.perf_counter()
    from crossfade.harness.store import load  # noqa: PLC0415 - imports are part of the figure

    results = load(path)
    loaded = time.perf_counter()
    # By name: this process stands for `crossfade report`, and the harness itself knows no reports.
    page = importlib.import_module("crossfade.reports").render(results, path.parent)
    done = time.perf_counter()
    sizes = {"cpu_s": time.process_time(), "peak_mb": peak_mb(), "page_mb": page.stat().st_size / 1e6}
    emit(json.dumps({"event": "rendered", "load_s": loaded - begin, "render_s": done - loaded, **sizes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
