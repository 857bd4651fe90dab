"""Owns the answer to "who calls?": a name for the value of one configured header.

Rule: the value is a secret as a rule (``Authorization``), so only its hash leaves this module: it keys limits, affinity
and cached answers, owns legacy sessions, and no log, error or snapshot can tell more. Callers without the header are
all ``anonymous``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crossfade.impls.python.http_head import RequestHead

ANONYMOUS: Final = "anonymous"


def principal_of(head: RequestHead, name: bytes) -> str:
    """Hex of BLAKE2b-128 over the header ``name`` (lower case), or ``anonymous``. Noted on the head, which is kept.

    A header that stands several times counts as a whole: whoever adds a second value is somebody else.
    """
    found = head.principal
    if found is None:
        values = [value for key, value in head.headers if key == name]
        found = hashlib.blake2b(b"\n".join(values), digest_size=16).hexdigest() if values else ANONYMOUS
        head.principal = found
    return found
