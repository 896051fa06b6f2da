"""Many records by one request over plain HTTP: each answered in its turn, or all or nothing."""

from collections.abc import Iterable

import pytest
from django.db import DatabaseError

from realtime import journal
from realtime.errors import InternalError
from realtime.items import Item
from realtime.models import Namespace, Record, Stream

from .core import Trouble, api_key, head, stored
from .plainhttp import Door, refused

pytestmark = pytest.mark.django_db(transaction=True)

PUBLISH = "/api/streams/room/records"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    Namespace.objects.all().delete()
    return Stream.objects.create(name="room")


def test_each_line_is_answered_in_its_turn(door: Door, room: Stream, key: dict[str, str]) -> None:
    lines = [
        b'{"data":1,"key":"a","tags":{"u":"C"},"device_time":5}',
        b'{"data":',
        b'{"data":{"x":1.10},"idempotency_key":"k"}\r',
        b"",
        b'{"data":2,"idempotency_key":"k"}',
        b'{"data":{"x":1.10},"idempotency_key":"k"}',
    ]
    reply = door.post(PUBLISH, b"\n".join(lines) + b"\n", key | NDJSON)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
    first, broken, second, other, repeat = reply.lines()
    assert first == {"offset": 1, "epoch": room.epoch}
    assert (broken["error"]["code"], broken["error"]["field"]) == (107, "line")
    assert second == {"offset": 2, "epoch": room.epoch}
    assert (other["error"]["code"], other["error"]["field"]) == (107, "idempotency_key")
    assert repeat == {"offset": 2, "epoch": room.epoch, "duplicate": True}
    assert stored() == [(1, "1"), (2, '{"x":1.10}')]
    assert Record.objects.order_by("offset").values_list("key", "tags", "device_time").first() == ("a", '{"u":"C"}', 5)


def test_an_array_is_answered_with_an_array(door: Door, room: Stream, key: dict[str, str]) -> None:
    reply = door.post(f"{PUBLISH}?batch=1", b'[{"data": 1.10}, 7, {"data":2}]', key)
    assert reply.headers["content-type"] == "application/json"
    first, bad, second = reply.json()
    assert (first["offset"], bad["error"]["code"], second["offset"]) == (1, 107, 2)
    assert stored() == [(1, "1.10"), (2, "2")]


BAD_LINES = [
    ("7", "line"),
    ("[]", "line"),
    ("{}", "data"),
    ('{"data":1,"dat":2}', "dat"),
    ('{"data":"\\ud800"}', "line"),
    ('{"data":1,"key":1}', "key"),
    ('{"data":1,"key":"' + "x" * 201 + '"}', "key"),
    ('{"data":1,"idempotency_key":null}', "idempotency_key"),
    ('{"data":1,"removed":"true"}', "removed"),
    ('{"data":1,"removed":true}', "removed"),
    ('{"data":1,"tags":{"a":1}}', "tags[...]"),
    ('{"data":1,"tags":{"a":"\\n"}}', "tags.a"),
    ('{"data":1,"tags":[]}', "tags"),
    ('{"data":1,"device_time":-1}', "device_time"),
    ('{"data":1,"device_time":1.5}', "device_time"),
    ('{"data":1,"device_time":"noon"}', "device_time"),
    ('{"data":1,"expect_offset":-1}', "expect_offset"),
]


def around(line: str) -> bytes:
    return f'{{"data":1}}\n\n{line}\n{{"data":2}}'.encode()


def test_a_bad_line_is_refused_by_its_field_and_no_other(door: Door, key: dict[str, str]) -> None:
    for line, field in BAD_LINES:
        first, bad, last = door.post(PUBLISH, around(line), key | NDJSON).lines()
        assert (bad["error"]["code"], bad["error"]["field"]) == (107, field), line
        assert last["offset"] == first["offset"] + 1


def test_a_bad_line_keeps_all_out_where_it_is_all_or_nothing(door: Door, key: dict[str, str]) -> None:
    for line, field in BAD_LINES:
        reply = door.post(f"{PUBLISH}?atomic=1", around(line), key | NDJSON)
        assert refused(reply) == (400, 107, field), line
        assert reply.json()["line"] == 3
    assert stored() == []


def test_all_or_nothing_stores_all(door: Door, room: Stream, key: dict[str, str]) -> None:
    reply = door.post(f"{PUBLISH}?atomic=1", b'{"data":1}\n{"data":2}', key | NDJSON)
    assert reply.lines() == [{"offset": 1, "epoch": room.epoch}, {"offset": 2, "epoch": room.epoch}]


ATOMIC = [
    (b'{"data":1}\n{"data":2,"expect_offset":9}', 409, 113, 2),
    (b'{"data":1,"idempotency_key":"k"}\n{"data":2,"idempotency_key":"k"}', 400, 107, 2),
    (b'{"data":1}\n{"data":"' + b"x" * 131_072 + b'"}', 413, 413, 2),
]


