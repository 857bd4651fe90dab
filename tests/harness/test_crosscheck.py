"""The cross-check: what wrk tells is undone exactly, the same bytes are sent, theory is met, and nothing is judged
on less than it takes."""

from __future__ import annotations

import json
import math
import random
import shutil
import socket
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_results
from tests.unavailable import needs

from crossfade.harness.affinity import available, place
from crossfade.harness.cli import main
from crossfade.harness.crosscheck import files, generators, judge, ladder, wrk
from crossfade.harness.crosscheck.record import Arena, CrossCheck, Generators, Large, Sent, Stall, Stalls
from crossfade.harness.problems import BlockFailed, Unavailable
from crossfade.harness.processes import Child
from crossfade.reports.render import html
from crossfade.reports.view import view

PLACEMENT = place(available())
STALL = Stall(
    generator="rust", arrivals="constant", rate_per_s=1000.0, duration_s=10.0, connections=4, stalled_s=1.0,
    drain_per_s=10_000.0, requests=10_000, p99_ms=910.0, p999_ms=991.0,
)  # fmt: skip


def corrected(raw: dict[int, int], expected: int) -> dict[int, int]:
    """``stats_correct`` of wrk 4.1.0, line by line."""
    highest = max(raw)
    data = [raw.get(n, 0) for n in range(highest + 1)]
    for n in range(expected * 2, highest + 1):
        count, m = data[n], n - expected
        while count and m > expected:
            data[m] += count
            m -= expected
    return {n: count for n, count in enumerate(data) if count}


@pytest.mark.parametrize("seed", range(20))
def test_what_wrk_added_is_taken_out_again_exactly(seed: int) -> None:
    rng = random.Random(seed)
    values = [int(rng.lognormvariate(5, 1.2)) + 1 for _ in range(2000)]
    raw = {value: values.count(value) for value in set(values)}
    expected = rng.choice([1, 37, 150, 400, max(raw)])
    shown = corrected(raw, expected)
    assert wrk.uncorrected(shown, expected) == raw
    if expected == 37:
        assert sum(shown.values()) > 2000


def said(raw: dict[int, int], *, runtime_us: int, errors: int = 0, connections: int = 4) -> str:
    requests = sum(raw.values())
    shown = corrected(raw, runtime_us // (requests // connections))
    lines = [f"at {value} {count}" for value, count in shown.items()]
    return "\n".join(["Running 1s test @ http://127.0.0.1:1/mcp", f"run {runtime_us} {requests} {errors}", *lines])


def test_percentiles_of_wrk_are_those_of_what_was_sent() -> None:
    raw = {100: 900, 200: 90, 5_000: 10}
    found = wrk.parse(said(raw, runtime_us=40_000), connections=4)
    assert found.latency == raw
    assert (found.requests, found.duration_s) == (1000, 0.04)
    assert found.undone > 0
    assert (found.at(50.0), found.at(90.0), found.at(99.0), found.at(99.9)) == (100, 100, 200, 5_000)


def test_a_wrk_that_corrects_otherwise_or_failed_is_not_believed() -> None:
    text = said({100: 900, 5_000: 100}, runtime_us=40_000)
    with pytest.raises(BlockFailed, match="one sample per request"):
        wrk.parse(text.replace("at 100 900", "at 100 901"), connections=4)
    with pytest.raises(BlockFailed, match="3 of 1000 requests failed"):
        wrk.parse(said({100: 1000}, runtime_us=40_000, errors=3), connections=4)
    with pytest.raises(BlockFailed, match="reported nothing"):
        wrk.parse("unable to connect", connections=4)


def test_wrk_and_nginx_are_asked_for_by_name_where_they_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("crossfade_native", reason="install crossfade[rust]")
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "wrk" else "/bin/true")
    assert main(["crosscheck", "--out", str(tmp_path)]) == Unavailable.exit_code
    assert "install it (Debian: apt install wrk)" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda name, **_: "/bin/true" if name == "wrk" else None)
    assert main(["crosscheck", "--out", str(tmp_path)]) == Unavailable.exit_code
    assert "nginx is not installed" in capsys.readouterr().err


