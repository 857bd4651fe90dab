"""Who calls is told apart by a header that nobody can read back."""

from __future__ import annotations

from crossfade.impls.python.gateway.principal import ANONYMOUS, principal_of
from crossfade.impls.python.http_head import RequestHead


def head(*lines: str) -> RequestHead:
    return RequestHead("\r\n".join(("POST /mcp HTTP/1.1", "Host: localhost", *lines, "", "")).encode())


def who(*lines: str) -> str:
    return principal_of(head(*lines), b"authorization")


def test_the_secret_is_not_in_the_name() -> None:
    found = who("Authorization: Bearer sesame")
    assert "sesame" not in found
    assert len(found) == 32


def test_callers_are_told_apart_and_recognised() -> None:
    assert who("Authorization: Bearer a") == who("AUTHORIZATION: Bearer a", "X-Other: 1")
    assert who("Authorization: Bearer a") != who("Authorization: Bearer b")


def test_whoever_says_nothing_is_anonymous() -> None:
    assert who("X-Api-Key: a") == ANONYMOUS
    assert who("Authorization:") != ANONYMOUS, "an empty value was sent by somebody who has the header"


def test_a_second_value_makes_somebody_else() -> None:
    """Or one caller could take another's place by adding its own header in front."""
    both = who("Authorization: Bearer a", "Authorization: Bearer b")
    assert both not in (who("Authorization: Bearer a"), who("Authorization: Bearer b"))
