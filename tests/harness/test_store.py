"""Results on disk: a crash loses one block, and nothing that cannot be trusted is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fabricated import make_results
from tests.fabricated_standard import make_standard

from crossfade.harness.problems import BrokenResults
from crossfade.harness.samples import VERSION
from crossfade.harness.store import Store, load, new_id, sealed


@pytest.fixture(scope="module")
def raw() -> bytes:
    return msgspec.json.encode(make_results())


def write(folder: Path, body: bytes) -> Path:
    path = folder / "results.json"
    path.write_bytes(body)
    return path


def edited(raw: bytes, change: Any) -> bytes:
    """By a program that seals what it writes: what is wrong is not the checksum."""
    body = json.loads(raw)
    change(body)
    return b"".join(sealed(json.dumps(body).encode()))


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    results = make_results()
    store = Store(tmp_path, results.id)
    store.save(results)
    assert load(store.folder) == results
    assert load(store.path) == results
    assert load(tmp_path / "latest") == results


def test_latest_moves_and_no_temporary_file_stays(tmp_path: Path) -> None:
    for number in (1, 2):
        results = make_results(number)
        Store(tmp_path, results.id).save(results)
    assert load(tmp_path / "latest").seed == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(
        ["latest", "2026-01-01T000000-1", "2026-01-01T000000-2", "results.json", "results.json"]
    )


def test_an_interrupted_write_leaves_the_last_whole_file(tmp_path: Path) -> None:
    results = make_results()
    store = Store(tmp_path, results.id)
    store.save(results)
    store.path.with_suffix(".tmp").write_bytes(b'{"format": "crossfade-res')
    assert load(store.folder) == results


def test_a_name_sorts_by_time() -> None:
    assert new_id(7, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T030405-7"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, raw: bytes, share: float) -> None:
    with pytest.raises(BrokenResults, match=r"is empty|is not whole JSON"):
        load(write(tmp_path, raw[: int(len(raw) * share)]))


def test_a_newer_version_says_upgrade(tmp_path: Path, raw: bytes) -> None:
    newer = edited(raw, lambda b: b.update(version=VERSION + 1, blocks="of another form"))
    with pytest.raises(BrokenResults, match="upgrade crossfade"):
        load(write(tmp_path, newer))


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"format": "pytest-benchmark", "version": 1}', b"7", b"\xff\xfe"])
def test_a_foreign_file_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(BrokenResults):
        load(write(tmp_path, body))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrokenResults, match="cannot be read"):
        load(tmp_path / "nowhere")


EDITS = {
    "a metric that is text": lambda b: b["blocks"][0]["metrics"].update(throughput_per_s="fast"),
    "an unknown metric": lambda b: b["blocks"][0]["metrics"].update(speed=1.0),
    "an unknown scenario": lambda b: b["blocks"][0].update(scenario="other"),
    "an unknown variant": lambda b: b["blocks"][0].update(variant="other"),
    "an unknown status": lambda b: b["blocks"][0].update(status="fine"),
    "a block twice": lambda b: b["blocks"].append(b["blocks"][0]),
    "a missing field": lambda b: b.pop("environment"),
    "infinity": lambda b: b["blocks"][0]["metrics"].update(throughput_per_s=1e400),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_file_is_refused_and_says_where(tmp_path: Path, raw: bytes, edit: Any) -> None:
    with pytest.raises(BrokenResults, match=r"results\.json: .*(measure again|restore the file)"):
        load(write(tmp_path, edited(raw, edit)))


def test_an_unknown_field_of_a_later_release_of_this_version_is_read(tmp_path: Path, raw: bytes) -> None:
    later = edited(raw, lambda b: b.update(new_field=1))
    assert load(write(tmp_path, later)) == msgspec.json.decode(raw, type=type(make_results()))


def test_a_file_older_than_the_field_still_tells_a_plan_from_a_finding(tmp_path: Path, raw: bytes) -> None:
    def age(body: dict[str, Any]) -> None:
        for record in body["scenarios"]:
            del record["by_plan"]
        body["scenarios"][0]["left_out"] = {"numba": "measured only in scenarios tagged cores", "rust": "lacks http"}

    record = load(write(tmp_path, edited(raw, age))).scenarios[0]
    assert record.by_plan == ("numba",)
    # Where the field is there, nobody reads the words.
    words = {"numba": "measured only in scenarios tagged cores"}
    newer = edited(raw, lambda b: b["scenarios"][0].update(left_out=words, by_plan=[]))
    assert load(write(tmp_path, newer)).scenarios[0].by_plan == ()


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BrokenResults, match="cannot be written"):
        Store(tmp_path / "file", "run").save(make_results())


def test_what_every_kind_of_scenario_stores_can_be_read_again(tmp_path: Path) -> None:
    results = make_standard(rounds=2)
    store = Store(tmp_path, "run")
    store.save(results)
    assert load(store.path) == results
