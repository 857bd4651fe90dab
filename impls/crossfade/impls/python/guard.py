"""Owns the promise that a child does not outlive a killed manager: the kernel's parent-death signal (prctl(2),
PR_SET_PDEATHSIG), set by ``setpriv`` of util-linux between our fork and the command.

Why not otherwise: ``preexec_fn`` runs Python after fork, which may deadlock in a process with threads and gives up
vfork; and to make ourselves a subreaper (PR_SET_CHILD_SUBREAPER) would hand a host program orphans that it never asked
for. The signal is bound to the thread that started the child, which is the event loop's. Grandchildren do not get it:
they go with their group, which every ordinary end kills, and they see their pipes close. Without ``setpriv`` a child is
told of our end by its stdin alone, as the protocol has it, and the log says once that it is missing.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger("crossfade.server")


def guarded(command: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The command as it is to be started. One that cannot be found is left as it is: its error stays its own."""
    setpriv = _setpriv()
    found = shutil.which(command[0], path=env.get("PATH", os.defpath)) if os.sep not in command[0] else command[0]
    if setpriv is None or found is None:
        return list(command)
    path = Path(found)
    if not path.is_absolute() or not path.is_file() or not os.access(path, os.X_OK):
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", "--", found, *command[1:]]


@functools.cache
def _setpriv() -> str | None:
    """Where it is, if it can; busybox has one that cannot. Asked once, and missed aloud."""
    if not sys.platform.startswith("linux"):
        return None
    path = shutil.which("setpriv")
    if path is not None and _can(path):
        return path
    _LOG.warning(
        "%s: a server that ignores the end of its stdin outlives a manager that is killed; install util-linux",
        "no setpriv on PATH" if path is None else f"{path} knows no --pdeathsig",
    )
    return None


def _can(setpriv: str) -> bool:
    try:
        asked = subprocess.run([setpriv, "--help"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"--pdeathsig" in asked.stdout + asked.stderr
