"""The layout holds: one namespace package in four roots, imports that point one way, crates that stay apart."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PORTIONS = ("impls", "harness", "scenarios", "reports")

ALLOWED: dict[str, tuple[str, ...]] = {
    "scenarios": (),
    "impls": (),
    # The front door, its errors for `except`, and the timed operations of the cores, which are data for a scenario.
    "harness": (
        "crossfade.scenarios",
        "crossfade.impls!",
        "crossfade.impls.errors!",
        "crossfade.impls.cores.bench_ops",
    ),
    "reports": (
        "crossfade.harness.samples",
        "crossfade.harness.stats",
        "crossfade.harness.gate",
        # What is known of the ruler, and the words for it.
        "crossfade.harness.trust",
        "crossfade.harness.foretold",
        "crossfade.harness.crosscheck.judge",
        "crossfade.harness.overhead",
    ),
}
"""What a portion may import besides itself. ``!`` means that module and none below it."""


HARNESS = ROOT / "harness/crossfade/harness"


def modules(portion: str) -> Iterator[Path]:
    yield from sorted((ROOT / portion / "crossfade" / portion).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module of crossfade that a file imports, also inside functions; ``from a import b`` may name a module b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("crossfade."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            if node.module and node.module.split(".")[0] == "crossfade":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if is_module(inner) else node.module


def is_module(name: str) -> bool:
    parts = name.split(".")
    if len(parts) < 2 or parts[1] not in PORTIONS:
        return False
    base = ROOT.joinpath(parts[1], *parts)
    return base.with_suffix(".py").exists() or base.is_dir()


def allowed(name: str, portion: str) -> bool:
    if name == f"crossfade.{portion}" or name.startswith(f"crossfade.{portion}."):
        return True
    for rule in ALLOWED[portion]:
        exact, module = rule.endswith("!"), rule.rstrip("!")
        if name == module or (not exact and name.startswith(module + ".")):
            return True
    return False


@pytest.mark.parametrize("portion", PORTIONS)
def test_imports_point_one_way(portion: str) -> None:
    wrong = []
    for path in modules(portion):
        # The command line may import everything: it is where the parts meet. So may the child that clocks all of them.
        if path.is_relative_to(HARNESS / "cli") or path == HARNESS / "crosscheck" / "large.py":
            continue
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in imports(path) if not allowed(name, portion)]
    assert not wrong, "\n".join(wrong)


def test_the_rule_can_fail() -> None:
    assert not allowed("crossfade.impls.python.manager", "harness")
    assert not allowed("crossfade.harness.runner", "reports")
    assert not allowed("crossfade.harness.cli", "impls")
    assert allowed("crossfade.impls", "harness")


@pytest.mark.parametrize("portion", PORTIONS)
def test_a_portion_is_typed_and_the_namespace_has_no_init(portion: str) -> None:
    assert (ROOT / portion / "crossfade" / portion / "py.typed").exists()
    assert not (ROOT / portion / "crossfade" / "__init__.py").exists()
    assert [p.name for p in (ROOT / portion / "crossfade").iterdir() if p.suffix in ("", ".py")] == [portion]


def test_both_wheels_name_every_portion() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["tool"]["hatch"]["build"]
    assert tuple(build["dev-mode-dirs"]) == PORTIONS
    assert build["targets"]["wheel"]["packages"] == [f"{p}/crossfade" for p in PORTIONS]
    native = tomllib.loads((ROOT / "impls/rust/py/pyproject.toml").read_text(encoding="utf-8"))
    version = native["project"].get("version", project["project"]["version"])
    assert project["project"]["optional-dependencies"]["rust"] == [f"crossfade-native=={version}"]


FORBIDDEN_CRATES = {
    "core": ("tokio", "pyo3", "hyper", "mio", "libc"),
    "runtime": ("pyo3",),
    "load": ("pyo3",),
}


@pytest.mark.parametrize("crate", FORBIDDEN_CRATES)
def test_a_crate_does_not_depend_on_what_it_must_not_know(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "impls/rust" / crate / "Cargo.toml").read_text(encoding="utf-8"))
    tables = [manifest.get("dependencies", {}), manifest.get("build-dependencies", {})]
    tables += [t.get("dependencies", {}) for t in manifest.get("target", {}).values()]
    names = {
        entry.get("package", name) if isinstance(entry, dict) else name for t in tables for name, entry in t.items()
    }
    wrong = [n for n in names if any(n == f or n.startswith(f + "-") for f in FORBIDDEN_CRATES[crate])]
    assert not wrong, f"crate {crate} depends on {wrong}"


def test_policy_cores_read_no_clock_socket_environment_or_log() -> None:
    banned = {"time", "datetime", "socket", "os", "logging", "random", "asyncio", "threading"}
    impls = ROOT / "impls/crossfade/impls"
    for path in [*sorted((impls / "cores").rglob("*.py")), *sorted((impls / "cores_numba").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not banned & {n.split(".")[0] for n in names}, f"{path.name} imports {names}"
