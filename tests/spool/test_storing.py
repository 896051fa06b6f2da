"""The spool of a device: what is put is stored, survives crashes, and arrives once. The real server is in end_to_end/test_spool.py."""

import contextlib
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from clients import wirelog_spool
from clients.wirelog_spool import SpoolError, SpoolFull

from ..waiting import SECONDS, eventually_sync
from .server import LIMIT, Held, Server, fill, only, says, send, spool

# Storing and forwarding


def test_what_is_put_arrives_once_in_order_with_its_time_its_subject_and_its_tags(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path) as found:
        keys = [found.put({"t": 1.5}, time=1_700_000_000.25), found.put("ż", key="door", tags={"unit": "C"}), found.put(None)]
        assert found.flush(SECONDS)
    first, second, third = server.stored.values()
    assert list(server.stored) == keys
    assert first == {"idempotency_key": keys[0], "device_time": 1_700_000_000_250, "data": {"t": 1.5}}
    assert (second["data"], second["key"], second["tags"]) == ("ż", "door", {"unit": "C"})
    assert second["device_time"] > 1_700_000_000_250
    assert third["data"] is None
    path, headers = server.heads[0]
    assert path == "/api/streams/iot%3Ashed/records?atomic=1"
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer wl_ab_secret", "application/x-ndjson")


def test_what_was_put_without_a_link_is_sent_by_the_next_process(server: Server, tmp_path: Path) -> None:
    keys = fill(tmp_path, 1, 2, 3)
    status = send(server, tmp_path)
    assert (list(server.stored), server.values) == (keys, [1, 2, 3])
    assert (status["stored"], status["waiting"], status["dropped"], status["state"]) == (3, 0, 0, "idle")


def test_a_backlog_goes_in_batches(server: Server, tmp_path: Path) -> None:
    fill(tmp_path, *range(250), fsync=False)
    send(server, tmp_path)
    assert server.values == list(range(250))
    assert len(server.heads) == 3


