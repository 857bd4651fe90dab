"""Numbers in words: no digit too many, none changed."""

from __future__ import annotations

import pytest

from crossfade.reports import words
from crossfade.reports.figures.labels import spread


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345.6, "12,346"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (0.9999, "1.00"),
        (0, "0"),
        (1.5, "1.50"),
        (-84.4, "-84.4"),
    ],
)
def test_digits(value: float, shown: str) -> None:
    assert words.digits(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(45_912, "45,900"), (9_996, "10,000"), (1_234_567, "1,230,000"), (55.4, "55")]
)
def test_rate(value: float, shown: str) -> None:
    assert words.rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(9.83, "9.8"), (9.96, "10"), (1.042, "1.04"), (23.4, "23"), (0.05, "0.050")]
)
def test_times(value: float, shown: str) -> None:
    assert words.times(value) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (1480, 1540, "1.48 to 1.54\u202f\u00b5s"),
        (950, 1050, "950\u202fns to 1.05\u202f\u00b5s"),
        (85, 91, "85.0 to 91.0\u202fns"),
    ],
)
def test_an_interval_says_its_unit_once(low: float, high: float, shown: str) -> None:
    assert words.span(low, high) == shown


def test_what_html_cannot_carry_is_replaced() -> None:
    assert words.plain("a\x00b\x1b[31m\ud800") == "a\ufffdb\ufffd[31m\ufffd"


def test_a_traceback_is_cut_in_the_middle() -> None:
    text = words.brief("the variant ended\n" + "  File x\n" * 100 + "ValueError: no port")
    assert text.startswith("the variant ended File x")
    assert text.endswith("ValueError: no port")
    assert len(text) < 250


def test_labels_that_collide_are_pushed_apart_and_stay_inside() -> None:
    placed = spread([10, 11, 12, 99], gap=5, low=0, high=100)
    assert placed == [10, 15, 20, 99]
    crowded = spread([98, 99, 100], gap=5, low=0, high=100)
    assert crowded == [90, 95, 100]
