"""Memory on the page: what is counted is named, what is not the manager's stands apart, and a leak is not left out."""

from __future__ import annotations

import pytest
from tests.fabricated_memory import BUSY_KIB, CHILD_KIB, SESSION_KIB
from tests.fabricated_standard import make_standard

from crossfade.reports import captions_memory, view
from crossfade.reports.page import Ladder, Page
from crossfade.reports.plates_memory import plates


@pytest.fixture(scope="module")
def page() -> Page:
    return view(make_standard(rounds=3))


def ladder(page: Page, scenario: str) -> Ladder:
    return next(found for found in page.ladders if found.scenario == scenario)


@pytest.mark.parametrize(
    ("scenario", "per", "truth"),
    [
        ("memory-clients-busy", "connection", BUSY_KIB),
        ("memory-stdio", "stdio child", CHILD_KIB),
        ("memory-sessions", "session", SESSION_KIB),
    ],
)
def test_a_ladder_says_what_it_counts_and_its_slope_is_the_truth(
    scenario: str, per: str, truth: dict[str, float], page: Page
) -> None:
    found = ladder(page, scenario)
    assert found.per == per
    for fit in found.fits:
        assert fit.slope.value == pytest.approx(truth[fit.who.name], rel=0.1)
    assert f"A further {'' if 'busy' in scenario else 'idle '}{per}" in captions_memory.ladder(found)


def test_the_line_of_children_goes_through_the_managers_own_memory(page: Page) -> None:
    """Through its PSS it would fall, for every child takes its part of the libraries."""
    found = ladder(page, "memory-stdio")
    assert {fit.state for fit in found.fits} == {"idle", "in_flight"}
    assert all(fit.r2 > 0.9 for fit in found.fits)
    told = captions_memory.ladder(found)
    assert "A child itself holds, which is its own affair: python 5,000 KiB" in told


def test_kernel_memory_of_the_machine_is_called_so(page: Page) -> None:
    told = captions_memory.ladder(ladder(page, "memory-clients-busy"))
    assert "The kernel of the whole machine holds more for each, both ends" in told
    assert "own" not in told
    assert "kernel" not in captions_memory.ladder(ladder(page, "memory-sessions"))


def test_a_leak_is_shown_though_its_blocks_have_failed(page: Page) -> None:
    (found,) = page.soaks
    courses = {(curve.who.name, curve.course) for curve in found.curves}
    assert courses == {("python", "grows"), ("rust", "steady")}
    for curve in found.curves:
        assert curve.cut > 0
        assert curve.per_1000_calls is not None
        truth = 1000.0 if curve.who.name == "python" else 0.0
        assert curve.per_1000_calls.value == pytest.approx(truth, abs=4)
    told = captions_memory.soak(found)
    assert "python leaks over 3 blocks of up to 30,000 calls" in told
    assert "rust is steady" in told


def test_every_ladder_and_soak_has_a_plate_with_its_numbers(page: Page) -> None:
    drawn = plates(page)
    assert len(drawn) == len(page.ladders) + len(page.soaks)
    assert len({plate.name for plate in drawn}) == len(drawn)
    table = drawn[-1].table
    assert table.head[2] == "KiB per 1,000 calls"
    assert len(table.rows) == 6
