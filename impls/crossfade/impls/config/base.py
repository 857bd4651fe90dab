"""What every part of the configuration is made of: frozen structs with camelCase keys, and bounded numbers."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
CountOrOff = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
SomeMillis = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
PerMille = Annotated[int, msgspec.Meta(ge=1, le=1000)]
PerMilleOrOff = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all specifications: immutable, keyword-only, camelCase in files, unknown keys refused."""
