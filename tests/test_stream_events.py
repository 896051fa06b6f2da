"""Server-sent events: a cursor that a browser resumes by itself."""

import json
import re
from typing import Any

import pytest

from realtime import latest, stream_events
from realtime.models import ApiKey, Audience, Delivery, Record, Stream

from .core import api_key, append
from .plainhttp import Door, Exchange
from .waiting import SECONDS, eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = "/api/streams/room/events"
EVENT = re.compile(r"id: (?P<epoch>\w+):(?P<offset>\d+)\ndata: (?P<data>.*)\n\n")


@pytest.fixture(autouse=True)
def room(transactional_db: None) -> Stream:
    return Stream.objects.create(name="room", readers=Audience.ANYONE)


def publish(door: Door, key: dict[str, str], data: str) -> None:
    assert door.post("/api/streams/room/records", data.encode(), key).status == 201


def follow(door: Door, query: str = "", **headers: str) -> Exchange:
    """An answer that has begun."""
    exchange = door.open("GET", EVENTS + query, {name.replace("_", "-"): value for name, value in headers.items()}).give(b"")
    exchange.holds("retry: ")
    return exchange


def received(exchange: Exchange) -> list[tuple[int, Any]]:
    found = [(int(event["offset"]), json.loads(event["data"])) for event in EVENT.finditer(exchange.body.decode())]
    assert [offset for offset, _ in found] == [record["offset"] for _, record in found]
    return [(offset, record["data"]) for offset, record in found]


def waiters(door: Door) -> int:
    return sum(len(feed.waiters) for feed in list(door.engine.hub.feeds.values()))


def leave(exchange: Exchange) -> None:
    exchange.leave()
    exchange.done.result(SECONDS)


