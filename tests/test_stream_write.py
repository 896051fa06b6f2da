"""Publishing over plain HTTP: what a body and its headers become, and what is answered for each record."""

import gzip
import json

import pytest

from realtime.models import Namespace, Record, Stream

from .core import api_key, head, stored
from .plainhttp import Door, refused

pytestmark = pytest.mark.django_db(transaction=True)

PUBLISH = "/api/streams/room/records"
NDJSON = {"Content-Type": "application/x-ndjson"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    Namespace.objects.all().delete()
    return Stream.objects.create(name="room")


# One record


def test_headers_in_several_lines_are_one_list(door: Door, key: dict[str, str]) -> None:
    twice = [(b"wirelog-tags", b"unit=C"), (b"wirelog-tags", b"place=roof")]
    assert door.open("POST", PUBLISH, key, twice).give(b"1").reply().status == 201
    assert json.loads(Record.objects.get().tags) == {"unit": "C", "place": "roof"}
    two_types = [(b"content-type", b"application/json"), (b"content-type", b"text/plain")]
    assert refused(door.open("POST", PUBLISH, key, two_types).give(b"1").reply()) == (400, 107, "Content-Type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", FORM, ""])
def test_the_body_is_the_data_as_it_was_sent(door: Door, room: Stream, key: dict[str, str], content_type: str) -> None:
    headers = key | ({"Content-Type": content_type} if content_type else {})
    reply = door.post(PUBLISH, b'{"cpu": 1.10,\n"a":"\xc3\xa9"}', headers)
    assert (reply.status, reply.headers["content-type"]) == (201, "application/json")
    assert reply.json() == {"offset": 1, "epoch": room.epoch}
    assert stored() == [(1, '{"cpu": 1.10,"a":"é"}')]


def test_headers_say_the_rest_of_a_record(door: Door, key: dict[str, str]) -> None:
    labels = {
        "Idempotency-Key": "first",
        "Wirelog-Key": "büro",
        "Wirelog-Tags": "unit=%C2%B0C, empty=, a%2Cb=c%3Dd",
        "Wirelog-Device-Time": "1700000000123",
        "Wirelog-Expect-Offset": "0",
    }
    assert (door.post(PUBLISH, b"1", key | labels)).status == 201
    record = Record.objects.get()
    assert (record.key, record.removed, record.device_time, record.idempotency_key) == ("büro", False, 1700000000123, "first")
    assert json.loads(record.tags) == {"unit": "°C", "empty": "", "a,b": "c=d"}
    assert record.publisher.startswith("key:")


TIMES = [
    ("0", 0),
    ("2023-11-14T22:13:20Z", 1_700_000_000_000),
    ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
    ("2023-11-14 22:13:20.1239Z", 1_700_000_000_123),
]


@pytest.mark.parametrize("text, time", TIMES)
def test_a_device_time_is_milliseconds_or_a_date_with_a_zone(door: Door, key: dict[str, str], text: str, time: int) -> None:
    door.post(PUBLISH, b"1", key | {"Wirelog-Device-Time": text})
    door.post(PUBLISH, json.dumps({"data": 1, "device_time": text}).encode(), key | NDJSON)
    assert list(Record.objects.values_list("device_time", flat=True)) == [time, time]