@pytest.mark.parametrize("body, status, code, line", ATOMIC)
def test_all_or_nothing_stores_nothing_for_what_only_the_journal_can_tell(
    door: Door, key: dict[str, str], body: bytes, status: int, code: int, line: int
) -> None:
    reply = door.post(f"{PUBLISH}?atomic=1", body, key | NDJSON)
    assert refused(reply)[:2] == (status, code)
    assert reply.json()["line"] == line
    assert (stored(), head("room")) == ([], 0)
    assert (door.post(PUBLISH, b"3", key)).json()["offset"] == 1


def test_all_or_nothing_creates_no_stream_for_nothing(door: Door, key: dict[str, str]) -> None:
    Namespace.objects.create(name="iot")
    body = b'{"data":1}\n{"data":2,"expect_offset":9}'
    reply = door.post("/api/streams/iot:boiler/records?atomic=1", body, key | NDJSON)
    assert reply.status == 409
    assert not Stream.objects.filter(name="iot:boiler").exists()


BROKEN_BATCHES = [
    (NDJSON, "", b"", 400, "body"),
    (NDJSON, "", b"\n \n", 400, "body"),
    ({}, "?batch=1", b"", 400, "body"),
    ({}, "?batch=1", b"[]", 400, "body"),
    ({}, "?batch=1", b'{"data":1}', 400, "body"),
    ({}, "?batch=1", b'[{"data":1},]', 400, "body"),
    # An array would become one record.
    ({}, "?atomic=1", b'[{"data":1}]', 400, "atomic"),
    (NDJSON, "", b'{"data":1}\n' * 1001, 413, ""),
    (NDJSON | {"Wirelog-Key": "k"}, "", b'{"data":1}', 400, "Wirelog-Key"),
    (NDJSON | {"Idempotency-Key": "k"}, "", b'{"data":1}', 400, "Idempotency-Key"),
]


def test_a_batch_that_is_none_is_refused_whole(door: Door, key: dict[str, str]) -> None:
    for headers, query, body, status, field in BROKEN_BATCHES:
        reply = door.post(PUBLISH + query, body, key | headers)
        assert (reply.status, reply.json().get("field", "")) == (status, field), body
    assert stored() == []


@pytest.mark.parametrize("query", ["", "?atomic=1"])
def test_what_keeps_all_lines_out_is_the_answer_to_the_request(door: Door, key: dict[str, str], query: str) -> None:
    body = b'{"data":1}\n{"data":2}'
    assert (door.post(f"/api/streams/nowhere/records{query}", body, key | NDJSON)).status == 404
    reader = {"X-API-Key": api_key("*", "read")}
    assert (door.post(PUBLISH + query, body, reader | NDJSON)).status == 403
    door.run(Trouble(DatabaseError("database or disk is full")).befall(door.engine.journal))
    assert (door.post(PUBLISH + query, body, key | NDJSON)).status == 507
    assert stored() == []


def test_an_error_that_kept_out_only_some_lines_is_that_of_each(door: Door, key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    append_all = door.engine.journal.append_all

    async def fail_first(items: Iterable[Item]) -> list[journal.Outcome]:
        return [InternalError(), *await append_all(list(items)[1:])]

    monkeypatch.setattr(door.engine.journal, "append_all", fail_first)
    failed, stored_line = door.post(PUBLISH, b'{"data":1}\n{"data":2}', key | NDJSON).lines()
    assert (failed["error"]["code"], failed["error"]["temporary"], stored_line["offset"]) == (100, True, 1)


def test_each_line_of_a_batch_counts_as_a_publish(door: Door) -> None:
    # One a second: a hundred at once pass, and are owed for more than a minute.
    slow = {"X-API-Key": api_key("*", "publish", publish_rate=1)}
    assert door.post(PUBLISH, b'{"data":1}\n' * 100, slow | NDJSON).status == 200
    assert refused(door.post(PUBLISH, b"1", slow)) == (429, 111, "")


@pytest.mark.parametrize("query", ["", "?atomic=1"])
def test_a_batch_of_nobody_from_a_page_of_ours_is_asked_for_a_credential(door: Door, query: str) -> None:
    own = {"Origin": "http://testserver"}
    assert refused(door.post(PUBLISH + query, b'{"data":1}', own | NDJSON)) == (401, 101, "")


def test_a_full_batch_is_one_transaction(door: Door, key: dict[str, str]) -> None:
    before = door.engine.journal.batches
    reply = door.post(f"{PUBLISH}?atomic=1", b'{"data":1}\n' * 1000, key | NDJSON)
    assert [line["offset"] for line in reply.lines()] == list(range(1, 1001))
    assert door.engine.journal.batches == before + 1
