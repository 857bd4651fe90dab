"""What the page says in words: verdicts and tallies, banners, and what is missing."""

from __future__ import annotations

import msgspec
from tests.reports import build

from crossfade.harness.samples import Parity, Results, VariantRecord
from crossfade.reports import story, view
from crossfade.reports.page import Word


def test_an_undecided_comparison_is_called_undecided_in_the_headline_too() -> None:
    results = build.scaled(build.full(), "gateway-echo", "throughput_per_s", (0.2, 0.6, 0.4))
    found = view(results)
    assert found.headline.startswith(
        "On gateway-echo, rust and python cannot be told apart yet in throughput, but rust"
    )
    assert found.headline.endswith("of the CPU on each request."), "what is known this badly of nginx is not in it"
    row = found.verdicts[0].rows[0]
    assert row.word == "inconclusive"
    assert row.pairs_needed is not None
    assert row.pairs_needed > 3
    assert found.standfirst[1] == "Of 9 comparisons, rust is better in 8; 1 is undecided."


def test_a_difference_that_does_not_matter_is_equal_and_not_undecided() -> None:
    found = view(build.scaled(build.full(), "gateway-echo", "throughput_per_s", (0.4, 0.401, 0.399)))
    assert found.verdicts[0].rows[0].word == "equal"
    assert "rust and python differ by less than 5.0\u202f%" in found.headline


def test_a_slower_candidate_is_said_to_be_slower() -> None:
    found = view(build.scaled(build.full(), "gateway-echo", "throughput_per_s", (0.3, 0.3, 0.3)))
    assert found.headline.startswith("rust serves 25\u202f% fewer requests than python")
    assert found.verdicts[0].rows[0].word == "worse"


class TestBanners:
    def _titles(self, results: Results) -> list[str]:
        return [banner.title for banner in view(results).banners]

    def test_a_clean_release_run_has_none(self) -> None:
        assert self._titles(build.full()) == []

    def test_a_work_build_is_loud(self) -> None:
        env = build.environment(native={"profile": "quick-release", "version": "0.1.0"})
        assert self._titles(build.full(environment=env)) == ["The native module is a quick-release build."]

    def test_an_interrupted_run_says_how_far_it_came(self) -> None:
        results = build.full()
        cut = msgspec.structs.replace(results, complete=False, blocks=results.blocks[:7])
        banner = view(cut).banners[0]
        assert banner.title == "This run is not complete."
        assert banner.text.startswith("7 of 48 planned blocks")

    def test_a_variant_that_was_left_out_is_named_with_its_reason(self) -> None:
        results = build.without(build.full(), "rust")
        records = tuple(
            msgspec.structs.replace(s, left_out={"rust": "crossfade_native is not installed"})
            for s in results.scenarios
        )
        banner = view(msgspec.structs.replace(results, scenarios=records)).banners[0]
        assert banner.title == "rust is missing."
        assert "crossfade_native is not installed" in banner.text

    def test_a_variant_that_was_left_out_by_plan_is_no_alarm_whatever_the_words(self) -> None:
        results = build.full()
        told = {"numba": "not here, and that was meant"}
        records = tuple(
            msgspec.structs.replace(s, left_out=told, by_plan=("numba",) if s is results.scenarios[0] else None)
            for s in results.scenarios
        )
        assert self._titles(msgspec.structs.replace(results, scenarios=records[:1])) == []
        assert self._titles(msgspec.structs.replace(results, scenarios=records)) == ["numba is missing."]

    def test_a_limit_that_was_left_out_is_no_alarm(self) -> None:
        assert self._titles(build.without(build.full(), "nginx")) == []

    def test_the_python_generator_is_loud(self) -> None:
        results = build.full()
        blocks = tuple(
            msgspec.structs.replace(b, points=tuple(msgspec.structs.replace(p, generator="python") for p in b.points))
            for b in results.blocks
        )
        assert self._titles(msgspec.structs.replace(results, blocks=blocks)) == [
            "The load generator is the Python one."
        ]

    def test_different_answers_are_loud(self) -> None:
        parity = Parity(scenario="gateway-echo", variants=("python", "rust"), ok=False, detail="at tools[0].name")
        assert self._titles(build.full(parity=(parity,))) == [
            "python and rust do not give the same answers on gateway-echo."
        ]

    def test_lost_blocks_are_loud_and_listed_with_their_reason(self) -> None:
        results = build.full()
        blocks = tuple(
            msgspec.structs.replace(b, status="failed", error="port in use", points=()) if i == 1 else b
            for i, b in enumerate(results.blocks)
        )
        found = view(msgspec.structs.replace(results, blocks=blocks))
        assert found.banners[0].title == "1 of 48 blocks failed or do not count."
        assert [fault.voided for fault in found.faults if fault.voided] == [("round 0 failed: port in use",)]
        assert "1 block of 48 did not count" in found.standfirst[-1]

    def test_a_ceiling_near_the_fastest_variant_is_loud(self) -> None:
        low = build.scaled(build.full(), "gateway-echo", "throughput_per_s", (0.4, 0.4, 0.4), variant="ceiling")
        assert self._titles(low) == ["On gateway-echo the yardstick is short."]

    def test_ceilings_of_several_scenarios_are_one_banner(self) -> None:
        low = build.full()
        for scenario in ("gateway-echo", "calls-echo"):
            low = build.scaled(low, scenario, "throughput_per_s", (0.4, 0.4, 0.4), variant="ceiling")
        banner = view(low).banners[0]
        assert banner.title == "On gateway-echo and calls-echo the yardstick is short."
        assert " times the fastest variant there, so part" in banner.text


