"""Without ``setpriv`` children are guarded less, and nobody has to find that out from a process that stayed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.impls.python import guard

COMMAND = ["/bin/sh", "-c", "true"]


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    guard._setpriv.cache_clear()
    yield
    guard._setpriv.cache_clear()


def setpriv_in(folder: Path, says: str) -> str:
    program = folder / "setpriv"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


def test_a_child_is_started_by_a_setpriv_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = setpriv_in(tmp_path, "--pdeathsig keep|clear|<signame>")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert guard.guarded(COMMAND, os.environ) == [program, "--pdeathsig", "KILL", "--", *COMMAND]


@pytest.mark.parametrize("kind", ["none", "busybox"])
def test_a_setpriv_that_is_missing_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if kind == "busybox":
        setpriv_in(tmp_path, "setpriv [OPTIONS] PROG ARGS")
    with caplog.at_level(logging.WARNING, logger="crossfade"):
        for _ in range(3):
            assert guard.guarded(COMMAND, os.environ) == COMMAND
    (told,) = caplog.records
    assert told.name.startswith("crossfade")
    assert "setpriv" in told.getMessage()
    assert "install util-linux" in told.getMessage()
