"""A full disk, a disk that fails, and a database that somebody else has locked."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..end_to_end.servers import Fleet, Template, copy_template
from ..waiting import eventually
from .host import ENV, STREAM, Host, NewHost

DISK_BYTES = 16 * 1_048_576
LOCK_SECONDS = 3.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of DISK_BYTES."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs the right to mount a tmpfs; run the tests as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4_096)) == 4_096:
                pass
        except OSError:
            return filler
    return filler


async def test_a_full_disk_refuses_publishes_and_nothing_else(make_server: Fleet, template: Template, kind: str, small_disk: Path) -> None:
    data = copy_template(template, small_disk / "data")
    async with Host(make_server.new(kind, (), data, **ENV, WIRELOG_FREE_DISK_BYTES="0")) as host:
        await host.load(publishers=2)
        await host.acks(1_000)
        host.fault("disk full")
        filler = fill(small_disk)
        await eventually(lambda: host.refused >= 50, "publishes are refused")
        assert host.codes() == {507}
        # Reading and resuming go on.
        reader = host.newcomer("newcomer")
        host.drop_connections()
        await eventually(lambda: reader.positions[STREAM].offset > 1_000, "the newcomer reads")
        await reader.read(STREAM)
        filler.unlink()
        # No restart.
        await host.acks(100)
        await host.finish()


async def test_a_held_write_lock_delays_publishes_and_nothing_else(new_host: NewHost) -> None:
    async with new_host() as host:
        await host.load()
        await host.acks(1_000)
        # What was published before the lock is read during it.
        witness = await host.client("witness", key="reader")
        with host.write_lock():
            newcomer = host.newcomer("newcomer")
            loop = asyncio.get_running_loop()
            until = loop.time() + LOCK_SECONDS
            before = host.acknowledged
            while loop.time() < until:
                await host.timed("answer under the lock", witness.read(STREAM))
            # One batch may have been under way.
            assert host.acknowledged - before <= 12
            await eventually(lambda: newcomer.positions[STREAM].offset >= 1_000, "the newcomer reads")
        await host.acks(100)
        await host.finish()


async def test_a_lock_held_for_too_long_is_a_temporary_error(new_host: NewHost) -> None:
    async with new_host(LOCK_SECONDS="1") as host:
        await host.load()
        await host.acks(1_000)
        with host.write_lock():
            await eventually(lambda: "error 100" in host.reasons(), "publishes are told to try again")
        host.drop_connections()
        await host.acks(100)
        await host.finish()


@pytest.mark.parametrize("kind, place", [("uvicorn", "journal.before_commit"), ("daphne", "journal.committed")])
async def test_a_failed_fsync_is_an_unknown_outcome_and_ends_the_process(new_host: NewHost, place: str) -> None:
    async with new_host() as host:
        await host.load()
        await host.acks(1_000)
        await host.die_at(f"{place}=raise:disk I/O error")
        assert host.status == 1
        await eventually(lambda: "error 100" in host.reasons())
        await host.restart()
        await host.acks(100)
        await host.finish()
