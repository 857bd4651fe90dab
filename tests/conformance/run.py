"""``make conformance``: the official suite against ``crossfade serve``, every pairing of eras, every variant asked for.

Rule: exits 0 only if every scored scenario passes but for the reviewed exceptions (``exceptions.toml``).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.conformance import report, stand, verdict
from tests.conformance.client import SCENARIOS
from tests.conformance.suite import Outcome, Requirements, Suite
from tests.conformance.verdict import ERAS, PAIRINGS, REVISIONS, Where
from tests.npm import Unavailable

HERE = Path(__file__).parent
TRANSPORTS = ("http", "stdio")
DIRECT = "direct"
"""The variant that is none: the suite against the fixture itself, which guards the fixture."""

Found = dict[str, Outcome]


def server_run(suite: Suite, where: Where) -> Found:
    """The server scenarios of the client's era, in front of a fixture of the server's."""
    client, server = where.pairing.split("-")
    with ExitStack() as stack:
        if where.upstream == "stdio":
            spec = stand.over_stdio(server)
        else:
            spec = {"url": stack.enter_context(stand.fixture(server))}
        url = spec["url"] if where.variant == DIRECT else stack.enter_context(stand.gateway(spec, where.variant))
        return suite.server(url, REVISIONS[client])


def client_run(suite: Suite, where: Where, scenarios: tuple[str, ...]) -> Found:
    """The client scenarios of the server's era, by a client of the client's."""
    client, server = where.pairing.split("-")
    command = f"{sys.executable} -m tests.conformance.client --impl {where.variant} --era {client}"
    return {name: suite.client(command, name, REVISIONS[server]) for name in scenarios}


def planned(options: argparse.Namespace) -> list[Where]:
    direct = [Where(f"{era}-{era}", "http", DIRECT) for era in ERAS if f"{era}-{era}" in options.pairing]
    return direct + [
        Where(pairing, upstream, variant)
        for pairing in options.pairing
        for upstream in options.upstream
        for variant in options.impl
    ]


def without_auth(names: tuple[str, ...]) -> tuple[str, ...]:
    """OAuth upstream is not served yet; everything else must be known to our client."""
    kept = tuple(name for name in names if not name.startswith("auth/"))
    if unknown := set(kept) - set(SCENARIOS):
        raise SystemExit(f"conformance: client scenario {min(unknown)} is new; add it to tests/conformance/client.py")
    return kept


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--impl", action="append", help="variant (default: python and rust)")
    parser.add_argument("--pairing", action="append", choices=PAIRINGS, help="client era - server era (default: all)")
    parser.add_argument("--upstream", action="append", choices=TRANSPORTS, help="of the fixture (default: both)")
    parser.add_argument("--leg", action="append", choices=("server", "client"), help="default: both")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("results/conformance"), help="folder of the two reports")
    options = parser.parse_args()
    options.impl = options.impl or ["python", "rust"]
    options.pairing = options.pairing or list(PAIRINGS)
    options.upstream = options.upstream or list(TRANSPORTS)
    options.leg = options.leg or ["server", "client"]
    return options


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(wheres: list[Where], one: Callable[[Where], Found], jobs: int) -> dict[Where, Found]:
    """All of them, so many at a time; each tells when it is done."""

    def timed(where: Where) -> Found:
        began = time.monotonic()
        found = one(where)
        failing = sum(bool(outcome.failures) for outcome in found.values())
        say(f"  {where}: {len(found)} scenarios, {failing} failing, {time.monotonic() - began:.0f} s")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(wheres, pool.map(timed, wheres), strict=True))


def main() -> int:
    options = arguments()
    try:
        suite = Suite()
    except Unavailable as why:
        raise SystemExit(f"conformance: {why}") from None
    required: dict[str, Requirements] = {era: suite.requirements(REVISIONS[era]) for era in ERAS}
    exempts = [one for one in verdict.load(HERE / "exceptions.toml") if one.pairing in options.pairing]
    scored = {era: required[era].server for era in ERAS}
    servers: dict[Where, Found] = {}
    clients: dict[Where, Found] = {}
    if "server" in options.leg:
        say("server scenarios (client era - server era, fixture's transport, variant)")
        servers = run(planned(options), lambda where: server_run(suite, where), options.jobs)
    faults = verdict.faults(servers, scored, exempts)
    if "client" in options.leg:
        say("client scenarios")
        mine = {era: without_auth(required[era].client) for era in ERAS}
        wheres = [Where(pairing, "http", variant) for pairing in options.pairing for variant in options.impl]
        clients = run(wheres, lambda where: client_run(suite, where, mine[where.pairing.split("-")[1]]), options.jobs)
        faults += [
            f"client, {where}: {name}: {'; '.join(outcome.failures)}"
            for where, found in clients.items()
            for name, outcome in found.items()
            if outcome.failures
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    tables = report.as_markdown(servers, clients, scored, exempts)
    (options.out / "results.json").write_text(json.dumps(report.as_json(servers, clients, faults), indent=1) + "\n")
    (options.out / "conformance.md").write_text(f"# The official conformance suite\n\n{tables}")
    say(f"\n{tables}\n{options.out / 'conformance.md'}")
    for fault in faults:
        sys.stderr.write(f"conformance: {fault}\n")
    say(f"conformance: {len(faults)} faults" if faults else "conformance: everything scored passes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
