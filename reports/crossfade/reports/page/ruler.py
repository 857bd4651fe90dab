"""What is known of the ruler itself, as the page says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One way in which the ruler was tested: the finding in words, and the figures behind it.

    ``known`` is false where this machine has no such measurement; ``says`` then names the command that makes one.
    """

    title: str
    says: str
    known: bool = True
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
