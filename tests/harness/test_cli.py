"""The command line: help for everything, exit codes that are a contract, and no traceback for users."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.fabricated import make_results

from crossfade.harness import environment
from crossfade.harness.cli import choose, main
from crossfade.harness.problems import Unavailable
from crossfade.harness.samples import Results
from crossfade.harness.store import Store
from crossfade.impls import VARIANTS
from crossfade.impls.errors import VariantUnavailable
from crossfade.scenarios import builtin

COMMANDS = [
    "run",
    "report",
    "compare",
    "gate",
    "plan",
    "selftest",
    "doctor",
    "parity",
    "crosscheck",
    "serve",
    "call",
    "tools",
    "servers",
    "status",
    "config",
    "list",
]


def save(root: Path, results: Results) -> str:
    store = Store(root, results.id)
    store.save(results)
    return str(store.folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_explains_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"crossfade {command}" in capsys.readouterr().out


def test_the_overview_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^    {command}( |$)", said, re.M) for command in COMMANDS)
    assert "exit codes" in said


USAGE = [
    [],
    ["nonsense"],
    ["gate", "only-one"],
    ["crosscheck", "--only", "everything"],
    ["crosscheck", "--duration", "1.5"],
    ["gate", "a", "b", "--threshold", "much"],
    ["run", "--profile", "slow"],
    ["run", "--rounds", "1"],
    ["run", "--seed", "-1"],
    ["run", "no-such-scenario"],
    ["run", "gateway-echo", "--limits", "apache"],
    ["serve", "--config", "x.json", "--port", "70000"],
    ["call", "up__echo", "--config", "CONFIG", "--arg", "novalue"],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_a_usage_error_is_64_and_never_the_gates_inconclusive(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"mcpServers": {}}')
    assert main([str(config) if a == "CONFIG" else a for a in arguments]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.strip()


def test_an_unknown_variant_is_unavailable_and_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "gateway-echo", "--impl", "go"]) == 69
    assert "choose one of python, numba, rust-core, rust" in capsys.readouterr().err


def test_a_missing_variant_that_was_asked_for_is_an_error_and_no_substitute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crossfade.harness.cli.choose.missing", lambda name: f"variant {name!r} is not installed; do")
    assert main(["run", "gateway-echo", "--impl", "rust"]) == 69
    assert "'rust' is not installed" in capsys.readouterr().err


BROKEN_CONFIGS = {
    "missing": (None, "cannot be read"),
    "not JSON": ("{", "not valid JSON"),
    "unknown key": ('{"mcpServers": {"a": {"command": "x", "colour": 1}}}', "colour"),
    "neither command nor url": ('{"mcpServers": {"a": {}}}', "command"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN_CONFIGS.values(), ids=BROKEN_CONFIGS.keys())
@pytest.mark.parametrize("command", ["serve", "tools", "servers", "status"])
def test_a_broken_configuration_is_one_sentence(
    command: str, text: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mcp.json"
    if text is not None:
        path.write_text(text)
    assert main([command, "--config", str(path)]) == 65
    said = capsys.readouterr().err
    assert str(path) in said
    assert says in said
    assert len(said.strip().splitlines()) == 1


def test_config_check_says_what_is_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mcp.json"
    path.write_text('{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}')
    assert main(["config", "check", str(path)]) == 0
    assert capsys.readouterr().out == f"time  stdio x 1  uvx mcp-server-time\n{path}: fine, 1 server\n"
    assert main(["config", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["servers"][0]["retry"]["attempts"] == 2
    path.write_text('{"mcpServers": {"time": {}}}')
    assert main(["config", "check", str(path)]) == 65


def test_config_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert "mcpServers" in json.loads(capsys.readouterr().out)["properties"]


def test_gate_prints_a_table_and_exits_with_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save(tmp_path, make_results(1, flaws=False))
    slow = save(tmp_path, make_results(2, flaws=False, faster=0.5))
    assert main(["gate", base, slow]) == 1
    assert "regressed" in capsys.readouterr().out
    assert main(["gate", base, base, "--threshold", "30%"]) == 0
    assert main(["gate", base, slow, "--json"]) == 1
    capsys_out = capsys.readouterr().out
    assert json.loads(capsys_out[capsys_out.index("{") :])["outcome"] == "regressed"


def test_gate_on_broken_input_is_65(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = Path(save(tmp_path, make_results(1)))
    (base / "results.json").write_bytes((base / "results.json").read_bytes()[:1000])
    assert main(["gate", str(base), str(base)]) == 65
    assert "cut short" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["table", "markdown", "json"])
def test_compare_prints_and_judges_nothing(style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save(tmp_path, make_results(1, flaws=False))
    slow = save(tmp_path, make_results(2, flaws=False, faster=0.5))
    assert main(["compare", base, slow, "--format", style]) == 0
    said = capsys.readouterr().out
    assert "gateway-echo" in said
    assert said.startswith("| ") == (style == "markdown")


def test_lists_are_for_people_and_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "scenarios"]) == 0
    assert "rate-sweep" in capsys.readouterr().out
    assert main(["list", "scenarios", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(builtin())
    assert main(["list", "impls", "--json"]) == 0
    assert [i["name"] for i in json.loads(capsys.readouterr().out)] == list(VARIANTS)


def test_resuming_a_complete_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path, make_results(1, flaws=False))
    assert main(["run", "--resume", folder]) == 64
    assert "is complete" in capsys.readouterr().err


def test_resuming_on_another_scenario_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path, msgspec.structs.replace(make_results(1), complete=False))
    assert main(["run", "--resume", folder]) == 64
    assert "has changed" in capsys.readouterr().err


def test_a_reader_that_leaves_early_gets_no_complaint() -> None:
    command = f"{sys.executable} -m crossfade.harness.cli list scenarios | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""


def test_without_the_native_module_it_says_so_loudly_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    why = {"rust": "crossfade_native is not here; build it"}
    monkeypatch.setattr(choose, "missing", why.get)
    assert "rust" not in choose.choose_variants(None)
    assert choose.generator() == "python"
    said = capsys.readouterr().err
    assert "LEFT OUT: crossfade_native is not here; build it" in said
    assert "Python load generator" in said
    with pytest.raises(VariantUnavailable, match="not here"):
        choose.generator("rust")


def test_without_nginx_the_limit_is_left_out_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crossfade.harness.environment.nginx_path", lambda: None)
    assert choose.choose_limits("nginx,ceiling") == ["ceiling"]
    assert "LEFT OUT: nginx" in capsys.readouterr().err
    assert choose.choose_limits("none") == []


def test_a_variant_that_lacks_a_capability_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    poor = dataclasses.replace(VARIANTS["rust"], capabilities=frozenset({"http", "gateway"}))
    monkeypatch.setitem(VARIANTS, "rust", poor)
    stdio = builtin()["gateway-stdio"]
    record = choose.lay_out(stdio, "quick", ["python", "rust"], ["nginx", "ceiling"], rounds=None)
    assert record.variants == ("python",)
    assert record.left_out["rust"] == "lacks stdio"
    assert set(record.left_out) == {"rust", "nginx", "ceiling"}


def test_a_variant_that_shares_a_shell_is_measured_where_its_cores_show_unless_it_was_asked_for() -> None:
    def rows(name: str, *, asked: bool) -> tuple[str, ...]:
        return choose.lay_out(builtin()[name], "quick", ["python", "numba"], (), rounds=None, asked=asked).variants

    assert rows("policy-ops", asked=False) == rows("calls-echo", asked=False) == ("python", "numba")
    assert rows("gateway-echo", asked=False) == ("python",)
    assert rows("gateway-echo", asked=True) == ("python", "numba")
    record = choose.lay_out(builtin()["gateway-echo"], "quick", ["numba"], (), rounds=None, asked=False)
    assert "--impl" in record.left_out["numba"]
    assert record.by_plan == ("numba",)


def test_a_debug_build_is_refused_and_a_development_build_is_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    described = make_results(1).environment
    assert any("DEVELOPMENT BUILD" in w for w in environment.warnings(described.cpu, {"profile": "quick-release"}))
    assert not any("DEVELOPMENT" in w for w in environment.warnings(described.cpu, {"profile": "release"}))

    class Debug:
        @staticmethod
        def build_info() -> dict[str, str]:
            return {"profile": "debug"}

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.import_module", lambda name: Debug)
    with pytest.raises(Unavailable, match="debug build"):
        environment.native_build()


def test_the_command_that_is_stored_reproduces_the_run() -> None:
    assert choose.command(("crossfade", "run"), 7) == ("crossfade", "run", "--seed", "7")
    assert choose.command(("crossfade", "run", "--seed", "3"), 3) == ("crossfade", "run", "--seed", "3")
    assert choose.command(("crossfade", "run", "--seed=3"), 3) == ("crossfade", "run", "--seed=3")