BAD_HEADERS = [
    ("Idempotency-Key", "x" * 201, "idempotency_key"),
    ("Wirelog-Key", "x" * 201, "key"),
    ("Wirelog-Key", "a\tb", "key"),
    ("Wirelog-Removed", "yes", "Wirelog-Removed"),
    ("Wirelog-Device-Time", "yesterday", "Wirelog-Device-Time"),
    ("Wirelog-Device-Time", "2026-11-25T10:00:00", "Wirelog-Device-Time"),
    ("Wirelog-Device-Time", "1969-12-31T00:00:00Z", "Wirelog-Device-Time"),
    ("Wirelog-Device-Time", "-5", "Wirelog-Device-Time"),
    ("Wirelog-Device-Time", "9" * 19, "Wirelog-Device-Time"),
    ("Wirelog-Device-Time", "٣", "Wirelog-Device-Time"),
    ("Wirelog-Tags", "a", "Wirelog-Tags"),
    ("Wirelog-Tags", "=a", "Wirelog-Tags"),
    ("Wirelog-Tags", "a=1,", "Wirelog-Tags"),
    ("Wirelog-Tags", "a=%ff", "Wirelog-Tags"),
    ("Wirelog-Tags", "a=1,%61=2", "Wirelog-Tags"),
    ("Wirelog-Tags", "a=%0d%0aSet-Cookie: x", "tags.a"),
    ("Wirelog-Tags", ",".join(f"t{number}=1" for number in range(33)), "tags"),
    ("Wirelog-Expect-Offset", "-1", "Wirelog-Expect-Offset"),
    ("Wirelog-Expect-Offset", "x", "Wirelog-Expect-Offset"),
    ("Wirelog-Expect-Offset", "1.5", "Wirelog-Expect-Offset"),
]


def test_a_header_that_makes_no_sense_is_refused_by_name(door: Door, key: dict[str, str]) -> None:
    for name, value, field in BAD_HEADERS:
        reply = door.post(PUBLISH, b"1", key | {name: value})
        assert refused(reply) == (400, 107, field), (name, value)
    assert stored() == []


BAD_JSON = [b"{", b"nan", b'"\xff"', b'"\\ud800"', b"[" * 65 + b"]" * 65, b"1 2", b"\x00", b"cpu=1"]


@pytest.mark.parametrize("content_type, status", [("application/json", 400), (FORM, 415)])
def test_what_is_not_json_is_refused(door: Door, key: dict[str, str], content_type: str, status: int) -> None:
    for body in BAD_JSON:
        reply = door.post(PUBLISH, body, key | {"Content-Type": content_type})
        assert (reply.status, reply.json()["code"]) == (status, 107), body
        assert "data" in reply.json()["detail"]
    assert stored() == []


@pytest.mark.parametrize("content_type", ["application/json", FORM, ""])
def test_a_body_that_is_not_there_is_missed_by_name(door: Door, key: dict[str, str], content_type: str) -> None:
    headers = key | ({"Content-Type": content_type} if content_type else {})
    assert refused(door.post(PUBLISH, b"", headers)) == (400, 107, "data")


def test_a_compressed_body_is_not_taken_for_what_it_holds(door: Door, key: dict[str, str]) -> None:
    squeezed = gzip.compress(b'{"cpu": 1}')
    for content_type in ("application/json", "image/png", "application/x-ndjson"):
        reply = door.post(PUBLISH, squeezed, key | {"Content-Type": content_type, "Content-Encoding": "gzip"})
        assert refused(reply) == (415, 107, "")
        assert reply.headers["accept-encoding"] == "identity"
    assert stored() == []
    assert door.post(PUBLISH, b"1", key | {"Content-Encoding": "identity"}).status == 201


def test_a_payload_over_the_limit_of_its_stream_is_refused(door: Door, key: dict[str, str]) -> None:
    reply = door.post(PUBLISH, b'"' + b"x" * 131_072 + b'"', key)
    assert refused(reply) == (413, 413, "")


def test_compare_and_set(door: Door, key: dict[str, str]) -> None:
    for expected, status in (("0", 201), ("0", 409), ("1", 201)):
        reply = door.post(PUBLISH, b"1", key | {"Wirelog-Expect-Offset": expected})
        assert reply.status == status
    assert head("room") == 2


def test_an_ephemeral_stream_tells_no_offset(door: Door, key: dict[str, str]) -> None:
    Stream.objects.update(durable=False)
    reply = door.post(PUBLISH, b"1", key)
    assert (reply.status, reply.json()) == (200, {})


