"""The methods of `/api/<method>`, called as a key would, without a server."""

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from asgiref.testing import ApplicationCommunicator
from django.utils import timezone

from realtime import api, operations, routing
from realtime.access import ANONYMOUS, RIGHTS, Identity, Right, Scope
from realtime.api_requests import Publication
from realtime.audit import Actor
from realtime.engine import Engine
from realtime.errors import WirelogError
from realtime.history import history
from realtime.models import ApiKey, AuditEntry, Namespace, Record, ServerProcess, Stream
from realtime.protocol import HistoryRequest

from .core import Client, append, cookie, device, elsewhere, head, person
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

ALL = device("*", "read", "publish", "manage")


@pytest.fixture(autouse=True)
def streams(transactional_db: None) -> None:
    for name in ("room", "news", "secret"):
        Stream.objects.create(name=name)
    Stream.objects.create(name="quiet", presence=False)
    Stream.objects.create(name="cursors", durable=False)


class Refused(str):
    """The code of an error, and its sentence."""

    code: int


async def call(engine: Engine, method: str, /, who: Identity = ALL, **request: Any) -> Any:
    """The result of one call by `who`, or its error."""
    try:
        return json.loads(await api.run(engine, who, method, api.METHODS[method], json.dumps(request).encode()))
    except WirelogError as error:
        refused = Refused(error)
        refused.code = error.code
        return refused


async def refused(engine: Engine, method: str, /, who: Identity = ALL, **request: Any) -> tuple[int, str]:
    answer = await call(engine, method, who=who, **request)
    assert isinstance(answer, Refused), answer
    return answer.code, str(answer)


# Rights


def key_of(pattern: str, *actions: str) -> Identity:
    return Identity("key:cd", "key", scopes=(Scope(pattern, frozenset(actions)),))


# A request of each method that the right key may make.
REQUESTS = {name: method.example for name, method in api.METHODS.items()} | {
    "broadcast": {"channels": ["lobby"], "data": 1},
    "disconnect": {"user": "7"},
}
ACTIONS = {Right.READ: "read", Right.PUBLISH: "publish", Right.MANAGE: "manage", Right.EVERYTHING: "manage"}
NEEDS = {name: ACTIONS[RIGHTS[f"api {name}"]] for name in api.METHODS if RIGHTS[f"api {name}"] is not Right.ANYONE}
ON_STREAM = [name for name in NEEDS if RIGHTS[f"api {name}"] is not Right.EVERYTHING]
EVERYWHERE = [name for name in NEEDS if RIGHTS[f"api {name}"] is Right.EVERYTHING]


def code_of(answer: Any) -> int | None:
    """That of the error, also of the one response of a broadcast."""
    if isinstance(answer, Refused):
        return answer.code
    responses = answer.get("responses", [{}])
    return responses[0].get("error", {}).get("code") if responses else None


@pytest.mark.parametrize("method, action", NEEDS.items())
async def test_the_right_of_its_row_and_no_other_opens_a_method(engine: Engine, method: str, action: str) -> None:
    await elsewhere(Stream.objects.get_or_create, name="lobby")
    others = {"read", "publish", "manage"} - {action}
    assert code_of(await call(engine, method, who=key_of("*", *others), **REQUESTS[method])) in (102, 103)
    assert code_of(await call(engine, method, who=ANONYMOUS, **REQUESTS[method])) in (102, 103)
    assert code_of(await call(engine, method, who=key_of("*", action), **REQUESTS[method])) in (None, 108)


@pytest.mark.parametrize("method", EVERYWHERE)
async def test_what_concerns_everything_takes_a_key_for_everything(engine: Engine, method: str) -> None:
    expected = (103, "permission denied: you may not manage '*'")
    assert await refused(engine, method, who=key_of("lobby*", "manage"), **REQUESTS[method]) == expected


