"""npm packages that tests need, installed once into a cache folder and pinned by a ``package.json`` in the tests.

Rule: what cannot be installed is told with npm's own words; nothing is fetched twice.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path


class Unavailable(Exception):
    """Says what is missing and what to do about it."""


def installed(package: Path, folder: str = "") -> Path:
    """``node_modules`` of a ``package.json``, in ``folder`` below the cache (``NPM_CACHE_DIR``)."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Unavailable("node and npm are not on PATH; install Node.js 20 or newer to run these")
    cache = Path(os.environ.get("NPM_CACHE_DIR") or Path.home() / ".cache" / "crossfade" / "npm") / folder
    wanted = package.read_text()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = cache / "installed.json"
        if not ((cache / "node_modules").is_dir() and stamp.exists() and stamp.read_text() == wanted):
            (cache / "package.json").write_text(wanted)
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(cache)]
            done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Unavailable(f"npm install failed; is a registry reachable? {done.stderr[-400:]}")
            stamp.write_text(wanted)
    return cache / "node_modules"