def test_a_first_publish_creates_a_stream_of_a_namespace(door: Door, key: dict[str, str]) -> None:
    Namespace.objects.create(name="iot")
    assert (door.post("/api/streams/iot:boiler/records", b"1", key)).json()["offset"] == 1


# Repeats


def test_a_repeat_gets_the_offset_of_the_first(door: Door, room: Stream, key: dict[str, str]) -> None:
    first, repeat = [door.post(PUBLISH, b"1", key | {"Idempotency-Key": "k"}) for _ in range(2)]
    assert (first.status, repeat.status) == (201, 200)
    assert repeat.json() == {"offset": 1, "epoch": room.epoch, "duplicate": True}
    assert stored() == [(1, "1")]


def test_the_same_key_of_another_publisher_is_another_record(door: Door, key: dict[str, str]) -> None:
    other = {"X-API-Key": api_key("*", "publish")}
    for headers in (key, other):
        assert (door.post(PUBLISH, b"1", headers | {"Idempotency-Key": "k"})).status == 201


def test_a_used_key_with_another_payload_is_refused(door: Door, key: dict[str, str]) -> None:
    door.post(PUBLISH, b"1", key | {"Idempotency-Key": "k"})
    reply = door.post(PUBLISH, b"2", key | {"Idempotency-Key": "k"})
    assert refused(reply) == (400, 107, "idempotency_key")
    assert stored() == [(1, "1")]


# Tombstones


def test_a_tombstone_needs_no_body(door: Door, key: dict[str, str]) -> None:
    assert (door.post(PUBLISH, b"", key | {"Wirelog-Key": "k", "Wirelog-Removed": "true"})).status == 201
    door.post(PUBLISH, b'{"key":"l","removed":true}', key | NDJSON)
    assert list(Record.objects.values_list("key", "removed", "data")) == [("k", True, "null"), ("l", True, "null")]


def test_a_tombstone_without_a_key_ends_nothing_and_is_refused(door: Door, key: dict[str, str]) -> None:
    reply = door.post(PUBLISH, b"", key | {"Wirelog-Removed": "true"})
    assert refused(reply) == (400, 107, "removed")
    assert stored() == []


# Bytes


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "text/plain; charset=utf-8", "application/vnd.x+json", 'a/b;c="d e"', "x/" + "y" * 98]
)
def test_other_bytes_are_a_blob_with_their_type(door: Door, key: dict[str, str], content_type: str) -> None:
    assert (door.post(PUBLISH, b"\x00\xff\r\n", key | {"Content-Type": content_type})).status == 201
    record = Record.objects.select_related("stream").get()
    assert (bytes(record.blob or b""), record.content_type) == (b"\x00\xff\r\n", content_type)
    url = f"/api/streams/room/blobs/1?epoch={record.stream.epoch}"
    assert json.loads(record.data) == {"content_type": content_type, "size": 4, "url": url}


NO_TYPES = ["image", "image/", "/png", "a b/c", "a/b;", "a/b\x0bc", "a/é", 'a/b;c="\x01"', "a/b,c/d", "x/" + "y" * 99]


def test_a_type_that_is_none_is_refused(door: Door, key: dict[str, str]) -> None:
    for content_type in NO_TYPES:
        reply = door.post(PUBLISH, b"x", key | {"Content-Type": content_type})
        assert refused(reply) == (400, 107, "Content-Type"), content_type
    assert stored() == []


def test_an_ephemeral_stream_takes_no_bytes_since_nobody_could_read_them(door: Door, key: dict[str, str]) -> None:
    Stream.objects.update(durable=False)
    assert refused(door.post(PUBLISH, b"x", key | {"Content-Type": "image/png"})) == (400, 107, "data")


def test_a_form_with_parts_is_no_blob(door: Door, key: dict[str, str]) -> None:
    reply = door.post(PUBLISH, b"--x", key | {"Content-Type": "multipart/form-data; boundary=x"})
    assert refused(reply) == (415, 107, "")
    assert "send the bytes as the body" in reply.json()["detail"]
