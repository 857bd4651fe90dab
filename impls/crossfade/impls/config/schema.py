"""The JSON Schema of a configuration file, drawn from the same classes that validate it.

Published as ``docs/configuration.schema.json`` (a test compares): editors complete and check with it. What only code
can tell (a name given twice, a variable that is not set) is not in it.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from crossfade.impls.config.entries import IGNORED
from crossfade.impls.config.root import Config

_REF = "#/$defs/{name}"


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    _, parts = msgspec.json.schema_components((Config,), ref_template=_REF)
    parts = {name: {**part, "description": _plain(part.get("description", ""))} for name, part in sorted(parts.items())}
    config, server = parts.pop("Config"), parts.pop("ServerSpec")
    keys = {key: value for key, value in server["properties"].items() if key != "name"}
    keys["url"] = {"type": "string", "description": "the first of `urls`"}
    entry = {
        **server,
        "title": "Server",
        "properties": {**keys, **{key: {} for key in sorted(IGNORED)}},
        "required": [],
    }
    entry["properties"]["disabled"] = {"type": "boolean", "default": False}
    parts["Server"] = entry
    by_name = {"type": "object", "additionalProperties": {"$ref": _REF.format(name="Server")}}
    shared = {key: value for key, value in config["properties"].items() if key != "servers"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "crossfade configuration",
        "description": "An ordinary mcpServers file, with optional keys. See docs/configuration.md.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "mcpServers": {"anyOf": [by_name, {"type": "string", "description": "path of an mcpServers file"}]},
            "servers": by_name,
            "defaults": {"$ref": _REF.format(name="Server")},
            **shared,
        },
        "$defs": parts,
    }


def _plain(docstring: str) -> str:
    return inspect.cleandoc(docstring).replace("``", "`")
