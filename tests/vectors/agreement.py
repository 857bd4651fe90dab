"""Owns the comparison of a core in two languages: steps to draw, and ``agree``, which fails on a difference."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

import pytest
from hypothesis import strategies as st

from crossfade.impls.cores.replay import Replayer

NEEDS_NATIVE = pytest.mark.skipif(
    os.environ.get("CROSSFADE_NO_NATIVE") == "1", reason="CROSSFADE_NO_NATIVE=1: this machine has no cargo"
)

Step = tuple[int, str, list[Any]]  # nanoseconds since the step before, operation, arguments

SEEDS = st.integers(0, 2**64 - 1)
# Mostly small, so that walks cross deadlines and windows again and again; sometimes of a real clock's size.
NS = st.one_of(st.integers(0, 10), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**40))
ELAPSED = st.one_of(st.integers(0, 3), st.integers(0, 3), st.integers(0, 20), st.integers(0, 2**33))


def op(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(ELAPSED, st.just(name), st.tuples(*args).map(list))


def steps(*ops: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(*ops), min_size=1, max_size=80)


def native() -> Any:
    return importlib.import_module("crossfade_native")


def agree(kind: str, config: dict[str, Any], seed: int, walk: list[Step]) -> None:
    python = Replayer(kind, config, seed)
    rust = native().CoreReplay(kind, json.dumps(config), seed)
    at_ns = 0
    for number, (elapsed, name, args) in enumerate(walk):
        at_ns += elapsed
        expect = json.loads(json.dumps(python.step(at_ns, name, args)))
        found = json.loads(rust.step(at_ns, name, json.dumps(args)))
        assert found == expect, f"step {number} at {at_ns}: {name}{args}: Rust says {found}, Python {expect}"


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
