"""``crossfade config``: look at a configuration without starting anything."""

from __future__ import annotations

import argparse

import msgspec

from crossfade.harness.cli import output
from crossfade.harness.problems import EX_OK
from crossfade.impls.config.files import load_files
from crossfade.impls.config.schema import json_schema


def check(options: argparse.Namespace) -> int:
    """``crossfade config check``: 0 if it is right, 65 and the reason if not."""
    loaded = load_files(options.config)
    if options.json:
        output.dump(msgspec.Raw(loaded.config.to_json()))
        return EX_OK
    for spec in loaded.config.servers:
        what = " ".join([spec.command or "", *spec.args]).strip() if spec.transport == "stdio" else " ".join(spec.urls)
        output.say(f"{spec.name}  {spec.transport} x {spec.replicas}  {what}")
    files = " and ".join(str(path) for path in loaded.files)
    count = len(loaded.config.servers)
    output.say(f"{files}: fine, {count} {'server' if count == 1 else 'servers'}")
    return EX_OK


def schema(options: argparse.Namespace) -> int:
    """``crossfade config schema``: the JSON Schema of a configuration file."""
    del options
    output.say(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
    return EX_OK
