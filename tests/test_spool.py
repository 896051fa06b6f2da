"""The device client against a server that answers as it is told. The real one is in end_to_end/test_spool.py."""

import ast
import contextlib
import io
import json
import os
import random
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from clients import wirelog_spool
from clients.wirelog_spool import SEGMENTS, Spool, SpoolError, SpoolFull, main

from .conftest import ROOT
from .waiting import eventually_sync

LIMIT = wirelog_spool.SMALLEST_LIMIT
Script = Callable[["Door"], bool]


class Door(BaseHTTPRequestHandler):
    """`POST …/records?atomic=1`, but for requests that the script answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.lines = [json.loads(line) for line in body.splitlines()]
        self.server.heads.append((self.path, dict(self.headers)))
        if self.server.script and self.server.script.popleft()(self):
            return
        self.store()

    def store(self) -> None:
        bad = next((number for number, line in enumerate(self.lines, 1) if line["data"] == "bad"), 0)
        if bad:
            self.answer(400, {"detail": "no such data", "line": bad})
            return
        for line in self.lines:
            self.server.stored.setdefault(line["idempotency_key"], line)
        self.answer(200, *[{"offset": 1, "epoch": "e"}] * len(self.lines))

    def answer(self, status: int, *lines: Any, headers: dict[str, str] | None = None) -> None:
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.script: deque[Script] = deque()
        self.heads: list[tuple[str, dict[str, str]]] = []
        # By key, in the order in which they were stored first.
        self.stored: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def values(self) -> list[Any]:
        return [line["data"] for line in self.stored.values()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def says(status: int, *lines: Any, **headers: str) -> Script:
    def script(door: Door) -> bool:
        door.answer(status, *lines, headers=headers)
        return True

    return script


def hangs_up(door: Door) -> bool:
    door.close_connection = True
    return True


def stores_and_hangs_up(door: Door) -> bool:
    door.answer = lambda *args, **more: None  # type: ignore[method-assign]
    door.store()
    return hangs_up(door)


def closes_when_idle(door: Door) -> bool:
    """As a server does with connections kept too long: without a word in the answer."""
    door.store()
    return hangs_up(door)


class Held:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, door: Door) -> bool:
        self.reached.set()
        self.go.wait(10)
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wirelog_spool, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(wirelog_spool, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(wirelog_spool, "REFUSED_PAUSE", 0.01)


def spool(server: Server | None, folder: Path, **options: Any) -> Spool:
    """Without a server the link is down: nothing listens there."""
    url = server.url if server is not None else "http://127.0.0.1:9"
    return Spool(url, "iot:shed", "wl_ab_secret", "shed-pi", folder, **options)


def fill(folder: Path, *values: Any, **options: Any) -> list[str]:
    """Put `values` while the link is down; returns their keys."""
    found = spool(None, folder, **options)
    keys = [found.put(value) for value in values]
    found.close(0)
    return keys


def send(server: Server, folder: Path, **options: Any) -> dict[str, Any]:
    """Send all that waits in the folder; returns the status after that."""
    with spool(server, folder, **options) as found:
        assert found.flush(10), found.status()
        return found.status()


def only(folder: Path, pattern: str = "*.log") -> Path:
    (path,) = folder.glob(pattern)
    return path


# Storing and forwarding


def test_what_is_put_arrives_once_in_order_with_its_time_its_subject_and_its_tags(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path) as found:
        keys = [found.put({"t": 1.5}, time=1_700_000_000.25), found.put("ż", key="door", tags={"unit": "C"}), found.put(None)]
        assert found.flush(10)
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
        assert found.flush(10)
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
        assert held.reached.wait(10)
        found.close(0)
        assert not found._thread.is_alive()
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
        assert found.flush(10)
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
        assert found.flush(10)
        assert found.status()["dropped"] == 0
    assert server.values == ["kept"]


def test_a_disk_that_loses_what_it_had_is_told_of_and_ends_nothing(server: Server, tmp_path: Path) -> None:
    server.script.append(says(503))
    with spool(server, tmp_path, fsync=False) as found:
        found._rest = lambda seconds: paused.set() or go.wait(10)  # type: ignore[assignment, func-returns-value]
        paused, go = threading.Event(), threading.Event()
        found.put(1)
        assert paused.wait(10)
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
            assert held.reached.wait(10)
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
        assert held.reached.wait(10)
        for number in range(1, 1000):
            found.put([number, "x" * 200])
        held.go.set()
        assert found.flush(10)
        status = found.status()
    numbers = [number for number, _ in server.values]
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert len(numbers) + status["dropped"] == 1000
    assert sum(int(line["tags"]["dropped"]) for line in server.stored.values() if "tags" in line) == status["dropped"]


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


# What the server says


@pytest.mark.parametrize(
    "trouble",
    [
        *[says(status, {"detail": "not now"}) for status in (408, 429, 500, 502, 503, 507)],
        says(200, "<html>", "a sign-in page"),
        says(200),
        says(200, {"offset": 1}, {"offset": 2}, {"error": {"code": 100, "message": "unknown"}}),
        hangs_up,
        stores_and_hangs_up,
    ],
)
def test_what_may_be_good_in_a_moment_is_tried_again_with_the_same_keys(server: Server, tmp_path: Path, trouble: Script) -> None:
    keys = fill(tmp_path, 1, 2, 3)
    server.script += [trouble, trouble]
    status = send(server, tmp_path)
    assert (list(server.stored), server.values) == (keys, [1, 2, 3])
    assert (status["state"], status["error"], status["stored"], status["rejected"]) == ("idle", "", 3, 0)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 423])
def test_what_somebody_must_put_right_stops_the_sending_and_not_the_spool(server: Server, tmp_path: Path, status: int) -> None:
    with spool(server, tmp_path) as found:
        found._rest = lambda seconds: paused.set() or go.wait(10)  # type: ignore[assignment, func-returns-value]
        paused, go = threading.Event(), threading.Event()
        server.script.append(says(status, {"detail": "the reason"}))
        found.put(1)
        assert paused.wait(10)
        told = found.status()
        assert (told["state"], told["error"]) == ("refused", f"{status} the reason")
        found.put(2)
        go.set()
        assert found.flush(10)
    assert server.values == [1, 2]
    assert json.loads((tmp_path / "cursor.json").read_text())["state"] == "idle"


@pytest.mark.parametrize("position", [0, 1, 4])
def test_a_record_that_is_refused_for_good_is_set_aside_and_holds_nobody_up(server: Server, tmp_path: Path, position: int) -> None:
    values: list[Any] = [0, 1, 2, 3, 4]
    values[position] = "bad"
    keys = fill(tmp_path, *values)
    status = send(server, tmp_path)
    assert server.values == [value for value in values if value != "bad"]
    assert (status["stored"], status["rejected"], status["dropped"]) == (4, 1, 0)
    rejected = json.loads((tmp_path / "rejected.ndjson").read_text())
    assert f"shed-pi:{rejected['number']}" == keys[position]
    assert (rejected["error"], rejected["record"]["data"]) == ("400 no such data", "bad")


def test_after_a_refused_record_the_batches_are_as_large_as_before(server: Server, tmp_path: Path) -> None:
    fill(tmp_path, 0, "bad", *range(2, 250), fsync=False)
    send(server, tmp_path)
    assert server.values == [0, *range(2, 250)]
    # The first batch, what comes before the bad record, that alone, and the rest.
    assert len(server.heads) == 3 + 3


def test_a_batch_that_is_too_large_goes_in_smaller_ones(server: Server, tmp_path: Path) -> None:
    fill(tmp_path, *range(8))

    def small(door: Door) -> bool:
        server.script.append(small)
        if len(door.lines) > 2 or 5 in [line["data"] for line in door.lines]:
            door.answer(413, {"detail": "payload too large"})
            return True
        return False

    server.script.append(small)
    status = send(server, tmp_path)
    assert server.values == [0, 1, 2, 3, 4, 6, 7]
    assert status["rejected"] == 1


def test_the_file_of_refused_records_is_bounded(server: Server, tmp_path: Path) -> None:
    for name in ("rejected.ndjson", "rejected.old.ndjson"):
        (tmp_path / name).write_bytes(b"x" * (LIMIT // SEGMENTS + 1))
    fill(tmp_path, "bad")
    assert send(server, tmp_path, limit_bytes=LIMIT)["rejected"] == 1
    assert sum(path.stat().st_size for path in tmp_path.glob("rejected*")) < LIMIT // SEGMENTS * 2


def test_a_connection_that_the_server_gave_up_is_opened_again_at_once(server: Server, tmp_path: Path) -> None:
    with spool(server, tmp_path) as found:
        found._rest = lambda seconds: pytest.fail("it paused")  # type: ignore[method-assign]
        for number in range(3):
            server.script.append(closes_when_idle)
            found.put(number)
            assert found.flush(10)
    assert server.values == [0, 1, 2]


def test_pauses_double_up_to_the_longest_and_are_random(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(wirelog_spool, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(wirelog_spool, "LONGEST_PAUSE", 10.0)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    monkeypatch.setattr(Spool, "_rest", lambda self, seconds: pauses.append(seconds))
    server.script += [says(503)] * 5 + [says(429, **{"Retry-After": "30"})]
    with spool(server, tmp_path) as found:
        found.put(1)
        assert found.flush(10)
        server.script.append(says(503))
        found.put(2)
        assert found.flush(10)
    assert pauses == [2, 4, 8, 10, 10, 30, 2]


def test_trouble_is_told_once_and_being_paced_is_none(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.script += [says(503), says(503), says(429, **{"Retry-After": "1"})]
    with spool(server, tmp_path) as found:
        found._rest = lambda seconds: None  # type: ignore[method-assign]
        found.put(1)
        assert found.flush(10)
        server.script.append(says(429, **{"Retry-After": "1"}))
        found.put(2)
        assert found.flush(10)
    told = [record.getMessage().partition(".")[0] for record in caplog.records if record.name == "wirelog_spool"]
    assert told == ["Waiting: 503 Service Unavailable", "Sending again"]


# Bad input


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"url": "wirelog.example.org"}, "The URL must look like https://"),
        ({"url": "ftp://x"}, "The URL must look like https://"),
        ({"key": ""}, "The API key is empty"),
        ({"key": "wl_ab\r\nX: y"}, "The API key is empty or has characters"),
        ({"device": ""}, "The device must have a name"),
        ({"device": "a\nb"}, "The device must have a name"),
        ({"limit_bytes": 1000}, "The limit must be at least 65536 bytes, not 1000"),
        ({"full": "explode"}, "A full spool can drop or refuse"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence_and_leave_no_folder(tmp_path: Path, arguments: dict[str, Any], sentence: str) -> None:
    right: dict[str, Any] = {"url": "http://127.0.0.1:9", "stream": "s", "key": "k", "device": "d", "folder": tmp_path / "spool"}
    with pytest.raises(SpoolError, match=sentence):
        Spool(**(right | arguments))
    assert not (tmp_path / "spool").exists()


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with spool(None, tmp_path) as found:
        with pytest.raises(SpoolError, match="Another process uses the spool"):
            spool(None, tmp_path)
        found.close(0)


def test_a_folder_belongs_to_one_stream_and_one_device(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(SpoolError, match="is of device 'shed-pi' for stream 'iot:shed'"):
        Spool("http://127.0.0.1:9", "iot:other", "k", "shed-pi", tmp_path)


def deep() -> Any:
    value: Any = 0
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"data": float("nan")},
        {"data": "\ud800"},
        {"data": {1, 2}},
        {"data": deep()},
        {"data": "x" * LIMIT},
        {"data": 1, "time": -1.0},
        {"data": 1, "time": float("nan")},
        {"data": 1, "time": 1_700_000_000_000.0},
        {"data": 1, "time": "now"},
        {"data": 1, "tags": "unit"},
    ],
    ids=["nan", "surrogate", "set", "deep", "large", "before 1970", "nan time", "milliseconds", "word", "tags"],
)
def test_what_cannot_be_sent_is_not_taken(tmp_path: Path, fields: dict[str, Any]) -> None:
    found = spool(None, tmp_path, limit_bytes=LIMIT)
    with pytest.raises((ValueError, TypeError)):
        found.put(**fields)
    assert found.status()["waiting"] == 0
    found.close(0)


# The command


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: bytes = b"") -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return main(arguments)


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's handler is not for the test run."""
    monkeypatch.setattr(signal, "signal", lambda *args: None)


