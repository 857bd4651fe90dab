"""Bad input at the command line: one line that says what is wrong and what to do, exit code 64 or above."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fabricated import make_point, make_results

from crossfade.harness.cli import main
from crossfade.harness.cli.run import conclude
from crossfade.harness.problems import BrokenResults
from crossfade.harness.samples import VERSION, Results
from crossfade.harness.store import LATER_THAN_THE_SEAL, Store, load, sealed
from crossfade.scenarios import ScenarioError, parse

Spoil = Callable[[bytes], bytes]


@functools.cache
def fabricated() -> Results:
    return make_results(1, flaws=False)


@functools.cache
def written() -> bytes:
    """What a store leaves of it: fabricating it anew for each of a hundred tests would take minutes."""
    with tempfile.TemporaryDirectory() as folder:
        Store(Path(folder), "run").save(fabricated())
        return (Path(folder) / "run" / "results.json").read_bytes()


def store(root: Path) -> Path:
    path = root / fabricated().id / "results.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(written())
    return path


def edited(change: Callable[[dict[str, Any]], object], *, seal: bool = False) -> Spoil:
    def spoil(raw: bytes) -> bytes:
        body = json.loads(raw)
        change(body)
        if not seal:
            return json.dumps(body, separators=(",", ":")).encode()
        del body["checksum"]
        return b"".join(sealed(json.dumps(body).encode()))

    return spoil


def faster(body: dict[str, Any]) -> None:
    body["blocks"][0]["metrics"]["throughput_per_s"] *= 2


def faster_and_unsealed(body: dict[str, Any]) -> None:
    faster(body)
    del body["checksum"]


SPOILT: dict[str, tuple[Spoil, str]] = {
    "cut in half": (lambda raw: raw[: len(raw) // 2], "cut short"),
    "the last byte missing": (lambda raw: raw.rstrip()[:-1], "cut short"),
    "a newer version": (edited(lambda b: b.update(version=VERSION + 1, blocks={})), "upgrade crossfade"),
    "one figure edited by hand": (edited(faster), "its checksum differs"),
    "one byte flipped": (
        lambda raw: raw.replace(b"fabricated data", b"fabricated dat4", 1),
        "its checksum differs",
    ),
    "something after the checksum": (edited(lambda b: b.update(later=1)), "its checksum differs"),
    "a checksum that is none": (edited(lambda b: b.update(checksum="fine")), "its checksum differs"),
    "a checksum of null": (edited(lambda b: b.update(checksum=None)), "its checksum is gone"),
    "one figure edited and the checksum deleted": (edited(faster_and_unsealed), "its checksum is gone"),
    "a figure that is text": (edited(lambda b: b["blocks"][0].update(wall_s="long"), seal=True), "edited or damaged"),
    "no results at all": (lambda raw: b'{"benchmarks": []}', "no results file"),
    "empty": (lambda raw: b"", "is empty"),
    "not text": (lambda raw: b"\x89PNG\r\n\x1a\n", "not whole JSON"),
}


COMMANDS = {
    "report": ["report", "BAD"],
    "compare": ["compare", "GOOD", "BAD"],
    "gate": ["gate", "GOOD", "BAD"],
    "plan": ["plan", "--rate", "100", "--slo-p99", "10ms", "--results", "BAD"],
    "plan --validate": ["plan", "--validate", "BAD"],
    "export": ["export", "--format", "csv", "BAD"],
    "run --resume": ["run", "gateway-echo", "--generator", "python", "--resume", "BAD"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("spoil", "says"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_results_file_is_65_and_one_line(
    spoil: Spoil, says: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = store(tmp_path / "good"), store(tmp_path / "bad")
    bad.write_bytes(spoil(bad.read_bytes()))
    if command.startswith("plan"):
        pytest.importorskip("numba", reason="install crossfade[numba]")
    files = {"GOOD": str(good), "BAD": str(bad)}
    assert main([files.get(word, word) for word in COMMANDS[command]]) == 65
    captured = capsys.readouterr()
    assert says in captured.err
    assert str(bad) in captured.err
    # Which generator a run would take is said before anything is read.
    assert len([line for line in captured.err.splitlines() if "load generator" not in line]) == 1
    assert captured.out == ""
    assert not list(tmp_path.rglob("*.html"))


def test_only_a_file_older_than_the_checksum_is_read_without(tmp_path: Path) -> None:
    path = store(tmp_path)
    results = load(path)
    body = json.loads(path.read_bytes())
    del body["checksum"]
    for member in LATER_THAN_THE_SEAL:
        path.write_text(json.dumps(body))
        with pytest.raises(BrokenResults, match="its checksum is gone"):
            load(path)
        del body[member]
    path.write_text(json.dumps(body))
    assert load(path) == results


def test_another_machine_is_65_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def moved(body: dict[str, Any]) -> None:
        body["environment"]["cpu"].update(model="Another CPU", count=64)

    here, there = store(tmp_path / "here"), store(tmp_path / "there")
    there.write_bytes(edited(moved, seal=True)(there.read_bytes()))
    assert main(["gate", str(here), str(there)]) == 65
    assert "cpu.model" in capsys.readouterr().err
    assert main(["gate", str(here), str(there), "--force", "--threshold", "50%"]) == 0
    assert "FORCED although environments differ" in capsys.readouterr().err


def test_a_run_of_another_machine_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from crossfade.harness.plan import record
    from crossfade.scenarios import builtin

    echo = builtin()["gateway-echo"]
    planned = record(echo, "quick", variants=("python", "rust"), left_out={})
    results = make_results(1)
    begun = msgspec.structs.replace(results, complete=False, scenarios=(planned,), blocks=(), order=())
    Store(tmp_path, begun.id).save(begun)
    assert main(["run", "gateway-echo", "--resume", str(tmp_path / begun.id)]) == 64
    assert "this machine differs (cpu.model" in capsys.readouterr().err


IMPOSSIBLE = {
    "no time to measure": ("duration_s", "0"),
    "negative time": ("duration_s", "-1"),
    "a day": ("duration_s", "86400"),
    "endless": ("duration_s", "inf"),
    "no number": ("duration_s", "nan"),
    "one round": ("rounds", "1"),
    "half a round": ("rounds", "2.5"),
    "a million rounds": ("rounds", "1000000"),
    "no connections": ("connections", "0"),
    "too many connections": ("connections", "1000000"),
    "no time to answer": ("timeout_s", "0"),
    "a negative payload": ("payload_bytes", "-1"),
    "a payload of terabytes": ("payload_bytes", "1000000000000"),
    "no rate": ("rate_per_s", "0"),
    "an endless rate": ("rate_per_s", "inf"),
    "a rate that is none": ("rate_per_s", "nan"),
    "a threshold of nothing": ("threshold_percent", "0"),
    "a threshold that is none": ("threshold_percent", "nan"),
    "more errors than answers": ("error_per_mille", "1001"),
    "latency before the question": ("latency_ms", "-5"),
    "latency that is none": ("latency_ms", "nan"),
    "a number beyond all integers": ("connections", "99999999999999999999999"),
}
OWN = """
name = "own"
title = "Own"
summary = "Own."
kind = "throughput"
headline = ["p99_us"]
threshold_percent = {threshold_percent}
[upstream]
error_per_mille = {error_per_mille}
latency_ms = {latency_ms}
[load]
mode = "open"
connections = {connections}
payload_bytes = {payload_bytes}
rate_per_s = {rate_per_s}
timeout_s = {timeout_s}
[profiles]
quick = {{ rounds = {rounds}, duration_s = {duration_s} }}
standard = {{ rounds = 2 }}
full = {{ rounds = 2 }}
"""
POSSIBLE = {
    "duration_s": "1.0",
    "rounds": "3",
    "connections": "4",
    "payload_bytes": "16",
    "rate_per_s": "500",
    "timeout_s": "10",
    "threshold_percent": "5",
    "error_per_mille": "0",
    "latency_ms": "0",
}


def test_the_possible_scenario_is_read() -> None:
    assert parse(OWN.format(**POSSIBLE), source="own").name == "own"


@pytest.mark.parametrize(("key", "value"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_number_names_file_and_key_and_nothing_runs(
    key: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(**{**POSSIBLE, key: value}))
    began = time.monotonic()
    assert main(["run", str(path), "--impl", "python", "--out", str(tmp_path / "out")]) == 64
    assert time.monotonic() - began < 10
    said = capsys.readouterr().err
    assert str(path) in said
    assert key in said
    assert not (tmp_path / "out").exists()


def test_rungs_rates_and_moments_that_cannot_be_are_refused() -> None:
    text = OWN.format(**POSSIBLE)
    for kind, table, says in (
        ("memory_clients", "[ladder]\nrungs = [0, 50]", "rungs"),
        ("memory_clients", "[ladder]\nrungs = [0, 50, 50]", "rungs"),
        ("sweep", "[sweep]\nfrom_per_s = 10\nto_per_s = 5\nobjective_p99_ms = 1", "from_per_s"),
        ("sweep", "[sweep]\nfrom_per_s = 10\nto_per_s = 50\nobjective_p99_ms = nan", "objective_p99_ms"),
        ("faults", "[faults]\ncrash_at_s = 2\nrecover_at_s = 1", "crash_at_s"),
    ):
        with pytest.raises(ScenarioError, match=says):
            parse(text.replace("throughput", kind) + table, source="own")


def spoilt(status: str, *, on: str = "gateway-echo", rounds: int = 5, hung: int = 0, **point: Any) -> Results:
    """Blocks of rust on one scenario are lost, all or those of the first ``rounds``, for one reason."""
    import random

    results = make_results(1, flaws=False)
    body = make_point(random.Random(1), mode="closed", connections=1, rate=None, throughput=9.0, median_us=9.0)
    blocks = tuple(
        msgspec.structs.replace(
            b,
            status=status,
            points=(msgspec.structs.replace(body, **point),),
            metrics={**b.metrics, "hung_requests": float(hung)},
        )
        if (b.scenario, b.variant) == (on, "rust") and b.round < rounds
        else b
        for b in results.blocks
    )
    return msgspec.structs.replace(results, blocks=blocks)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        (spoilt("ok"), 0),
        (spoilt("failed"), 70),
        (spoilt("failed", rounds=4), 0),
        (spoilt("void", mismatches=3), 70),
        (spoilt("void", missed_sends=9), 0),
        (spoilt("void", rounds=1, mismatches=1), 70),
        (spoilt("failed", rounds=1, mismatches=1), 70),
        (spoilt("void", errors={"reset": 2}), 70),
        (spoilt("void", completed=0), 70),
        (spoilt("void", rounds=4, errors={"reset": 2}), 0),
        (spoilt("void", on="faults-crash", errors={"circuit_open": 9}), 0),
        (spoilt("void", on="faults-crash", errors={"timeout": 9}, hung=9), 70),
    ],
    ids=[
        "fine",
        "failed",
        "failed once and measured again",
        "wrong answers",
        "a noisy machine",
        "one wrong answer in one round of five",
        "one wrong answer of who failed then",
        "requests failed in every round",
        "nothing was answered in any round",
        "requests failed in most rounds",
        "errors that a fault provoked",
        "requests without an end under a fault",
    ],
)
def test_a_variant_that_never_worked_or_answered_wrongly_is_an_error_and_a_noisy_machine_is_none(
    results: Results, code: int
) -> None:
    assert conclude(results) == code


def test_what_a_sweep_loses_beyond_the_knee_is_no_error_and_what_it_loses_everywhere_is() -> None:
    def void(least: int) -> Results:
        """Every block is void; the rates from the ``least``-th on lost requests."""
        results = make_results(1, flaws=False)
        blocks = [
            msgspec.structs.replace(
                b,
                status="void",
                points=tuple(
                    msgspec.structs.replace(p, errors={"timeout": p.sent} if at >= least else {})
                    for at, p in enumerate(b.points)
                ),
            )
            if (b.scenario, b.variant) == ("rate-sweep", "rust")
            else b
            for b in results.blocks
        ]
        return msgspec.structs.replace(results, blocks=tuple(blocks))

    assert conclude(void(1)) == 0
    assert conclude(void(0)) == 70


def test_a_full_disk_is_one_sentence_and_the_last_whole_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BrokenResults, match="free space"):
        Store(tmp_path, path.parent.name).save(make_results(2))
    assert path.read_bytes() == before
