"""Same questions, same answers: what must hold before any timing counts.

``check_scenario`` asks each variant what the scenario itself asks, once. ``compare_variants`` asks a fixed list of
questions in both eras and reports the first difference. Answers are compared as JSON values without what may differ:
the id is checked by the probe, and names, versions and instructions of the gateway itself are its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from crossfade.harness.affinity import Placement
from crossfade.harness.gateways import Gateway
from crossfade.harness.measure.bench import SERVER, START_S, Bench, echoed
from crossfade.harness.measure.target import Target
from crossfade.harness.probe import Probe
from crossfade.harness.problems import HarnessError
from crossfade.harness.samples import Parity
from crossfade.scenarios import Scenario

Era = Literal["modern", "legacy"]
TOOL = f"{SERVER}__echo"

ESCAPES = '"\\\n\u2028\u00e9\U0001f600'
QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("lists tools", "tools/list", {}),
    ("lists prompts", "prompts/list", {}),
    ("lists resources", "resources/list", {}),
    ("echoes text", "tools/call", {"name": TOOL, "arguments": {"text": "hello", "n": 1}}),
    ("echoes what JSON must escape", "tools/call", {"name": TOOL, "arguments": {"text": ESCAPES, "n": 2}}),
    ("echoes 100 kB", "tools/call", {"name": TOOL, "arguments": {"text": "0123456789" * 10_000, "n": 3}}),
    ("reports a tool's failure", "tools/call", {"name": f"{SERVER}__fail", "arguments": {}}),
    ("refuses an unknown tool", "tools/call", {"name": f"{SERVER}__nonesuch", "arguments": {}}),
    ("refuses an unknown server", "tools/call", {"name": "nonesuch__echo", "arguments": {}}),
    ("refuses a call without a name", "tools/call", {"arguments": {}}),
    ("refuses an unknown method", "no/such/method", {}),
    ("refuses an unknown prompt", "prompts/get", {"name": f"{SERVER}__nonesuch"}),
    ("refuses an unknown resource", "resources/read", {"uri": "nonesuch://x"}),
)  # fmt: skip
"""(what it shows, method, params)"""


class Answer(msgspec.Struct, frozen=True):
    """What one variant said to one question."""

    question: str
    era: Era
    value: Any


def bench_for(
    scenario: Scenario,
    variant: str,
    *,
    placement: Placement,
    generator: str,
    gateway: Gateway | None = None,
    start_s: float = START_S,
) -> Bench:
    """A bench that is used for asking, not for timing."""
    return Bench(
        scenario=scenario,
        profile="quick",
        variant=variant,
        placement=placement,
        seed=1,
        hash_seed=1,
        generator=generator,
        gateway=gateway,
        start_s=start_s,
    )


@contextlib.contextmanager
def asked(bench: Bench) -> Iterator[Target]:
    """The gateway face of the bench's variant in front of its fleet."""
    with contextlib.ExitStack() as stack:
        fleet, ports = None, None
        if bench.scenario.upstream.transport == "http":
            fleet, ports = stack.enter_context(bench.fleet())
        yield stack.enter_context(bench.target(fleet, ports))


def question(scenario: Scenario) -> tuple[Era, int]:
    """What parity asks of a scenario besides its upstream: the client's era, and bytes to echo."""
    load = scenario.load
    return (load.era, load.payload_bytes) if load is not None else ("modern", 16)


def check_scenario(
    scenario: Scenario,
    variants: Sequence[str],
    *,
    placement: Placement,
    generator: str,
    gateways: Mapping[str, Gateway] = MappingProxyType({}),
    start_s: float = START_S,
) -> Parity:
    """Ask every variant to echo the scenario's payload, and compare.

    Whoever gives no answer or a wrong one is blamed alone. Answers of variants have to be equal in every field;
    gateways that the user brought may add fields of their own, so that only their echo has to be right.
    """
    era, size = question(scenario)
    text = ("parity-" + "x" * size)[: max(size, 7)]
    answers: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for variant in variants:
        bench = bench_for(
            scenario,
            variant,
            placement=placement,
            generator=generator,
            gateway=gateways.get(variant),
            start_s=start_s,
        )
        try:
            with asked(bench) as target, _probe(target, era) as probe:
                answer = probe.call(target.tool, {"text": text, "n": 1})
        except HarnessError as error:
            wrong[variant] = str(error)
            continue
        if echoed(answer) != text:
            wrong[variant] = f"answered {str(answer)[:200]} to an echo of {size} bytes"
        elif variant not in gateways:
            answers[variant] = comparable(answer)
    detail = "; ".join(f"{variant}: {why}" for variant, why in wrong.items())
    # With a difference between two that both echo rightly, nobody knows whose fault it is: all are refused.
    difference = first_difference(answers)
    return Parity(
        scenario=scenario.name,
        variants=tuple(variants),
        ok=not (wrong or difference),
        detail="; ".join(filter(None, (detail, difference))),
        blamed=() if difference else tuple(wrong),
    )


def _probe(target: Target, era: Era) -> Probe:
    return Probe(target.port, host=target.host, path=target.path, era=era)


def ask_all(scenario: Scenario, variant: str, *, placement: Placement, generator: str) -> list[Answer]:
    """Every question in both eras. Raises BlockFailed if the variant does not run or does not answer."""
    found: list[Answer] = []
    eras: tuple[Era, ...] = ("modern", "legacy")
    with asked(bench_for(scenario, variant, placement=placement, generator=generator)) as target:
        for era in eras:
            with _probe(target, era) as probe:
                for question, method, params in QUESTIONS:
                    found.append(Answer(question, era, comparable(probe.request(method, params))))
    return found


def compare_variants(
    scenario: Scenario, variants: Sequence[str], *, placement: Placement, generator: str
) -> tuple[int, list[str]]:
    """How many questions were asked, and every difference between the first variant and the others, in words."""
    answers = {v: ask_all(scenario, v, placement=placement, generator=generator) for v in variants}
    reference = variants[0]
    found = []
    for other in variants[1:]:
        for one, two in zip(answers[reference], answers[other], strict=True):
            if one.value != two.value:
                where = f"{one.question} ({one.era})"
                found.append(f"{where}: {first_difference({reference: one.value, other: two.value})}")
    return len(answers[reference]), found


def comparable(answer: dict[str, Any]) -> Any:
    """The answer without what may differ: id, and wording of errors that the gateway makes itself."""
    if "error" in answer:
        error = answer["error"]
        data = error.get("data") if isinstance(error.get("data"), dict) else None
        if data is not None and "recovery" in data:
            # The gateway's own: code and data are the contract, wording is not.
            return {"error": {"code": error.get("code"), "data": data}}
        return {"error": {"code": error.get("code")}}
    return {"result": answer.get("result")}


def first_difference(answers: dict[str, Any], path: str = "") -> str:
    """Where the answers of variants part, in words; empty if they do not."""
    names = list(answers)
    for other in names[1:]:
        left, right = answers[names[0]], answers[other]
        if left != right:
            return _difference(names[0], left, other, right, path or "$")
    return ""


def _difference(name: str, left: Any, other: str, right: Any, path: str) -> str:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                lacking = name if key not in left else other
                return f"{path}.{key} is missing in the answer of {lacking}"
            if left[key] != right[key]:
                return _difference(name, left[key], other, right[key], f"{path}.{key}")
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, two) in enumerate(zip(left, right, strict=True)):
            if one != two:
                return _difference(name, one, other, two, f"{path}[{index}]")
    return f"{path}: {name} says {_short(left)}, {other} says {_short(right)}"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else text[:117] + "..."
