"""Fixtures that every suite shares: which variants there are.

Rule: a variant that cannot run here fails its tests; it is left out only when CROSSFADE_NO_NATIVE=1 says that this
machine has no Rust toolchain (the Makefile sets it, and never in CI).
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.contract.bridge_record import Recorder

from crossfade.impls import VARIANTS, missing

# A machine that is busy with other work makes an example slow, not wrong; what hangs meets the test's own timeout.
settings.register_profile("crossfade", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crossfade")

HERE = Path(__file__).parent
MEASURING = tuple(HERE / name for name in ("harness", "bench", "e2e/test_own_gateways.py"))
"""Suites that measure, or look at all processes of the machine: several workers never run two of them at once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(place) for place in MEASURING):
            item.add_marker(pytest.mark.xdist_group("measuring"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bridge-json", metavar="FILE", help="keep what became of every cell of the bridge's grid")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts this in the background has it ignore Ctrl-C, and every child that a test interrupts with it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Recorder(config), "bridge-record")


NO_NATIVE = os.environ.get("CROSSFADE_NO_NATIVE") == "1"
collect_ignore = ["native"] if NO_NATIVE else []


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    """The name of every registered variant, one test run each."""
    name: str = request.param
    if (why := missing(name)) is not None:
        if NO_NATIVE and "crossfade_native" in VARIANTS[name].needs:
            pytest.skip(f"CROSSFADE_NO_NATIVE=1: {why}")
        pytest.fail(why)
    return name
