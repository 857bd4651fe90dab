"""Owns how a kernel is compiled: ahead of its first call, once per machine, with the type checker still looking on.

Rule: a kernel of another module may be called only if that module is listed in ``LINKED``. numba's cache goes by the
kernel's own file: it does not see that a function of another file, linked into it, has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

_P = ParamSpec("_P")
_R = TypeVar("_R")

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

LINKED: Final = ("rng", "loads", "lists", "pool_table")
"""Modules whose kernels others link; after a change of one, ``make clean`` (or remove the ``__pycache__`` here)."""


def kernel(signature: str, *, called_from_python: bool = True) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile for this signature now, or load what an earlier process compiled.

    There is a wrapper for calls from C, which nobody makes, and one for calls from Python: each costs compile time.
    """

    options: dict[str, Any] = {  # numba's own annotations lack the last two
        "cache": True,
        "error_model": "numpy",
        "no_cfunc_wrapper": True,
        "no_cpython_wrapper": not called_from_python,
    }

    def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
        return cast("Callable[_P, _R]", numba.njit(signature, **options)(function))

    return compiled


def part(signature: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A kernel that only other kernels call."""
    return kernel(signature, called_from_python=False)


def signed(word: int) -> int:
    """The int64 with the bits of ``word`` mod 2**64: what a kernel takes where it means 64 unsigned bits.

    numba types a Python int above 2**63-1 as uint64 and others as int64; one kind of argument keeps one fast path.
    """
    word &= 0xFFFFFFFFFFFFFFFF
    return word - 0x10000000000000000 if word >> 63 else word
