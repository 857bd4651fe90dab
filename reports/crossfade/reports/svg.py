"""From a matplotlib figure to an SVG that lives inside the page: its colours, its fonts and its ids.

The rule: a figure never names a colour of its own. It draws with the sentinels in :data:`INK`, and :func:`inline`
turns each
into a CSS variable, so that one drawing serves light mode, dark mode and print. Text stays text, and the same figure
always gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS_PER_INCH = 72  # the SVG backend's user unit is the point; the page shows one unit as one CSS pixel

_NAMES = ("ink", "soft", "faint", "rule", "paper", "bad", "good", "limit", "v0", "v1", "v2", "v3", "v4", "v5")
INK: dict[str, str] = {name: f"#00fe{0x10 + i:02x}" for i, name in enumerate(_NAMES)}
"""Sentinel colour of each CSS variable; no real colour of ours lies on this line of the colour cube."""

RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossfade",
    "text.parse_math": False,  # a variant named "$x$" is a name, not a formula
    "font.family": "sans-serif",
    "font.size": 12.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": INK["faint"],
    "axes.linewidth": 1.0,
    "axes.labelcolor": INK["soft"],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "figure.facecolor": "none",
    "grid.color": INK["rule"],
    "grid.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=[INK["ink"]]),  # what forgets its colour is seen, and is a variable
    "text.color": INK["ink"],
    "xtick.color": INK["soft"],
    "ytick.color": INK["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2.2,
}


class Sheet:
    """A figure measured in CSS pixels from the top left, so that the wide and the narrow drawing share one code."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self.figure = Figure(figsize=(width / UNITS_PER_INCH, height / UNITS_PER_INCH), dpi=UNITS_PER_INCH)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose data area is exactly this rectangle; labels hang outside it."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height), label=f"{left}-{top}"
        )

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        """Text whose baseline starts at this point."""
        self.figure.text(left / self.width, 1 - top / self.height, words, **style)


def inline(sheet: Sheet, *, name: str, label: str, css: str) -> str:
    """The sheet as one ``<svg>`` element with ids prefixed by ``name``, described by ``label``, of class ``css``."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Widths are measured with the bundled font; the browser draws with its own and has more glyphs.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        FigureCanvasSVG(sheet.figure).print_svg(  # type: ignore[no-untyped-call] # matplotlib 3.11 does not type it
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)  # matplotlib breaks up any "--" of a caller's text in them
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", body))
    body = re.sub(r"<[^>]*>", lambda tag: _clean(tag[0], name, used), body)  # tags only: the words are the caller's
    body = re.sub(r"\s*\n\s*", "\n", body)
    head = (
        f'<svg class="{css}" role="img" aria-label="{escape(label, quote=True)}" '
        f'viewBox="0 0 {sheet.width:g} {sheet.height:g}" width="{sheet.width:g}" height="{sheet.height:g}">'
    )
    return head + body.strip()


def _clean(tag: str, name: str, used: set[str]) -> str:
    """One tag: colours become variables, ids unique in the document, and nothing is left that the page decides."""
    if tag == "<g/>":
        return ""
    # A large page has tens of thousands of tags, and most have none of this.
    if "#" in tag:
        for variable, sentinel in INK.items():
            tag = tag.replace(sentinel, f"var(--{variable})")
        tag = re.sub(r"url\(#([\w.-]+)\)", rf"url(#{name}-\1)", tag)
        tag = re.sub(r"(?:xlink:)?href=\"#([\w.-]+)\"", rf'href="#{name}-\1"', tag)
    if " id=" in tag:
        tag = re.sub(r" id=\"([^\"]+)\"", lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    if "font" in tag:
        tag = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", tag)
        tag = re.sub(r"font: (\w+) ([0-9.]+)px [^;\"]*", r"font-weight: \1; font-size: \2px", tag)
        tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    if "rotate(-0" in tag:
        tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", tag)
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)


def context() -> Any:
    """The style every figure is drawn in; nothing of the user's own matplotlibrc leaks in."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **RC}
    del settings["backend"]  # asking matplotlib to change it would look for a screen
    return mpl.rc_context(settings)
