"""Subscriptions of one connection: recovery, joins, presence, and how they end."""

import asyncio
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from realtime import access
from realtime.cursor import Feed
from realtime.engine import Engine
from realtime.errors import ACCESS_REVOKED, SLOW
from realtime.group_read import GroupRead
from realtime.models import Audience, Delivery, Namespace, Record, Stream
from realtime.retention import remove_once
from realtime.tick import Head

from .core import Client, append, cookie, elsewhere, person, quiet
from .waiting import SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """In `room` there were five records, of which the first two are gone; `plain` has neither presence nor joins."""
    Stream.objects.create(name="room", epoch="epoch")
    Stream.objects.create(name="plain", presence=False, join_leave=False)
    append("room", *"12345")
    Record.objects.filter(offset__lt=3).delete()
    Stream.objects.filter(name="room").update(tail=3)
    for name in ("alice", "bob"):
        person(name)
    return {name: cookie(name) for name in ("alice", "bob")}


@pytest.fixture
async def bob(engine: Engine, cookies: dict[str, str]) -> Client:
    return await Client(engine, cookies["bob"]).connect()


async def room() -> Stream:
    return await elsewhere(Stream.objects.get, name="room")


# Recovery


async def test_a_fresh_subscription_starts_at_the_end(alice: Client) -> None:
    result = await alice.ask("subscribe", channel="room")
    assert result == {"recoverable": True, "positioned": True, "epoch": "epoch", "offset": 5, "data": {"head": 5}}
    await elsewhere(append, "room", "6")
    assert await alice.received(1) == [6]


@pytest.mark.parametrize(
    "offset, epoch, found",
    [
        (5, "epoch", []),
        (4, "epoch", [5]),
        (2, "epoch", [3, 4, 5]),
        (4, "", [5]),
        (1, "epoch", None),
        (0, "", None),
        (6, "epoch", None),
        (2**62, "epoch", None),
        (4, "another", None),
        (5, "another", None),
    ],
)
async def test_who_comes_back_gets_exactly_what_it_missed_or_is_told_that_it_cannot(
    alice: Client, bob: Client, offset: int, epoch: str, found: list[int] | None
) -> None:
    position = {"channel": "room", "recover": True, "offset": offset, "epoch": epoch}
    result = await alice.ask("subscribe", **position)
    assert (result.get("recovered", False), result["was_recovering"]) == (found is not None, True)
    assert (result["offset"], result["epoch"], result["data"]) == (5 if found is None else offset, "epoch", {"head": 5})
    assert "publications" not in result
    await elsewhere(append, "room", "6")
    assert await alice.received(len(found or []) + 1) == [*(found or []), 6]
    rejecting = await bob.ask("subscribe", flag=3, **{**position, "offset": offset + (offset == 6)})
    assert (rejecting == 112) == (found is None)
    assert ("room" in bob.session.subscriptions) == (found is not None)


async def test_an_empty_stream_is_recovered_from_its_start(alice: Client) -> None:
    result = await alice.ask("subscribe", channel="plain", recover=True)
    assert (result["recovered"], result.get("offset", 0)) == (True, 0)


async def test_a_position_that_the_hub_has_not_heard_of_is_caught_up_with(engine: Engine, alice: Client, bob: Client) -> None:
    await alice.ask("subscribe", channel="room")
    await elsewhere(append, "room", "6", "7")
    # The tick may not have told the hub yet: the reply must not depend on it.
    result = await bob.ask("subscribe", channel="room", recover=True, offset=7, epoch="epoch")
    assert (result["recovered"], result["offset"]) == (True, 7)
    assert await alice.received(2) == [6, 7]


