"""One connection without a socket: connect, the rules of the protocol, publish. Subscriptions are in test_session_subscribe.py."""

import asyncio
import threading
import uuid
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from django.db import OperationalError

from project.users.models import Session as SessionRow
from realtime import access, credentials
from realtime.engine import Engine
from realtime.errors import SLOW, STALE
from realtime.group_read import GroupRead
from realtime.models import Audience, Membership, Record, Stream
from realtime.presence import Member
from realtime.reads import THREADS

from .core import Client, api_key, append, busy, cookie, elsewhere, head, person, running
from .frames import taken
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """`room` is for everybody signed in, who are alice and bob; `hidden` for its members, `news` read by anyone."""
    Stream.objects.create(name="room")
    Stream.objects.create(name="hidden", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    Stream.objects.create(name="news", readers=Audience.ANYONE, writers=Audience.MEMBERS)
    Stream.objects.create(name="cursors", durable=False)
    append("room", "1", "2", "3")
    for name in ("alice", "bob"):
        person(name)
    return {name: cookie(name) for name in ("alice", "bob")}


# connect


async def test_connect_tells_who_one_is(engine: Engine, cookies: dict[str, str]) -> None:
    client = Client(engine, cookies["alice"])
    result = await client.ask("connect", name="js", version="5", data={"x": 1}, subs={}, flag=1)
    assert uuid.UUID(result.pop("client")) == uuid.UUID(client.session.client)
    user = client.session.identity.principal if client.session.identity else ""
    assert result.pop("version")
    assert result == {"ping": 25, "pong": True, "data": {"user": user, "name": "alice"}}
    assert int(user) > 0


async def test_a_key_connects_as_itself_and_goes_before_the_cookie(engine: Engine, cookies: dict[str, str]) -> None:
    secret = await elsewhere(api_key, "*", "read")
    for session_key, origin in ((cookies["alice"], True), ("", False)):
        client = Client(engine, session_key, secret, origin)
        assert (await client.ask("connect", token=secret))["data"] == {"user": f"key:{secret.split('_')[1]}", "name": "sensor"}


@pytest.mark.parametrize("token", ["x", "wl_00000000_x", "ey.ey.x"])
async def test_a_wrong_token_ends_it_for_good_even_beside_a_good_cookie(engine: Engine, cookies: dict[str, str], token: str) -> None:
    client = Client(engine, cookies["alice"])
    await client.frame(client.command("connect", token=token))
    assert (client.closing, client.drain()) == (3500, [])


@pytest.mark.parametrize("origin, public, closing", [(True, True, None), (True, False, 3501), (False, True, 3501)])
async def test_without_a_credential_one_is_anonymous_where_there_is_something_to_read(
    engine: Engine, origin: bool, public: bool, closing: int | None
) -> None:
    if not public:
        await elsewhere(Stream.objects.update, readers=Audience.USERS)
    client = Client(engine, origin=origin)
    await client.frame(client.command("connect"))
    assert client.closing == closing
    if closing is None:
        assert (await client.reply(1))["connect"]["data"] == {"user": "", "name": "anonymous"}


async def test_a_session_that_has_ended_is_anonymous(engine: Engine, cookies: dict[str, str]) -> None:
    await elsewhere(SessionRow.objects.all().delete)
    client = Client(engine, cookies["alice"])
    assert (await client.ask("connect"))["data"]["user"] == ""


async def test_after_an_error_to_connect_nothing_more_is_heard(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(key: str) -> None:
        raise OperationalError

    monkeypatch.setattr(credentials, "identities_of_sessions", fail)
    client = Client(engine, cookies["alice"])
    # What some clients send with it must not end them for good.
    await client.frame(client.command("connect"), client.command("subscribe", channel="room"))
    assert [(reply["id"], reply["error"]["code"]) for reply in client.drain()] == [(1, 100)]
    assert client.closing is None
    monkeypatch.undo()
    await client.frame(client.command("connect"))
    assert client.closing == 3501


# What ends a connection


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "\n",
        "x",
        "[]",
        "7",
        '{"id":1,"subscribe":{"channel":"room"}}',
        '{"id":1,"publish":{"channel":"room","data":1}}',
        '{"id":1,"rpc":{"method":"streams"}}',
        '{"id":1}',
        '{"id":1,"ping":{}}',
        '{"id":0,"connect":{}}',
        '{"id":-1,"connect":{}}',
        '{"id":"1","connect":{}}',
        '{"id":4294967296,"connect":{}}',
        '{"id":1,"connect":{"token":7}}',
        '{"id":1,"connect":{}}}',
    ],
)
async def test_a_first_frame_that_makes_no_sense_ends_it(engine: Engine, frame: str) -> None:
    client = Client(engine)
    await client.frame(frame)
    assert (client.closing, client.drain()) == (3501, [])


