"""The methods of `/api/<method>`, called as a key would, without a server."""

import base64
import json
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from realtime.api_requests import Publication
from realtime.engine import Engine
from realtime.history import history
from realtime.models import AuditEntry, Namespace, Record, ServerProcess, Stream
from realtime.protocol import HistoryRequest

from .api_calls import ALL, call, key_of, refused
from .core import Client, append, cookie, elsewhere, head, person
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def streams(transactional_db: None) -> None:
    for name in ("room", "news", "secret"):
        Stream.objects.create(name=name)
    Stream.objects.create(name="quiet", presence=False)
    Stream.objects.create(name="cursors", durable=False)


# publish


async def test_every_field_of_a_publish_is_stored(engine: Engine) -> None:
    fields: dict[str, Any] = {
        "tags": {"unit": "C"},
        "idempotency_key": "k1",
        "key": "t1",
        "removed": False,
        "device_time": 1_700_000_000_000,
    }
    result = await call(engine, "publish", channel="room", data={"t": 1}, **fields)
    assert result == {"offset": 1, "epoch": (await elsewhere(Stream.objects.get, name="room")).epoch}
    record = await elsewhere(Record.objects.get, stream__name="room")
    assert (record.data, record.tags, record.publisher, record.removed) == ('{"t": 1}', '{"unit":"C"}', "key:ab", False)
    assert (record.idempotency_key, record.key, record.device_time) == ("k1", "t1", 1_700_000_000_000)


async def test_a_tombstone_is_published_like_a_record(engine: Engine) -> None:
    await call(engine, "publish", channel="room", data=None, key="t1", removed=True)
    assert (await elsewhere(Record.objects.get, stream__name="room")).removed


async def test_a_tombstone_needs_no_data(engine: Engine) -> None:
    assert (await call(engine, "publish", channel="room", key="k", removed=True))["offset"] == 1
    told = await call(engine, "rpc", method="publish", params={"stream": "room", "key": "k", "removed": True})
    assert told["data"]["offset"] == 2
    assert await elsewhere(lambda: set(Record.objects.values_list("data", "removed"))) == {("null", True)}


@pytest.mark.parametrize(
    "method, request_, told",
    [
        ("publish", {"channel": "a b", "data": 1}, "channel must be a stream name: 1 to 128 of "),
        ("publish", {"channel": "room", "content_type": "png", "b64data": "AA=="}, "content_type must be a media type, such as image/png"),
        ("disconnect", {"user": "7", "disconnect": {"reason": "a\r\nb"}}, "disconnect.reason must be printable ASCII"),
    ],
)
async def test_a_text_that_does_not_fit_is_told_in_words(engine: Engine, method: str, request_: dict[str, Any], told: str) -> None:
    code, message = await refused(engine, method, **request_)
    assert code == 107
    assert message.startswith(f"bad request: {told}")


async def test_bytes_become_a_blob_with_their_type(engine: Engine) -> None:
    sent = base64.b64encode(b"\x00\xff").decode()
    await call(engine, "publish", channel="room", b64data=sent)
    second = await call(engine, "publish", channel="room", b64data=sent, content_type="image/png")
    records = [await elsewhere(Record.objects.get, offset=offset) for offset in (1, 2)]
    assert [bytes(record.blob or b"") for record in records] == [b"\x00\xff", b"\x00\xff"]
    assert [record.content_type for record in records] == ["application/octet-stream", "image/png"]
    url = f"/api/streams/room/blobs/2?epoch={second['epoch']}"
    assert json.loads(records[1].data) == {"content_type": "image/png", "size": 2, "url": url}


async def test_a_repeat_gets_the_position_of_the_first(engine: Engine) -> None:
    first = await call(engine, "publish", channel="room", data=1, idempotency_key="k")
    await call(engine, "publish", channel="room", data=2)
    assert await call(engine, "publish", channel="room", data=1, idempotency_key="k") == first
    assert await elsewhere(head, "room") == 2


