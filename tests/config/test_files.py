"""Configuration files: the ordinary one works as it is, the others add to it, and errors name file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from crossfade.impls import Config, ServerSpec, load_config, parse_config
from crossfade.impls.config.files import load_files, stamp
from crossfade.impls.config.schema import json_schema
from crossfade.impls.errors import ConfigError

ORDINARY = {
    "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "files", "${WHERE}"], "env": {"TOKEN": "${env:TOKEN:-none}"}},
        "docs": {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        "off": {"command": "gone", "disabled": True},
    }
}
MORE = """
mcpServers = "mcp.json"

[defaults.retry]
attempts = 3
budgetBurst = 7

[servers.files]
instances = 2
retry = { attempts = 4 }

[servers.docs]
rateLimits = [{ requests = 5, key = "principal" }]

[servers.third]
url = "http://127.0.0.1:8/mcp"

[shed]
maxInFlight = 500

[[storage]]
path = "here"
capacityBytes = 1000
storageClass = "nvme"
"""


@pytest.fixture
def ordinary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHERE", "/srv")
    monkeypatch.setenv("TOKEN", "secret")
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps(ORDINARY))
    return path


def by_name(config: Config) -> dict[str, ServerSpec]:
    return {spec.name: spec for spec in config.servers}


def test_an_ordinary_file_works_unchanged_and_its_variables_are_replaced(ordinary: Path) -> None:
    servers = by_name(load_config(ordinary))
    assert list(servers) == ["files", "docs"]
    assert servers["files"].args == ("-y", "files", "/srv")
    assert servers["files"].env == {"TOKEN": "secret"}
    assert servers["docs"].headers == {"Authorization": "Bearer secret"}


def test_a_toml_file_adds_to_the_ordinary_one_and_both_are_watched(ordinary: Path) -> None:
    path = ordinary.with_name("crossfade.toml")
    path.write_text(MORE)
    loaded = load_files(path)
    servers = by_name(loaded.config)
    assert list(servers) == ["files", "docs", "third"]
    assert loaded.files == (path, ordinary)
    assert loaded.stamp == stamp(loaded.files)
    path.write_text(MORE + "# more")
    assert loaded.stamp != stamp(loaded.files)
    assert (servers["files"].retry.attempts, servers["files"].retry.budget_burst) == (4, 7)
    assert (servers["docs"].retry.attempts, servers["files"].instances) == (3, 2)
    assert servers["docs"].rate_limits[0].key == "principal"
    assert loaded.config.shed.max_in_flight == 500
    assert loaded.config.storage[0].storage_class == "nvme"


def test_the_native_side_gets_every_default_written_out(ordinary: Path) -> None:
    config = load_config(ordinary)
    assert msgspec.json.decode(config.to_json(), type=Config) == config
    assert b'"budgetPerMille":200' in config.to_json()


def one(**entry: object) -> str:
    return json.dumps({"mcpServers": {"a": {"command": "x", **entry}}})


BROKEN: dict[str, tuple[str, str]] = {
    "name too long": (json.dumps({"mcpServers": {"n" * 42: {"command": "x"}}}), "1 to 41 letters"),
    "unknown section": ('{"deploy": {}}', "unknown key 'deploy'"),
    "not an object": ('{"servers": []}', "servers: expected an object"),
    "variable not set": ('{"mcpServers": {"a": {"command": "${NOT_SET_ANYWHERE}"}}}', "mcpServers.a.command"),
    "value too small": (one(retry={"attempts": 0}), "mcpServers.a.retry.attempts"),
    "default too small": (one()[:-1] + ', "defaults": {"pool": {"maxConnections": 0}}}', "pool.maxConnections"),
    "strategy unknown": (one(deploy={"strategy": "yolo"}), "mcpServers.a.deploy.strategy"),
    "replica count absurd": (one(instances=9999), "mcpServers.a.instances"),
    "weights do not fit": (one(weights=[1, 2]), "2 weights"),
    "alias of a resource": (one(resources={"alias": {"b": "c"}}), "resources.alias"),
    "alias twice": (one(tools={"alias": {"b": "z", "c": "z"}}), "alias 'z'"),
    "claim without a child": (
        '{"mcpServers": {"a": {"url": "http://127.0.0.1:1/mcp", "storage": {"bytes": 1}}}}',
        "storage: only a `command`",
    ),
    "two pools of a class": (
        '{"storage": [{"path": "a", "capacityBytes": 1}, {"path": "b", "capacityBytes": 1}]}',
        "'standard' has two pools",
    ),
    "minimum above maximum": (one(pool={"minConnections": 9, "maxConnections": 3}), "pool.minConnections 9"),
    "steps that fall": (one(deploy={"stepsPercent": [50, 5]}), "must rise"),
    "listed file missing": ('{"mcpServers": "elsewhere.json"}', "elsewhere.json: cannot be read"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_one_sentence_with_file_key_and_next_action(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert says in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message


def test_toml_that_does_not_parse_is_told_as_toml(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[defaults\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(path)


def test_a_listed_file_may_not_bring_sections_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}, "gateway": {}}')
    (tmp_path / "c.json").write_text('{"mcpServers": "mcp.json"}')
    with pytest.raises(ConfigError, match="must be its only key"):
        load_config(tmp_path / "c.json")


ACCEPTED: list[dict[str, Any]] = [
    ORDINARY,
    {},
    {"mcpServers": "mcp.json", "servers": {"a": {"instances": 3}}, "defaults": {"cache": {"maxBytes": 5}}},
    {"shed": {"targetMs": 5}, "storage": [{"path": "p", "capacityBytes": 3, "storageClass": "network"}]},
]
REFUSED: list[dict[str, Any]] = [
    {"mcpServers": {"a": {"command": "x", "colour": 1}}},
    {"mcpServers": {"a": {"command": "x", "instances": 0}}},
    {"mcpServers": {"a": {"command": "x", "balancer": "luck"}}},
    {"storage": [{"path": "p"}]},
    {"gatewy": {}},
]


@pytest.mark.parametrize("data", ACCEPTED)
def test_the_schema_accepts_what_the_code_accepts(data: dict[str, Any]) -> None:
    jsonschema.validate(data, json_schema())


@pytest.mark.parametrize("data", REFUSED)
def test_the_schema_refuses_what_the_code_refuses(data: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema())
    with pytest.raises(ConfigError):
        parse_config(data)