@pytest.mark.parametrize("method", ON_STREAM)
async def test_a_stream_that_is_hidden_looks_like_a_missing_one(engine: Engine, method: str) -> None:
    other = key_of("room", "read", "publish", "manage")
    answers = []
    for name in ("secret", "nowhere"):
        request = REQUESTS[method] | ({"channels": [name]} if method == "broadcast" else {"channel": name})
        answers.append(json.dumps(str(await call(engine, method, who=other, **request))).replace(name, "NAME"))
    assert answers[0] == answers[1]
    assert "unknown stream" in answers[0]


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
    await call(engine, "publish", channel="room", b64data=sent, content_type="image/png")
    records = [await elsewhere(Record.objects.get, offset=offset) for offset in (1, 2)]
    assert [bytes(record.blob or b"") for record in records] == [b"\x00\xff", b"\x00\xff"]
    assert [record.content_type for record in records] == ["application/octet-stream", "image/png"]
    assert json.loads(records[1].data) == {"content_type": "image/png", "size": 2, "url": "/api/streams/room/blobs/2"}


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
    slow = replace(ALL, publish_rate=1)
    publishes = [await call(engine, "publish", who=slow, channel="room", data=number) for number in range(4)]
    assert [answer["offset"] for answer in publishes] == [1, 2, 3, 4]
    assert (await refused(engine, "broadcast", who=slow, channels=["room", "news"], data=1))[0] == 111
    replies = (await call(engine, "batch", who=slow, commands=[{"publish": {"channel": "room", "data": 1}}] * 2))["replies"]
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 111]
    assert (await refused(engine, "rpc", who=slow, method="publish", params={"stream": "room", "data": 1}))[0] == 111


# batch


async def test_a_batch_answers_each_command_in_order_without_a_wrapper(engine: Engine) -> None:
    commands = [
        {"publish": {"channel": "room", "data": 1}},
        {"publish": {"channel": "nowhere", "data": 1}},
        {"publish": {"channel": "room", "data": 2}},
        {"history": {"channel": "room"}},
        {"publish": {"channel": "room", "data": 3}},
        {"presence_stats": {"channel": "quiet"}},
        {"history": {"channel": "room", "limit": 9}},
    ]
    replies = (await call(engine, "batch", commands=commands, parallel=True))["replies"]
    assert [replies[0]["publish"]["offset"], replies[2]["publish"]["offset"], replies[4]["publish"]["offset"]] == [1, 2, 3]
    assert [replies[1]["error"]["code"], replies[5]["error"]["code"]] == [102, 108]
    assert replies[3]["history"]["offset"] == 2
    assert [publication["data"] for publication in replies[6]["history"]["publications"]] == [1, 2, 3]


async def test_the_publishes_of_a_batch_share_a_transaction(engine: Engine) -> None:
    gate = asyncio.Event()
    before = engine.journal.batches
    loop = asyncio.get_running_loop()
    # The write thread is busy until all of them are queued.
    busy = asyncio.create_task(engine.journal.run(lambda: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10)))
    await asyncio.sleep(0)
    commands = [{"publish": {"channel": "room", "data": number}} for number in range(50)]
    calling = asyncio.create_task(call(engine, "batch", commands=commands))
    await eventually(lambda: engine.journal.waiting == 50)
    gate.set()
    await busy
    assert [reply["publish"]["offset"] for reply in (await calling)["replies"]] == list(range(1, 51))
    assert engine.journal.batches == before + 1


@pytest.mark.parametrize(
    "command, code, message",
    [
        (7, 107, "bad request: commands must each be an object with one method"),
        ({}, 107, "bad request: commands must each be an object with one method"),
        ({"info": {}, "channels": {}}, 107, "bad request: commands must each be an object with one method"),
        ({"nothing": {}}, 104, "unknown method 'nothing'"),
        ({'"': {}}, 104, "unknown method"),
        ({"batch": {"commands": []}}, 104, "unknown method 'batch'"),
        ({"publish": 7}, 107, "bad request: body must be `object`, got `int`"),
        ({"publish": {"data": 1}}, 107, "bad request: channel is missing"),
        ({"refresh": {"user": "1"}}, 108, "not available: "),
    ],
)
async def test_a_bad_command_of_a_batch_gets_its_own_error(engine: Engine, command: Any, code: int, message: str) -> None:
    publish = {"publish": {"channel": "room", "data": 1}}
    replies = (await call(engine, "batch", commands=[publish, command, publish]))["replies"]
    assert [replies[0]["publish"]["offset"], replies[2]["publish"]["offset"]] == [1, 2]
    assert replies[1]["error"]["code"] == code
    assert replies[1]["error"]["message"].startswith(message)


async def test_bytes_that_are_no_text_fail_their_command_alone(engine: Engine) -> None:
    wrong = (b'{"history":{"channel":"\xff"}}', b'{"publish":{"channel":"room","data":"\xff"}}')
    body = b'{"commands":[{"publish":{"channel":"room","data":1}},%b,%b]}' % wrong
    replies = json.loads(await api.run(engine, ALL, "batch", api.METHODS["batch"], body))["replies"]
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 107, 107]