async def test_a_publish_that_expects_another_head_is_a_conflict(engine: Engine) -> None:
    assert (await call(engine, "publish", channel="room", data=1, expect_offset=0))["offset"] == 1
    expected = (113, "conflict: the head of 'room' is 1, not 0")
    assert await refused(engine, "publish", channel="room", data=2, expect_offset=0) == expected
    assert await elsewhere(head, "room") == 1


async def test_an_ephemeral_stream_gives_no_position(engine: Engine) -> None:
    assert await call(engine, "publish", channel="cursors", data=1) == {}


async def test_the_first_publish_creates_a_stream_of_its_namespace(engine: Engine) -> None:
    await elsewhere(Namespace.objects.create, name="iot")
    assert (await call(engine, "publish", channel="iot:1", data=1))["offset"] == 1


@pytest.mark.parametrize(
    "fields, code, message",
    [
        ({}, 107, "bad request: data is missing"),
        ({"b64data": ""}, 107, "bad request: data is missing"),
        ({"data": 1, "b64data": "AA=="}, 107, "bad request: b64data and data are both there: give one of them"),
        ({"data": "\0"}, 107, "bad request: data contains a NUL character"),
        ({"data": 1, "skip_history": True}, 108, "not available: skip_history: "),
        ({"data": 1, "version": 1}, 108, "not available: version: "),
        ({"data": 1, "version_epoch": "e"}, 108, "not available: version: "),
        ({"data": 1, "key": "a\nb"}, 107, "bad request: key must be at most 200 printable characters"),
        ({"data": 1, "tags": {"a\r": "b"}}, 107, "bad request: tags must be at most 200 printable characters"),
        ({"data": "x" * 140_000}, 413, "payload too large: "),
    ],
)
async def test_what_cannot_be_published_is_told_and_changes_nothing(
    engine: Engine, fields: dict[str, Any], code: int, message: str
) -> None:
    answer = await refused(engine, "publish", channel="room", **fields)
    assert answer[0] == code
    assert answer[1].startswith(message)
    assert await elsewhere(head, "room") == 0


@pytest.mark.parametrize("fields", [{"delta": True}, {"skip_history": False}, {"version": 0}, {"new_in_a_later_version": 1}])
async def test_what_asks_for_nothing_is_accepted(engine: Engine, fields: dict[str, Any]) -> None:
    assert (await call(engine, "publish", channel="room", data=1, **fields))["offset"] == 1


# broadcast


async def test_a_broadcast_answers_each_channel_in_order(engine: Engine) -> None:
    result = await call(engine, "broadcast", channels=["room", "nowhere", "bad\nname", "news", "cursors"], data=1, idempotency_key="k")
    responses = result["responses"]
    assert [response["result"].get("offset") for response in (responses[0], responses[3], responses[4])] == [1, 1, None]
    assert [response["error"]["code"] for response in responses[1:3]] == [102, 102]
    assert await call(engine, "broadcast", channels=["news", "room"], data=1, idempotency_key="k") == {
        "responses": [responses[3], responses[0]]
    }


async def test_a_broadcast_with_a_bad_payload_stores_nothing(engine: Engine) -> None:
    assert await refused(engine, "broadcast", channels=["room"]) == (107, "bad request: data is missing")
    assert await elsewhere(head, "room") == 0


async def test_a_key_publishes_as_fast_as_it_may(engine: Engine) -> None:
    # No time passes: a slow machine would let more through.
    engine.rates.clock = lambda: 0.0
    slow = replace(ALL, publish_rate=1)
    publishes = [await call(engine, "publish", who=slow, channel="room", data=number) for number in range(4)]
    assert [answer["offset"] for answer in publishes] == [1, 2, 3, 4]
    assert (await refused(engine, "broadcast", who=slow, channels=["room", "news"], data=1))[0] == 111
    replies = (await call(engine, "batch", who=slow, commands=[{"publish": {"channel": "room", "data": 1}}] * 2))["replies"]
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 111]
    assert (await refused(engine, "rpc", who=slow, method="publish", params={"stream": "room", "data": 1}))[0] == 111


# history


async def test_history_without_a_limit_is_the_position(engine: Engine) -> None:
    await elsewhere(append, "room", "1", "2")
    result = await call(engine, "history", channel="room")
    assert (result["publications"], result["offset"], len(result["epoch"])) == ([], 2, 8)


