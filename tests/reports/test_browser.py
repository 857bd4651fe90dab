"""The page in a real browser: it says nothing on the console, asks for nothing, and every figure can be seen and
read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fabricated import make_results
from tests.fabricated_standard import make_standard
from tests.reports import build
from tests.reports.browser import Browser, BrowserMissing, browser
from tests.unavailable import unavailable

from crossfade.reports import render

pytestmark = pytest.mark.e2e

SCREENS = [(360, False), (360, True), (768, False), (1280, False), (1280, True)]

FIGURES = """
return [...document.querySelectorAll('figure, .plot')].map(figure => {
  const drawn = figure.matches('.plot') ? [figure] : [...figure.querySelectorAll('svg.fig')];
  const seen = drawn.map(d => d.getBoundingClientRect()).filter(box => box.width > 0 && box.height > 0);
  return {name: figure.id || 'plot', seen: seen.length, width: seen[0]?.width ?? 0, height: seen[0]?.height ?? 0};
})
"""

TEXT = """
return [...document.querySelectorAll('svg.fig text')].filter(t => t.getClientRects().length).map(t => {
  const svg = t.ownerSVGElement, box = t.getBoundingClientRect(), frame = svg.getBoundingClientRect();
  const scale = frame.width / svg.viewBox.baseVal.width;
  return {words: t.textContent, size: parseFloat(getComputedStyle(t).fontSize) * scale,
          left: box.left, right: box.right, screen: document.documentElement.clientWidth};
})
"""

CONTRAST = """
const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n.slice(0, 3), 1] : n; };
const light = c => { const f = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] > 0) return c;
  }
  return [255, 255, 255, 1];
};
const found = [];
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length) continue;
  const style = getComputedStyle(e), ink = parse(e.ownerSVGElement ? style.fill : style.color), paper = ground(e);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push([e.tagName, e.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
}
return found;
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(browser())
        except BrowserMissing as why:
            unavailable(str(why))
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(build.full(), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over all nine scenarios as a real one would look."""
    return render(make_results(), tmp_path_factory.mktemp("noisy"))


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenarios of every kind, folded by group."""
    return render(make_standard(), tmp_path_factory.mktemp("standard"))


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page full of banners, lost blocks and one very long word."""
    return render(build.hostile(f"{'long' * 40} <b>"), tmp_path_factory.mktemp("troubled"))


@pytest.mark.parametrize("which", ["page", "troubled", "standard"])
def test_no_complaint_and_no_request(which: str, chromium: Browser, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    chromium.requests()
    chromium.console()
    chromium.open(path)
    # A browser that has just started may still be busy with a page of its own.
    assert [url for url in chromium.requests() if not url.startswith("chrome://")] == [path.as_uri()]
    assert chromium.console() == []


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_every_figure_is_shown_once_and_has_a_size(width: int, dark: bool, chromium: Browser, page: Path) -> None:
    chromium.screen(width, dark=dark)
    chromium.open(page)
    found = chromium.run(FIGURES)
    assert len(found) == 7 + 9
    for figure in found:
        assert figure["seen"] == 1, figure
        assert figure["width"] > 90, figure
        assert figure["height"] >= 25, figure


@pytest.mark.parametrize("which", ["page", "troubled", "standard"])
@pytest.mark.parametrize("width", [320, 360, 800, 801, 1280])
def test_the_page_never_scrolls_sideways(
    which: str, width: int, chromium: Browser, request: pytest.FixtureRequest
) -> None:
    chromium.screen(width)
    chromium.open(request.getfixturevalue(which))
    chromium.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chromium.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("which", ["page", "noisy", "standard"])
@pytest.mark.parametrize("width", [360, 801, 1280])
def test_words_in_figures_are_large_enough_and_inside_the_screen(
    which: str, width: int, chromium: Browser, request: pytest.FixtureRequest
) -> None:
    chromium.screen(width)
    chromium.open(request.getfixturevalue(which))
    chromium.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = chromium.run(TEXT)
    assert len(found) > 50
    for text in found:
        assert text["size"] >= 10, text
        assert text["left"] >= 0, text
        assert text["right"] <= text["screen"], text


@pytest.mark.parametrize("width", [360, 1280])
def test_a_run_of_forty_scenarios_is_taken_in_by_groups(width: int, chromium: Browser, standard: Path) -> None:
    """Closed, the page shows a handful of comparisons; opened, none is missing; every link leads somewhere."""
    chromium.screen(width)
    chromium.open(standard)
    shown = "return [...document.querySelectorAll('.plot')].filter(p => p.checkVisibility()).length"
    assert chromium.run(shown) <= 12
    assert chromium.run("return document.documentElement.scrollHeight") < (34_000 if width < 800 else 26_000)
    chromium.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chromium.run(shown) >= 60
    lost = (
        "return [...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash)).map(a => a.hash)"
    )
    assert chromium.run(lost) == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["page", "troubled", "standard"])
def test_every_word_stands_out_from_its_ground(
    which: str, dark: bool, chromium: Browser, request: pytest.FixtureRequest
) -> None:
    """WCAG 2 level AA for normal text, 4.5 to 1, in both colour schemes."""
    chromium.screen(1280, dark=dark)
    chromium.open(request.getfixturevalue(which))
    ground = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(253, 252, 249)") is not dark
    assert chromium.run(CONTRAST) == []


def test_a_driver_that_is_not_there_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrowserMissing, match="apt-get install chromium chromium-driver"), browser():
        pass