def first_request(plan: dict[str, object]) -> bytes:
    """What a generator writes first, and nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        got: list[bytes] = []

        server.settimeout(20)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                got.append(connection.recv(65_536))

        thread = threading.Thread(target=serve)
        thread.start()
        with Child("load", [sys.executable, "-m", "crossfade.harness.load"]) as child:
            child.send({"port": port, "mode": "closed", "connections": 1, "duration_s": 0.3, "timeout_s": 0.2, **plan})
            thread.join(timeout=20)
        return got[0].replace(b"127.0.0.1:%d" % port, b"127.0.0.1:PORT")


@pytest.mark.parametrize("generator", ["rust", "python"])
def test_wrk_sends_our_generators_bytes(generator: str) -> None:
    if generator == "rust":
        pytest.importorskip("crossfade_native", reason="install crossfade[rust]")
    ours = first_request({"generator": generator})
    theirs = wrk.request(12_345).replace(b"127.0.0.1:12345", b"127.0.0.1:PORT")
    head, _, body = ours.partition(b"\r\n\r\n")
    assert head == theirs.partition(b"\r\n\r\n")[0]
    sent = json.loads(body)
    assert len(sent["params"]["arguments"].pop("text")) == 16
    static = json.loads(theirs.partition(b"\r\n\r\n")[2])
    static["params"]["arguments"].pop("text")
    assert sent == static


def test_the_generators_take_turns_on_one_endpoint() -> None:
    """Mechanics alone: on a busy machine what they measure is worth nothing."""
    pytest.importorskip("crossfade_native", reason="install crossfade[rust]")
    needs(nginx="nginx-light", wrk="wrk")
    heard: list[str] = []
    found = generators.measure(
        placement=PLACEMENT, seed=5, connections=8, rounds=2, turns=2, duration_s=1, say=heard.append
    )
    assert len(heard) == 2
    assert len(found.sent) == 12
    kinds = [generators.kind_of(one) for one in found.sent]
    for begin in (0, 6):
        first, second = kinds[begin : begin + 3], kinds[begin + 3 : begin + 6]
        assert sorted(first) == sorted(generators.KINDS)
        assert second == first[::-1]
    assert [(one.round, one.turn) for one in found.sent[::3]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for one in found.sent:
        assert one.requests > 500
        assert 0 < one.p50_us <= one.p99_us
        assert one.generator_cpu_us > 0
        assert one.target_cpu_us > 0
    lines = judge.checks(CrossCheck(machine="m", native="n", generators=found))
    assert [line.what.partition(" ")[0] for line in lines] == ["throughput", "p50", "p99", "requests"]
    assert all(0.2 < line.value < 5 for line in lines[:3])


def sent(number: int, generator: str, target: str, **figures: float) -> Sent:
    base = {
        "throughput_per_s": 1000.0,
        "p50_us": 200.0,
        "p99_us": 400.0,
        "generator_cpu_us": 5.0,
        "target_cpu_us": 15.0,
    }
    body = {
        "round": number,
        "position": 0,
        "generator": generator,
        "target": target,
        "duration_s": 3.0,
        "requests": 3000,
    }
    return msgspec.convert({**body, **base, **figures}, Sent)


def pairs(ratio: float, noise: float, *, rounds: int = 10, cpu: float = 15.0) -> CrossCheck:
    rng = random.Random(1)
    all_sent = []
    for number in range(rounds):
        off = ratio * math.exp(rng.gauss(0, noise))
        all_sent += [
            sent(number, "crossfade", "nginx", throughput_per_s=1000 * off, target_cpu_us=cpu),
            sent(number, "wrk", "nginx"),
            sent(number, "crossfade", "fleet"),
        ]
    found = Generators(
        created="t", wrk="4.1.0", nginx="1.22", seed=1, connections=16, request_bytes=500, sent=tuple(all_sent)
    )
    return CrossCheck(machine="m", native="n", generators=found)


def test_a_round_counts_once_and_by_its_whole_turns() -> None:
    """Turns of one nginx are no rounds of their own, and a turn that was cut short says nothing."""
    rates = {0: (1.0, 1.2), 1: (0.9, 0.9)}
    windows = [
        msgspec.structs.replace(sent(number, *of, throughput_per_s=1000 * rate), turn=turn)
        for number, ratios in rates.items()
        for turn, ratio in enumerate(ratios)
        for of, rate in ((("crossfade", "nginx"), ratio), (("wrk", "nginx"), 1.0), (("crossfade", "fleet"), 1.0))
    ]
    cut = msgspec.structs.replace(sent(1, "crossfade", "nginx", throughput_per_s=9e9), turn=2)
    found = Generators(
        created="t", wrk="4.1.0", nginx="1.22", seed=1, connections=16, request_bytes=500, sent=(*windows, cut)
    )
    assert [len(turns) for turns in generators.rounds_of(found)] == [2, 2]
    throughput = judge.checks(CrossCheck(machine="m", native="n", generators=found))[0]
    assert throughput.value == pytest.approx(math.exp((math.log(1.2) / 2 + math.log(0.9)) / 2))
    assert "2 rounds" in throughput.said


def test_within_means_the_whole_interval() -> None:
    def throughput(found: CrossCheck) -> judge.Check:
        return judge.checks(found)[0]

    assert throughput(pairs(1.01, 0.005)).met
    assert not throughput(pairs(1.04, 0.005)).met
    assert not throughput(pairs(0.96, 0.005)).met
    # Near one, but not known well enough to be called so.
    assert not throughput(pairs(1.0, 0.1)).met
    one = throughput(pairs(1.0, 0.0, rounds=1))
    assert not one.met
    assert "one round has no interval" in one.said


def test_the_ceiling_is_requests_per_core_over_nginxs() -> None:
    assert judge.checks(pairs(1.0, 0.005))[3].value == pytest.approx(3.0)
    assert judge.checks(pairs(1.0, 0.005))[3].met
    assert not judge.checks(pairs(1.0, 0.005, cpu=9.9))[3].met


def test_a_part_that_is_measured_again_replaces_that_part_alone(tmp_path: Path) -> None:
    assert files.last(tmp_path) is None
    first = Arena(created="1", kib=10.0, rungs=((0, 0, 5.0), (0, 10, 105.0), (0, 20, 205.0)))
    size = Large(
        created="2", samples=1, blocks=1, intervals=1, file_mb=1, load_s=1, render_s=1, cpu_s=1, peak_mb=1, page_mb=1
    )
    files.keep(CrossCheck(machine="m", native="n", arena=first), tmp_path)
    both = files.keep(CrossCheck(machine="m", native="n", large=size), tmp_path)
    assert (both.arena, both.large) == (first, size)
    assert files.last(tmp_path) == both
    other = files.keep(CrossCheck(machine="another", native="n", large=size), tmp_path)
    assert other.arena is None
    (tmp_path / files.FILE).write_text("{")
    assert files.last(tmp_path) is None


def test_the_command_keeps_what_it_measured_and_says_whether_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("crossfade_native", reason="install crossfade[rust]")
    for rung, code in ((205.0, 0), (305.0, 1)):
        exact = Arena(
            created="1", kib=10.0, rungs=((0, 0, 5.0), (0, 10, 105.0), (0, 20, rung), (1, 0, 6.0), (1, 20, 206.0))
        )
        monkeypatch.setattr(ladder, "measure", lambda found=exact, **_: found)
        assert main(["crosscheck", "--only", "arena", "--out", str(tmp_path)]) == code
        assert ("met" if code == 0 else "MISSED") in capsys.readouterr().out
        assert (kept := files.last(tmp_path)) is not None
        assert kept.arena == exact


def test_the_page_prints_every_check_and_what_was_missed() -> None:
    found = msgspec.structs.replace(pairs(1.04, 0.005), stalls=Stalls(created="t", runs=(STALL,)))
    page = html(view(msgspec.structs.replace(make_results(), crosscheck=found)))
    for line in judge.checks(found):
        assert line.what.replace("'", "&#39;") in page
        assert line.said in page
    assert "5 of 6 checks are met; not met: throughput by crossfade" in page
    assert "crossfade crosscheck" in html(view(make_results()))
