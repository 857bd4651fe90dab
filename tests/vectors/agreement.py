"""Owns the comparison of a core in all languages: steps to draw, and ``agree``, which fails on a difference."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from crossfade.impls.cores.replay import Replayer
from crossfade.impls.cores_numba.bundle import NUMBA_CORES

NO_NATIVE = os.environ.get("CROSSFADE_NO_NATIVE") == "1"
NOT_IN_NUMBA = {"rollout", "cache"}
"""Kinds that no bundle has: their cores are Python and Rust only."""

Step = tuple[int, str, list[Any]]  # nanoseconds since the step before, operation, arguments

SEEDS = st.integers(0, 2**64 - 1)
# Mostly small, so that walks cross deadlines and windows again and again; sometimes of a real clock's size.
NS = st.one_of(st.integers(0, 10), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**40))
ELAPSED = st.one_of(st.integers(0, 3), st.integers(0, 3), st.integers(0, 20), st.integers(0, 2**33))


def op(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(ELAPSED, st.just(name), st.tuples(*args).map(list))


def steps(*ops: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(*ops), min_size=1, max_size=80)


def candidates(kind: str, config: dict[str, Any], seed: int) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The same core elsewhere: its name and its step, in and out as JSON values."""
    if kind not in NOT_IN_NUMBA:
        yield "numba", Replayer(kind, config, seed, NUMBA_CORES).step
    if not NO_NATIVE:
        rust = importlib.import_module("crossfade_native").CoreReplay(kind, json.dumps(config), seed)
        yield "Rust", lambda at_ns, name, args: json.loads(rust.step(at_ns, name, json.dumps(args)))


def agree(kind: str, config: dict[str, Any], seed: int, walk: list[Step]) -> None:
    python = Replayer(kind, config, seed)
    others = list(candidates(kind, config, seed))
    at_ns = 0
    for number, (elapsed, name, args) in enumerate(walk):
        at_ns += elapsed
        expect = json.loads(json.dumps(python.step(at_ns, name, args)))
        for who, step in others:
            found = json.loads(json.dumps(step(at_ns, name, args)))
            assert found == expect, f"step {number} at {at_ns}: {name}{args}: {who} says {found}, Python {expect}"


def own_waiters(walk: list[Step]) -> list[Step]:
    """A waiter id that is alive must not be used again (SCHEMA.md): every acquire gets its own, the others refer to it.

    Deadlines become relative to the time of the step, and `drain` only ends a walk, or most of it would say nothing.
    """
    acquired = 0
    at_ns = 0
    found: list[Step] = []
    for number, (elapsed, name, args) in enumerate(walk):
        at_ns += elapsed
        if name == "acquire":
            acquired += 1
            found.append((elapsed, name, [acquired, at_ns + args[1]]))
        elif name in ("take", "cancel"):
            found.append((elapsed, name, [max(0, acquired - args[0])]))
        elif name != "drain" or number > len(walk) * 3 // 4:
            found.append((elapsed, name, args))
        else:
            found.append((elapsed, "counts", []))
    return found
