"""What on this machine makes numbers noisy or parts missing, and how to fix each."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import time
from typing import Literal

import msgspec

from crossfade.harness import environment
from crossfade.harness.affinity import place
from crossfade.harness.problems import Unavailable
from crossfade.impls import find_variant, missing, variant_names

Level = Literal["ok", "note", "problem"]
FILES_WANTED = 4096


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``fix`` is what to do, empty if nothing."""

    level: Level
    what: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything. Takes about a quarter of a second."""
    return [*_software(), *_machine(), *_timing()]


def _software() -> list[Finding]:
    found = []
    for name in variant_names():
        if (why := missing(name)) is None:
            found.append(Finding("ok", f"variant {name}: {find_variant(name).description}"))
        else:
            found.append(Finding("problem", why))
    try:
        native = environment.native_build()
    except Unavailable as error:
        found.append(Finding("problem", str(error)))
        native = None
    if native is not None and native.get("profile") != "release":
        what = f"the native module is a {native.get('profile')} build"
        found.append(Finding("problem", what, "run `make native-release`"))
    if importlib.util.find_spec("uvloop") is None:
        fix = "pip install 'crossfade[uvloop]'"
        found.append(
            Finding("note", "uvloop is not installed; the python variant runs on the slower standard loop", fix)
        )
    if environment.nginx_path() is None:
        found.append(Finding("note", "nginx is not installed; reports lack the practical limit", "install nginx"))
    else:
        found.append(Finding("ok", f"nginx {environment.nginx_version()}"))
    return found


def _machine() -> list[Finding]:
    found = []
    described = environment.collect()
    placement = place(described.cpu.affinity)
    level: Level = "ok" if placement.variant is not None else "problem"
    found.append(Finding(level, placement.describe()))
    found.extend(Finding("note", text) for text in described.warnings)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_WANTED:
        fix = "raise the hard limit of this user or container (ulimit -Hn)"
        found.append(Finding("problem", f"only {hard} open files are allowed; memory ladders need {FILES_WANTED}", fix))
    if shutil.disk_usage(os.curdir).free < 200 * 1024 * 1024:
        found.append(Finding("problem", "less than 200 MiB are free here", "free space or choose another --out"))
    return found


def _timing() -> list[Finding]:
    stolen = stolen_share()
    if stolen > 0.02:
        fix = "stop other work, or move to a quieter machine"
        return [Finding("problem", f"{stolen:.1%} of a busy loop's time was taken away", fix)]
    return [Finding("ok", f"a busy loop kept {1 - stolen:.2%} of its time")]


def stolen_share(duration_s: float = 0.25) -> float:
    """The share of a busy loop's wall time that its process did not get."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < duration_s:
        pass
    used, passed = time.process_time() - cpu, time.perf_counter() - wall
    return max(0.0, 1 - used / passed)
