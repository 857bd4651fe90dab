"""Fixtures of the harness's tests: which implementation of generator and fleet is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.fleetclient import Client
from tests.harness.loadbench import Bench

from crossfade.harness.processes import Child


@pytest.fixture(params=["rust", "python"])
def generator(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    if kind == "rust":
        pytest.importorskip("crossfade_native", reason="install crossfade[rust]")
    return kind


@pytest.fixture
def bench(generator: str) -> Iterator[Bench]:
    found = Bench(generator)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def close_clients() -> Iterator[None]:
    yield
    while Client.opened:
        Client.opened.pop().http.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """Every child that the harness starts from here on, in order."""
    found: list[Child] = []
    begin = Child.__init__

    def recorded(self: Child, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        found.append(self)

    monkeypatch.setattr(Child, "__init__", recorded)
    return found
