"""Exports: each is read by the tool whose format it is, and says what the results say."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pytest_benchmark.stats import Stats
from tests.fabricated import make_results

from crossfade.harness.cli import main
from crossfade.harness.cli.export_options import EXPORTS
from crossfade.harness.export import FORMATS
from crossfade.harness.export.openmetrics import family_name
from crossfade.harness.export.pytest_benchmark import stats
from crossfade.harness.problems import EX_DATA, EX_USAGE
from crossfade.harness.samples import METRICS, Results
from crossfade.harness.stats import analyse
from crossfade.harness.store import Store

BMF_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema",
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "propertyNames": {"maxLength": 64},
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "additionalProperties": False,
            "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
        },
    },
}
"""As https://bencher.dev/bmf.json, and stricter: no other members, and names within the documented length."""
AWKWARD = 'new\nline "quoted" back\\slash, {brace}'


def awkward(results: Results) -> Results:
    """The same results whose candidate has a name that every format must quote."""
    renamed = {"rust": AWKWARD}
    return msgspec.structs.replace(
        results,
        candidates=(AWKWARD,),
        variants=tuple(msgspec.structs.replace(v, name=renamed.get(v.name, v.name)) for v in results.variants),
        scenarios=tuple(
            msgspec.structs.replace(s, variants=tuple(renamed.get(v, v) for v in s.variants)) for s in results.scenarios
        ),
        blocks=tuple(
            msgspec.structs.replace(b, variant=renamed.get(b.variant, b.variant), error=b.error and AWKWARD)
            for b in results.blocks
        ),
    )


@pytest.fixture(scope="module", params=["plain", "awkward"])
def results(request: pytest.FixtureRequest) -> Results:
    return awkward(make_results()) if request.param == "awkward" else make_results()


def test_the_command_knows_every_format() -> None:
    assert tuple(FORMATS) == EXPORTS


def test_bmf_keeps_its_schema_and_the_means(results: Results) -> None:
    found = json.loads(FORMATS["bmf"](results))
    jsonschema.validate(found, BMF_SCHEMA)
    for summary in analyse(results).summaries:
        measure = found[f"{summary.scenario}/{summary.variant}"][summary.metric.replace("_", "-")]
        assert measure["value"] == summary.mean
        assert measure["lower_value"] <= measure["value"] <= measure["upper_value"]


def test_openmetrics_is_parsed_with_every_mean_in_base_units(results: Results) -> None:
    parsed = text_string_to_metric_families(FORMATS["openmetrics"](results))  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert families["crossfade_run"].samples[0].labels["id"] == results.id
    counted = sum(s.value for s in families["crossfade_blocks"].samples)
    assert counted == len(results.blocks)
    for summary in analyse(results).summaries:
        name, unit, factor = family_name(METRICS[summary.metric])
        assert families[name].unit == unit
        values = {
            s.labels["stat"]: s.value
            for s in families[name].samples
            if (s.labels["scenario"], s.labels["variant"]) == (summary.scenario, summary.variant)
        }
        assert values["mean"] == pytest.approx(summary.mean * factor)
        assert set(values) == {"mean", "low", "high"}


def test_no_two_metrics_share_a_family_and_none_carries_an_unscaled_unit() -> None:
    names = [family_name(metric)[0] for metric in METRICS.values()]
    assert len(set(names)) == len(names)
    assert not {word for name in names for word in name.split("_")} & {"us", "ns", "ms", "kib", "mib", "percent"}


def test_pytest_benchmark_itself_compares_two_exports(results: Results, tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / f"{name}.json").write_text(FORMATS["pytest-benchmark"](results))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "before.json", "after.json", "--csv=out.csv"],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert "Failed to load" not in ran.stdout + ran.stderr
    assert "gateway-echo[throughput_per_s-python]" in ran.stdout
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = json.loads((tmp_path / "before.json").read_text())["benchmarks"]
    assert len(rows) == 2 * len(stored) > 50


def test_a_rate_becomes_a_time_whose_ops_are_the_rate(results: Results) -> None:
    stored = json.loads(FORMATS["pytest-benchmark"](results))["benchmarks"]
    found = next(b for b in stored if b["fullname"] == "gateway-echo::throughput_per_s[python]")
    rates = [b.metrics["throughput_per_s"] for b in results.of("gateway-echo", "python")]
    assert [1 / seconds for seconds in found["stats"]["data"]] == pytest.approx(rates)
    assert min(rates) <= found["stats"]["ops"] <= max(rates)
    assert not {b["extra_info"]["unit"] for b in stored} & {"KiB", "MiB", "%", "requests"}


@pytest.mark.parametrize("count", range(1, 14))
def test_stored_statistics_are_those_that_pytest_benchmark_computes(count: int) -> None:
    data = [random.Random(f"{count} {i}").lognormvariate(0, 1) for i in range(count)]
    theirs = Stats()  # type: ignore[no-untyped-call]  # pytest-benchmark does not type it
    for value in data:
        theirs.update(value)  # type: ignore[no-untyped-call]
    ours = stats(data)
    for field in Stats.fields:
        assert ours[field] == pytest.approx(getattr(theirs, field)), field


def test_csv_has_a_row_for_every_value_and_for_every_block_without_one(results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](results), newline="")))
    valued = [row for row in rows if row["metric"]]
    assert len(valued) == sum(len(b.metrics) for b in results.blocks)
    assert len(rows) - len(valued) == sum(not b.metrics for b in results.blocks) > 0
    first = results.blocks[0]
    assert float(rows[0]["value"]) == next(iter(first.metrics.values()))
    assert {row["variant"] for row in rows} == {b.variant for b in results.blocks}
    assert all(row["unit"] and row["better"] in ("higher", "lower") for row in valued)


def test_exports_go_to_a_file_or_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path, "run")
    store.save(make_results())
    for name, exporter in FORMATS.items():
        assert main(["export", str(store.folder), "--format", name]) == 0
        printed = capsys.readouterr().out
        assert printed == exporter(make_results())
        assert main(["export", str(store.path), "--format", name, "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().decode() == printed
        capsys.readouterr()


def test_what_cannot_be_exported_is_one_line_and_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path, "run")
    store.save(make_results())
    assert main(["export", str(tmp_path / "none.json"), "--format", "bmf"]) == EX_DATA
    assert main(["export", str(store.path), "--format", "xml"]) == EX_USAGE
    assert main(["export", str(store.path), "--format", "csv", "-o", str(tmp_path / "no" / "such")]) == EX_USAGE
    assert "name a file that can be written" in capsys.readouterr().err