@pytest.mark.parametrize(
    "asked, expected",
    [
        ({"limit": 2}, [1, 2]),
        ({"limit": -1}, [1, 2, 3, 4, 5]),
        ({"limit": 2, "reverse": True}, [5, 4]),
        ({"limit": 9, "since": {"offset": 3}}, [4, 5]),
        ({"limit": 9, "since": {"offset": 3}, "reverse": True}, [2, 1]),
        ({"limit": 9, "since": {"offset": 99}}, []),
        ({"limit": 10**30}, [1, 2, 3, 4, 5]),
    ],
)
async def test_history_gives_the_page_that_is_asked_for(engine: Engine, asked: dict[str, Any], expected: list[int]) -> None:
    await elsewhere(append, "room", *"12345")
    result = await call(engine, "history", channel="room", **asked)
    assert [publication["offset"] for publication in result["publications"]] == expected
    assert result["offset"] == 5


async def test_history_is_capped_by_a_page(engine: Engine, settings: Any) -> None:
    settings.WIRELOG = settings.WIRELOG | {"PAGE_RECORDS": 3}
    await elsewhere(append, "room", *"12345")
    assert len((await call(engine, "history", channel="room", limit=-1))["publications"]) == 3


async def test_a_position_of_another_epoch_cannot_be_continued(engine: Engine) -> None:
    code, message = await refused(engine, "history", channel="room", limit=1, since={"offset": 0, "epoch": "other"})
    assert (code, message) == (112, "unrecoverable position in 'room': read it again from the start")
    assert (await refused(engine, "history", channel="room", limit=1, since={"offset": 0}, reverse=True))[1].startswith(
        "bad request: since.offset"
    )


async def test_a_publication_of_history_is_as_the_document_says(engine: Engine) -> None:
    await call(engine, "publish", channel="room", data=1, tags={"a": "b"}, key="k", removed=True)
    result = await elsewhere(history, ALL, HistoryRequest("room", 9))
    assert set(msgspec.json.decode(bytes(result.publications[0]))) <= {field.name for field in msgspec.structs.fields(Publication)}


async def test_a_removed_history_leaves_the_position(engine: Engine) -> None:
    await elsewhere(append, "room", "1", "2", key="k")
    before = await call(engine, "history", channel="room")
    assert await call(engine, "history_remove", channel="room") == {}
    assert await call(engine, "history", channel="room", limit=9) == before
    assert await elsewhere(Record.objects.count) == 0
    assert (await call(engine, "publish", channel="room", data=3))["offset"] == 3
    entry = await elsewhere(AuditEntry.objects.get, action="stream.history_remove")
    assert (entry.actor, entry.subject, entry.detail) == ("key:ab", "room", {"upto": 2})


# presence, channels, info


async def test_presence_tells_who_is_subscribed(engine: Engine) -> None:
    await elsewhere(person, "ana")
    anna = await Client(engine, await elsewhere(cookie, "ana")).connect()
    for name in ("room", "quiet"):
        await anna.ask("subscribe", channel=name)
    present = (await call(engine, "presence", channel="room"))["presence"]
    assert {client: info["conn_info"] for client, info in present.items()} == {anna.session.client: {"name": "ana"}}
    assert await call(engine, "presence_stats", channel="room") == {"num_clients": 1, "num_users": 1}
    assert await call(engine, "presence", channel="news") == {"presence": {}}
    for method in ("presence", "presence_stats"):
        assert await refused(engine, method, channel="quiet") == (108, "not available: presence is off in 'quiet'")


async def test_channels_are_those_that_the_key_may_know_of(engine: Engine) -> None:
    await elsewhere(person, "ana")
    anna = await Client(engine, await elsewhere(cookie, "ana")).connect()
    await anna.ask("subscribe", channel="quiet")
    everything = (await call(engine, "channels"))["channels"]
    assert {name: info["num_clients"] for name, info in everything.items()} == {
        "cursors": 0,
        "news": 0,
        "quiet": 1,
        "room": 0,
        "secret": 0,
    } | dict.fromkeys(everything.keys() & {"lobby"}, 0)
    assert set((await call(engine, "channels", pattern="[nr]?*"))["channels"]) == {"news", "room"}
    for action, expected in (("read", {"room"}), ("manage", {"room"}), ("publish", set())):
        assert set((await call(engine, "channels", who=key_of("roo*", action)))["channels"]) == expected


