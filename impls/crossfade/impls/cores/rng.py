"""Owns the one random stream of the cores: SplitMix64, seeded by the caller, the same in every language.

Rule: every draw advances the state exactly once, so two implementations that make the same decisions draw the same
numbers. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), constants as in
https://prng.di.unimi.it/splitmix64.c. Not for secrets.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


class SplitMix64:
    """A stream of 64-bit numbers. ``seed`` is taken modulo 2**64."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next_u64(self) -> int:
        """The next number, uniform over 0 .. 2**64-1."""
        self._state = z = (self._state + _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """A number in 0 .. n-1: the high 64 bits of ``next_u64() * n`` (bias below n / 2**64). 0 for n = 0."""
        return (self.next_u64() * n) >> 64


def first_of(seed: int) -> int:
    """The first number of ``SplitMix64(seed)``, without the stream: a hash of 64 bits."""
    z = (seed + _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
