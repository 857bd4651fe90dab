"""The two lines of one soak: memory over calls and over minutes, with the same readings cut as warm-up."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossfade.harness.memorysamples import SoakSample
from crossfade.harness.stats.growth import Growth, growth


class Fits(msgspec.Struct, frozen=True, kw_only=True):
    """KiB per 1,000 calls and KiB per minute."""

    per_1000_calls: Growth
    per_minute: Growth


def fits(samples: Sequence[SoakSample]) -> Fits | None:
    """Both lines; None if there are too few readings, or no calls."""
    calls, minutes = [s.calls / 1000 for s in samples], [s.t_ms / 60_000 for s in samples]
    kib = [s.line_kib() for s in samples]
    if not samples or calls[-1] <= calls[len(calls) // 2]:
        return None
    over_time = growth(minutes, kib)
    if over_time is None:
        return None
    over_calls = growth(calls, kib, cut=over_time.cut)
    return None if over_calls is None else Fits(per_1000_calls=over_calls, per_minute=over_time)