def test_the_command_sends_every_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("wl_ab_secret\n")
    place = ["--url", server.url, "--stream", "iot:shed", "--device", "d", "--folder", str(tmp_path / "spool")]
    fields = ["--key-file", str(key), "--time-field", "at", "--key-field", "sensor"]
    assert run(monkeypatch, *place, *fields, stdin=b'{"at": 1700000000, "sensor": 7}\n\n[1]\n"last"') == 0
    assert server.values == [{"at": 1700000000, "sensor": 7}, [1], "last"]
    first = next(iter(server.stored.values()))
    assert (first["device_time"], first["key"]) == (1_700_000_000_000, "7")
    assert server.heads[0][1]["Authorization"] == "Bearer wl_ab_secret"


def test_the_command_leaves_bad_lines_out_and_says_which(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--url", server.url, "--stream", "iot:shed", "--folder", str(tmp_path)]
    assert run(monkeypatch, *place, stdin=b'1\n{"broken\nNaN\n\xff\n2\n') == 1
    assert server.values == [1, 2]
    assert [line[:18] for line in capsys.readouterr().err.splitlines()] == [f"Line {number} is left out" for number in (2, 3, 4)]


@pytest.mark.parametrize("time", ["x", -1, 1e300, [1]])
def test_a_time_that_is_none_is_told_in_words(
    time: Any, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--url", server.url, "--stream", "iot:shed", "--folder", str(tmp_path), "--time-field", "at"]
    assert run(monkeypatch, *place, stdin=json.dumps({"at": time}).encode()) == 1
    assert capsys.readouterr().err == f"Line 1 is left out: the time must be in seconds since 1970, not {time!r}\n"


def test_the_command_leaves_what_it_cannot_send_to_its_next_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIRELOG_KEY", "wl_ab_secret")
    place = ["--stream", "iot:shed", "--folder", str(tmp_path)]
    assert run(monkeypatch, "--url", "http://127.0.0.1:9", *place, "--wait", "0", stdin=b"1\n2\n") == 0
    assert "2 records wait in" in capsys.readouterr().err
    assert run(monkeypatch, "--status", "--folder", str(tmp_path)) == 0
    assert json.loads(capsys.readouterr().out)["waiting"] == 2
    assert run(monkeypatch, "--url", server.url, *place, stdin=b"3\n") == 0
    assert server.values == [1, 2, 3]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--status"], "There is no spool in"),
        (["--stream", "s"], "Give --url and --stream."),
        (["--url", "http://x", "--stream", "s"], "The API key is empty"),
        (["--url", "http://x", "--stream", "s", "--key-file", "/no/such"], "No such file"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    monkeypatch.delenv("WIRELOG_KEY", raising=False)
    assert run(monkeypatch, *arguments, "--folder", str(tmp_path / "none")) == 1
    told = capsys.readouterr().err
    assert told.startswith("Error: ")
    assert sentence in told


def test_a_key_cannot_be_given_where_every_process_reads_it() -> None:
    assert "--key" not in {option for action in wirelog_spool.parser()._actions for option in action.option_strings}


# What devices have


def test_it_needs_python_3_9_and_nothing_else() -> None:
    tree = ast.parse((ROOT / "clients" / "wirelog_spool.py").read_text(), feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name for node in nodes for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])}
    assert {str(name).partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_it_waits_in_the_background(server: Server, tmp_path: Path) -> None:
    server.script += [says(503)] * 3
    with spool(server, tmp_path) as found:
        found.put(1)
        eventually_sync(lambda: server.values == [1])
