"""Memory: what is read, whose it is, which line goes through it, and what a short real ladder yields."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from crossfade.harness import kernelmemory, memory
from crossfade.harness.affinity import available, place
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.measure import rungs
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child
from crossfade.harness.samples import Block, KernelMemory, Rung, Slot
from crossfade.impls import missing
from crossfade.scenarios import builtin, changed

VARIANTS = [v for v in ("python", "rust") if missing(v) is None]
ROLLUP = "Rss: 900 kB\nPss: 700 kB\nPss_Dirty: 1 kB\nPss_Anon: 500 kB\nPss_File: 180 kB\nPss_Shmem: 20 kB\n"
FELL = "kernel memory fell with more connections"
STAT = "anon 1\nkernel 40960\nsock 8192\nslab 20480\n"


def rung(n: int, kib: float, state: rungs.State = "idle", **more: object) -> rungs.Reading:
    return Rung(connections=n, state=state, pss_kib=kib, rss_kib=1, **more), ""  # type: ignore[arg-type]


def test_own_memory_leaves_out_pages_of_files_that_others_share() -> None:
    assert memory.parse_rollup(ROLLUP) == memory.Memory(700, 900, 520)
    assert memory.parse_rollup("Rss: 9 kB\nPss: 7 kB\n").own_kib is None
    with pytest.raises(ValueError, match="no Pss and Rss"):
        memory.parse_rollup("Rss: 9 kB\n")


def test_a_ladder_yields_slopes_of_both_states() -> None:
    found = rungs.conclude(
        [rung(n, 10_240 + 8 * n) for n in (1, 50, 100)] + [rung(n, 10_240 + 12 * n, "in_flight") for n in (1, 50, 100)]
    )
    assert found.metrics == {
        "slope_kib": pytest.approx(8),
        "slope_load_kib": pytest.approx(12),
        "intercept_mib": pytest.approx(10),
    }
    assert found.void is None


def test_a_ladder_of_noise_is_void_and_one_rung_is_no_ladder() -> None:
    falling = [rung(n, 10_000 - n) for n in (0, 50, 100)]
    assert rungs.conclude(falling).void is not None
    with pytest.raises(BlockFailed, match="no line"):
        rungs.conclude(falling[:1])


def test_a_ladder_of_busy_clients_alone_has_no_idle_slope() -> None:
    found = rungs.conclude([rung(n, 1024 + 5 * n, "in_flight") for n in (0, 50, 100)])
    assert found.metrics == {"slope_load_kib": pytest.approx(5), "intercept_mib": pytest.approx(1)}


def test_children_are_shown_apart_and_do_not_thin_out_the_managers_own_memory() -> None:
    """Every child takes its part of the libraries: the PSS of the manager falls while its own memory rises."""
    found = rungs.conclude(
        [
            rung(n, 20_000 + 30 * n + 9000 / (n + 2), own_kib=20_000 + 30.0 * n, children_pss_kib=5000.0 * n)
            for n in (1, 4, 8, 16)
        ]
    )
    assert found.metrics["slope_kib"] == pytest.approx(30)
    assert found.metrics["child_kib"] == pytest.approx(5000)


@pytest.mark.parametrize(("scope", "metric"), [("cgroup", "kernel_kib"), ("machine", "machine_kernel_kib")])
def test_kernel_memory_of_the_machine_never_passes_for_the_targets(scope: str, metric: str) -> None:
    readings = [
        rung(n, 1000 + n, kernel=KernelMemory(scope=scope, sock_kib=2.0 * n, slab_kib=5.0 * n))  # type: ignore[arg-type]
        for n in (0, 50, 100)
    ]
    found = rungs.conclude([(one, "whose it is") for one, _ in readings])
    assert found.metrics[metric] == pytest.approx(7)
    assert {"kernel_kib", "machine_kernel_kib"} & found.metrics.keys() == {metric}
    assert found.notes == ("whose it is",)


def test_kernel_memory_that_falls_with_more_connections_is_nobodys_figure() -> None:
    """Other processes give back more than the connections take: of the machine, nothing else is known."""
    readings = [
        rung(n, 1000 + n, kernel=KernelMemory(scope="machine", sock_kib=2.0 * n, slab_kib=-5.0 * n)) for n in (0, 50)
    ]
    found = rungs.conclude(readings)
    assert "machine_kernel_kib" not in found.metrics
    assert any(FELL in note for note in found.notes)
    assert found.void is None


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that behaves as cgroup v2 does: what is made in it comes with its files."""
    base = tmp_path / "delegated"
    base.mkdir()
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    real = Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        real(self, mode, parents, exist_ok)
        if self.parent == base:
            (self / "memory.stat").write_text(STAT)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setenv(kernelmemory.VARIABLE, str(base))
    return base


def test_a_cgroup_that_is_handed_over_is_used_and_read_as_a_difference(cgroup: Path) -> None:
    found = kernelmemory.meter([os.getpid()])
    assert found is not None
    assert found.note.endswith("of a cgroup of the target's own")
    (own,) = cgroup.glob("crossfade-*")
    assert (own / "cgroup.procs").read_text() == str(os.getpid())
    assert (cgroup / "cgroup.subtree_control").read_text() == "+memory"
    (own / "memory.stat").write_text("kernel 51200\nsock 16384\nslab 20480\n")
    grown = found.grown()
    assert grown == KernelMemory(scope="cgroup", sock_kib=8, slab_kib=0, kernel_kib=10)
    # The slab is part of what the kernel charges, and is not counted again.
    assert grown.total_kib() == 18