@pytest.mark.parametrize(
    "command, code",
    [
        ({"id": 9, "connect": {}}, 3501),
        ({"id": 9, "unknown": {}}, 3501),
        ({"id": 0, "publish": {"channel": "room", "data": 1}}, 3501),
        ({"id": 9, "subscribe": {}}, 3501),
        ({"id": 9, "unsubscribe": {}}, 3501),
        ({"id": 9, "publish": {"data": 1}}, 3501),
        ({"id": 9, "subscribe": {"channel": "room", "delta": "vcdiff"}}, 3501),
        ({"id": 9, "subscribe": {"channel": "room", "offset": -1}}, 3501),
        ({"id": 9, "subscribe": {"channel": "room", "offset": 2**64}}, 3501),
        ({"id": 9, "refresh": {"token": "x"}}, 3501),
        ({"send": {"data": 1}}, 3508),
        ({"id": 9, "send": {"data": 1}}, 3508),
    ],
    ids=str,
)
async def test_a_command_that_leaves_no_other_answer_ends_it(alice: Client, command: dict[str, Any], code: int) -> None:
    await alice.frame(command, alice.command("rpc", method="streams"))
    assert alice.closing == code
    # And what follows in the same frame is not run.
    assert len(alice.drain()) == 1


@pytest.mark.parametrize(
    "method, request_, code",
    [
        ("subscribe", {"channel": "a b"}, 107),
        ("subscribe", {"channel": "x" * 300}, 107),
        ("subscribe", {"channel": "ż"}, 107),
        ("subscribe", {"channel": "room", "type": 1}, 108),
        ("subscribe", {"channel": "absent"}, 102),
        ("subscribe", {"channel": "hidden"}, 102),
        ("publish", {"channel": "room"}, 107),
        ("publish", {"channel": "room", "data": 1, "type": 1}, 108),
        ("publish", {"channel": "absent", "data": 1}, 102),
        ("publish", {"channel": "hidden", "data": 1}, 102),
        ("publish", {"channel": "news", "data": 1}, 103),
        ("presence", {"channel": "hidden"}, 102),
        ("presence", {}, 102),
        ("presence_stats", {"channel": "absent"}, 102),
        ("history", {"channel": "hidden"}, 102),
        ("history", {"channel": "room", "since": {"offset": 1, "epoch": "other"}}, 112),
        ("history", {"channel": "room", "since": {"offset": 0}, "reverse": True}, 107),
        ("rpc", {"method": "absent"}, 104),
        ("rpc", {}, 104),
        ("rpc", {"method": "mark_read", "data": {"stream": 7}}, 107),
        ("rpc", {"method": "publish", "data": {"stream": "room"}}, 107),
        ("rpc", {"method": "publish", "data": []}, 107),
        ("sub_refresh", {"channel": "room", "token": "x"}, 108),
    ],
)
async def test_a_command_that_is_refused_gets_its_code_and_the_connection_goes_on(
    alice: Client, method: str, request_: dict[str, Any], code: int
) -> None:
    assert await alice.ask(method, **request_) == code
    assert alice.closing is None
    assert (await alice.rpc("publish", stream="room", data=1))["offset"] == 4


async def test_fields_that_the_server_does_not_know_are_ignored(alice: Client) -> None:
    assert await alice.ask("publish", channel="room", data=1, later={"x": [1]}) == {}


