"""Servers that others wrote, used for what they are made for through the gateway: files, memory, a repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import Client
from tests.contract.official import text_of

MODES = ["2026-07-28", "legacy"]


@pytest.fixture(scope="module")
def repository(playground: Path) -> Path:
    """With one commit in it."""
    folder = playground / "repository"
    folder.mkdir()
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "the first of all"]):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=30)
    return folder


@pytest.mark.parametrize("mode", MODES)
async def test_files_are_written_and_read(
    variant: str, mode: str, serving: Callable[[str], str], playground: Path
) -> None:
    async with Client(serving(variant), mode=mode) as client:
        path = playground / f"{variant}-{mode}.txt"
        await client.call_tool("files__write_file", {"path": str(path), "content": "hé 😀\n"})
        assert path.read_text() == "hé 😀\n"
        assert text_of(await client.call_tool("files__read_text_file", {"path": str(path)})) == "hé 😀\n"
        refused = await client.call_tool("files__read_text_file", {"path": str(Path(__file__))})
        assert refused.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_remembered_is_found(variant: str, mode: str, serving: Callable[[str], str]) -> None:
    async with Client(serving(variant), mode=mode) as client:
        name = f"{variant} {mode}"
        entity = {"name": name, "entityType": "client", "observations": ["speaks"]}
        await client.call_tool("memory__create_entities", {"entities": [entity]})
        found = await client.call_tool("memory__open_nodes", {"names": [name]})
        assert json.loads(text_of(found))["entities"] == [entity]


@pytest.mark.parametrize("mode", MODES)
async def test_a_repository_tells_its_log(
    variant: str, mode: str, serving: Callable[[str], str], playground: Path, repository: Path
) -> None:
    async with Client(serving(variant), mode=mode) as client:
        log = await client.call_tool("git__git_log", {"repo_path": str(repository)})
        assert "the first of all" in text_of(log)
        nowhere = await client.call_tool("git__git_log", {"repo_path": str(playground / "nowhere")})
        assert nowhere.is_error
