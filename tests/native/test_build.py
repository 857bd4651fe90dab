"""What the module says about itself, and the small functions that harness and vectors call."""

from __future__ import annotations

import importlib.metadata
import threading
import time

import crossfade_native as native
import pytest

from crossfade.impls import variants


def test_the_build_tells_what_it_is() -> None:
    info = native.build_info()
    assert info["profile"] in {"release", "quick-release", "debug"}
    assert info["version"] == importlib.metadata.version("crossfade-native")
    assert info["abi"] == native.ABI == variants.ABI
    assert info["rustc"].startswith("rustc 1.")
    assert isinstance(info["features"], tuple)


def test_both_wheels_have_one_version() -> None:
    assert importlib.metadata.version("crossfade") == importlib.metadata.version("crossfade-native")


def test_a_core_can_be_stepped() -> None:
    rng = native.CoreReplay("rng", "{}", 0)
    assert rng.step(0, "next_u64", "[]") == "16294208416658607535"
    for arguments in (("nothing", "{}", 0), ("pool", "{", 0)):
        with pytest.raises(ValueError, match=r"\w"):
            native.CoreReplay(*arguments)
    with pytest.raises(ValueError, match="SCHEMA"):
        rng.step(0, "nothing", "[]")


def test_timing_releases_the_interpreter() -> None:
    with pytest.raises(ValueError, match="pool_checkout"):
        native.policy_bench("nothing", 1, 1)
    assert native.policy_bench("breaker", 1000, 1) > 0
    spent: list[int] = []
    began = time.perf_counter()
    thread = threading.Thread(target=lambda: spent.append(native.policy_bench("breaker", 20_000_000, 1)))
    thread.start()
    time.sleep(0.001)
    back = time.perf_counter() - began
    thread.join()
    assert back * 1e9 < spent[0], "this thread did not run while the other was timing"