async def test_too_many_channels_must_be_asked_for_by_a_pattern(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.api_methods.MAX_LISTED", 2)
    assert (await refused(engine, "channels"))[1] == "limit exceeded: at most 2 streams in one answer: ask for fewer by a pattern"
    assert set((await call(engine, "channels", pattern="news"))["channels"]) == {"news"}


async def test_info_tells_of_every_process(engine: Engine) -> None:
    long_ago = timezone.now() - timedelta(days=1)
    other = await elsewhere(ServerProcess.objects.create, pk=uuid.uuid4(), host="elsewhere", pid=7)
    await elsewhere(ServerProcess.objects.create, pk=uuid.uuid4(), host="gone", pid=8, heartbeat=long_ago)
    await elsewhere(person, "ana")
    anna = await Client(engine, await elsewhere(cookie, "ana")).connect()
    await anna.ask("subscribe", channel="room")
    nodes = {node["uid"]: node for node in (await call(engine, "info"))["nodes"]}
    assert set(nodes) == {str(other.pk), str(engine.presence.process_id)}
    assert nodes[str(other.pk)]["name"] == "elsewhere_7"
    this = nodes[str(engine.presence.process_id)]
    assert [this[name] for name in ("num_clients", "num_channels", "num_subs")] == [1, 1, 1]


# disconnect, unsubscribe


async def test_disconnect_closes_the_connections_of_one_user(engine: Engine) -> None:
    ids = {}
    for name in ("ana", "ben"):
        ids[name] = (await elsewhere(person, name)).principal
    ana, kept = [await Client(engine, await elsewhere(cookie, "ana")).connect() for _ in range(2)]
    ben = await Client(engine, await elsewhere(cookie, "ben")).connect()
    request: dict[str, Any] = {
        "user": ids["ana"],
        "whitelist": [kept.session.client],
        "disconnect": {"code": 4100, "reason": "new version"},
    }
    assert await call(engine, "disconnect", **request) == {}
    await eventually(lambda: ana.closing == 4100)
    assert (kept.closing, ben.closing) == (None, None)
    assert await call(engine, "disconnect", user=ids["ben"]) == {}
    await eventually(lambda: ben.closing == 3503)
    entry = await elsewhere(AuditEntry.objects.get, action="connection.disconnect", subject=ids["ana"])
    assert (entry.actor, entry.detail["reason"]) == ("key:ab", "new version")


async def test_unsubscribe_ends_the_subscriptions_of_one_user(engine: Engine) -> None:
    principal = (await elsewhere(person, "ana")).principal
    ana = await Client(engine, await elsewhere(cookie, "ana")).connect()
    for name in ("room", "news"):
        await ana.ask("subscribe", channel=name)
    assert await call(engine, "unsubscribe", user=principal, channel="room") == {}
    await eventually(lambda: ana.pushes("unsubscribe"))
    assert [unsubscribe["code"] for unsubscribe in ana.pushes("unsubscribe")] == [2000]
    assert list(ana.session.subscriptions) == ["news"]
    entry = await elsewhere(AuditEntry.objects.get, action="connection.unsubscribe")
    assert (entry.actor, entry.subject, entry.detail["stream"]) == ("key:ab", principal, "room")


# rpc


async def test_rpc_runs_as_the_key(engine: Engine) -> None:
    published = await call(engine, "rpc", method="publish", params={"stream": "room", "data": 1})
    assert published["data"]["offset"] == 1
    listed = await call(engine, "rpc", who=key_of("news", "read"), method="streams")
    assert [stream["name"] for stream in listed["data"]["streams"]] == ["news"]
    assert (await refused(engine, "rpc", method="nothing"))[0] == 104
    assert (await refused(engine, "rpc", method="publish", params={"stream": "room"}))[1] == "bad request: data is missing"
