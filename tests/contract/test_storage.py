"""Storage: claims never exceed a pool, directories are the instances' own, and nothing outside a pool is touched."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.contract.kit import ROOT, manager_of, stdio_spec, until

from crossfade.impls import Config, Manager, ServerSpec, StorageClaim, StoragePoolSpec, open_manager
from crossfade.impls.errors import CrossfadeError, DeploymentFailed, StorageExhausted
from crossfade.impls.states import StorageClass

KIB = 1024


def pool(path: Path, **more: Any) -> StoragePoolSpec:
    return StoragePoolSpec(**{"path": str(path), "capacity_bytes": 10 * KIB, "check_interval_ms": 50, **more})


def child(name: str = "fix", size: int = KIB, **more: Any) -> ServerSpec:
    """A child that has a claim and no directory of its own choice."""
    env = {"PYTHONPATH": str(ROOT)}
    spec = stdio_spec(name)
    args = tuple(arg for arg in spec.args if arg != "-E")
    return stdio_spec(
        name,
        **{"args": args, "cwd": None, "env": env, "storage": StorageClaim(bytes=size, **more.pop("claim", {})), **more},
    )


def manager_on(variant: str, *pools: StoragePoolSpec, servers: tuple[ServerSpec, ...] = ()) -> Manager:
    return open_manager(Config(servers=servers, storage=pools, seed=7), variant)


async def process(manager: Manager, name: str = "fix") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await manager.call_tool(f"{name}__process", {})).text)
    return found


async def test_an_instance_works_in_its_own_directory(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(instances=2),)) as manager:
        directories = [i.directory for i in manager.get("fix").instances]
        assert directories == [str(tmp_path / "pool" / "fix" / str(index)) for index in (0, 1)]
        found = [await process(manager) for _ in range(20)]
        assert {f["cwd"] for f in found} == set(directories)
        assert all(f["cwd"] == f["storage"] for f in found)
        (info,) = manager.storage()
        assert (info.storage_class, info.path) == (StorageClass.STANDARD, str(tmp_path / "pool"))
        assert (info.capacity_bytes, info.claimed_bytes, dict(info.claims)) == (10 * KIB, 2 * KIB, {"fix": 2 * KIB})


async def test_a_directory_of_ones_own_choice_is_kept_and_the_storage_is_told(variant: str, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(cwd=str(other)),)) as manager:
        found = await process(manager)
        assert found["cwd"] == str(other)
        assert found["storage"] == str(tmp_path / "pool" / "fix" / "0")


async def test_who_claims_more_than_is_left_is_refused_with_the_numbers(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child("a", 6 * KIB),)) as manager:
        for refused in (manager.register(child("b", 5 * KIB)), manager.deploy(child("c", 3 * KIB, instances=2))):
            with pytest.raises(StorageExhausted) as caught:
                await refused
            assert str(4 * KIB) in caught.value.message
            assert str(10 * KIB) in caught.value.message
        with pytest.raises(StorageExhausted, match="nvme"):
            await manager.register(child("d", claim={"storage_class": StorageClass.NVME}))
        assert [s.name for s in manager.servers()] == ["a"]
        assert sorted(p.name for p in (tmp_path / "pool").iterdir()) == ["a"]
        await manager.register(child("e", 4 * KIB))


async def test_a_configuration_that_claims_too_much_does_not_start(variant: str, tmp_path: Path) -> None:
    with pytest.raises(StorageExhausted):
        async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(size=11 * KIB),)):
            pytest.fail("entered")


async def test_an_update_or_a_scale_that_does_not_fit_is_refused_before_it_begins(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(size=6 * KIB),)) as manager:
        pid = manager.get("fix").instances[0].pid
        for strategy in ("rolling", "blue_green"):
            with pytest.raises(StorageExhausted):
                await manager.update(child(size=6 * KIB), strategy=strategy)
        with pytest.raises(StorageExhausted):
            await manager.scale("fix", 2)
        assert manager.get("fix").instances[0].pid == pid
        assert manager.deployments()[0].state == "running"
        info = await manager.update(child(size=6 * KIB), strategy="recreate")
        assert info.revision == 2
        assert manager.storage()[0].claimed_bytes == 6 * KIB


async def test_what_is_released_is_deleted_and_free_again(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool")) as manager:
        await manager.deploy(child(size=8 * KIB))
        (tmp_path / "pool" / "fix" / "0" / "notes").write_text("mine")
        await manager.undeploy("fix")
        assert list((tmp_path / "pool").iterdir()) == []
        assert manager.storage()[0].claimed_bytes == 0
        await manager.deploy(child("other", size=8 * KIB))


async def test_retired_instances_give_their_storage_back(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(instances=2),)) as manager:
        await manager.update(child(instances=2))
        assert manager.storage()[0].claimed_bytes == 2 * KIB
        await manager.scale("fix", 5)
        assert manager.storage()[0].claimed_bytes == 5 * KIB
        await manager.scale("fix", 1)
        assert manager.storage()[0].claimed_bytes == KIB
        assert len(list((tmp_path / "pool" / "fix").iterdir())) == 1
        with pytest.raises(DeploymentFailed):
            await manager.update(stdio_spec("fix", start="exit", storage=StorageClaim(bytes=KIB)))
        assert manager.storage()[0].claimed_bytes == KIB


async def test_whoever_is_recreated_finds_what_was_there_and_so_does_who_comes_back(
    variant: str, tmp_path: Path
) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(),)) as manager:
        notes = tmp_path / "pool" / "fix" / "0" / "notes"
        notes.write_text("mine")
        await manager.update(child(), strategy="recreate")
        assert notes.read_text() == "mine"
        bad = stdio_spec("fix", start="exit", storage=StorageClaim(bytes=KIB))
        with pytest.raises(DeploymentFailed):
            await manager.update(bad, strategy="recreate")
        assert notes.read_text() == "mine"
        assert manager.get("fix").instances[0].directory == str(notes.parent)
        assert manager.storage()[0].claimed_bytes == KIB


@pytest.mark.parametrize("keep", [None, True])
async def test_what_is_kept_counts_and_is_taken_up_again(variant: str, tmp_path: Path, keep: bool | None) -> None:
    spec = child(size=8 * KIB, claim={"keep": keep is None})
    async with manager_on(variant, pool(tmp_path / "pool")) as manager:
        await manager.deploy(spec)
        notes = tmp_path / "pool" / "fix" / "0" / "notes"
        notes.write_text("mine")
        await manager.undeploy("fix", keep_storage=keep)
        assert notes.read_text() == "mine"
        assert dict(manager.storage()[0].claims) == {"fix": 8 * KIB}
        with pytest.raises(StorageExhausted):
            await manager.deploy(child("other", size=8 * KIB))
        await manager.deploy(spec)
        assert manager.get("fix").instances[0].directory == str(notes.parent)
        assert notes.read_text() == "mine"
        await manager.undeploy("fix", keep_storage=False)
        assert not notes.parent.exists()
        assert manager.storage()[0].claimed_bytes == 0


async def test_closing_the_manager_deletes_nothing(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(),)) as manager:
        notes = Path(manager.get("fix").instances[0].directory or "") / "notes"
        notes.write_text("mine")
    assert notes.read_text() == "mine"
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(),)) as manager:
        assert manager.get("fix").instances[0].directory == str(notes.parent)


async def test_a_quota_is_told_of_once_per_crossing(variant: str, tmp_path: Path) -> None:
    async with manager_on(variant, pool(tmp_path / "pool"), servers=(child(),)) as manager:
        events = manager.events()
        notes = tmp_path / "pool" / "fix" / "0" / "notes"

        async def next_quota() -> tuple[str | None, str | None]:
            async for event in events:
                if event.kind == "quota":
                    assert event.server == "fix"
                    return event.old, event.new
            raise AssertionError("the events ended")

        for size in (1500, 2500):
            notes.write_bytes(b"x" * size)
            assert await next_quota() == ("1024", str(size))
            assert manager.storage()[0].used_bytes == size
            notes.write_bytes(b"x" * (size + 100))  # still beyond: no second event
            await until(lambda size=size: manager.storage()[0].used_bytes == size + 100, what="another look")  # type: ignore[misc]
            notes.write_bytes(b"")
            await until(lambda: manager.storage()[0].used_bytes == 0, what="another look")


async def test_a_claim_with_more_files_than_are_looked_at_is_told_of_once_per_crossing(
    variant: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Or a quota would be kept by whoever has files enough."""
    caplog.set_level(logging.WARNING, logger="crossfade.server.fix")
    own = tmp_path / "pool" / "fix" / "0"

    def fill(files: int, size: int) -> None:
        for number in range(files):
            (own / str(number)).write_bytes(b"x" * size)

    def told() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "crossfade.server.fix"]

    async with manager_on(variant, pool(tmp_path / "pool", max_entries=3), servers=(child(),)) as manager:

        def used() -> int:
            return manager.storage()[0].used_bytes

        fill(3, 10)
        await until(lambda: used() == 30, what="a look at everything")
        assert told() == []
        fill(5, 10)
        await until(lambda: len(told()) == 1, what="the warning")
        for words in (repr(str(own)), "more than 3 entries", "than the 30 bytes", "; keep fewer files"):
            assert words in told()[0]
        fill(5, 20)
        await until(lambda: used() == 60, what="another look")
        assert len(told()) == 1, "it was told again"
        for number in range(1, 5):
            (own / str(number)).unlink()
        await until(lambda: used() == 20, what="a look at everything again")
        fill(5, 10)
        await until(lambda: len(told()) == 2, what="the second warning")


