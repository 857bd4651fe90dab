"""The machine and the software, as far as they move numbers; recorded with every run.

The rule: a debug build of the native wheel is refused, a development build is allowed and labelled loudly, and what
makes this machine noisy is a warning in the results, not a secret.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from crossfade.harness.affinity import available
from crossfade.harness.problems import Unavailable
from crossfade.harness.samples import Cpu, Environment

PACKAGES = ("crossfade", "crossfade-native", "httptools", "msgspec", "uvloop", "numpy", "numba")
MATTERS = ("cpu.model", "cpu.count", "cpu.governor", "cpu.quota", "python", "native.profile", "os")
"""What must agree before two results are compared without force."""


def collect(*, pinning: str = "", root: Path | None = None) -> Environment:
    """Look at this machine. ``root`` is the checkout whose commit is recorded, if there is one.

    Raises Unavailable if the installed native wheel is a debug build.
    """
    cpu = _cpu()
    native = native_build()
    memory_kib = _meminfo().get("MemTotal", 0)
    commit, dirty = _commit(root) if root is not None else (None, None)
    return Environment(
        cpu=cpu,
        memory_mib=memory_kib // 1024,
        memory_limit_mib=_memory_limit(),
        kernel=platform.release(),
        os=platform.system(),
        # Enough to see that two results come from one machine, too little to name it.
        hostname_hash=hashlib.sha256(platform.node().encode()).hexdigest()[:8],
        python=platform.python_version(),
        python_build=f"{platform.python_implementation()}, {platform.python_compiler()}",
        packages=_versions(),
        native=native,
        nginx=nginx_version(),
        commit=commit,
        dirty=dirty,
        pinning=pinning,
        warnings=tuple(warnings(cpu, native)),
    )


def warnings(cpu: Cpu, native: dict[str, Any] | None) -> list[str]:
    """What makes numbers from here doubtful, each with what to do about it."""
    found = []
    if native is None:
        found.append("the native module is not installed: no rust variant, and the Python generator limits the load")
    elif native.get("profile") != "release":
        found.append(
            f"DEVELOPMENT BUILD: the native module was built with profile {native.get('profile')!r}; "
            "its figures are not for publication, build with `make native-release`"
        )
    if len(cpu.affinity) < 2:
        found.append("one processor only: variant, fleet and load disturb each other")
    elif len(cpu.affinity) == 2:
        found.append("two processors: fleet and load share one, so the ceiling is that of one processor")
    if cpu.governor not in (None, "performance"):
        found.append(f"the frequency governor is {cpu.governor!r}; set it to performance")
    if cpu.virtual:
        found.append(f"the processor is virtual ({cpu.virtual}): neighbours may disturb, trust ratios of pairs only")
    load = os.getloadavg()[0]
    if load > 0.5 * cpu.count:
        found.append(f"the machine was busy before the run (load average {load:.1f}); stop other work")
    return found


def native_build() -> dict[str, Any] | None:
    """``crossfade_native.build_info()``, or None if missing. Raises Unavailable for a debug or broken build."""
    if importlib.util.find_spec("crossfade_native") is None:
        return None
    try:
        info: dict[str, Any] = dict(importlib.import_module("crossfade_native").build_info())
    except ImportError as error:
        why = f"crossfade_native is installed and cannot be loaded ({error})"
        raise Unavailable(f"{why}; run `make native-release`, or uninstall it") from error
    if info.get("profile") == "debug":
        raise Unavailable("crossfade_native is a debug build, whose numbers mean nothing; run `make native-release`")
    return info


def nginx_path() -> str | None:
    """Where nginx is, also where a plain user's PATH does not look."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")


def nginx_version() -> str | None:
    """Its version, or None where it is not installed."""
    path = nginx_path()
    if path is None:
        return None
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False, timeout=10)
    return said.stderr.strip().rpartition("/")[2] or None


def differences(one: Environment, other: Environment) -> list[str]:
    """What differs in what matters, as ``key: a != b``."""
    left, right = _flat(one), _flat(other)
    return [f"{key}: {left.get(key)!r} != {right.get(key)!r}" for key in MATTERS if left.get(key) != right.get(key)]


def fingerprint(environment: Environment) -> str:
    """Twelve hex digits of the host and of everything that matters there: alike where numbers may be compared."""
    flat = _flat(environment)
    told = [environment.hostname_hash, *(str(flat.get(key)) for key in MATTERS)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _flat(environment: Environment) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(environment)
    flat = {f"cpu.{k}": v for k, v in body["cpu"].items()}
    flat["native.profile"] = (body["native"] or {}).get("profile")
    return {**body, **flat}


def _cpu() -> Cpu:
    info = _first(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()
    base = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    boost = _read(Path("/sys/devices/system/cpu/cpufreq/boost"))
    flags = _first(Path("/proc/cpuinfo"), "flags") or ""
    return Cpu(
        model=info,
        count=os.cpu_count() or 1,
        affinity=available(),
        governor=_read(base / "scaling_governor"),
        boost=None if boost is None else boost == "1",
        quota=_quota(),
        mitigations=_mitigations(),
        virtual=(_read(Path("/sys/class/dmi/id/sys_vendor")) or "hypervisor")
        if "hypervisor" in flags.split()
        else None,
    )


def _mitigations() -> str | None:
    said = [_read(p) or "" for p in sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))]
    counts = {word: sum(s.startswith(word) for s in said) for word in ("Mitigation", "Vulnerable", "Not affected")}
    return ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count) or None


def _quota() -> float | None:
    text = _read(Path("/sys/fs/cgroup/cpu.max"))
    if text is None or text.startswith("max"):
        return None
    quota, period = text.split()
    return int(quota) / int(period)


def _memory_limit() -> int | None:
    text = _read(Path("/sys/fs/cgroup/memory.max"))
    return None if text is None or text == "max" else int(text) // (1024 * 1024)


def _meminfo() -> dict[str, int]:
    text = _read(Path("/proc/meminfo")) or ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: int(rest.split()[0]) for key, _, rest in pairs if rest.split()}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit(root: Path) -> tuple[str | None, bool | None]:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None, None
    head = subprocess.run([git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    status = subprocess.run(
        [git, "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return (head.stdout.strip() or None, bool(status.stdout.strip())) if head.returncode == 0 else (None, None)


def checkout() -> Path | None:
    """The checkout that this code runs from, or None for an installed wheel."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "pyproject.toml").exists() and (parent / "impls").is_dir():
            return parent
    return None


def _first(path: Path, key: str) -> str | None:
    for line in (_read(path) or "").splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == key:
            return rest.strip()
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