def test_threads_may_put_at_the_same_time(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path, fsync=False) as found:
        threads = [threading.Thread(target=lambda: [found.put(number) for number in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found.flush(SECONDS)
    numbers = [int(key.rpartition(":")[2]) for key in server.stored]
    assert numbers == list(range(numbers[0], numbers[0] + 400))
    assert sorted(server.values) == sorted([*range(100)] * 4)


def test_flush_says_whether_all_is_sent(server: Server, tmp_path: Path) -> None:
    with spool(None, tmp_path) as found:
        assert found.flush(0)
        found.put(1)
        assert not found.flush(0)
        found.close(0)
    with pytest.raises(SpoolError, match="closed"):
        found.put(2)


def test_closing_does_not_wait_for_a_server_that_hangs(server: Server, tmp_path: Path) -> None:
    held = Held()
    server.script.append(held)
    with spool(server, tmp_path) as found:
        found.put(1)
        assert held.reached.wait(SECONDS)
        found.close(0)
        eventually_sync(lambda: not found._thread.is_alive())
    held.go.set()


# Crashes


@pytest.mark.parametrize(
    "tear",
    [
        lambda line: line[:-1],
        lambda line: line[:20],
        lambda line: b"\0" * len(line),
        lambda line: line[:-3] + b"9}\n",
        lambda line: b"half\n" + line[:12],
    ],
    ids=["no newline", "half", "zeros", "another payload", "two pieces"],
)
def test_a_torn_last_record_is_dropped_and_its_number_is_free(server: Server, tmp_path: Path, tear: Callable[[bytes], bytes]) -> None:
    keys = fill(tmp_path, 1, 2, 3)
    path = only(tmp_path)
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + tear(last))
    assert fill(tmp_path, 4) == keys[2:]
    assert send(server, tmp_path)["dropped"] == 0
    assert server.values == [1, 2, 4]


def test_a_damaged_record_in_the_middle_is_a_gap_that_shows(server: Server, tmp_path: Path) -> None:
    fill(tmp_path, 1, 2, 3)
    path = only(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"x" + lines[1][1:] + lines[2])
    assert send(server, tmp_path)["dropped"] == 1
    assert server.values == [1, 3]
    assert [line.get("tags") for line in server.stored.values()] == [None, {"dropped": "1"}]


def test_no_number_is_used_twice_though_all_is_sent(server: Server, tmp_path: Path) -> None:
    keys = [*fill(tmp_path, 1)]
    for value in (2, 3):
        send(server, tmp_path)
        keys += fill(tmp_path, value)
    send(server, tmp_path)
    assert len(set(keys)) == 3
    assert server.values == [1, 2, 3]


def test_a_folder_that_was_lost_does_not_begin_with_the_numbers_of_the_one_before(tmp_path: Path) -> None:
    (first,) = fill(tmp_path / "a", 1)
    with patch.object(wirelog_spool, "time_ns", lambda: 2**62):
        (second,) = fill(tmp_path / "b", 1)
    assert int(second.rpartition(":")[2]) > int(first.rpartition(":")[2])


@pytest.mark.parametrize("damage", [b"", b"\0" * 20, b'{"sent": 1}', b"[]"])
def test_with_a_damaged_cursor_all_is_sent_again_under_the_same_keys(server: Server, tmp_path: Path, damage: bytes) -> None:
    keys = fill(tmp_path, 1, 2)
    send(server, tmp_path)
    (tmp_path / "cursor.json").write_bytes(damage)
    (tmp_path / "cursor.new").write_bytes(b"half")
    keys += fill(tmp_path, 3)
    send(server, tmp_path)
    assert (list(server.stored), server.values) == (keys, [1, 2, 3])
    # The batch of both, and the batch of all three.
    assert len(server.heads) == 2


def test_a_lost_file_does_not_bring_numbers_back(server: Server, tmp_path: Path) -> None:
    (key,) = fill(tmp_path, 1)
    send(server, tmp_path)
    only(tmp_path).write_bytes(b"")
    assert fill(tmp_path, 2) > [key]


@pytest.mark.parametrize("owner, step", [(os, "fsync"), (Path, "replace")])
def test_the_cursor_is_replaced_whole_or_not_at_all(tmp_path: Path, owner: Any, step: str) -> None:
    path = tmp_path / "cursor.json"
    wirelog_spool.replace(path, b"before")
    with patch.object(owner, step, side_effect=OSError("the power goes")), pytest.raises(OSError, match="power"):
        wirelog_spool.replace(path, b"after")
    assert path.read_bytes() == b"before"


def test_a_record_that_the_disk_did_not_confirm_was_not_taken(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path) as found:
        with patch.object(os, "fsync", side_effect=OSError("no space")), pytest.raises(OSError, match="no space"):
            found.put("lost")
        found.put("kept")
        assert found.flush(SECONDS)
    assert server.values == ["kept"]


class HalfFull:
    """A file that takes five more bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, line: bytes) -> int:
        return int(self.file.write(line[:5]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_record_of_which_a_full_disk_took_a_part_was_not_taken(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path) as found:
        file = found._files._file
        found._files._file = HalfFull(file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space left"):
            found.put("lost")
        found._files._file = file
        found.put("kept")
        assert found.flush(SECONDS)
        assert found.status()["dropped"] == 0
    assert server.values == ["kept"]


def test_a_full_disk_does_not_keep_what_fills_it_from_being_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [str(number) * 4_000 for number in range(10)]
    fill(tmp_path, *values, limit_bytes=LIMIT)
    write = wirelog_spool.replace

    def replace(path: Path, content: bytes) -> None:
        if len([*tmp_path.glob("*.log")]) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(wirelog_spool, "replace", replace)
    monkeypatch.setattr(wirelog_spool, "BATCH_RECORDS", 2)
    with spool(server, tmp_path, limit_bytes=LIMIT) as found:
        # Without a time, after which it would look by itself.
        flushing = threading.Thread(target=found.flush, daemon=True)
        flushing.start()
        flushing.join(SECONDS)
        assert not flushing.is_alive()
    assert server.values == values
    assert json.loads((tmp_path / "cursor.json").read_bytes())["stored"] == 10


def test_a_folder_that_cannot_be_left_in_order_is_left_all_the_same(server: Server, tmp_path: Path) -> None:
    found = spool(server, tmp_path)
    with patch.object(wirelog_spool, "replace", side_effect=OSError("no space")), pytest.raises(OSError, match="no space"):
        found.close()
    spool(server, tmp_path).close()


def test_a_disk_that_loses_what_it_had_is_told_of_and_ends_nothing(server: Server, tmp_path: Path) -> None:
    server.script.append(says(503))
    with spool(server, tmp_path, fsync=False) as found:
        found._rest = lambda seconds: paused.set() or go.wait(SECONDS)  # type: ignore[assignment, func-returns-value]
        paused, go = threading.Event(), threading.Event()
        found.put(1)
        assert paused.wait(SECONDS)
        only(tmp_path).write_bytes(b"")
        paused.clear()
        go.set()
        eventually_sync(lambda: "Input/output error" in found.status()["error"])
        assert found.status()["state"] == "waiting"
        found.close(0)


def test_nothing_is_sent_before_it_is_on_disk(server: Server, tmp_path: Path) -> None:
    """Or a power cut would give its number to another record, which the server refuses."""
    synced: list[int] = []
    held = Held()
    server.script.append(held)
    with spool(server, tmp_path, fsync=False) as found:
        real = os.fsync

        def fsync(handle: int) -> None:
            synced.append(os.fstat(handle).st_ino)
            real(handle)

        with patch.object(os, "fsync", fsync):
            found.put(1)
            assert held.reached.wait(SECONDS)
        assert only(tmp_path).stat().st_ino in synced
        held.go.set()


# A full spool


def test_a_full_spool_drops_the_oldest_and_says_how_many(server: Server, tmp_path: Path) -> None:
    found = spool(None, tmp_path, limit_bytes=LIMIT, fsync=False)
    for number in range(1000):
        found.put([number, "x" * 200])
        assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= LIMIT
    status = found.status()
    found.close(0)
    assert status["dropped"] > 0
    assert status["dropped"] + status["waiting"] == 1000
    after = send(server, tmp_path, limit_bytes=LIMIT)
    numbers = [number for number, _ in server.values]
    assert numbers == list(range(status["dropped"], 1000))
    assert (after["dropped"], after["stored"]) == (status["dropped"], status["waiting"])
    first, *others = server.stored.values()
    assert first["tags"] == {"dropped": str(status["dropped"])}
    assert not any("tags" in line for line in others)


def test_what_is_in_flight_while_its_file_is_dropped_does_not_count_as_lost(server: Server, tmp_path: Path) -> None:
    held = Held()
    server.script.append(held)
    with spool(server, tmp_path, limit_bytes=LIMIT, fsync=False) as found:
        found.put([0, ""])
        assert held.reached.wait(SECONDS)
        for number in range(1, 1000):
            found.put([number, "x" * 200])
        held.go.set()
        assert found.flush(SECONDS)
        status = found.status()
    numbers = [number for number, _ in server.values]
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert len(numbers) + status["dropped"] == 1000
    assert sum(int(line["tags"]["dropped"]) for line in server.stored.values() if "tags" in line) == status["dropped"]


@pytest.mark.parametrize("reached", [False, True])
def test_a_limit_may_be_lowered_below_what_waits(server: Server, tmp_path: Path, reached: bool) -> None:
    fill(tmp_path, *["x" * 4_000] * 25, limit_bytes=16 * LIMIT)
    if reached:
        send(server, tmp_path, limit_bytes=16 * LIMIT)
    with spool(server if reached else None, tmp_path, limit_bytes=LIMIT, full="refuse" if reached else "drop") as found:
        found.put("new")
        status = found.status()
        assert (status["dropped"], status["bytes"] < LIMIT) == (0 if reached else 25, True)
        found.close(0)
    send(server, tmp_path, limit_bytes=LIMIT)
    assert server.values[-1] == "new"


def test_a_full_spool_may_refuse_instead(server: Server, tmp_path: Path) -> None:
    taken = []
    found = spool(None, tmp_path, limit_bytes=LIMIT, full="refuse", fsync=False)
    with contextlib.suppress(SpoolFull):
        for number in range(1000):
            found.put([number, "x" * 200])
            taken.append(number)
    assert 100 < len(taken) < 1000
    with pytest.raises(SpoolFull, match=f"is full: {len(taken)} records wait"):
        found.put([1000, "x" * 200])
    found.close(0)
    send(server, tmp_path, limit_bytes=LIMIT, full="refuse")
    assert [number for number, _ in server.values] == taken
    with spool(server, tmp_path, limit_bytes=LIMIT, full="refuse") as found:
        found.put("room again")
