"""Owns SplitMix64 in uint64 arithmetic, which wraps as the algorithm wants, and exact products of 64-bit numbers.

Rule: no operation mixes int64 and uint64: numba, like numpy, would turn the pair into a float.
"""

from __future__ import annotations

import numpy as np

from crossfade.impls.cores_numba.jit import Words, kernel, part, signed

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LOW = np.uint64(0xFFFFFFFF)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@kernel("uint64(uint64)")
def first_of(seed: np.uint64) -> np.uint64:
    """The first number of the stream of ``seed``."""
    z = seed + _GAMMA
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


@kernel("uint64(uint64[::1])")
def draw(state: Words) -> np.uint64:
    """The next number; ``state`` is one word."""
    number = first_of(state[0])
    state[0] += _GAMMA
    return number


@part("uint64(uint64, uint64)")
def high(a: np.uint64, b: np.uint64) -> np.uint64:
    """``a * b >> 64``, from four products of 32 bits."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _32, b & _LOW, b >> _32
    middle = a_high * b_low + (a_low * b_low >> _32)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _32) + (other >> _32)


@part("uint64(uint64, uint64)")
def shifted(a: np.uint64, b: np.uint64) -> np.uint64:
    """``a * b >> 32`` for ``b`` below 2**32, exact as long as the result fits."""
    return (a >> _32) * b + ((a & _LOW) * b >> _32)


@kernel("uint64(uint64[::1], int64)")
def below(state: Words, n: int) -> np.uint64:
    """A number in 0 .. n-1, n as 64 unsigned bits."""
    return high(draw(state), np.uint64(n))


@kernel("void(uint64[::1], uint64[::1])")
def fill(state: Words, out: Words) -> None:
    """As many draws as ``out`` holds."""
    for k in range(out.size):
        out[k] = draw(state)


class SplitMix64:
    """A stream of 64-bit numbers. ``seed`` is taken modulo 2**64."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)

    def next_u64(self) -> int:
        """The next number, uniform over 0 .. 2**64-1."""
        return int(draw(self._state))

    def below(self, n: int) -> int:
        """A number in 0 .. n-1: the high 64 bits of ``next_u64() * n``. 0 for n = 0."""
        return int(below(self._state, signed(n)))

    def batch(self, count: int) -> Words:
        """The next ``count`` numbers."""
        out = np.empty(count, np.uint64)
        fill(self._state, out)
        return out
