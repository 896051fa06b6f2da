"""The device client, as devices run it, against a real server: each sample arrives once, in order, with its time."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.waiting import SECONDS, eventually, eventually_sync

from .device import EPOCH
from .servers import ROOT, Fleet, RunningServer

SPOOL = ROOT / "clients" / "wirelog_spool.py"


def records(server: RunningServer, stream: str = "lobby") -> list[tuple[int, Any, int, str]]:
    """Offset, data, device time and tags of all that is stored."""
    query = (
        'SELECT "offset", data, device_time, tags FROM realtime_record JOIN realtime_stream s ON s.id = stream_id '
        'WHERE s.name = ? ORDER BY "offset"'
    )
    with closing(sqlite3.connect(server.data / "wirelog.sqlite3")) as database:
        return [(offset, json.loads(data), time, tags) for offset, data, time, tags in database.execute(query, [stream])]


def cursor(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "cursor.json").read_text())
    return found


class Device:
    """The process of a device. Its spool outlives it."""

    def __init__(self, url: str, key_file: Path, folder: Path) -> None:
        self.command = [sys.executable, "-m", "tests.end_to_end.device", url, str(key_file), str(folder)]
        # What it says it has.
        self.taken: list[int] = []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, numbers: Iterable[int]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{number}\n" for number in numbers))
        self.process.stdin.flush()

    def take(self, count: int) -> None:
        """Wait until it has taken so many more."""
        assert self.process.stdout is not None
        for _ in range(count):
            self.taken.append(int(self.process.stdout.readline()))

    def put(self, numbers: range) -> None:
        self.tell(numbers)
        self.take(len(numbers))

    def kill(self) -> None:
        self.process.kill()
        assert self.process.stdout is not None
        # communicate() alone would not know of what readline() has buffered.
        said = self.process.stdout.read()
        self.taken += [int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
        self.process.communicate(timeout=SECONDS)

    def finish(self) -> None:
        """End of its input: it sends what is left and ends."""
        self.process.communicate(timeout=SECONDS * 2)
        assert self.process.returncode == 0


@pytest.fixture
def key_file(tmp_path: Path, server: RunningServer) -> Path:
    path = tmp_path / "key"
    path.write_text(server.cast.keys["device"])
    return path


async def test_every_sample_arrives_once_and_in_order_whatever_is_cut_or_killed(
    server: RunningServer, key_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    async with Proxy(server.port) as proxy:
        device = Device(f"http://127.0.0.1:{proxy.port}", key_file, folder)
        do = asyncio.to_thread
        await do(device.put, range(100))
        await eventually(lambda: cursor(folder)["stored"] == 100)
        # Requests arrive, their answers do not: what was stored is sent again.
        proxy.set("stall down")
        await do(device.put, range(100, 200))
        await eventually(lambda: len(records(server)) > 100)
        proxy.reset()
        # No link at all, and the device is killed while it measures.
        proxy.set("drop")
        await do(device.tell, range(200, 500))
        await do(device.take, 50)
        await do(device.kill)
        assert len(device.taken) >= 250
        await do(device.start)
        await do(device.put, range(500, 900))
        # The link is back, and the server is killed while it stores the rest.
        before = len(records(server))
        proxy.reset()
        proxy.set("pass")
        await eventually(lambda: len(records(server)) > before)
        await do(server.kill)
        await do(device.put, range(900, 950))
        await do(server.start)
        await do(device.finish)
    stored = records(server)
    numbers = [data["n"] for _, data, _, _ in stored]
    # One sample may have been on disk when the kill came before it could be said.
    assert set(device.taken) <= set(numbers) <= {*device.taken, *range(200, 500)}
    assert len(numbers) <= len(device.taken) + 1
    assert numbers == sorted(set(numbers))
    assert [offset for offset, _, _, _ in stored] == list(range(1, len(stored) + 1))
    assert [time for _, _, time, _ in stored] == [(EPOCH + number) * 1000 for number in numbers]
    assert not any(tags for _, _, _, tags in stored)


# The command


@pytest.fixture
def server_one(make_server: Fleet) -> RunningServer:
    """What the command does is the same on both servers."""
    server = make_server.new()
    server.start()
    return server


def command_of(
    server: RunningServer, folder: Path, *options: str, stream: str = "lobby", url: str = ""
) -> tuple[list[str], dict[str, str]]:
    """The command, and its environment."""
    place = ["--url", url or server.url, "--stream", stream, "--device", "pi", "--folder", str(folder)]
    return [sys.executable, str(SPOOL), *place, *options], os.environ | {"WIRELOG_KEY": server.cast.keys["device"]}


def spool(server: RunningServer, folder: Path, *options: str, stdin: str = "", **where: str) -> Any:
    command, env = command_of(server, folder, *options, **where)
    return subprocess.run(command, cwd=folder.parent, env=env, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False)


def status(server: RunningServer, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(spool(server, folder, "--status").stdout)
    return found


def counts(server: RunningServer, folder: Path) -> tuple[str, int, int] | None:
    """None before there is a spool."""
    if not (folder / "cursor.json").exists():
        return None
    told = status(server, folder)
    return told["state"], told["waiting"], told["rejected"]


def samples(count: int) -> Iterator[str]:
    return (json.dumps({"n": number, "text": "x" * 200}) + "\n" for number in range(count))


def test_a_full_spool_drops_the_oldest_and_the_gap_shows_in_the_stream(server_one: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    limited = ("--limit-bytes", "65536", "--no-fsync", "--wait")
    done = spool(server_one, folder, *limited, "0", stdin="".join(samples(1000)), url="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    dropped = status(server_one, folder)["dropped"]
    assert 0 < dropped < 1000
    assert spool(server_one, folder, *limited, "120").returncode == 0
    (_, first, _, tags), *_ = stored = records(server_one)
    assert [data["n"] for _, data, _, _ in stored] == list(range(dropped, 1000))
    assert (first["n"], json.loads(tags)) == (dropped, {"dropped": str(dropped)})


def test_what_the_server_refuses_is_kept_or_set_aside(server_one: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    lines = "".join([*samples(2), json.dumps("x" * 200_000) + "\n", *samples(1)])
    command, env = command_of(server_one, folder, "--wait", "600", stream="shed")
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as refused:
        assert refused.stdin is not None
        refused.stdin.write(lines.encode())
        refused.stdin.close()
        try:
            eventually_sync(lambda: counts(server_one, folder) == ("refused", 4, 0))
        finally:
            refused.kill()
    told = status(server_one, folder)
    assert told["error"].startswith("404 unknown stream 'shed'")
    assert server_one.manage("streams", "create", "shed").returncode == 0
    assert spool(server_one, folder, "--wait", "120", stream="shed").returncode == 0
    assert [data["n"] for _, data, _, _ in records(server_one, "shed")] == [0, 1, 0]
    rejected = json.loads((folder / "rejected.ndjson").read_text())
    assert rejected["error"].startswith("413 payload too large")
    told = status(server_one, folder)
    assert (told["state"], told["stored"], told["rejected"]) == ("idle", 3, 1)


def test_the_feed_of_another_machine_goes_through_a_spool(server_one: RunningServer, make_server: Fleet, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(server_one.cast.keys["device"])
    assert server_one.manage("streams", "create", "host:pi", "--kind", "chart").returncode == 0
    elsewhere = make_server.new()
    host = ["feed", "host", "--name", "pi", "--interval", "0.1", "--to", server_one.url, "--key-file", str(key)]
    feed = subprocess.Popen([sys.executable, "manage.py", *host], cwd=ROOT, env=elsewhere.env, stderr=subprocess.PIPE)
    try:
        eventually_sync(lambda: len(records(server_one, "host:pi")) >= 2)
    finally:
        feed.kill()
        feed.communicate()
    assert "cpu" in records(server_one, "host:pi")[0][1]