class TestMissingData:
    def test_one_variant_alone_has_no_verdicts_and_says_so(self) -> None:
        found = view(build.without(build.full(), "rust"))
        assert found.verdicts == ()
        assert found.headline == (
            "python serves 12,000 requests per second on gateway-echo, 30\u202f% of nginx; there is nothing to "
            "compare it with."
        )

    def test_no_block_at_all(self) -> None:
        found = view(build.full(blocks=(), order=()))
        assert found.headline == "No block counts: nothing can be said yet."
        assert not any((found.work, found.sweeps, found.ladders, found.traces, found.faults))

    def test_one_round_leaves_no_interval_and_no_verdict(self) -> None:
        results = build.full()
        blocks = tuple(b for b in results.blocks if b.round == 0)
        found = view(msgspec.structs.replace(results, blocks=blocks))
        row = found.verdicts[0].rows[0]
        assert (row.gain.low, row.gain.high, row.word) == (None, None, "inconclusive")
        assert "no interval, from 1 paired round" in found.standfirst[0]

    def test_without_nginx_the_headline_does_not_mention_it(self) -> None:
        assert view(build.without(build.full(), "nginx")).headline == (
            "rust serves 2.5 times the requests of python at 40\u202f% of the CPU per request."
        )

    def test_no_rate_was_held(self) -> None:
        results = build.full()
        blocks = tuple(
            msgspec.structs.replace(
                b, metrics={}, points=tuple(msgspec.structs.replace(p, held=False) for p in b.points[:2])
            )
            if b.scenario == "rate-sweep"
            else b
            for b in results.blocks
        )
        found = view(msgspec.structs.replace(results, blocks=blocks))
        assert all(curve.knee is None for curve in found.sweeps[0].curves)
        assert found.tails[0].load == "2,000 requests/s, open loop"

    def test_only_memory_was_measured(self) -> None:
        results = build.full()
        kept = tuple(s for s in results.scenarios if s.kind == "memory_clients")
        blocks = tuple(b for b in results.blocks if b.scenario == "memory-clients")
        found = view(msgspec.structs.replace(results, scenarios=kept, blocks=blocks))
        assert found.headline == (
            "rust is 2.0 times better than python in memory per connection, idle (memory-clients)."
        )


def test_a_variant_against_itself_is_a_test_of_the_ruler() -> None:
    results = build.full()
    twin = tuple(msgspec.structs.replace(b, variant="python~twin") for b in results.blocks if b.variant == "python")
    scenarios = tuple(msgspec.structs.replace(s, variants=("python", "python~twin")) for s in results.scenarios)
    variants = (*results.variants, VariantRecord(name="python~twin", kind="variant", description=""))
    found = view(
        msgspec.structs.replace(
            results,
            candidates=("python~twin",),
            scenarios=scenarios,
            variants=variants,
            blocks=(*results.blocks, *twin),
        )
    )
    assert found.headline == "python measured against itself shows no difference, as it must."
    assert {row.word for row in found.verdicts[0].rows} == {"equal"}


def test_a_reason_shared_by_rounds_is_given_once() -> None:
    results = build.full()
    blocks = tuple(
        msgspec.structs.replace(b, status="void", error="not even the lowest rate held", metrics={})
        if (b.scenario, b.variant) == ("rate-sweep", "python")
        else b
        for b in results.blocks
    )
    found = view(msgspec.structs.replace(results, blocks=blocks))
    (fault,) = (f for f in found.faults if f.voided)
    assert fault.voided == ("rounds 0, 1 and 2 void: not even the lowest rate held",)
    assert fault.lost == 3
    assert found.sweeps[0].absent == ("python",)


def test_every_tally_names_whose_it_is() -> None:
    every: list[tuple[list[Word], str]] = [
        (["better"] * 3, "In all 3 comparisons numba is better."),
        (["inconclusive"] * 3, "The run leaves all 3 comparisons of numba undecided."),
        (["equal"], "In the one comparison of numba any difference is below the threshold."),
        (
            ["equal", "inconclusive", "inconclusive"],
            "Of 3 comparisons of numba, 1 differs by less than the threshold and 2 are undecided.",
        ),
        (["better", "worse", "equal"], "Of 3 comparisons, numba is better in 1 and worse in 1; 1 differs by less "
         "than the threshold."),
    ]  # fmt: skip
    assert [story._tally(words, "numba") for words, _ in every] == [told for _, told in every]
