"""Documents that repeat what code says are compared with the code."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path

import msgspec
import pytest

from crossfade.harness.samples import Results
from crossfade.harness.selftest import attached
from crossfade.harness.store import load
from crossfade.impls import StorageClass, Strategy, config
from crossfade.impls.config.schema import json_schema
from crossfade.reports import insert, markdown, performance

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def documented(heading: str) -> dict[str, str]:
    """Key -> default, both as written in the table under ``heading``."""
    section = re.split(r"^#{2,3} ", CONFIGURATION.split(heading, 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`[^|]+) \|([^|]*)\|", section, flags=re.MULTILINE)
    return {key: default.strip().strip("`") for keys, default in rows for key in re.findall(r"`(\w+)`", keys)}


HEADINGS: dict[str, type[msgspec.Struct]] = {
    "## A server": config.ServerSpec,
    "### `tools`, `prompts`, `resources`": config.NameFilter,
    "### `pool`": config.PoolSpec,
    "### `breaker`": config.BreakerSpec,
    "### `retry`": config.RetrySpec,
    "### `hedge`": config.HedgeSpec,
    "### `rateLimits`": config.RateLimitSpec,
    "### `bulkhead`": config.BulkheadSpec,
    "### `dedicated`": config.DedicatedSpec,
    "### `health`": config.HealthSpec,
    "### `restart`": config.RestartSpec,
    "### `cache`": config.CacheSpec,
    "### `storage`": config.StorageClaim,
    "### `deploy`": config.DeploySpec,
    "## The face": config.GatewaySpec,
    "## The manager as a whole: `shed`": config.ShedSpec,
    "## Directories for claims: `storage`": config.StoragePoolSpec,
    "## What is recorded: `telemetry`": config.TelemetrySpec,
}


def default_of(field: msgspec.structs.FieldInfo) -> object:
    """The default as JSON has it; None for a key that must be given, or that is absent by default."""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return None if value is msgspec.NODEFAULT else msgspec.to_builtins(value)


@pytest.mark.parametrize(("heading", "kind"), HEADINGS.items(), ids=[kind.__name__ for kind in HEADINGS.values()])
def test_every_configuration_key_is_documented_with_its_default(heading: str, kind: type[msgspec.Struct]) -> None:
    told = documented(heading)
    for field in msgspec.structs.fields(kind):
        key = field.encode_name
        if key == "name" or (kind is config.ServerSpec and f"`{key}`" in "".join(HEADINGS)):
            continue  # the heading itself, and tables of their own
        assert key in told, f"docs/configuration.md lacks `{key}`; add it to '{heading}'"
        # `url` and `urls` share a row, and one of them is the address.
        if (default := default_of(field)) is not None and key != "urls":
            assert told[key] == json.dumps(default), f"the default of `{key}` under '{heading}'"


@pytest.mark.parametrize(("heading", "kind"), HEADINGS.items(), ids=[kind.__name__ for kind in HEADINGS.values()])
def test_no_key_is_documented_that_does_not_exist(heading: str, kind: type[msgspec.Struct]) -> None:
    keys = {field.encode_name for field in msgspec.structs.fields(kind)}
    extra = {"url", "disabled"} if kind is config.ServerSpec else set()
    assert set(documented(heading)) <= keys | extra


@pytest.mark.parametrize("choice", [StorageClass, Strategy])
def test_every_choice_is_named(choice: type[StrEnum]) -> None:
    assert [value for value in choice if f"`{value}`" not in CONFIGURATION] == []


def test_the_published_schema_is_the_one_that_is_in_force() -> None:
    stored = json.loads((ROOT / "docs" / "configuration.schema.json").read_text())
    assert stored == json.loads(json.dumps(json_schema())), (
        "docs/configuration.schema.json is out of date; write it with `crossfade config schema`"
    )


def stored() -> Results:
    folder = ROOT / "reports" / "baselines" / "quick"
    return attached(load(folder), folder)


def test_every_figure_of_the_readme_comes_from_the_stored_result() -> None:
    readme = (ROOT / "README.md").read_text()
    told = insert(readme, markdown(stored()))
    assert readme == told, "README.md differs from reports/baselines/quick; run `make readme`"


def test_the_performance_report_is_of_the_stored_result() -> None:
    document = (ROOT / "docs" / "performance-report.md").read_text()
    told = performance(stored())
    assert document == told, "docs/performance-report.md differs from reports/baselines/quick; run `make readme`"
