"""Results on disk: ``<root>/<time>-<seed>/results.json``, rewritten whole after each block (or round in turns), and
``<root>/latest``.

The rule: a reader never sees half a file (write beside, ``fsync``, rename), and a file that cannot be trusted is
refused with the reason: truncated, edited, newer than this release, or not ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from crossfade.harness.problems import BrokenResults
from crossfade.harness.samples import FORMAT, METRICS, VERSION, Block, Results

FILE = "results.json"
_ABSENT = msgspec.Raw()


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0
    checksum: str | None = None
    ruler: msgspec.Raw = _ABSENT
    crosscheck: msgspec.Raw = _ABSENT
    overhead: msgspec.Raw = _ABSENT
    validation: msgspec.Raw = _ABSENT
    instructions: msgspec.Raw = _ABSENT


LATER_THAN_THE_SEAL = _Head.__struct_fields__[3:]
"""Members that came after the checksum: a file that has one of them was written with it."""


def new_id(seed: int, now: datetime | None = None) -> str:
    """``<time>-<seed>`` in UTC, which sorts by time and is a valid file name everywhere."""
    return f"{(now or datetime.now(UTC)):%Y-%m-%dT%H%M%S}-{seed}"


class Store:
    """Writes one run. Creates its folder on the first save."""

    def __init__(self, root: Path, run_id: str) -> None:
        self.root = root
        self.folder = root / run_id
        self.path = self.folder / FILE
        self._written: list[tuple[Block, msgspec.Raw]] = []

    def save(self, results: Results) -> None:
        """Replace the file atomically and point ``latest`` at the folder. Raises BrokenResults if the disk refuses."""
        write(self.path, self._encoded(results))
        self._point()

    def _encoded(self, results: Results) -> bytes:
        """The whole, of which only blocks that are new are encoded: a run writes all of its blocks after each."""
        known = self._written
        for index, block in enumerate(results.blocks):
            if index == len(known):
                known.append((block, msgspec.Raw(msgspec.json.encode(block))))
            elif known[index][0] is not block:
                known[index] = (block, msgspec.Raw(msgspec.json.encode(block)))
        fields: dict[str, Any] = {name: getattr(results, name) for name in results.__struct_fields__}
        return msgspec.json.encode({**fields, "blocks": [raw for _, raw in known[: len(results.blocks)]]})

    def _point(self) -> None:
        link = self.root / "latest"
        fresh = self.root / f".latest-{os.getpid()}"
        # A file system without symbolic links loses the convenience, not the results.
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.folder.name, target_is_directory=True)
            fresh.replace(link)


def write(path: Path, body: bytes) -> None:
    """Replace one file of results atomically by this JSON, sealed. Raises BrokenResults if the disk refuses."""
    replace(path, *sealed(body))


def replace(path: Path, *pieces: bytes | memoryview) -> None:
    """Replace a file by these bytes, whole or not at all. Raises BrokenResults if the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BrokenResults(f"{path}: cannot be written ({error}); free space or choose another --out") from error


def sealed(body: bytes) -> tuple[memoryview, bytes]:
    """A JSON object with one member more, the last: the SHA-256 of every byte before it. In pieces: copies of a large
    file would cost more than all the rest of writing it."""
    inner = memoryview(body)[:-1]
    return inner, b',"checksum":"' + hashlib.sha256(inner).hexdigest().encode() + b'"}\n'


_SEAL = re.compile(rb',"checksum":"([0-9a-f]{64})"\}\s*\Z')


def _check_seal(path: Path, raw: bytes) -> None:
    # The member is as long as it is; searching a file of many megabytes for it would cost more than reading it.
    tail = raw[-200:]
    found = _SEAL.search(tail)
    inner = raw[: len(raw) - len(tail) + found.start()] if found else raw
    if found is None or hashlib.sha256(inner).hexdigest().encode() != found[1]:
        raise BrokenResults(
            f"{path}: was edited after it was written: its checksum differs; restore it or measure again"
        )


def load(path: str | Path) -> Results:
    """Read results from a file, or from a folder that holds ``results.json``. Raises BrokenResults with the reason."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BrokenResults(f"{path}: cannot be read ({error.strerror}); give a results.json or its folder") from None
    _check_head(path, raw)
    try:
        results = msgspec.json.decode(raw, type=Results)
    except msgspec.ValidationError as error:
        raise BrokenResults(f"{path}: was edited or damaged ({error}); restore it or measure again") from None
    _check_sense(path, results)
    return _brought_up(results)


def _brought_up(results: Results) -> Results:
    """Fields that older files of this version lack, filled in from what they do have."""
    records = tuple(
        msgspec.structs.replace(
            record,
            # Before the field, the reason in words was all that told a plan from a finding.
            by_plan=tuple(name for name, why in record.left_out.items() if why.startswith("measured only in ")),
        )
        if record.by_plan is None
        else record
        for record in results.scenarios
    )
    return msgspec.structs.replace(results, scenarios=records)


def _check_head(path: Path, raw: bytes) -> None:
    if not raw.strip():
        raise BrokenResults(f"{path}: is empty; measure again")
    try:
        head = msgspec.json.decode(raw, type=_Head)
    except msgspec.ValidationError:
        raise BrokenResults(f"{path}: is no results file of crossfade; give one that `crossfade run` wrote") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenResults(
            f"{path}: is not whole JSON ({error}); it was cut short or edited, so measure again"
        ) from None
    if head.format != FORMAT:
        raise BrokenResults(f"{path}: is no results file of crossfade; give one that `crossfade run` wrote")
    if head.version > VERSION:
        raise BrokenResults(
            f"{path}: has format version {head.version} and this release reads up to {VERSION}; upgrade crossfade"
        )
    # Only files older than the checksum have none, and are read for what they are.
    if head.checksum is not None:
        _check_seal(path, raw)
    elif any(bytes(getattr(head, member)) for member in LATER_THAN_THE_SEAL):
        raise BrokenResults(
            f"{path}: was edited after it was written: its checksum is gone; restore it or measure again"
        )


def _check_sense(path: Path, results: Results) -> None:
    scenarios = {s.name for s in results.scenarios}
    variants = {v.name for v in results.variants}
    seen: set[tuple[str, str, int]] = set()
    for block in results.blocks:
        where = f"block {block.scenario}/{block.variant}/round {block.round}"
        if block.scenario not in scenarios or block.variant not in variants:
            raise BrokenResults(f"{path}: {where} belongs to no scenario and variant of this file; restore the file")
        if unknown := sorted(block.metrics.keys() - METRICS.keys()):
            raise BrokenResults(f"{path}: {where} has an unknown metric {unknown[0]!r}; restore the file")
        if not all(math.isfinite(value) for value in block.metrics.values()):
            raise BrokenResults(f"{path}: {where} has a metric that is no finite number; restore the file")
        key = (block.scenario, block.variant, block.round)
        if key in seen:
            raise BrokenResults(f"{path}: {where} is there twice; restore the file")
        seen.add(key)
