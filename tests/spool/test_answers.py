"""What the spool makes of what a server says, or does not say."""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from clients import wirelog_spool
from clients.wirelog_spool import SEGMENTS, Spool

from ..waiting import SECONDS
from .server import (
    LIMIT,
    Door,
    Script,
    Server,
    closes_when_idle,
    fill,
    hangs_up,
    says,
    says_brackets,
    send,
    spool,
    stores_and_hangs_up,
    talks_for_ever,
)


@pytest.mark.parametrize(
    "trouble",
    [
        *[says(status, {"detail": "not now"}) for status in (408, 429, 500, 502, 503, 507)],
        says(200, "<html>", "a sign-in page"),
        says(200),
        says(200, {"offset": 1}, {"offset": 2}, {"error": {"code": 100, "message": "unknown"}}),
        says_brackets,
        talks_for_ever,
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
        found._rest = lambda seconds: paused.set() or go.wait(SECONDS)  # type: ignore[assignment, func-returns-value]
        paused, go = threading.Event(), threading.Event()
        server.script.append(says(status, {"detail": "the reason"}))
        found.put(1)
        assert paused.wait(SECONDS)
        told = found.status()
        assert (told["state"], told["error"]) == ("refused", f"{status} the reason")
        found.put(2)
        go.set()
        assert found.flush(SECONDS)
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


def test_few_batches_are_sent_in_vain_where_less_is_taken_at_once(server: Server, tmp_path: Path) -> None:
    fill(tmp_path, *range(500), fsync=False)
    refused: list[int] = []

    def small(door: Door) -> bool:
        server.script.append(small)
        if len(door.lines) > 20:
            refused.append(len(door.lines))
            door.answer(413, {"detail": "payload too large"})
        return len(door.lines) > 20

    server.script.append(small)
    assert send(server, tmp_path)["rejected"] == 0
    assert server.values == [*range(500)]
    assert refused == [100, 50, 25, 21, 21, 21]


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
            assert found.flush(SECONDS)
    assert server.values == [0, 1, 2]


def test_pauses_double_up_to_the_longest_and_are_random(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(wirelog_spool, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(wirelog_spool, "LONGEST_PAUSE", 10.0)
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    monkeypatch.setattr(Spool, "_rest", lambda self, seconds: pauses.append(seconds))
    server.script += [says(503)] * 5 + [says(429, **{"Retry-After": "30"}), says(503, **{"Retry-After": "9" * 400})]
    with spool(server, tmp_path) as found:
        found.put(1)
        assert found.flush(SECONDS)
        server.script.append(says(503))
        found.put(2)
        assert found.flush(SECONDS)
    assert pauses == [2, 4, 8, 10, 10, 30, 3600, 2]


def test_trouble_is_told_once_and_being_paced_is_none(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.script += [says(503), says(503), says(429, **{"Retry-After": "1"})]
    with spool(server, tmp_path) as found:
        found._rest = lambda seconds: None  # type: ignore[method-assign]
        found.put(1)
        assert found.flush(SECONDS)
        server.script.append(says(429, **{"Retry-After": "1"}))
        found.put(2)
        assert found.flush(SECONDS)
    told = [record.getMessage().partition(".")[0] for record in caplog.records if record.name == "wirelog_spool"]
    assert told == ["Waiting: 503 Service Unavailable", "Sending again"]