async def test_links_out_of_the_pool_are_neither_measured_nor_deleted_nor_used(variant: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "0").mkdir(parents=True)
    (outside / "0" / "precious").write_bytes(b"x" * 5000)
    root = tmp_path / "pool"
    async with manager_on(variant, pool(root), servers=(child(),)) as manager:
        own = root / "fix" / "0"
        (own / "notes").write_bytes(b"x" * 10)
        (own / "link").symlink_to(outside)
        (own / "file").symlink_to(outside / "0" / "precious")
        await until(lambda: manager.storage()[0].used_bytes > 0, what="a look")
        assert manager.storage()[0].used_bytes < 1000
        await manager.undeploy("fix")
        assert not own.exists()
        (root / "evil").symlink_to(outside)
        with pytest.raises(CrossfadeError):
            await manager.deploy(child("evil"))
        (root / "sly").mkdir()
        (root / "sly" / "0").symlink_to(outside / "0")
        with pytest.raises(CrossfadeError):
            await manager.register(child("sly"))
    assert (outside / "0" / "precious").stat().st_size == 5000
    assert [p.name for p in outside.iterdir()] == ["0"]


async def test_a_pool_that_cannot_be_made_is_a_start_error(variant: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with manager_on(variant, pool(tmp_path / "file" / "pool")) as manager:
        with pytest.raises(CrossfadeError, match="file"):
            await manager.deploy(child())
        assert manager.servers() == []


async def test_without_claims_there_is_nothing_to_see(variant: str) -> None:
    async with manager_of(variant, stdio_spec("fix")) as manager:
        assert manager.storage() == []
        assert manager.get("fix").instances[0].directory is None
