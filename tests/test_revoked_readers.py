"""Who follows a stream by plain HTTP when access is taken away: an answer of `events`, and a long poll."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from project.users.models import Session, User
from realtime import hints, operations, stream_events
from realtime.audit import Actor
from realtime.hints import Hint, Run
from realtime.models import ApiKey, Audience, Membership, Notice, Stream
from realtime.protocol import Publication

from .core import api_key, append, cookie
from .plainhttp import Door, Exchange
from .waiting import SECONDS, eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor("cli:ops")
EVENTS = "/api/streams/club/events"
POLL = "/api/streams/club/records?after=1&wait=30"
DOORS = pytest.mark.parametrize("target", [EVENTS, POLL])


@pytest.fixture(autouse=True)
def only_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has access read again while a test lasts."""
    monkeypatch.setattr(stream_events, "ACCESS_SECONDS", 3600)
    monkeypatch.setattr(stream_events, "HEARTBEAT_SECONDS", 3600)


@pytest.fixture
def shown(transactional_db: None) -> dict[str, dict[str, str]]:
    """Alice reads the club as a member, carol by her group, and a key by its scope: what each of them shows."""
    club = Stream.objects.create(name="club", readers=Audience.MEMBERS)
    crew = Group.objects.create(name="crew")
    alice, carol = (User.objects.create_user(name, password="old") for name in ("alice", "carol"))
    carol.groups.add(crew)
    Membership.objects.create(stream=club, user=alice)
    Membership.objects.create(stream=club, group=crew)
    append("club", '"first"')
    people = {name: {"Cookie": f"sessionid={cookie(name)}"} for name in ("alice", "carol")}
    return people | {name: {"X-API-Key": api_key("club", "read")} for name in ("key", "other")}


@pytest.fixture
def door(shown: dict[str, dict[str, str]]) -> Iterator[Door]:
    with Door().opened() as found:
        yield found


def waiters(door: Door) -> int:
    return sum(len(feed.waiters) for feed in list(door.engine.hub.feeds.values()))


def follow(door: Door, target: str, headers: dict[str, str]) -> Exchange:
    """A reader who waits for what comes next."""
    exchange = door.open("GET", target, headers).give(b"")
    eventually_sync(lambda: waiters(door) == 1)
    return exchange


def assert_ended(exchange: Exchange, target: str, status: int) -> None:
    reply = exchange.reply()
    assert reply.status == (200 if target == EVENTS else status)
    assert b"secret" not in reply.body


def key_of(shown: dict[str, dict[str, str]]) -> ApiKey:
    return ApiKey.objects.get(prefix=shown["key"]["X-API-Key"].split("_")[1])


def revoke(shown: Any) -> None:
    operations.revoke(OPERATOR, key_of(shown))


def expire(shown: Any) -> None:
    """In a moment."""
    key = key_of(shown)
    key.expires = timezone.now() + timedelta(seconds=0.5)
    key.save(update_fields=["expires"])


def narrow(shown: Any) -> None:
    key = key_of(shown)
    key.scopes = [{"pattern": "hall", "actions": ["read"]}]
    key.save(update_fields=["scopes"])


def sign_out(shown: Any) -> None:
    Session.objects.get(user__username="alice").delete()


def deactivate(shown: Any) -> None:
    alice = User.objects.get(username="alice")
    alice.is_active = False
    alice.save()


CHANGES: list[tuple[str, Callable[[Any], object], int]] = [
    ("key", revoke, 401),
    ("key", lambda shown: key_of(shown).delete(), 401),
    ("key", expire, 401),
    ("key", narrow, 404),
    ("key", lambda shown: Stream.objects.get().delete(), 404),
    ("alice", sign_out, 401),
    ("alice", deactivate, 401),
    ("alice", lambda shown: Membership.objects.get(user__username="alice").delete(), 404),
    ("carol", lambda shown: User.objects.get(username="carol").groups.clear(), 404),
]


@DOORS
@pytest.mark.parametrize(("who", "change", "status"), CHANGES)
def test_who_may_no_longer_read_is_told_at_once(
    door: Door, shown: dict[str, dict[str, str]], target: str, who: str, change: Callable[[Any], object], status: int
) -> None:
    exchange = follow(door, target, shown[who])
    change(shown)
    assert_ended(exchange, target, status)
    assert waiters(door) == 0


@DOORS
def test_access_that_ends_on_the_way_to_the_feed_is_noticed(
    door: Door, shown: dict[str, dict[str, str]], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read, and the reader does not wait yet: nobody wakes them."""
    opened, gate = door.engine.hub.open, asyncio.Event()
    arrived: list[Stream] = []

    async def open_late(stream: Stream) -> Any:
        arrived.append(stream)
        await gate.wait()
        return await opened(stream)

    monkeypatch.setattr(door.engine.hub, "open", open_late)
    exchange = door.open("GET", target, shown["key"]).give(b"")
    eventually_sync(lambda: arrived)
    revoke(shown)
    eventually_sync(lambda: door.engine.control.turn)
    door.loop.call_soon_threadsafe(gate.set)
    assert_ended(exchange, target, 401)


def test_a_record_that_comes_with_the_notice_is_not_sent(
    door: Door, shown: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = follow(door, EVENTS, shown["key"])
    control, hub = door.engine.control, door.engine.hub
    (feed,) = hub.feeds.values()
    hint = hints.encode(Hint([Run(feed.stream_id, feed.epoch, 2, 2, [Publication(2, '"secret"', 5)])]))
    take, found = control.take, list[Notice]()
    monkeypatch.setattr(control, "take", found.extend)
    revoke(shown)
    eventually_sync(lambda: found)

    def both_at_once() -> None:
        hub.take_hint(hint)
        take(found)

    door.loop.call_soon_threadsafe(both_at_once)
    assert_ended(exchange, EVENTS, 401)


@DOORS
@pytest.mark.parametrize("change", [revoke, lambda shown: operations.archive(OPERATOR, Stream.objects.get())])
def test_whom_it_does_not_concern_goes_on(
    door: Door, shown: dict[str, dict[str, str]], target: str, change: Callable[[Any], object]
) -> None:
    exchange = follow(door, target, shown["other"])
    change(shown)
    eventually_sync(lambda: door.engine.control.turn)
    Stream.objects.update(archived=None)
    append("club", '"second"')
    exchange.holds("second")
    exchange.leave()
    exchange.done.result(SECONDS)
