"""A compiling core is reported cold, cached and warm, once in a run, and no other core is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.harness import compiling
from crossfade.harness.affinity import available, place
from crossfade.harness.measure import ops
from crossfade.harness.measure.bench import Bench
from crossfade.harness.stats import analyse
from crossfade.impls import missing
from crossfade.reports import trusted
from crossfade.scenarios import select


def test_both_processes_share_a_cache_that_was_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[Path]]] = []

    def fake(_: Bench, cache: str) -> dict[str, Any]:
        seen.append((cache, list(Path(cache).iterdir())))
        (Path(cache) / "compiled").touch()
        return {"first_ms": 9000.0 if len(seen) == 1 else 300.0, "again_ms": 0.2 / len(seen)}

    monkeypatch.setattr(ops, "_pass", fake)
    bench = Bench(
        scenario=select(["policy-ops"])[0],
        profile="quick",
        variant="numba",
        placement=place(available()),
        seed=1,
        hash_seed=1,
        generator="python",
        first=True,
    )
    assert ops.compiled(bench) == {"numba_cold_ms": 9000.0, "numba_cached_ms": 300.0, "numba_warm_ms": 0.1}
    (one, before), (two, between) = seen
    assert one == two
    assert before == []
    assert [p.name for p in between] == ["compiled"]
    assert not Path(one).exists()


@pytest.mark.slow
@pytest.mark.skipif(missing("numba") is not None, reason="numba is not installed")
@pytest.mark.timeout(300)
def test_a_process_says_what_the_first_decisions_took_and_what_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    compiling.main()
    said = json.loads(capsys.readouterr().out)
    assert said["event"] == "compiled"
    assert 0 < said["again_ms"] < said["first_ms"]


def test_the_three_figures_are_told_where_they_were_measured() -> None:
    results = make_results(1, flaws=False)
    assert trusted.compiled(analyse(results)) == ()
    figures = {"numba_cold_ms": 15_200.0, "numba_cached_ms": 800.0, "numba_warm_ms": 0.15}
    blocks = tuple(
        msgspec.structs.replace(b, metrics={**b.metrics, **figures})
        if (b.scenario, b.variant, b.round) == ("policy-ops", "python", 0)
        else b
        for b in results.blocks
    )
    (line,) = trusted.compiled(analyse(msgspec.structs.replace(results, blocks=blocks)))
    for told in ("15.2\u202fs with nothing compiled", "800\u202fms from its cache", "0.15\u202fms warm"):
        assert told in line