async def test_a_database_error_is_a_temporary_error_of_one_command(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> NoReturn:
        raise OperationalError

    monkeypatch.setattr(access, "judge", fail)
    monkeypatch.setattr(alice.engine, "readable", GroupRead(alice.engine.reads, fail))
    for method in ("subscribe", "history", "presence"):
        command = alice.command(method, channel="room")
        await alice.frame(command)
        error = (await alice.reply(command["id"]))["error"]
        assert (error["code"], error["temporary"]) == (100, True)
    monkeypatch.undo()
    assert "room" not in alice.session.subscriptions
    assert isinstance(await alice.ask("subscribe", channel="room"), dict)


# Order


async def test_connect_and_everything_after_it_may_come_in_one_frame(engine: Engine, cookies: dict[str, str]) -> None:
    client = Client(engine, cookies["alice"])
    methods = ["subscribe", "presence", "history", "unsubscribe", "presence_stats"]
    await client.frame(client.command("connect"), *(client.command(method, channel="room") for method in methods))
    replies = [(message["id"], method) for message in client.drain() for method in message.keys() - {"id", "push"} if "id" in message]
    assert replies == list(enumerate(["connect", *methods], 1))


# publish


async def test_a_publish_is_stored_as_it_was_sent_with_who_sent_it(alice: Client) -> None:
    await alice.frame('{"id":7,"publish":{"channel":"room","data":{"a": 1.10}}}')
    assert await alice.reply(7) == {"id": 7, "publish": {}}
    record = await elsewhere(Record.objects.get, offset=4)
    identity = alice.session.identity
    assert identity is not None
    assert (record.data, record.publisher, record.client) == ('{"a": 1.10}', identity.principal, alice.session.client)


async def test_a_publisher_receives_its_own_record(alice: Client) -> None:
    await alice.ask("subscribe", channel="room")
    await alice.ask("publish", channel="room", data={"a": 1})
    await alice.received(1)
    (publication,) = alice.pushes("pub")
    identity = alice.session.identity
    assert identity is not None
    assert (publication["data"], publication["offset"]) == ({"a": 1}, 4)
    assert publication["info"] == {"user": identity.principal, "client": alice.session.client}


async def test_rpc_publish_tells_the_position_and_a_repeat_gets_the_same(alice: Client, engine: Engine) -> None:
    params = {"stream": "room", "data": {"a": 1}, "idempotency_key": "k", "tags": {"unit": "°C"}, "key": "t", "removed": True}
    first = await alice.rpc("publish", device_time=5, expect_offset=3, **params)
    stream = await elsewhere(Stream.objects.get, name="room")
    assert first == {"offset": 4, "epoch": stream.epoch}
    assert await alice.rpc("publish", **params) == {**first, "duplicate": True}
    assert await alice.rpc("publish", stream="room", data=2, idempotency_key="k") == 107
    assert await alice.rpc("publish", stream="room", data=2, expect_offset=3) == 113
    record = await elsewhere(Record.objects.get, offset=4)
    assert (record.key, record.removed, record.tags, record.device_time) == ("t", True, '{"unit":"°C"}', 5)


async def test_a_member_may_publish_as_soon_as_it_is_one(alice: Client) -> None:
    assert await alice.ask("publish", channel="news", data=1) == 103
    identity = alice.session.identity
    assert identity is not None
    stream = await elsewhere(Stream.objects.get, name="news")
    await elsewhere(Membership.objects.create, stream=stream, user_id=identity.user_id)
    assert await alice.ask("publish", channel="news", data=1) == {}


async def test_a_record_of_an_ephemeral_stream_is_pushed_and_kept_nowhere(alice: Client) -> None:
    assert await alice.ask("subscribe", channel="cursors") == {}
    assert await alice.ask("publish", channel="cursors", data=1) == {}
    assert await alice.rpc("publish", stream="cursors", data=2) == {}
    await alice.received(2)
    assert [(push["data"], "offset" in push) for push in alice.pushes("pub")] == [(1, False), (2, False)]
    assert await elsewhere(head, "cursors") == 0


# The end


def test_the_first_reason_to_close_counts() -> None:
    async def run() -> None:
        async with running() as engine:
            client = Client(engine)
            client.session.close(SLOW)
            client.session.close(STALE)
            assert client.closing == 3008

    asyncio.run(run())


async def test_a_connection_that_says_nothing_is_stale(engine: Engine) -> None:
    client = Client(engine)
    client.session.tick(engine.loop.time() + 9)
    assert client.closing is None
    client.session.tick(engine.loop.time() + 11)
    assert client.closing == 3502


async def test_a_connect_that_is_under_way_is_never_stale(engine: Engine, cookies: dict[str, str]) -> None:
    gate = threading.Event()
    held = [asyncio.create_task(engine.reads.run(gate.wait)) for _ in range(THREADS)]
    client = Client(engine, cookies["alice"])
    connecting = asyncio.create_task(client.ask("connect"))
    try:
        await eventually(lambda: client.session._connect_seen)
        client.session.tick(engine.loop.time() + 60)
        assert client.closing is None
    finally:
        gate.set()
    await asyncio.gather(*held)
    assert (await connecting)["client"] == client.session.client


async def test_who_may_have_answered_behind_a_slow_command_is_not_taken_for_silent(engine: Engine, alice: Client) -> None:
    now = engine.loop.time()
    alice.session.tick(now + 26)
    alice.drain()
    gate = await busy(engine.journal)
    marking = asyncio.create_task(alice.rpc("mark_read", stream="room", offset=1))
    await eventually(lambda: alice.session.attention.running_since)
    alice.session.attention.running_since = now + 50
    alice.session.tick(now + 52)
    assert taken(alice.session.outbox, now + 52) == "{}"
    alice.session.tick(now + 79)
    assert alice.closing is None
    gate.set()
    assert await marking == {}
    # The pong is read next, if there is one.
    alice.session.attention.listening_since = now + 80
    alice.session.tick(now + 87)
    assert alice.closing is None
    alice.session.tick(now + 89)
    assert alice.closing == 3008


async def test_a_command_without_end_excuses_no_silence(engine: Engine, alice: Client) -> None:
    now = engine.loop.time()
    alice.session.tick(now + 26)
    alice.drain()
    alice.session.attention.running_since = now + 27
    alice.session.tick(now + 52)
    assert taken(alice.session.outbox, now + 52) == "{}"
    alice.session.tick(now + 61)
    assert alice.closing == 3012


async def test_one_that_has_connected_is_never_stale_but_must_answer_pings(engine: Engine, alice: Client) -> None:
    now = engine.loop.time()
    # The first ping confirms the reply to connect: after it there is nothing on its way but the next ping.
    alice.session.tick(now + 26)
    alice.drain()
    now += 26
    alice.session.tick(now + 26)
    assert taken(alice.session.outbox, now + 26) == "{}"
    alice.session.tick(now + 33)
    assert alice.closing is None
    alice.session.tick(now + 35)
    assert alice.closing == 3012


async def test_a_pong_in_any_shape_is_one_and_a_stray_one_is_ignored(engine: Engine, alice: Client) -> None:
    now = engine.loop.time()
    for pong in ("{}", "{}\n", "{ }", '{"id":0}'):
        alice.session.tick(now + 60)
        assert taken(alice.session.outbox, now) == "{}"
        await alice.session.receive(pong)
        await alice.session.receive(pong)
        assert alice.session.outbox._ping_sent is None
    assert alice.closing is None


async def test_a_frame_of_many_messages_keeps_nobody_else_waiting(engine: Engine) -> None:
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    await Client(engine).session.receive("{}\n" * 10_000)
    other.cancel()
    assert turns >= 100


async def test_a_closing_handshake_that_does_not_end_is_aborted(engine: Engine) -> None:
    client = Client(engine)
    client.session.close(STALE)
    client.session.tick(engine.loop.time() + 4)
    assert client.aborts == 0
    client.session.tick(engine.loop.time() + 6)
    assert client.aborts == 1


async def test_replies_that_alone_overflow_the_outbox_end_it_as_slow(engine: Engine, cookies: dict[str, str]) -> None:
    engine.limits = replace(engine.limits, outbox_bytes=2_000)
    client = await Client(engine, cookies["alice"]).connect()
    await client.frame(*(client.command("history", channel="absent") for _ in range(50)))
    assert client.closing == 3008


async def test_a_reply_too_large_to_send_is_an_error_and_ends_nothing(engine: Engine, alice: Client) -> None:
    stream = await Stream.objects.aget(name="room")
    for _ in range(8_000):
        member = Member(str(uuid.uuid4()), "1", "Alice", 1, None, "")
        engine.presence._here.setdefault(stream.pk, {})[member.client] = member
    assert await alice.ask("presence", channel="room") == 106
    assert (await alice.ask("presence_stats", channel="room"))["num_clients"] == 8_000
    assert alice.closing is None


async def test_whoever_leaves_is_forgotten_everywhere(engine: Engine, alice: Client) -> None:
    await alice.ask("subscribe", channel="room")
    stream = await elsewhere(Stream.objects.get, name="room")
    assert await engine.presence.members(stream.pk)
    gone = asyncio.create_task(alice.session.gone())
    alice.session.leave()
    alice.session.leave()
    await gone
    assert (engine.sessions, engine.hub.feeds, await engine.presence.members(stream.pk)) == (set(), {}, {})
