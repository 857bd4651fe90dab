"""The error map: every class of the tree can be raised by the native side, with its fields."""

from __future__ import annotations

import asyncio

import crossfade_native as native
import pytest

from crossfade.impls.errors import BY_CODE, CrossfadeError, RemoteError


@pytest.mark.parametrize("code", BY_CODE)
async def test_every_code_becomes_its_own_class(code: str) -> None:
    with pytest.raises(CrossfadeError) as caught:
        await native.bridge_probe(code, "grüße; do this".encode(), server="s")
    assert type(caught.value) is BY_CODE[code]
    assert caught.value.message == str(caught.value) == "grüße; do this"
    assert caught.value.server == "s"


async def test_a_remote_error_keeps_code_and_data() -> None:
    with pytest.raises(RemoteError) as caught:
        await native.bridge_probe("remote", b"its words", server="s")
    assert (caught.value.remote_code, caught.value.data) == (-32001, {"why": [1, None]})


async def test_a_code_that_python_does_not_know_is_the_root_and_names_it() -> None:
    with pytest.raises(CrossfadeError) as caught:
        await native.bridge_probe("of_the_future", b"words")
    assert type(caught.value) is CrossfadeError
    assert str(caught.value) == "of_the_future: words"


async def test_errors_of_one_kind_are_separate_objects() -> None:
    ends = await asyncio.gather(*(native.bridge_probe("circuit_open", b"m") for _ in range(5)), return_exceptions=True)
    assert len({id(end) for end in ends}) == 5
