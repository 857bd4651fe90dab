"""What a run spends besides measuring is booked, whole, and writing does not grow with the square of the blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.harness.overhead import Booked, Ledger, describe, share, spent_s
from crossfade.harness.samples import Block, Overhead
from crossfade.harness.store import Store, load

ROOT = Path(__file__).parents[2]


class Time:
    """A clock and a processor that a test moves."""

    def __init__(self) -> None:
        self.wall_s, self.cpu_s = 100.0, 0.5

    def pass_(self, wall_s: float, cpu_s: float = 0.0) -> None:
        self.wall_s += wall_s
        self.cpu_s += cpu_s


def test_only_blocks_parity_and_self_test_are_measuring_and_own_processor_time_never_is() -> None:
    time = Time()
    ledger = Ledger(clock=lambda: time.wall_s, cpu=lambda: time.cpu_s)
    time.pass_(1.0)  # planning
    with ledger.measuring():
        time.pass_(20.0, 0.3)
    ledger.clocked("writing", lambda: time.pass_(0.5, 0.4))()

    def interrupted() -> None:
        with ledger.measuring():
            time.pass_(5.0, 0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    ledger.clocked("writing", lambda: time.pass_(0.2))()
    found = ledger.close()
    assert found == Overhead(run_s=27.2, measuring_s=25.0, own_cpu_s=0.4, parts={"writing": 0.7})
    # 0.5 s of imports before the first line, 1 s of planning, 0.7 s of writing, 0.4 s while it measured.
    assert spent_s(found) == pytest.approx(2.6)
    assert share(found) == pytest.approx(2.6 / 27.2)
    assert describe(found) == (
        "2.6 s of 27 s besides measuring (9.6%): 0.7 s writing, 0.4 s of its own processor while measuring"
    )


class Slow:
    """An executor that only lets time pass."""

    def __init__(self, time: Time) -> None:
        self.time = time

    def block(self, task: object) -> Block:
        del task
        self.time.pass_(2.0)
        return make_results().blocks[0]

    def in_turns(self, tasks: object) -> list[Block]:
        del tasks
        self.time.pass_(3.0)
        return []

    def parity(self, *_: object) -> object:
        self.time.pass_(4.0)
        return make_results().parity[0]


def test_everything_an_executor_does_is_measuring() -> None:
    time = Time()
    ledger = Ledger(clock=lambda: time.wall_s, cpu=lambda: time.cpu_s)
    booked = Booked(Slow(time), ledger)  # type: ignore[arg-type] # it is given nothing to look at
    booked.block(None)  # type: ignore[arg-type]
    booked.in_turns([])
    booked.parity(None, ())  # type: ignore[arg-type]
    assert ledger.close().measuring_s == 9.0


def test_a_block_is_encoded_once_however_often_the_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_results()
    store = Store(tmp_path, whole.id)
    encoded: list[Block] = []
    real = msgspec.json.encode

    def encode(value: object) -> bytes:
        if isinstance(value, Block):
            encoded.append(value)
        return real(value)

    monkeypatch.setattr(msgspec.json, "encode", encode)
    for count in range(len(whole.blocks) + 1):
        part = msgspec.structs.replace(whole, blocks=whole.blocks[:count], complete=False)
        store.save(part)
        if count in (0, 7, len(whole.blocks)):
            assert load(store.path) == part
    assert len(encoded) == len(whole.blocks)


def test_blocks_that_changed_are_written_as_they_are_now(tmp_path: Path) -> None:
    whole = make_results()
    store = Store(tmp_path, whole.id)
    store.save(whole)
    # As a run that is gone on with drops the failed ones: every later block moves up.
    fewer = msgspec.structs.replace(whole, blocks=whole.blocks[1:])
    store.save(fewer)
    assert load(store.path) == fewer


def test_a_run_says_and_stores_what_it_cost_besides_measuring(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "crossfade.harness.cli",
        "run",
        "policy-ops",
        "--profile",
        "quick",
        "--rounds",
        "2",
    ]
    command += ["--impl", "python", "--limits", "none", "--no-selftest", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "latest").overhead
    assert found is not None
    assert set(found.parts) == {"drawing", "simulation", "statistics", "writing"}
    blocks_s = sum(block.wall_s for block in load(tmp_path / "latest").blocks)
    assert blocks_s - 0.1 <= found.measuring_s <= found.run_s
    assert "besides measuring" in done.stdout
    assert "besides measuring" in (tmp_path / "latest" / "report.html").read_text()


def test_the_stored_run_spent_less_than_a_tenth_besides_measuring() -> None:
    found = load(ROOT / "reports" / "baselines" / "quick").overhead
    assert found is not None
    assert found.measuring_s > 0
    assert 0 < share(found) < 0.10
