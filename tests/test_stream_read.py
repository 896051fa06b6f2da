"""Reading over plain HTTP: pages, the newest of each key, blobs, and waiting for what comes next."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from realtime.models import Audience, Record, Stream
from realtime.retention import prune_once

from .core import api_key, append, cookie, person
from .plainhttp import Door, Reply, refused
from .waiting import SECONDS, eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)

RECORDS = "/api/streams/room/records"
LATEST = "/api/streams/room/latest"
BLOB = "/api/streams/room/blobs/1"


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    return Stream.objects.create(name="room", readers=Audience.ANYONE)


def offsets(reply: Reply) -> list[int]:
    assert reply.status == 200, reply
    return [record["offset"] for record in reply.json()["records"]]


def prune(room: Stream, tail: int) -> None:
    Record.objects.filter(stream=room, offset__lt=tail).delete()
    Stream.objects.update(tail=tail)


# Who


PATHS = ["records", "latest", "download", "events", "blobs/1"]


@pytest.mark.parametrize("path", PATHS)
def test_who_may_read_is_the_same_everywhere(door: Door, path: str) -> None:
    append("room", "", blob=b"x", content_type="a/b")
    path = f"/api/streams/room/{path}"
    person("alice")
    alice = {"Cookie": f"sessionid={cookie('alice')}"}
    foreign = {"Origin": "http://evil.example"}
    reader = {"X-API-Key": api_key("room", "read")}
    writer = {"X-API-Key": api_key("room", "publish")}

    def status(headers: dict[str, str]) -> int:
        return door.ask("HEAD", path, headers=headers).status

    assert [status(headers) for headers in ({}, alice, reader, foreign, writer)] == [200, 200, 200, 403, 404]
    Stream.objects.update(readers=Audience.USERS)
    assert [status(headers) for headers in ({}, alice, reader, alice | foreign)] == [401, 200, 200, 403]
    Stream.objects.update(readers=Audience.MEMBERS)
    assert [status(headers) for headers in ({}, alice, reader)] == [401, 404, 200]
    missing = path.replace("room", "nowhere")
    assert [door.get(missing, headers).status for headers in ({}, alice, reader)] == [401, 404, 404]


# Pages


def test_records_are_told_as_they_are_everywhere(door: Door, room: Stream) -> None:
    append("room", "1.10", publisher="7", key="k", tags={"a": "é"}, device_time=5)
    received = Record.objects.get().received
    reply = door.get(RECORDS)
    record = f'{{"data":1.10,"offset":1,"time":{received},"info":{{"user":"7","client":""}},"tags":{{"a":"é"}},"key":"k","device_time":5}}'
    assert reply.body.decode() == f'{{"records":[{record}],"epoch":"{room.epoch}","head":1,"tail":1,"next":1}}'


def test_pages_go_forward_by_their_cursor(door: Door) -> None:
    append("room", *map(str, range(5)))
    seen: list[list[int]] = []
    after = 0
    for _ in range(4):
        reply = door.get(f"{RECORDS}?limit=2&after={after}")
        seen.append(offsets(reply))
        after = reply.json()["next"]
    assert (seen, after) == ([[1, 2], [3, 4], [5], []], 5)


def test_pages_go_back_from_the_head(door: Door, room: Stream) -> None:
    append("room", *map(str, range(5)))
    prune(room, 2)
    first = door.get(f"{RECORDS}?newest=1&limit=2")
    assert (offsets(first), first.json()["next"]) == ([5, 4], 4)
    second = door.get(f"{RECORDS}?before=4&limit=2")
    assert (offsets(second), "next" in second.json()) == ([3, 2], False)
    assert offsets(door.get(f"{RECORDS}?before=2")) == []
    assert offsets(door.get(f"{RECORDS}?before=99&limit=1")) == [5]


def test_what_is_no_longer_kept_is_told(door: Door, room: Stream) -> None:
    append("room", *map(str, range(5)))
    prune(room, 4)
    for query, gap in (("", True), ("?after=1", True), ("?after=3", False), ("?after=4", False)):
        said = door.get(RECORDS + query).json()
        assert (said.get("gap", False), said["tail"]) == (gap, 4), query
        assert said["records"][-1]["offset"] == said["next"] == 5
    prune(room, 6)
    said = door.get(f"{RECORDS}?after=2").json()
    assert (said["records"], said["gap"], said["next"]) == ([], True, 5)


def test_what_is_pruned_while_it_is_read_is_told(door: Door, room: Stream) -> None:
    """The row of the stream says 1, the records begin with 3."""
    append("room", *map(str, range(5)))
    Record.objects.filter(offset__lt=3).delete()
    said = door.get(RECORDS).json()
    assert (said["gap"], said["records"][0]["offset"]) == (True, 3)


def test_a_position_that_never_was_is_refused(door: Door, room: Stream) -> None:
    append("room", "1")
    for path in (RECORDS, "/api/streams/room/events", "/api/streams/room/download"):
        assert refused(door.get(f"{path}?after=2")) == (409, 112, ""), path
        assert refused(door.get(f"{path}?after=1&epoch=other")) == (409, 112, ""), path
        assert door.ask("HEAD", f"{path}?after=1&epoch={room.epoch}").status == 200


BAD = [
    ("records?after=-1", "after"),
    ("records?after=x", "after"),
    ("records?after=1.5", "after"),
    ("records?after=9223372036854775808", "after"),
    ("records?before=-1", "before"),
    ("records?limit=-1", "limit"),
    ("records?limit=301", "limit"),
    ("records?wait=31", "wait"),
    ("records?wait=-1", "wait"),
    ("records?wait=1&newest=1", "wait"),
    ("records?after=1&before=1", "after"),
    ("records?newest=2", "newest"),
    ("records?offset=1", "offset"),
    ("latest?limit=0", "limit"),
    ("latest?limit=1001", "limit"),
    ("latest?key=a", "key"),
    ("download?format=xml", "format"),
    ("download?after=x", "after"),
    ("events?after=-1", "after"),
    ("blobs/1?x=1", "x"),
]


def test_a_query_that_makes_no_sense_is_refused_by_name(door: Door) -> None:
    append("room", "1")
    for query, field in BAD:
        assert refused(door.get(f"/api/streams/room/{query}")) == (400, 107, field), query


def test_a_large_record_makes_a_page_short(door: Door, settings: Any) -> None:
    settings.WIRELOG = settings.WIRELOG | {"PAGE_BYTES": 100}
    append("room", *[f'"{"x" * 60}"'] * 3)
    assert offsets(door.get(RECORDS)) == [1]


# Waiting


def waiting(door: Door) -> int:
    """How many wait for records."""
    return sum(len(feed.waiters) for feed in list(door.engine.hub.feeds.values()))


def test_a_long_poll_ends_with_the_first_record_after_it(door: Door) -> None:
    append("room", "1")
    exchange = door.open("GET", f"{RECORDS}?after=1&wait=30").give(b"")
    eventually_sync(lambda: waiting(door) == 1)
    door.post(RECORDS, b"2", {"X-API-Key": api_key("*", "publish")})
    assert offsets(exchange.reply()) == [2]
    assert waiting(door) == 0


def test_a_long_poll_does_not_wait_for_what_is_there(door: Door) -> None:
    append("room", "1")
    assert offsets(door.get(f"{RECORDS}?wait=30")) == [1]


def test_a_long_poll_ends_empty_when_its_time_is_over(door: Door, room: Stream) -> None:
    reply = door.get(f"{RECORDS}?wait=1")
    assert reply.json() == {"records": [], "epoch": room.epoch, "head": 0, "tail": 1, "next": 0}


def test_a_client_that_leaves_a_long_poll_leaves_nothing_behind(door: Door) -> None:
    exchange = door.open("GET", f"{RECORDS}?wait=30").give(b"")
    eventually_sync(lambda: waiting(door) == 1)
    exchange.leave()
    exchange.done.result(SECONDS)
    assert (waiting(door), exchange.sent) == (0, [])


def test_a_drain_ends_a_long_poll(door: Door) -> None:
    exchange = door.open("GET", f"{RECORDS}?wait=30").give(b"")
    eventually_sync(lambda: waiting(door) == 1)
    door.run(door.engine.drain(1))
    assert offsets(exchange.reply()) == []
    assert offsets(door.get(f"{RECORDS}?wait=30")) == []


def test_access_that_ends_while_one_waits_is_told(door: Door, room: Stream) -> None:
    exchange = door.open("GET", f"{RECORDS}?wait=30").give(b"")
    eventually_sync(lambda: waiting(door) == 1)
    Stream.objects.update(readers=Audience.USERS)
    door.post(RECORDS, b"2", {"X-API-Key": api_key("*", "publish")})
    assert exchange.reply().status == 401


def test_nobody_waits_for_what_is_never_stored(door: Door) -> None:
    Stream.objects.update(durable=False)
    assert refused(door.get(f"{RECORDS}?wait=1")) == (400, 108, "")
    assert offsets(door.get(RECORDS)) == []


# Latest


def keys(reply: Reply) -> list[str]:
    assert reply.status == 200
    return [record["key"] for record in reply.json()["records"]]


def test_latest_tells_the_newest_of_each_key_that_has_not_ended(door: Door, room: Stream) -> None:
    for key in ("b", "a", "b", "gone"):
        append("room", "1", key=key)
    append("room", "null", key="gone", removed=True)
    reply = door.get(LATEST)
    assert [(record["key"], record["offset"]) for record in reply.json()["records"]] == [("a", 2), ("b", 3)]
    assert (reply.json()["head"], reply.json()["epoch"], "next" in reply.json()) == (5, room.epoch, False)
    assert len(door.get(RECORDS).json()["records"]) == 5


def test_latest_of_some_keys_by_pages(door: Door) -> None:
    for key in ("a1", "a2", "a3", "b"):
        append("room", "1", key=key)
    assert keys(door.get(f"{LATEST}?keys=b,a1,none")) == ["a1", "b"]
    assert keys(door.get(f"{LATEST}?prefix=a")) == ["a1", "a2", "a3"]
    page = door.get(f"{LATEST}?limit=2")
    assert (keys(page), page.json()["next"]) == (["a1", "a2"], "a2")
    assert keys(door.get(f"{LATEST}?limit=2&after=a2")) == ["a3", "b"]


def test_latest_is_not_sent_again_while_nothing_has_changed(door: Door, room: Stream) -> None:
    append("room", "1", key="a")
    reply = door.get(LATEST)
    tag = reply.headers["etag"]
    assert reply.headers["cache-control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = door.get(LATEST, {"If-None-Match": known})
        assert (again.status, again.body, again.headers["etag"], "content-length" in again.headers) == (304, b"", tag, False)
    append("room", "2", key="a")
    changed = door.get(LATEST, {"If-None-Match": tag})
    assert changed.status == 200
    prune(room, 2)
    assert door.get(LATEST, {"If-None-Match": changed.headers["etag"]}).status == 200


def test_latest_has_changed_when_a_record_that_had_stayed_for_its_key_is_gone(door: Door, room: Stream) -> None:
    for key in "ab":
        append("room", "1", key=key)
    Stream.objects.update(keep_latest=True, keep_records=1)
    assert prune_once()
    reply = door.get(LATEST)
    assert keys(reply) == ["a", "b"]
    Stream.objects.update(keep_latest=False)
    assert prune_once()
    assert keys(door.get(LATEST, {"If-None-Match": reply.headers["etag"]})) == ["b"]


def test_who_may_no_longer_read_is_not_told_that_nothing_changed(door: Door) -> None:
    tag = door.get(LATEST).headers["etag"]
    Stream.objects.update(readers=Audience.USERS)
    assert door.get(LATEST, {"If-None-Match": tag}).status == 401


# Blobs


@pytest.mark.parametrize(
    "content_type, disposition",
    [
        ("image/jpeg", "inline"),
        ("Image/PNG; a=b", "inline"),
        ("image/svg+xml", "attachment"),
        ("IMAGE/SVG+XML", "attachment"),
        ("text/html", "attachment"),
        ("application/octet-stream", "attachment"),
    ],
)
def test_bytes_are_shown_or_saved_and_run_nothing(door: Door, content_type: str, disposition: str) -> None:
    append("room", "", blob=b"\x00<script>", content_type=content_type)
    reply = door.get(BLOB)
    assert (reply.status, reply.body) == (200, b"\x00<script>")
    assert (reply.headers["content-type"], reply.headers["content-disposition"]) == (content_type, disposition)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]


def test_bytes_are_kept_by_the_cache_of_their_reader_alone(door: Door) -> None:
    append("room", "", blob=b"x", content_type="image/jpeg")
    reply = door.get(BLOB)
    assert reply.headers["cache-control"] == "private, max-age=86400, immutable"
    assert {"Cookie", "Authorization", "X-API-Key"} == set(reply.headers["vary"].split(", "))
    known = {"If-None-Match": reply.headers["etag"]}
    assert (door.get(BLOB, known).status, door.get(BLOB, known).body) == (304, b"")
    Stream.objects.update(readers=Audience.USERS)
    assert door.get(BLOB, known).status == 401


def test_the_url_of_a_blob_leads_to_it(door: Door) -> None:
    alice = person("alice")
    stream = Stream.objects.create(name=f"#{alice.user_id}")
    append(stream.name, "", blob=b"", content_type="a/b")
    url = json.loads(Record.objects.get().data)["url"]
    asks = {"Cookie": f"sessionid={cookie('alice')}"}
    # A restore gives the stream another epoch, and the records that it brings back stay where they were.
    for epoch in (stream.epoch, "restored"):
        Stream.objects.filter(pk=stream.pk).update(epoch=epoch)
        reply = door.get(url, asks)
        assert (reply.status, reply.body) == (200, b"")
    assert door.get(url.partition("?")[0], asks).status == 200


def test_the_url_of_a_blob_leads_to_no_other_that_has_come_in_its_place(door: Door, room: Stream) -> None:
    append("room", "", blob=b"lost", content_type="a/b")
    url = json.loads(Record.objects.get().data)["url"]
    Record.objects.all().delete()
    Stream.objects.update(epoch="restored", head=0)
    append("room", "", blob=b"another", content_type="a/b")
    assert json.loads(Record.objects.get().data)["url"] != url
    assert refused(door.get(url)) == (404, 102, "")


def test_there_are_no_bytes_where_there_are_none(door: Door) -> None:
    append("room", "1")
    append("room", "", blob=b"x", content_type="a/b")
    for rest in ("0", "1", "3", "x", "-2", "2/", "٢", "9" * 30, "2%00"):
        reply = door.get(f"/api/streams/room/blobs/{rest}")
        assert refused(reply) == (404, 102, ""), rest
        assert repr(unquote(rest)) in reply.json()["detail"]
    Record.objects.filter(offset=2).update(blob=None)
    assert refused(door.get("/api/streams/room/blobs/2"))[0] == 404