async def test_a_feed_that_another_one_has_replaced_is_opened_again(engine: Engine, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy loop it may be forgotten before it is used, and one that is behind be used again: a cursor must not stand beyond it."""
    stream, open_feed = await room(), engine.hub.open
    old = await open_feed(stream)
    engine.hub._forget_if_unused(old)
    await elsewhere(append, "room", "6")
    with ExitStack() as readers:

        async def open_and_lose(stream: Stream) -> Feed:
            feed = await open_feed(stream)
            if feed is not old:
                engine.hub._forget_if_unused(feed)
                readers.enter_context(engine.hub.waiter(old))
            return feed

        monkeypatch.setattr(engine.hub, "open", open_and_lose)
        result = await alice.ask("subscribe", channel="room", recover=True, offset=6, epoch="epoch")
        assert (result["recovered"], result["offset"]) == (True, 6)
        await elsewhere(append, "room", "7")
        assert await alice.received(1) == [7]


async def test_replies_go_before_what_is_replayed(alice: Client) -> None:
    subscribe = alice.command("subscribe", channel="room", recover=True, offset=2)
    await alice.frame(subscribe, alice.command("history", channel="room"), alice.command("presence_stats", channel="room"))
    await alice.received(3)
    assert [message.get("id", 0) for message in alice.drain()] == [1, 2, 3, 4, 0, 0, 0]


async def test_a_record_committed_while_one_subscribes_arrives_once(alice: Client, engine: Engine) -> None:
    for number in range(6, 26):
        publishing = asyncio.create_task(elsewhere(append, "room", str(number)))
        position = max(await alice.received(0), default=5)
        await alice.ask("subscribe", channel="room", recover=True, offset=position, epoch="epoch")
        await publishing
        await alice.received(number - 5)
        await alice.ask("unsubscribe", channel="room")
    assert await alice.received(20) == list(range(6, 26))


# Rules


async def test_a_second_subscription_to_the_same_stream_is_refused_also_within_a_frame(alice: Client) -> None:
    await alice.frame(*(alice.command("subscribe", channel="room") for _ in range(2)))
    assert (await alice.reply(3))["error"]["code"] == 105
    assert "subscribe" in await alice.reply(2)
    assert await alice.ask("subscribe", channel="room") == 105


async def test_after_a_refused_subscribe_one_may_try_again(alice: Client) -> None:
    await elsewhere(Stream.objects.update, readers=Audience.MEMBERS)
    assert await alice.ask("subscribe", channel="room") == 102
    await elsewhere(Stream.objects.update, readers=Audience.USERS)
    assert isinstance(await alice.ask("subscribe", channel="room"), dict)


async def test_a_connection_holds_so_many_subscriptions(alice: Client, settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "STREAMS_PER_CONNECTION": 1}
    await alice.ask("subscribe", channel="room")
    assert await alice.ask("subscribe", channel="plain") == 106
    await alice.ask("unsubscribe", channel="room")
    assert isinstance(await alice.ask("subscribe", channel="plain"), dict)


@pytest.mark.parametrize("extra", [{"delta": "fossil"}, {"token": "x"}, {"positioned": True}, {"flag": 1}, {"recoverable": True}])
async def test_wishes_that_are_not_granted_are_no_error(alice: Client, extra: dict[str, Any]) -> None:
    result = await alice.ask("subscribe", channel="room", **extra)
    assert set(result) == {"recoverable", "positioned", "epoch", "offset", "data"}


async def test_unsubscribe_may_be_said_twice_and_ends_the_pushes(alice: Client, bob: Client, engine: Engine) -> None:
    await alice.ask("subscribe", channel="room")
    await bob.ask("subscribe", channel="room")
    assert [await alice.ask("unsubscribe", channel=name) for name in ("room", "room", "absent")] == [{}, {}, {}]
    await bob.ask("publish", channel="room", data=6)
    await bob.received(1)
    assert alice.pushes("pub") == []
    await bob.ask("unsubscribe", channel="room")
    assert engine.hub.feeds == {}


async def test_a_subscribe_creates_the_stream_where_its_namespace_lets_one_write(alice: Client) -> None:
    await elsewhere(Namespace.objects.create, name="chat")
    await elsewhere(Namespace.objects.create, name="news", writers=Audience.MEMBERS)
    assert (await alice.ask("subscribe", channel="chat:x"))["data"] == {"head": 0}
    assert await alice.ask("subscribe", channel="news:x") == 102
    assert await elsewhere(Stream.objects.filter(name__contains=":").count) == 1


# Joins and presence


async def test_a_look_at_the_connection_does_not_refuse_a_stream_that_is_about_to_be_created(engine: Engine, alice: Client) -> None:
    await elsewhere(Namespace.objects.create, name="chat")
    gate = threading.Event()
    held = asyncio.create_task(engine.journal.run(gate.wait))
    subscribe = asyncio.create_task(alice.ask("subscribe", channel="chat:new"))
    try:
        await eventually(lambda: alice.session.subscribing)
        checked = alice.session.checked
        engine.control._look_again([alice.session])
        await eventually(lambda: alice.session.checked > checked)
        # Behind the reads of the look.
        await engine.reads.run(access.readable, alice.session._who, "room")
    finally:
        gate.set()
    await held
    assert (await subscribe)["epoch"]


async def test_the_own_join_follows_the_reply_and_others_come_and_go(alice: Client, bob: Client) -> None:
    await alice.ask("subscribe", channel="room", join_leave=True)
    await eventually(lambda: alice.pushes("join"))
    kinds = [next(iter(message.keys() - {"id"})) for message in alice.drain()]
    assert kinds == ["connect", "subscribe", "push"]
    await bob.ask("subscribe", channel="room")
    await bob.ask("unsubscribe", channel="room")
    await eventually(lambda: alice.pushes("leave"))
    identity = bob.session.identity
    assert identity is not None
    info = {"user": identity.principal, "client": bob.session.client, "conn_info": {"name": "bob"}}
    assert alice.pushes("join")[1:] == alice.pushes("leave") == [{"info": info}]
    assert bob.pushes("join") == []


async def test_a_connection_that_is_lost_leaves(alice: Client, bob: Client) -> None:
    await alice.ask("subscribe", channel="room", join_leave=True)
    await bob.ask("subscribe", channel="room")
    bob.session.leave()
    await eventually(lambda: alice.pushes("leave"))
    assert set(await members(alice)) == {alice.session.client}


async def test_a_stream_without_joins_and_presence_has_none(alice: Client, bob: Client, engine: Engine) -> None:
    for client in (alice, bob):
        await client.ask("subscribe", channel="plain", join_leave=True)
    await quiet(engine, alice, bob)
    assert (alice.pushes("join"), bob.pushes("join")) == ([], [])
    assert (await alice.ask("presence", channel="plain"), await alice.ask("presence_stats", channel="plain")) == (108, 108)


async def members(client: Client) -> dict[str, Any]:
    result = await client.ask("presence", channel="room")
    return dict(result["presence"])


async def test_presence_tells_who_is_there_and_counts_people(engine: Engine, alice: Client, bob: Client, cookies: dict[str, str]) -> None:
    assert await members(alice) == {}
    second = await Client(engine, cookies["alice"]).connect()
    for client in (alice, second):
        await client.ask("subscribe", channel="room")
    identity = alice.session.identity
    assert identity is not None
    info = {"user": identity.principal, "conn_info": {"name": "alice"}}
    assert await members(bob) == {client.session.client: {**info, "client": client.session.client} for client in (alice, second)}
    assert await bob.ask("presence_stats", channel="room") == {"num_clients": 2, "num_users": 1}


# Ends


@pytest.mark.parametrize("epoch, code", [("other", 2500), (None, 2404)])
async def test_the_end_of_a_subscription_is_told_and_one_may_subscribe_again(
    alice: Client, engine: Engine, epoch: str | None, code: int
) -> None:
    await alice.ask("subscribe", channel="room")
    stream = await room()
    engine.hub.take_streams([Head(stream.pk, epoch, 3, 5, stream.delivery)] if epoch else [], [stream.pk])
    assert [push["code"] for push in alice.pushes("unsubscribe")] == [code]
    assert await members(alice) == {}
    assert isinstance(await alice.ask("subscribe", channel="room"), dict)


async def test_a_verdict_on_a_subscription_that_is_gone_does_not_end_the_next_one(alice: Client) -> None:
    await alice.ask("subscribe", channel="room")
    asked = alice.session.subscriptions["room"]
    await alice.ask("unsubscribe", channel="room")
    await alice.ask("subscribe", channel="room")
    alice.session.judge("room", asked, ACCESS_REVOKED)
    assert "room" in alice.session.subscriptions
    assert alice.pushes("unsubscribe") == []


async def test_an_epoch_that_changes_is_noticed_within_two_seconds(alice: Client) -> None:
    await alice.ask("subscribe", channel="room")
    await elsewhere(Stream.objects.filter(name="room").update, epoch="restored")
    await eventually(lambda: [push["code"] for push in alice.pushes("unsubscribe")] == [2500])
    assert (await alice.ask("subscribe", channel="room", recover=True, offset=5, epoch="epoch")).get("recovered") is None


async def test_a_delivery_that_changes_is_that_of_every_reader_within_two_seconds(alice: Client, engine: Engine) -> None:
    await elsewhere(Stream.objects.filter(name="room").update, delivery=Delivery.NEWEST)
    await alice.ask("subscribe", channel="room")
    await elsewhere(Stream.objects.filter(name="room").update, delivery=Delivery.EVERY)
    await eventually(lambda: [push["code"] for push in alice.pushes("unsubscribe")] == [2500])
    # A reader of the newest records alone is told the last one of these.
    await alice.ask("subscribe", channel="room", recover=True, offset=3, epoch="epoch")
    assert await alice.received(2) == [4, 5]


async def test_what_was_removed_of_the_newest_is_sent_to_nobody(alice: Client, bob: Client, engine: Engine) -> None:
    await elsewhere(Stream.objects.filter(name="room").update, delivery=Delivery.NEWEST)
    await alice.ask("subscribe", channel="room")
    await elsewhere(append, "room", '"secret"', key="k")
    assert await alice.received(1) == [6]
    await elsewhere(remove_once, (await room()).pk, 6)
    (feed,) = engine.hub.feeds.values()
    await eventually(lambda: feed.tail == 7)
    await bob.ask("subscribe", channel="room", recover=True, offset=0, epoch="epoch")
    await elsewhere(append, "room", '"next"', key="k")
    assert await bob.received(1) == [7]


@pytest.mark.parametrize("end", ["leave", "close"])
async def test_a_connection_that_ends_while_it_subscribes_leaves_nothing_behind(
    alice: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    entered, gate = threading.Event(), threading.Event()

    def slow_judge(asked: Any) -> Any:
        entered.set()
        gate.wait(SECONDS)
        return access.judge(asked)

    monkeypatch.setattr(engine, "readable", GroupRead(engine.reads, slow_judge))
    subscribing = asyncio.create_task(alice.frame(alice.command("subscribe", channel="room")))
    await asyncio.to_thread(entered.wait, SECONDS)
    # Registered before access is read: what ends subscriptions finds it.
    assert list(alice.session.subscriptions) == ["room"]
    if end == "leave":
        alice.session.leave()
    else:
        alice.session.close(SLOW)
    gate.set()
    await subscribing
    assert alice.session.subscriptions == {}
    assert all(feed.empty for feed in engine.hub.feeds.values())
    assert await engine.presence.members((await room()).pk) == {}
    assert len(alice.drain()) == 1


async def test_who_returns_to_a_stream_of_newest_values_is_sent_the_newest_of_each_key(engine: Engine, alice: Client) -> None:
    stream = await Stream.objects.acreate(name="ticker", epoch="epoch", delivery=Delivery.NEWEST)
    for key in ("a", "b", "a", "", "a"):
        await elsewhere(append, "ticker", f'"{key}"', key=key)
    await Record.objects.filter(stream=stream, offset=1).adelete()
    await Stream.objects.filter(pk=stream.pk).aupdate(tail=2)
    answer = await alice.ask("subscribe", channel="ticker", recover=True, epoch="epoch", offset=0)
    assert answer["recovered"]
    assert await alice.received(3) == [2, 4, 5]
    await alice.rpc("publish", stream="ticker", data=1)
    assert await alice.received(4) == [2, 4, 5, 6]