def test_what_is_published_from_now_on_is_an_event(door: Door, room: Stream, key: dict[str, str]) -> None:
    append("room", "0")
    exchange = follow(door)
    publish(door, key, '{"a":1.10}')
    exchange.holds(f"id: {room.epoch}:2\ndata: ")
    assert received(exchange) == [(2, {"a": 1.1})]
    assert '"data":{"a":1.10},' in exchange.body.decode()
    headers = dict(exchange.sent[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    leave(exchange)
    assert waiters(door) == 0


def test_it_begins_with_a_position_to_come_back_with_and_a_time_that_differs(door: Door, room: Stream) -> None:
    append("room", "0")
    times = set()
    for _ in range(5):
        exchange = follow(door)
        begun = re.match(rb"retry: (\d+)\nid: (\w+):(\d+)\n\n", exchange.body)
        assert begun is not None
        assert (begun[2].decode(), begun[3]) == (room.epoch, b"1")
        times.add(int(begun[1]))
        leave(exchange)
    assert len(times) > 1
    assert all(300 <= time <= 1500 for time in times)


def test_it_goes_on_after_the_last_event(door: Door, room: Stream) -> None:
    append("room", *map(str, range(5)))
    for exchange in (
        follow(door, "?after=3"),
        follow(door, Last_Event_ID=f"{room.epoch}:3"),
        follow(door, "?after=0", Last_Event_ID=f"{room.epoch}:3"),
    ):
        exchange.holds(f"id: {room.epoch}:5\n")
        assert received(exchange) == [(4, 3), (5, 4)]
        leave(exchange)


def test_a_reader_far_behind_gets_all_in_order_while_more_comes(door: Door, key: dict[str, str], room: Stream) -> None:
    append("room", *map(str, range(1000)))
    exchange = follow(door, "?after=0")
    for number in range(1000, 1010):
        publish(door, key, str(number))
    exchange.holds(f"id: {room.epoch}:1010\n")
    assert received(exchange) == [(number + 1, number) for number in range(1010)]
    leave(exchange)


def test_an_id_that_is_none_of_ours_is_refused(door: Door, room: Stream) -> None:
    append("room", "1")
    for wrong in ("7", "x", f"{room.epoch}:", f"{room.epoch}:x", ":1", f"{room.epoch}:{'9' * 19}", f"{room.epoch}:٣"):
        reply = door.get(EVENTS, {"Last-Event-ID": wrong})
        assert (reply.status, reply.json()["code"], reply.json()["field"]) == (400, 107, "Last-Event-ID"), wrong
    for gone in ("otherone:1", f"{room.epoch}:2"):
        assert door.get(EVENTS, {"Last-Event-ID": gone}).json()["code"] == 112, gone


def test_what_was_pruned_is_told_before_it_goes_on(door: Door, room: Stream) -> None:
    append("room", *map(str, range(5)))
    Record.objects.filter(offset__lt=4).delete()
    Stream.objects.update(tail=4)
    exchange = follow(door, "?after=1")
    exchange.holds(f"id: {room.epoch}:5\n")
    assert f'id: {room.epoch}:3\nevent: gap\ndata: {{"next":4}}\n\n' in exchange.body.decode()
    assert received(exchange) == [(4, 3), (5, 4)]
    leave(exchange)


def test_what_is_pruned_before_it_was_read_is_told(door: Door, room: Stream) -> None:
    """The row of the stream says that they are kept, when the answer begins; the page that should hold them does not."""
    append("room", *map(str, range(5)))
    Record.objects.filter(offset__lt=4).delete()
    held = door.open("GET", f"{EVENTS}?after=0").give(b"")
    held.holds("event: gap")
    Stream.objects.update(tail=4)
    held.holds(f"id: {room.epoch}:5\n")
    assert received(held) == [(4, 3), (5, 4)]
    leave(held)


def test_of_a_stream_of_newest_values_the_newest_are_told(door: Door, room: Stream) -> None:
    Stream.objects.update(delivery=Delivery.NEWEST)
    for key in ("a", "b", "a", "a"):
        append("room", "1", key=key)
    exchange = follow(door, "?after=0")
    exchange.holds(f"id: {room.epoch}:4\n")
    assert [offset for offset, _ in received(exchange)] == [2, 4]
    leave(exchange)


def test_it_goes_on_where_none_of_the_newest_is_looked_for(
    door: Door, room: Stream, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a reader who lags in a stream of very many keys."""
    monkeypatch.setattr(latest, "MAX_WALK", 1)
    Stream.objects.update(delivery=Delivery.NEWEST)
    for name in ("a", "b", "b"):
        append("room", "1", key=name)
    exchange = follow(door, "?after=1")
    publish(door, key, "4")
    exchange.holds(f"id: {room.epoch}:4\n")
    assert received(exchange) == [(4, 4)]
    leave(exchange)


def test_an_ephemeral_stream_cannot_be_resumed_and_says_so(door: Door) -> None:
    Stream.objects.update(durable=False)
    assert door.get(EVENTS).json()["code"] == 108


def test_it_counts_as_a_connection_while_it_lasts(door: Door, room: Stream) -> None:
    key = {"X_API_Key": api_key("*", "read", max_connections=1)}
    named = {"X-API-Key": key["X_API_Key"]}
    first = follow(door, **key)
    for path in (EVENTS, "/api/streams/room/records?wait=1"):
        refused = door.get(path, named)
        assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (429, 106, "60"), path
    assert door.get("/api/streams/room/records", named).status == 200
    leave(first)
    leave(follow(door, **key))


def test_a_process_holds_so_many_whoever_they_are(room: Stream, settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "CONNECTIONS": 2}
    with Door().opened() as door:
        first, second = follow(door), follow(door)
        refused = door.get(EVENTS)
        assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (429, 106, "60")
        assert door.get("/api/streams/room/records").status == 200
        leave(first)
        leave(follow(door))
        leave(second)


def test_of_many_at_once_no_more_are_let_in_than_may(door: Door) -> None:
    named = {"X-API-Key": api_key("*", "read", max_connections=2)}
    crowd = [door.open("GET", EVENTS, named).give(b"") for _ in range(20)]
    eventually_sync(lambda: all(exchange.sent for exchange in crowd))
    let_in = [exchange for exchange in crowd if exchange.sent[0]["status"] == 200]
    assert len(let_in) == 2
    assert {exchange.reply().status for exchange in crowd if exchange not in let_in} == {429}
    for exchange in let_in:
        leave(exchange)


# The end


def test_an_answer_ends_after_so_many_bytes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_events, "MAX_BYTES", 20_000)
    append("room", *[f'"{"x" * 1000}"'] * 1000)
    exchange = follow(door, "?after=0")
    reply = exchange.reply()
    assert 20_000 <= len(reply.body) < 600_000
    offsets = [offset for offset, _ in received(exchange)]
    assert offsets == list(range(1, len(offsets) + 1))


def test_an_answer_ends_after_a_while(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_events, "MAX_SECONDS", 0.05)
    follow(door).reply()
    assert waiters(door) == 0


def test_an_idle_answer_shows_that_it_lives(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_events, "HEARTBEAT_SECONDS", 0.01)
    exchange = follow(door)
    exchange.holds(":\n\n:\n\n")
    leave(exchange)


def test_a_drain_ends_it_so_that_the_browser_comes_back(door: Door) -> None:
    exchange = follow(door)
    door.run(door.engine.drain(1))
    exchange.reply()


@pytest.mark.parametrize("change", [{"epoch": "newepoch"}, {"name": "gone"}])
def test_a_stream_that_is_no_longer_what_it_was_ends_it(door: Door, change: dict[str, str]) -> None:
    exchange = follow(door)
    if "epoch" in change:
        Stream.objects.update(**change)
    else:
        Stream.objects.all().delete()
    exchange.reply()


def test_nothing_is_sent_to_whom_access_was_taken(door: Door, key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_events, "ACCESS_SECONDS", 0)
    exchange = follow(door)
    Stream.objects.update(readers=Audience.USERS)
    publish(door, key, '"secret"')
    exchange.reply()
    assert b"secret" not in exchange.body


def test_a_key_that_is_revoked_ends_it(door: Door, key: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_events, "ACCESS_SECONDS", 0)
    Stream.objects.update(readers=Audience.USERS)
    exchange = follow(door, X_API_Key=key["X-API-Key"])
    ApiKey.objects.update(revoked="2026-01-01T00:00Z")
    append("room", '"secret"')
    eventually_sync(exchange.done.done)
    assert b"secret" not in exchange.body