async def test_a_batch_reads_no_more_than_fits_an_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_REPLIES", 2_000)
    await elsewhere(append, "room", *[f'"{"x" * 400}"'] * 4)
    replies = (await call(engine, "batch", commands=[{"history": {"channel": "room", "limit": 9}}] * 3))["replies"]
    assert [reply.get("error", {}).get("message") for reply in replies] == [
        None,
        None,
        "limit exceeded: at most 2000 bytes of replies to one batch",
    ]


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


# The door


async def post(path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    status, _, content = await ask(path, body, **headers)
    return status, json.loads(content)


async def ask(path: str, body: bytes, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "client": ("192.0.2.9", 4711),
        "headers": [(b"host", b"testserver"), *((name.encode(), value.encode()) for name, value in headers.items())],
    }
    client: Any = ApplicationCommunicator(routing.Application(None), scope)  # type: ignore[no-untyped-call]
    await client.send_input({"type": "http.request", "body": body})
    start = await client.receive_output()
    content = (await client.receive_output())["body"]
    await client.wait()
    return start["status"], dict(start["headers"]), content


@pytest.mark.parametrize(
    "path, body, status, code",
    [
        ("history", {"channel": "nowhere"}, 404, 102),
        ("publish", {"channel": "secret", "data": 1}, 404, 102),
        ("publish", {"channel": "news", "data": 1}, 403, 103),
        ("info", {}, 403, 103),
        ("rpc", {"method": "nothing"}, 404, 104),
        ("publish", {"channel": 7}, 400, 107),
        ("presence", {"channel": "quiet"}, 400, 108),
        ("history", {"channel": "room", "limit": 1, "since": {"epoch": "other"}}, 416, 112),
        ("publish", {"channel": "room", "data": 1, "expect_offset": 9}, 409, 113),
        ("publish", {"channel": "room", "data": "x" * 140_000}, 413, 413),
    ],
)
async def test_errors_are_told_in_the_body_or_as_the_client_wants_by_the_status(
    engine: Engine, path: str, body: Any, status: int, code: int
) -> None:
    actions = {"room": ["read", "publish"], "news": ["read"], "quiet": ["read"]}
    scopes = [{"pattern": pattern, "actions": allowed} for pattern, allowed in actions.items()]
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=scopes)
    sent = json.dumps(body).encode()
    told, answer = await post(f"/api/{path}", sent, **{"x-api-key": key})
    assert (told, answer["error"]["code"]) == (200, code)
    assert await post(f"/api/{path}", sent, **{"x-api-key": key, "x-centrifugo-error-mode": "transport"}) == (status, answer)


async def test_a_call_that_came_too_early_is_told_when_to_come_back(engine: Engine) -> None:
    scopes = [{"pattern": "room", "actions": ["publish"]}]
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=scopes, publish_rate=1)
    # More than a slow machine gives back before the next call.
    sent = json.dumps({"channels": ["room"] * 500, "data": 1}).encode()
    assert (await post("/api/broadcast", sent, **{"x-api-key": key}))[0] == 200
    status, headers, _ = await ask("/api/broadcast", sent, **{"x-api-key": key, "x-centrifugo-error-mode": "transport"})
    assert status == 429
    assert 400 < int(headers[b"retry-after"]) <= 500


async def test_a_deed_is_noted_with_the_address_that_it_came_from(engine: Engine) -> None:
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=[{"pattern": "*", "actions": ["manage"]}])
    for method, body in (
        ("disconnect", {"user": "7"}),
        ("unsubscribe", {"user": "7", "channel": "room"}),
        ("history_remove", {"channel": "room"}),
    ):
        assert (await post(f"/api/{method}", json.dumps(body).encode(), **{"x-api-key": key}))[1] == {"result": {}}
    noted = await elsewhere(lambda: dict(AuditEntry.objects.values_list("action", "address")))
    assert noted == dict.fromkeys(("connection.disconnect", "connection.unsubscribe", "stream.history_remove"), "192.0.2.9")


async def test_a_key_that_is_in_use_ends_when_it_is_revoked(engine: Engine) -> None:
    key, secret = await elsewhere(ApiKey.generate, name="key", scopes=[{"pattern": "room", "actions": ["publish"]}])
    body = json.dumps({"channel": "room", "data": 1}).encode()

    async def status() -> int:
        return (await post("/api/publish", body, **{"x-api-key": secret}))[0]

    assert [await status() for _ in range(3)] == [200, 200, 200]
    await elsewhere(operations.revoke, Actor("cli:test"), key)
    await eventually(lambda: ended(status()))


async def ended(status: Awaitable[int]) -> bool:
    return await status == 401
