"""Numbers as people read them. The rule: no more digits than the number carries, and the same rounding everywhere."""

from __future__ import annotations

import math
import re

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
THIN = "\u202f"


def plain(text: str) -> str:
    """Text that a document may hold: what HTML and XML cannot carry becomes U+FFFD. Escaping is the template's."""
    return _CONTROL.sub("\ufffd", text)


def brief(text: str, room: int = 240) -> str:
    """Text on one line and of bounded length; a traceback keeps its head and its tail. The whole stands in the
    results."""
    line = " ".join(plain(text).split())
    return line if len(line) <= room else f"{line[: room // 2]} \u2026 {line[-room // 2 :]}"


def digits(value: float, significant: int = 3) -> str:
    """Rounded to significant digits, grouped by thousands, integers kept whole: 12345.6 -> 12,346; 0.01234 ->
    0.0123."""
    if not math.isfinite(value):
        return "\u2013"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{significant - 1}e}")
    places = max(0, significant - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{places}f}"


def rate(value: float) -> str:
    """Requests per second, to three digits: 45,912 -> 45,900."""
    if not value >= 100:
        return digits(value, 2)
    step = 10 ** (math.floor(math.log10(value)) - 2)
    return f"{round(value / step) * step:,.0f}"


def times(gain: float) -> str:
    """A factor: two digits below ten, whole numbers above: 9.83 -> 9.8; 1.042 -> 1.04; 23.4 -> 23."""
    if not math.isfinite(gain):
        return "\u2013"
    if gain < 1.095:
        return f"{gain:.2f}" if gain >= 0.0995 else digits(gain, 2)
    return f"{gain:.1f}" if gain < 9.95 else f"{gain:,.0f}"


def percent(share: float) -> str:
    """0.684 -> 68 %; one decimal below ten per cent."""
    value = share * 100
    return f"{value:.1f}{THIN}%" if abs(value) < 9.95 else f"{value:.0f}{THIN}%"


def milliseconds(value: float) -> str:
    """0.334 -> 0.33 ms; 1234 -> 1.23 s."""
    if value >= 1000:
        return f"{digits(value / 1000, 3)}{THIN}s"
    return f"{digits(value, 2 if value < 10 else 3)}{THIN}ms"


def nanoseconds(value: float) -> str:
    """The unit that keeps the number short: 84 ns; 1.52 us; 3.4 ms."""
    for scale, unit in ((1e6, "ms"), (1e3, "\u00b5s")):
        if value >= scale:
            return f"{digits(value / scale, 3)}{THIN}{unit}"
    return f"{digits(value, 3 if value >= 10 else 2)}{THIN}ns"


def span(low: float, high: float) -> str:
    """An interval in nanoseconds, the unit said once where both ends share it: 1.48 to 1.54 us."""
    first, last = nanoseconds(low), nanoseconds(high)
    number, _, unit = first.partition(THIN)
    return f"{number if last.endswith(THIN + unit) else first} to {last}"


def lowered(title: str) -> str:
    """A title within a sentence: Throughput -> throughput, but CPU stays CPU."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def joined(words: list[str]) -> str:
    """a; a and b; a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """1 block; 3 blocks."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
