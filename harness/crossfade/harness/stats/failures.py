"""Who loses requests that others do not: a verdict of its own beside those of time, for a lost request has no latency.

Below one per cent a block with failed requests counts, so that somebody has to ask. The unit is the round, as
everywhere: requests that fail together in one stall are one event. Of each round it is asked which of the two failed a
larger share of its requests, and of these rounds the exact sign test is taken: one lost request in a thousand, in six
rounds and never on the other side, is a conviction. Holm's correction is over those comparisons that have rounds enough
for any verdict (Tarone 1990, Biometrics 46, 515-522), so that forty honest scenarios do not acquit one bad one.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from crossfade.harness.samples import Block, Results, ScenarioKind
from crossfade.harness.stats.pairs import ALPHA, Verdict, holm
from crossfade.harness.stats.shares import sign_test

KINDS: tuple[ScenarioKind, ...] = ("throughput", "calls", "latency", "sweep", "burst", "connect", "soak")
"""Where nothing is broken on purpose, so that a failed request is the doing of who was measured."""


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """Failed requests of a pair, over the rounds in which both blocks count.

    ``more`` are the rounds in which the candidate failed a larger share, ``fewer`` those in which the baseline did.
    """

    scenario: str
    baseline: str
    candidate: str
    baseline_failed: int
    baseline_sent: int
    candidate_failed: int
    candidate_sent: int
    more: int
    fewer: int
    p: float
    p_holm: float = 1.0
    verdict: Verdict = "inconclusive"


def failures(results: Results) -> tuple[Failures, ...]:
    """Every pair of which anybody failed a request, judged together."""
    found = list(_pairs(results))
    # With so few rounds on either side that not even all on one would be a verdict there is no question to correct for.
    asked = [f for f in found if 2.0 ** (1 - f.more - f.fewer) < ALPHA]
    adjusted = dict(zip(map(id, asked), holm([f.p for f in asked]), strict=True))
    return tuple(_judged(f, adjusted.get(id(f), 1.0)) for f in found)


def _judged(found: Failures, p_holm: float) -> Failures:
    verdict: Verdict = "inconclusive"
    if p_holm < ALPHA:
        verdict = "worse" if found.more > found.fewer else "better"
    return msgspec.structs.replace(found, p_holm=p_holm, verdict=verdict)


def _pairs(results: Results) -> Iterator[Failures]:
    for record in results.scenarios:
        if record.kind not in KINDS:
            continue
        base = {b.round: counted(b) for b in results.of(record.name, results.baseline)}
        for candidate in results.candidates:
            mine = {b.round: counted(b) for b in results.of(record.name, candidate)}
            pairs = [(base[r], mine[r]) for r in sorted(base.keys() & mine.keys()) if base[r][1] and mine[r][1]]
            if not any(one[0] or two[0] for one, two in pairs):
                continue
            # Shares are compared crosswise, so that no rounding makes a difference.
            more = sum(two[0] * one[1] > one[0] * two[1] for one, two in pairs)
            fewer = sum(two[0] * one[1] < one[0] * two[1] for one, two in pairs)
            yield Failures(
                scenario=record.name,
                baseline=results.baseline,
                candidate=candidate,
                baseline_failed=sum(one[0] for one, _ in pairs),
                baseline_sent=sum(one[1] for one, _ in pairs),
                candidate_failed=sum(two[0] for _, two in pairs),
                candidate_sent=sum(two[1] for _, two in pairs),
                more=more,
                fewer=fewer,
                p=sign_test(more, fewer),
            )


def counted(block: Block) -> tuple[int, int]:
    """Failed and sent requests of a block."""
    return sum(block.errors.values()), sum(point.sent for point in block.points)