def test_a_cgroup_that_cannot_be_used_is_said_and_the_machine_is_named(cgroup: Path) -> None:
    (cgroup / "cgroup.controllers").write_text("cpu pids\n")
    found = kernelmemory.meter([os.getpid()])
    assert found is not None
    assert "whole machine, both ends" in found.note
    assert "no memory controller" in found.note
    assert found.look().scope == "machine"


def test_nothing_is_written_without_a_cgroup_that_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kernelmemory.VARIABLE, raising=False)

    def forbidden(*_: object) -> None:
        raise AssertionError("wrote")

    for method in ("mkdir", "write_text", "rmdir"):
        monkeypatch.setattr(Path, method, forbidden)
    assert kernelmemory.meter([os.getpid()]) is not None


def test_the_machines_sockets_are_pages_of_buffers_and_objects(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "sockstat").write_text("sockets: used 9\nTCP: inuse 4 orphan 0 tw 1 alloc 5 mem 3\n")
    assert kernelmemory.of_machine(tmp_path).slab_kib is None
    rows = "slabinfo - version: 2.1\n# name <active>\nTCP 4 13 2048 13 8\nfilp 8 9 256 1 1\ndentry 900 900 192 21 1\n"
    (tmp_path / "slabinfo").write_text(rows)
    found = kernelmemory.of_machine(tmp_path)
    assert (found.sock_kib, found.slab_kib) == (3 * kernelmemory.PAGE_KIB, 10.0)
    # A system that shows nothing has no meter, and the ladder goes on without.
    assert kernelmemory.meter([], proc=tmp_path / "none") is None


def short(name: str, *changes: str) -> Block | None:
    scenario = changed(builtin()[name], changes)
    executor = LocalExecutor(placement=place(available()), generator="rust" if "rust" in VARIANTS else "python")
    rng = random.Random(name)
    slot = Slot(scenario=name, round=0, position=0, variant=rng.choice(VARIANTS))
    return executor.block(Task(scenario=scenario, profile="quick", slot=slot, seed=5, hash_seed=6))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "metrics"),
    [
        ("memory-clients-busy", ("ladder.rungs=[0, 30, 90]", "ladder.hold_ms=2000"), {"slope_load_kib"}),
        (
            "memory-upstreams",
            ("ladder.rungs=[0, 30, 90]", "ladder.hold_ms=1500"),
            {"slope_kib", "slope_load_kib"},
        ),
        (
            "memory-stdio",
            ("ladder.rungs=[1, 2, 4]", "ladder.hold_ms=1500"),
            {"slope_kib", "slope_load_kib", "child_kib"},
        ),
        ("memory-sessions", ("ladder.rungs=[0, 100, 400]", "ladder.settle_s=0.1"), {"session_kib"}),
    ],
)
def test_a_short_ladder_of_real_processes(name: str, changes: tuple[str, ...], metrics: set[str]) -> None:
    found = short(name, *changes)
    assert found is not None
    # On a busy machine the rungs may be noise. They may not fail.
    assert found.status != "failed", found.error
    assert metrics <= found.metrics.keys()
    if kernelmemory.meter([]) is not None:
        # Of sockets alone: of children and of sessions without a client there are none.
        sockets = name in ("memory-clients-busy", "memory-upstreams")
        assert {r.kernel is not None for r in found.ladder} == {sockets}
        # The whole machine's may fall for others' sake: then that is said, and no figure is given.
        told = {"kernel_kib", "machine_kernel_kib"} & found.metrics.keys() or [n for n in found.notes if FELL in n]
        assert bool(told) == sockets
    if name == "memory-stdio":
        assert {r.connections for r in found.ladder} == {1, 2, 4}
        assert all(r.children_pss_kib > 1000 * r.connections for r in found.ladder)
        assert found.metrics["child_kib"] > 1000


@pytest.mark.slow
def test_calls_that_did_not_all_wait_at_once_are_no_rung() -> None:
    found = short("memory-clients-busy", "ladder.rungs=[0, 30, 90]", "ladder.hold_ms=10")
    assert found is not None
    assert found.status == "failed"
    assert "raise ladder.hold_ms" in (found.error or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("memory-clients", ()),
        ("memory-clients-busy", ("ladder.hold_ms=1500",)),
        ("memory-upstreams", ("ladder.hold_ms=600",)),
        ("memory-stdio", ("ladder.hold_ms=1000",)),
        ("memory-sessions", ()),
    ],
)
def test_every_rung_has_a_process_of_its_own(name: str, changes: tuple[str, ...], started: list[Child]) -> None:
    """What a process has once held, its allocator may keep: a second rung would begin with it."""
    found = short(name, "ladder.rungs=[1, 2, 4]", "ladder.settle_s=0.05", *changes)
    assert found is not None
    # So few connections are noise, which may void it.
    assert found.status != "failed", found.error
    assert {rung.connections for rung in found.ladder} == {1, 2, 4}
    measured = [child for child in started if child.what.startswith("variant ")]
    assert len(measured) == len({child.pid for child in measured}) == 3
