"""Instructions per policy operation, counted by callgrind: the figure that no neighbour on the machine can move.

An operation is run twice in processes of their own, a few times and many times, with a fixed ``PYTHONHASHSEED`` and
without address-space randomisation; the difference of both counts over the difference of the iterations is the
operation's, and start, imports and preparation cancel out. The rule: a count is no time. It tells a change of the code
from the noise of a machine, and says nothing of caches, branches or waiting. numba has no counts: callgrind would count
its compiler.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from crossfade.harness.points import InstructionCount, Instructions
from crossfade.harness.policy import CORE_OPS
from crossfade.harness.problems import BlockFailed, Unavailable
from crossfade.harness.runner import now

CORES = ("python", "rust")
_ITERATIONS = {"python": (50, 550), "rust": (1_000, 21_000)}
_CODE = {
    "python": "from crossfade.impls.cores.bench_ops import run; run({op!r}, {iterations}, {size})",
    "rust": "from crossfade_native import policy_bench; policy_bench({op!r}, {iterations}, {size})",
}
"""What a counted process does; the same loops that ``policy-ops`` times."""
_PATIENCE_S = 300.0
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def tools() -> tuple[str, tuple[str, ...]]:
    """Path of valgrind and the prefix that switches randomisation off. Raises Unavailable."""
    valgrind, setarch = shutil.which("valgrind"), shutil.which("setarch")
    if valgrind is None:
        raise Unavailable(
            "instructions are counted by callgrind and valgrind is not installed; apt-get install valgrind"
        )
    if setarch is None:
        raise Unavailable("setarch is not installed and addresses would be random; apt-get install util-linux")
    return valgrind, (setarch, platform.machine(), "-R")


def count(cores: Sequence[str], operations: Sequence[str], told: Callable[[str], None]) -> Instructions:
    """Count every operation of every core at its first size. Raises Unavailable or BlockFailed."""
    valgrind, fixed = tools()
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = []
    for core in cores:
        for op in operations:
            size = CORE_OPS[op][0]
            few, many = _ITERATIONS[core]
            spent = [_run(valgrind, fixed, _CODE[core].format(op=op, iterations=n, size=size)) for n in (few, many)]
            found.append(
                InstructionCount(core=core, operation=op, size=size, per_operation=(spent[1] - spent[0]) / (many - few))
            )
            told(f"{core} {op}: {found[-1].per_operation:,.1f} instructions")
    return Instructions(
        created=now(),
        valgrind=version,
        machine=platform.machine(),
        python=platform.python_version(),
        counts=tuple(found),
    )


def _run(valgrind: str, fixed: Sequence[str], code: str) -> int:
    """Instructions of one process."""
    with tempfile.TemporaryDirectory(prefix="crossfade-callgrind-") as folder:
        out = Path(folder) / "out"
        counted = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", "--quiet", sys.executable, "-c", code]
        ran = subprocess.run(
            [*fixed, *counted],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        if ran.returncode or not out.is_file():
            raise BlockFailed(
                f"callgrind could not run {code!r}: {ran.stderr.strip()[-300:]}; run it by hand to see more"
            )
        return total(out.read_text())


def total(profile: str) -> int:
    """Instructions in a callgrind profile. Raises BlockFailed if it names none."""
    match = _TOTAL.search(profile)
    if match is None:
        raise BlockFailed("callgrind's profile has no total; another valgrind may write another format, see --version")
    return int(match[1])
