"""Documents that repeat what code says are compared with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from crossfade.harness.store import load
from crossfade.impls.config import BreakerSpec, GatewaySpec, PoolSpec, ServerSpec
from crossfade.reports import insert, markdown

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def documented(heading: str) -> dict[str, str]:
    """Key -> default, both as written in the table under ``heading``."""
    section = re.split(r"^#{2,3} ", CONFIGURATION.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]+) \|([^|]*)\|", section, flags=re.MULTILINE)
    return {key: default.strip().strip("`") for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("## A server", ServerSpec),
        ("### `pool`", PoolSpec),
        ("### `breaker`", BreakerSpec),
        ("## The face", GatewaySpec),
    ],
)
def test_every_configuration_key_is_documented_with_its_default(heading: str, kind: type[msgspec.Struct]) -> None:
    told = documented(heading)
    for field in msgspec.structs.fields(kind):
        if field.encode_name in {"name", "pool", "breaker"}:  # the heading itself, and tables of their own
            continue
        assert field.encode_name in told, f"docs/configuration.md lacks `{field.encode_name}`; add it to '{heading}'"
        if field.default not in (None, ()) and field.default is not msgspec.NODEFAULT:
            assert told[field.encode_name] == json.dumps(field.default).strip()


def test_every_figure_of_the_readme_comes_from_the_stored_result() -> None:
    readme = (ROOT / "README.md").read_text()
    told = insert(readme, markdown(load(ROOT / "reports" / "baselines" / "quick")))
    assert readme == told, "README.md differs from reports/baselines/quick; run `make readme`"
