"""Soaks: the two lines of one, memory over calls and over minutes, and what they say of its memory.

The rule: both lines go through the same readings, those after the warm-up; and a block that failed for its growth
is not left out here, for it is the finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from crossfade.harness.samples import Block, Kind, Results, SoakSample
from crossfade.harness.stats.growth import Course, Growth, course, growth
from crossfade.scenarios import Soak


class Fits(msgspec.Struct, frozen=True, kw_only=True):
    """KiB per 1,000 calls and KiB per minute."""

    per_1000_calls: Growth
    per_minute: Growth


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """One block of a soak. ``voided`` says why it does not count; its memory is shown all the same."""

    scenario: str
    variant: str
    kind: Kind
    round: int
    samples: tuple[SoakSample, ...]
    fits: Fits | None
    course: Course
    voided: str | None


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


def judge(samples: Sequence[SoakSample], lines: Fits | None, soak: Soak) -> Course:
    """What memory does, by the growth over calls and the scenario's thresholds."""
    return course(
        [s.calls / 1000 for s in samples],
        [s.line_kib() for s in samples],
        lines.per_1000_calls if lines is not None else None,
        threshold=soak.growth_kib,
        least_rise=soak.least_kib,
    )


def soaks(results: Results) -> Iterator[Soaked]:
    """Every block of a soak that has readings, by scenario, variant and round."""
    for record in results.scenarios:
        if record.kind != "soak":
            continue
        told = msgspec.convert(record.spec.get("soak") or {}, Soak)
        for variant in record.variants:
            blocks = results.of(record.name, variant, only_ok=False)
            yield from (_soaked(block, told) for block in blocks if block.soak)


def _soaked(block: Block, told: Soak) -> Soaked:
    lines = fits(block.soak)
    return Soaked(
        scenario=block.scenario,
        variant=block.variant,
        kind=block.kind,
        round=block.round,
        samples=block.soak,
        fits=lines,
        course=judge(block.soak, lines, told),
        voided=block.error if block.status != "ok" else None,
    )
