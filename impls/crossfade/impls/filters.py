"""Owns the rule what of a server is shown and under which name: globs over its own names, and aliases.

The rules, which the Rust mirror replays from ``impls/vectors/filters.jsonl``:

1. A glob is compared with the whole name, code point by code point, case-sensitively. ``*`` is any text, also none and
   also ``/``; ``?`` is one code point; ``[abc]``, ``[a-z]`` one of these, ``[!abc]`` one that is none of these. A ``]``
   that stands first in brackets is meant itself, a range that runs backwards holds nothing, and a ``[`` without its
   ``]`` is meant itself. There is no escape: ``[*]`` is a star.
2. An own name is shown if a glob of ``allow`` matches it (or there is none) and no glob of ``deny`` does.
3. What has an alias is shown under that and no longer under its own name.
4. An alias wins: an own name that equals the alias of another shown one leads to that other. A list that holds both is
   therefore an error (:meth:`Filter.clash`), never a tool that answers for its neighbour.
"""

from __future__ import annotations

from typing import Final

from crossfade.impls.config.server import NameFilter

_Set = tuple[bool, tuple[tuple[str, str], ...]]
"""Negated, and ranges of code points with both ends."""
_ANY: Final = "?"
_STAR: Final = "*"


class Glob:
    """One pattern. Matching takes time proportional to pattern times name at worst, whatever they hold."""

    __slots__ = ("_tokens", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._tokens = _compile(pattern)

    def matches(self, name: str) -> bool:
        """Whether all of ``name`` is what the pattern says."""
        tokens, at, token = self._tokens, 0, 0
        star, resume = -1, 0
        while at < len(name):
            if token < len(tokens) and tokens[token] is None:
                star, resume = token, at
                token += 1
            elif token < len(tokens) and _holds(tokens[token], name[at]):
                token += 1
                at += 1
            elif star >= 0:  # the last star takes one more; an earlier one never has to
                token, resume = star + 1, resume + 1
                at = resume
            else:
                return False
        return all(rest is None for rest in tokens[token:])


def _holds(token: _Set | None, char: str) -> bool:
    assert token is not None  # noqa: S101  a star is looked at before
    negated, ranges = token
    return any(low <= char <= high for low, high in ranges) is not negated


def _compile(pattern: str) -> tuple[_Set | None, ...]:
    """One token per code point to match; None is a star."""
    tokens: list[_Set | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == _STAR:
            if not tokens or tokens[-1] is not None:
                tokens.append(None)
        elif char == _ANY:
            tokens.append((True, ()))
        elif char == "[" and (end := pattern.find("]", at + 1 + (pattern[at : at + 1] == "!"))) >= 0:
            negated = pattern[at] == "!"
            tokens.append((negated, _ranges(pattern[at + negated : end])))
            at = end + 1
        else:
            tokens.append((False, ((char, char),)))
    return tuple(tokens)


def _ranges(members: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(members):
        step = 3 if members[at + 1 : at + 2] == "-" and at + 2 < len(members) else 1
        found.append((members[at], members[at + step - 1]))
        at += step
    return tuple(found)


class Filter:
    """A :class:`NameFilter`, ready to be asked. ``plain`` shows everything as it is."""

    __slots__ = ("_alias", "_allow", "_deny", "_owns", "plain")

    def __init__(self, spec: NameFilter) -> None:
        self.plain = not (spec.allow or spec.deny or spec.alias)
        self._allow = tuple(Glob(pattern) for pattern in spec.allow)
        self._deny = tuple(Glob(pattern) for pattern in spec.deny)
        self._alias = spec.alias
        self._owns = {shown: own for own, shown in spec.alias.items() if self.shows(own)}

    def shows(self, own: str) -> bool:
        """Whether the server's own name (or URI) is shown at all."""
        allowed = not self._allow or any(glob.matches(own) for glob in self._allow)
        return allowed and not any(glob.matches(own) for glob in self._deny)

    def shown(self, own: str) -> str | None:
        """The name behind the prefix, or None if there is none."""
        if self.plain:
            return own
        return self._alias.get(own, own) if self.shows(own) else None

    def own(self, shown: str) -> str | None:
        """What a name behind the prefix stands for, or None if nothing is shown under it."""
        if self.plain:
            return shown
        own = self._owns.get(shown)
        if own is not None:
            return own
        return shown if shown not in self._alias and self.shows(shown) else None

    def clash(self, own: str) -> str | None:
        """The own name that would be called in place of ``own``, because its alias is the name of this one."""
        shown = self.shown(own)
        leads_to = None if shown is None else self.own(shown)
        return None if leads_to in (None, own) else leads_to
