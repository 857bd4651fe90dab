"""Child processes: silent, chatty, crashing and stubborn ones each become one error, and none is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossfade.harness import cpuclock, memory
from crossfade.harness.affinity import available, pinned, place
from crossfade.harness.problems import BlockFailed
from crossfade.harness.processes import Child

HELLO = 'import sys; print(\'{"event": "ready", "port": 7}\', flush=True); sys.stdin.read()'


def child(code: str) -> Child:
    return Child("worker", [sys.executable, "-c", code])


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_child_says_ready_and_ends_with_its_stdin() -> None:
    with child(HELLO) as one:
        assert one.expect("ready", timeout_s=20)["port"] == 7
        one.alive()
    assert one.process.returncode == 0


def test_a_silent_child_is_named_after_the_deadline() -> None:
    begin = time.monotonic()
    with pytest.raises(BlockFailed, match=r"worker: silent while waiting 0\.3 s for 'ready'"), child("input()") as one:
        one.expect("ready", timeout_s=0.3)
    assert time.monotonic() - begin < 5


def test_a_crash_is_quoted_with_exit_code_and_the_end_of_stderr() -> None:
    code = "import sys; sys.stderr.write('x' * 100_000 + ' the reason'); sys.exit(3)"
    with pytest.raises(BlockFailed, match=r"worker: ended \(exit code 3\): x+ the reason"), child(code) as one:
        one.expect("ready", timeout_s=20)


def test_a_traceback_is_cut_to_its_exception() -> None:
    with (
        pytest.raises(BlockFailed, match=r"\(exit code 1\): ValueError: too odd while"),
        child("raise ValueError('too odd')") as one,
    ):
        one.expect("ready", timeout_s=20)


def test_what_is_not_json_on_stdout_is_refused() -> None:
    with pytest.raises(BlockFailed, match="stdout must stay clean"), child("print('hello')") as one:
        one.expect("ready", timeout_s=20)


def test_an_error_event_is_passed_on() -> None:
    code = 'print(\'{"event": "error", "message": "no such tool"}\')'
    with pytest.raises(BlockFailed, match="worker: no such tool"), child(code) as one:
        one.expect("ready", timeout_s=20)


def test_a_line_of_three_megabytes_arrives_whole() -> None:
    code = 'print(\'{"event": "result", "blob": "\' + "x" * 3_000_000 + \'"}\')'
    with child(code) as one:
        assert len(one.expect("result", timeout_s=20)["blob"]) == 3_000_000


def test_a_program_that_does_not_exist_names_itself() -> None:
    with pytest.raises(BlockFailed, match="nginx: cannot be started"):
        Child("nginx", ["/no/such/program"])


def test_a_child_that_ignores_stdin_and_sigterm_is_killed_with_its_group() -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        'print(\'{"event": "ready", "port": %d}\' % p.pid, flush=True)\n'
        "time.sleep(600)\n"
    )
    one = child(code)
    grandchild = one.expect("ready", timeout_s=20)["port"]
    one.close(grace_s=0.1)
    assert one.process.returncode is not None
    deadline = time.monotonic() + 5
    while not gone(grandchild) and Path(f"/proc/{grandchild}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the grandchild survived"
        time.sleep(0.01)


def test_a_child_that_left_cannot_be_written_to() -> None:
    with child("pass") as one:
        one.process.wait(timeout=20)
        with pytest.raises(BlockFailed, match="stopped reading"):
            one.send({"x": "y" * 100_000})


def test_processor_time_of_another_process_is_exact() -> None:
    code = (
        "import sys, time\n"
        "while time.process_time() < 0.25: pass\n"
        'print(\'{"event": "ready"}\', flush=True); sys.stdin.read()'
    )
    with child(code) as one:
        one.expect("ready", timeout_s=30)
        spent = cpuclock.process_cpu_ns(one.pid) / 1e9
        assert 0.25 <= spent < 0.40
        # Idle processes use nothing: the clock is theirs and not the wall's.
        assert cpuclock.total_cpu_ns([one.pid]) / 1e9 - spent < 0.02
    with pytest.raises(ProcessLookupError):
        cpuclock.process_cpu_ns(one.pid)


def test_memory_of_another_process_grows_with_what_it_holds() -> None:
    code = (
        "import sys\n"
        'print(\'{"event": "ready"}\', flush=True); sys.stdin.readline()\n'
        "held = bytearray(b'x' * 50_000_000)\n"
        'print(\'{"event": "held"}\', flush=True); sys.stdin.read()'
    )
    with child(code) as one:
        one.expect("ready", timeout_s=20)
        before = memory.read([one.pid])
        one.send({})
        one.expect("held", timeout_s=20)
        after = memory.settled([one.pid], settle_s=0.01)
    assert 45_000 < after.pss_kib - before.pss_kib < 120_000
    with pytest.raises(ProcessLookupError, match="cannot be read"):
        memory.read([one.pid])


def test_a_rollup_without_figures_is_refused() -> None:
    assert memory.parse_rollup("head\nRss:   12 kB\nPss:    7 kB\nPss_Anon: 3 kB\n") == memory.Memory(7, 12, 3)
    with pytest.raises(ValueError, match="no Pss and Rss"):
        memory.parse_rollup("Rss: 12 kB\n")


def test_children_of_a_process_are_found() -> None:
    with child(HELLO) as one:
        assert one.pid in cpuclock.children(os.getpid())
    assert cpuclock.children(one.pid) == []


@pytest.mark.skipif(len(available()) < 2, reason="pinning apart needs two processors")
def test_a_child_starts_pinned_and_the_parent_is_not() -> None:
    before = os.sched_getaffinity(0)
    with Child("worker", [sys.executable, "-c", HELLO], cpus=frozenset(available()[:1])) as one:
        one.expect("ready", timeout_s=20)
        assert os.sched_getaffinity(one.pid) == set(available()[:1])
    assert os.sched_getaffinity(0) == before
    with pytest.raises(RuntimeError), pinned(frozenset(available()[:1])):
        raise RuntimeError
    assert os.sched_getaffinity(0) == before


def test_the_pinning_wrapper_passes_arguments_and_pins() -> None:
    code = "import os, sys; print(sorted(os.sched_getaffinity(0)), sys.argv[1])"
    cpu = str(available()[-1])
    command = [sys.executable, "-m", "crossfade.harness.affinity", cpu, "--", sys.executable, "-c", code, "a b"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"[{cpu}] a b\n"
    bad = subprocess.run([*command[:3], "x"], capture_output=True, text=True, check=False, timeout=60)
    assert bad.returncode == 64
    assert "usage" in bad.stderr


def test_placement_keeps_the_variant_apart_and_says_when_it_cannot() -> None:
    assert place((0, 1)).variant == frozenset({0})
    assert place((2, 5, 7, 9)).rest == frozenset({5, 7})
    assert "not pinned" in place((0,)).describe()


@pytest.mark.parametrize("look", ["iterdir", "read_text"])
def test_whoever_ends_while_its_children_are_read_has_none(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of ``/proc`` may vanish between any two looks at it."""

    def vanished(self: Path) -> None:
        raise FileNotFoundError(str(self))

    with child(HELLO), monkeypatch.context() as patch:
        patch.setattr(Path, look, vanished)
        assert cpuclock.children(os.getpid()) == []
