"""``crossfade plan``: how many nodes hold an objective, by a model that stored results calibrate and judge."""

from __future__ import annotations

import argparse
import importlib.util

import msgspec

from crossfade.harness import foretold
from crossfade.harness.cli import output
from crossfade.harness.problems import EX_OK, HarnessError, Unavailable, UsageError
from crossfade.harness.samples import Results
from crossfade.harness.store import Store, load

MODEL = "a model's answer, not a measurement: random arrivals, spread over the nodes at random"


def plan(options: argparse.Namespace) -> int:
    """``crossfade plan``: 0 with the answer. Raises UsageError, BrokenResults, Unavailable."""
    if options.into is not None:
        return _document(options)
    if not has_numba():
        raise Unavailable("crossfade plan needs numba; pip install 'crossfade[numba]'")
    if options.validate is not None:
        return _validate(options)
    if options.rate is None or options.slo_p99 is None:
        raise UsageError("a plan needs --rate and --slo-p99; or give --validate RESULTS")
    from crossfade.harness.simulate import planning  # noqa: PLC0415 - compiled code, for this command alone

    results = load(options.results)
    variant = options.impl or results.baseline
    checked = foretold.read(options.validation) if options.validation else foretold.nearest(options.results)
    one = planning.calibrate(results, variant)
    rate, slo_s = options.rate, options.slo_p99
    behind = planning.Upstreams(
        instances=options.instances,
        slots=options.slots,
        balancer=options.balancer,
        failure_rate=options.failure_rate,
    )
    tried = planning.plan(one, rate_per_s=rate, slo_p99_s=slo_s, cores=options.cores, seed=options.seed, behind=behind)
    answer = next(p for p in tried if p.holds)
    trust = foretold.words(checked, variant)
    if options.json:
        output.dump({"variant": variant, "model": MODEL, "validated": trust, "answer": answer, "tried": tried})
        return EX_OK
    head = ["nodes", "busy", "p50 ms", "p99 ms", "objective"]
    rows = [
        [str(p.nodes), f"{p.utilisation:.0%}", _ms(p.p50_ms), _ms(p.p99_ms), "holds" if p.holds else "misses"]
        for p in tried
    ]
    if behind.failure_rate:
        head += ["failed", "refused"]
        rows = [[*row, f"{p.failed:.1%}", f"{p.refused:.1%}"] for row, p in zip(rows, tried, strict=True)]
    output.say(output.table(head, rows))
    cores = "one core" if options.cores == 1 else f"{options.cores} cores"
    output.say(
        f"\n{answer.nodes} {'node' if answer.nodes == 1 else 'nodes'} of {variant} with {cores} each: "
        f"{rate:g} requests/s at a p99 of {slo_s * 1000:g} ms ({MODEL}).\n"
        f"{trust}\n"
        f"calibrated from {one.scenario} at {one.rate_per_s:g}/s: {1e6 / one.capacity_per_s:.1f} us of processor each, "
        f"{one.wake_s * 1e6:.1f} us to wake"
        + (f"; a core is given no more than the {one.most_per_s:,.0f}/s that it kept there" if one.most_per_s else "")
    )
    return EX_OK


def has_numba() -> bool:
    """Whether anything can be simulated."""
    return importlib.util.find_spec("numba") is not None


def validated(results: Results, store: Store) -> Results:
    """The results with the simulator's predictions beside them, if several nodes were measured at a rate."""
    if not has_numba() or not any(record.kind == "nodes" for record in results.scenarios):
        return results
    from crossfade.harness.simulate import validation  # noqa: PLC0415 - compiled code, for such runs alone

    if not validation.possible(results):
        return results
    output.note("the simulator predicts what the nodes did")
    try:
        found = validation.validate(results)
    except HarnessError as error:
        output.note(f"no validation of the simulator: {error}")
        return results
    results = msgspec.structs.replace(results, validation=found)
    store.save(results)
    foretold.write(found, store.root / foretold.FILE)
    return results


def _validate(options: argparse.Namespace) -> int:
    from crossfade.harness.simulate import validation  # noqa: PLC0415 - compiled code, for this command alone

    found = validation.validate(load(options.validate))
    if options.validation is not None:
        foretold.write(found, options.validation)
    if options.json:
        output.dump(found)
    else:
        output.say(foretold.table(found).rstrip("\n"))
    return EX_OK


def _document(options: argparse.Namespace) -> int:
    if options.validation is None:
        raise UsageError("--into needs --validation FILE; name the stored comparison")
    output.put(foretold.table(foretold.read(options.validation)), options.into)
    return EX_OK


def _ms(value: float | None) -> str:
    return "grows" if value is None else f"{value:.2f}"
