"""One point per commit for the history: the headline scenario, measured by the harness, tracked by asv.

Rule: asv draws the line, the harness measures. ``setup_cache`` runs blocks of all implementations interleaved (method
rule 2) once per commit; the ``track_*`` methods only look the medians up. All are "lower is better", the only direction
that asv knows regressions in. Pull requests are gated by ``crossfade gate``.
"""

from __future__ import annotations

import os
import statistics

from crossfade.harness.affinity import available, place
from crossfade.harness.executor import LocalExecutor, Task
from crossfade.harness.samples import Slot
from crossfade.impls import VARIANTS, missing
from crossfade.scenarios import builtin

Medians = dict[str, dict[str, float]]

SCENARIO = "gateway-echo"
IMPLEMENTATIONS = [v.name for v in VARIANTS.values() if not v.measured_in]
"""Those that a run measures everywhere; the others differ by their cores, which traffic hides."""
ROUNDS = int(os.environ.get("CROSSFADE_ASV_ROUNDS", "5"))


class GatewayEcho:
    """16-byte echo through the gateway, sixteen connections, closed loop."""

    params = [IMPLEMENTATIONS]
    param_names = ["implementation"]
    timeout = 600

    def setup_cache(self) -> Medians:
        """Median of each metric by implementation; an implementation that is not installed is left out."""
        variants = [name for name in IMPLEMENTATIONS if missing(name) is None]
        generator = "rust" if missing("rust") is None else "python"
        executor = LocalExecutor(placement=place(available()), generator=generator)
        found: dict[str, dict[str, list[float]]] = {name: {} for name in variants}
        for round_ in range(ROUNDS):
            # Rotating by round is the order of a plan without its randomness: a history must be reproducible.
            turn = round_ % len(variants)
            for position, name in enumerate(variants[turn:] + variants[:turn]):
                slot = Slot(scenario=SCENARIO, round=round_, position=position, variant=name)
                task = Task(scenario=builtin()[SCENARIO], profile="quick", slot=slot, seed=round_, hash_seed=round_)
                block = executor.block(task)
                if block.status != "ok":
                    raise RuntimeError(f"{SCENARIO} with {name} failed: {block.error}")
                for metric, value in block.metrics.items():
                    found[name].setdefault(metric, []).append(value)
        return {name: {m: statistics.median(v) for m, v in metrics.items()} for name, metrics in found.items()}

    def setup(self, medians: Medians, implementation: str) -> None:
        """An implementation that is missing shows as n/a in asv, not as a number of another."""
        if implementation not in medians:
            raise NotImplementedError(missing(implementation) or f"{implementation} was not measured")

    def track_time_per_request(self, medians: Medians, implementation: str) -> float:
        return 1e6 / medians[implementation]["throughput_per_s"]

    def track_cpu_per_request(self, medians: Medians, implementation: str) -> float:
        return medians[implementation]["cpu_us_per_request"]

    def track_p99(self, medians: Medians, implementation: str) -> float:
        return medians[implementation]["p99_us"]

    track_time_per_request.unit = "us"  # type: ignore[attr-defined]
    track_cpu_per_request.unit = "us"  # type: ignore[attr-defined]
    track_p99.unit = "us"  # type: ignore[attr-defined]
