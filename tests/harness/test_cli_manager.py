"""``crossfade servers``, ``status`` and ``tools`` over real servers: rows, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.kit import stdio_spec

from crossfade.harness.cli import main

DEAD = {"command": "/nowhere/at-all"}


def runs(name: str) -> dict[str, Any]:
    """The fixture server as an entry of ``mcpServers``."""
    spec = stdio_spec(name)
    return {"command": spec.command, "args": spec.args, "cwd": spec.cwd}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, one=runs("one"), two=runs("two"))


def written(folder: Path, **servers: dict[str, Any]) -> Path:
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


def said(capsys: pytest.CaptureFixture[str], command: str, config: Path, variant: str, *more: str) -> tuple[int, str]:
    code = main([command, "--config", str(config), "--impl", variant, *more])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("command", ["servers", "status"])
def test_servers_that_run_are_a_row_each(
    variant: str, command: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = said(capsys, command, config, variant)
    head, _, *rows = out.splitlines()
    assert code == 0
    assert head.split() == ["server", "state", "transport", "instances", "era", "protocol", "last", "error"]
    assert [row.split() for row in rows] == [
        [name, "healthy", "stdio", "1/1", "legacy", "2025-11-25"] for name in ("one", "two")
    ]
    code, out = said(capsys, command, config, variant, "--json")
    assert code == 0
    assert [(info["name"], info["state"], len(info["instances"])) for info in json.loads(out)] == [
        ("one", "healthy", 1),
        ("two", "healthy", 1),
    ]


def test_tools_are_a_line_each_with_the_name_to_call(
    variant: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = said(capsys, "tools", config, variant)
    names = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    assert {"one__echo", "two__echo"} <= set(names)
    code, out = said(capsys, "tools", config, variant, "--json")
    items = json.loads(out)
    assert code == 0
    assert [item["name"] for item in items] == names
    assert {item["server"] for item in items} == {"one", "two"}
    assert all(item["tool"]["inputSchema"]["type"] == "object" for item in items)


def test_a_dead_server_is_named_and_only_status_fails_for_it(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, one=runs("one"), dead=DEAD)
    for command, expected in (("servers", 0), ("status", 1)):
        code, out = said(capsys, command, config, variant)
        assert code == expected, command
        (row,) = [line for line in out.splitlines() if line.startswith("dead ")]
        assert "healthy" not in row.split()
        assert "/nowhere/at-all" in row
        assert any(line.split()[:2] == ["one", "healthy"] for line in out.splitlines())
    code, out = said(capsys, "status", config, variant, "--json")
    assert code == 1
    assert {info["name"]: info["state"] == "healthy" for info in json.loads(out)} == {"one": True, "dead": False}
    assert main(["tools", "--config", str(config), "--impl", variant]) == 0
    captured = capsys.readouterr()
    assert "one__echo" in captured.out
    assert "'dead'" in captured.err
