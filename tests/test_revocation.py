"""Access that was taken away: whom each change concerns, and what becomes of them in every state of a connection."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.utils import timezone

from project.users.models import Session as SessionRow
from project.users.models import User
from realtime import access, credentials, operations, tick
from realtime.audit import Actor
from realtime.engine import Engine
from realtime.models import ApiKey, Audience, Membership, Notice, Stream

from .core import Client, api_key, append, cookie, elsewhere, head, quiet, running
from .test_group_commit import Desk
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Actor("cli:ops")


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """alice reads `club` as a member, carol by her group, root as operator; all three, and the key, read `open`."""
    Stream.objects.create(name="open", readers=Audience.USERS)
    club = Stream.objects.create(name="club", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    crew = Group.objects.create(name="crew")
    alice, carol, _bob = (User.objects.create_user(name, password="old") for name in ("alice", "carol", "bob"))
    User.objects.create_superuser("root")
    carol.groups.add(crew)
    Membership.objects.create(stream=club, user=alice)
    Membership.objects.create(stream=club, group=crew)
    append("open", "1")
    append("club", "1")
    return {name: cookie(name) for name in ("alice", "carol", "bob", "root")} | {"key": api_key("*", "read", "publish")}


@pytest.fixture
async def engine(cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(tick, "TICK_SECONDS", 0.01)
    async with running() as found:
        yield found


async def enter(engine: Engine, cookies: dict[str, str], name: str, *streams: str) -> Client:
    """Connected, and subscribed to `streams`."""
    client = Client(engine, token=cookies["key"]) if name == "key" else Client(engine, cookies[name])
    await client.connect()
    for stream in streams:
        assert isinstance(await client.ask("subscribe", channel=stream), dict)
    return client


def user(name: str) -> User:
    return User.objects.get(username=name)


def browser(name: str, session_key: str) -> Browser:
    found = Browser()
    found.cookies["sessionid"] = session_key
    return found


# What can be done to somebody. Each takes their name and their session key.


def sign_out(name: str, session_key: str) -> None:
    browser(name, session_key).post("/accounts/logout/")


def end_all_sessions(name: str, session_key: str) -> None:
    SessionRow.objects.filter(user=user(name)).delete()


def flush_session(name: str, session_key: str) -> None:
    SessionRow.get_session_store_class()(session_key).flush()


def change_password(name: str, session_key: str) -> None:
    changed = user(name)
    changed.set_password("new")
    changed.save()


def deactivate(name: str, session_key: str) -> None:
    changed = user(name)
    changed.is_active = False
    changed.save(update_fields=["is_active"])


def delete_user(name: str, session_key: str) -> None:
    user(name).delete()


def revoke_key(name: str, session_key: str) -> None:
    operations.revoke(OPERATOR, ApiKey.objects.get())


def rotate_key(name: str, session_key: str) -> None:
    operations.rotate(OPERATOR, ApiKey.objects.get(), timedelta(0))


def delete_key(name: str, session_key: str) -> None:
    ApiKey.objects.get().delete()


def revoke_key_by_command(name: str, session_key: str) -> None:
    call_command("apikey", "revoke", ApiKey.objects.get().prefix, "--noinput", stdout=StringIO())


def narrow_key(name: str, session_key: str) -> None:
    key = ApiKey.objects.get()
    key.scopes = [{"pattern": "open", "actions": ["read"]}]
    key.save()


def end_membership(name: str, session_key: str) -> None:
    Membership.objects.get(user=user(name)).delete()


def give_membership_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.user = user("bob")
    membership.save()


def give_membership_of_another_stream_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.user, membership.stream = user("bob"), Stream.objects.get(name="open")
    membership.save()


def move_membership_to_another_stream(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.stream = Stream.objects.get(name="open")
    membership.save()


def give_membership_of_group_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(group__isnull=False)
    membership.group, membership.user, membership.stream = None, user("bob"), Stream.objects.get(name="open")
    membership.save()


def leave_group(name: str, session_key: str) -> None:
    user(name).groups.clear()


def remove_from_group(name: str, session_key: str) -> None:
    Group.objects.get().user_set.remove(user(name))


def clear_group(name: str, session_key: str) -> None:
    Group.objects.get().user_set.clear()


def delete_group(name: str, session_key: str) -> None:
    Group.objects.get().delete()


def end_group_membership(name: str, session_key: str) -> None:
    Membership.objects.filter(group__isnull=False).delete()


def demote(name: str, session_key: str) -> None:
    changed = user(name)
    changed.is_superuser = False
    changed.save()


def close_to_members(name: str, session_key: str) -> None:
    stream = Stream.objects.get(name="open")
    stream.readers = Audience.MEMBERS
    stream.save()


def archive(name: str, session_key: str) -> None:
    operations.archive(OPERATOR, Stream.objects.get(name="club"))


def remove_stream(name: str, session_key: str) -> None:
    Stream.objects.get(name="club").delete()


# Done to whom, and what they are told: a close code, or which subscription ends with which code.
Told = int | dict[str, int]
CHANGES: list[tuple[Callable[[str, str], None], str, Told]] = [
    (sign_out, "alice", 4501),
    (end_all_sessions, "alice", 4501),
    (flush_session, "alice", 4501),
    (change_password, "alice", 4501),
    (deactivate, "alice", 4501),
    (delete_user, "alice", 4501),
    (revoke_key, "key", 4501),
    (revoke_key_by_command, "key", 4501),
    (rotate_key, "key", 4501),
    (delete_key, "key", 4501),
    (narrow_key, "key", {"club": 2403}),
    (end_membership, "alice", {"club": 2403}),
    (give_membership_to_bob, "alice", {"club": 2403}),
    (give_membership_of_another_stream_to_bob, "alice", {"club": 2403}),
    (move_membership_to_another_stream, "alice", {"club": 2403}),
    (give_membership_of_group_to_bob, "carol", {"club": 2403}),
    (leave_group, "carol", {"club": 2403}),
    (remove_from_group, "carol", {"club": 2403}),
    (clear_group, "carol", {"club": 2403}),
    (delete_group, "carol", {"club": 2403}),
    (end_group_membership, "carol", {"club": 2403}),
    (demote, "root", {"club": 2403}),
    (close_to_members, "alice", {"open": 2403}),
    (archive, "alice", {"club": 2404}),
    (remove_stream, "alice", {"club": 2404}),
]
everything = pytest.mark.parametrize("change, name, told", CHANGES, ids=lambda value: getattr(value, "__name__", ""))


def outcome(client: Client) -> Told:
    """What it was told so far."""
    if client.closing is not None:
        return client.closing
    pushes = [message["push"] for message in client.drain() if "unsubscribe" in message.get("push", {})]
    return {push["channel"]: push["unsubscribe"]["code"] for push in pushes}


async def more_records(client: Client) -> list[str]:
    """The streams of which it still hears, after a record in each."""
    before = len(client.drain())
    for name in ("open", "club"):
        if await elsewhere(Stream.objects.filter(name=name).exists):
            await elsewhere(append, name, '"later"')
    heads = dict(await elsewhere(lambda: list(Stream.objects.values_list("pk", "head"))))
    await eventually(lambda: all(feed.last == heads[feed.stream_id] for feed in client.engine.hub.feeds.values()))
    await quiet(client.engine, client)
    return [message["push"]["channel"] for message in client.drain()[before:] if "pub" in message.get("push", {})]


@everything
async def test_whoever_is_concerned_is_told_and_hears_nothing_more(
    engine: Engine, cookies: dict[str, str], change: Any, name: str, told: Told
) -> None:
    client = await enter(engine, cookies, name, "open", "club")
    other = await enter(engine, cookies, "bob", "open")
    # Without the look of every minute: the notice alone.
    client.session.checked = engine.loop.time() + 1_000
    await elsewhere(change, name, cookies[name])
    await eventually(lambda: outcome(client) == told)
    heard = await more_records(client)
    assert heard == ([] if isinstance(told, int) else [stream for stream in ("open", "club") if stream not in told])
    assert other.closing is None


def lose_the_notice(change: Callable[[str, str], None], name: str, session_key: str) -> None:
    with transaction.atomic():
        change(name, session_key)
        Notice.objects.all().delete()


@everything
async def test_when_the_notice_is_lost_the_look_of_every_minute_finds_out(
    engine: Engine, cookies: dict[str, str], change: Any, name: str, told: Told
) -> None:
    client = await enter(engine, cookies, name, "open", "club")
    await elsewhere(lose_the_notice, change, name, cookies[name])
    assert await elsewhere(Notice.objects.count) == 0
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: outcome(client) == told)
    assert await more_records(client) == ([] if isinstance(told, int) else [stream for stream in ("open", "club") if stream not in told])


@pytest.mark.parametrize(
    "sql, told",
    [
        ("UPDATE users_user SET is_active = 0", 4501),
        ("DELETE FROM users_session", 4501),
        ("UPDATE users_user SET password = 'x'", 4501),
        ("DELETE FROM realtime_membership", {"club": 2403}),
        ("UPDATE realtime_stream SET readers = 'members' WHERE name = 'open'", {"open": 2403}),
        ("UPDATE realtime_stream SET archived = '2026-01-01' WHERE name = 'club'", {"club": 2404}),
    ],
)
async def test_what_sql_does_behind_the_orm_is_found_within_a_minute(engine: Engine, cookies: dict[str, str], sql: str, told: Told) -> None:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    client = await enter(engine, cookies, "alice", "open", "club")
    await elsewhere(run)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: outcome(client) == told)


# States


async def test_in_the_middle_of_a_replay(engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    await elsewhere(append, "club", *("2" * 900))
    gate, asked = asyncio.Event(), asyncio.Event()
    page = engine.reads.page

    async def slow_page(*args: Any) -> Any:
        found = await page(*args)
        asked.set()
        await gate.wait()
        return found

    monkeypatch.setattr(engine.reads, "page", slow_page)
    client = await enter(engine, cookies, "alice")
    await client.frame(client.command("subscribe", channel="club", recover=True, offset=0, epoch=""))
    await asked.wait()
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})
    gate.set()
    await quiet(engine, client)
    assert client.pushes("pub") == []
    assert not any("club" in task.get_name() for task in asyncio.all_tasks())


async def test_what_waits_for_a_slow_reader_is_forgotten(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open", "club")
    client.drain()
    await elsewhere(append, "club", *("2" * 100))
    await elsewhere(append, "open", *("2" * 100))
    await eventually(lambda: engine.hub.delivered == 200)
    # It has read nothing of this yet.
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: "club" not in client.session.subscriptions)
    assert outcome(client) == {"club": 2403}
    assert {message["push"]["channel"] for message in client.messages if "pub" in message.get("push", {})} == {"open"}
    assert client.session.outbox.waiting == 0


async def test_with_a_publish_in_flight_its_commit_is_answered_first(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open")
    desk = Desk.__new__(Desk)
    desk.journal = engine.journal
    gate = await desk.busy()
    command = client.command("publish", channel="open", data=2)
    await client.frame(command)
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: client.closing == 4501)
    assert not client.session.finished
    gate.set()
    await eventually(lambda: client.session.finished)
    assert client.drain()[-1] == {"id": command["id"], "publish": {}}
    # It was durable before it was answered, and the publisher did not hear of it any more.
    assert await elsewhere(head, "open") == 2
    assert client.pushes("pub") == []


@pytest.mark.parametrize("change, answer", [(end_membership, 102), (leave_group, 102), (sign_out, None), (remove_stream, 102)])
async def test_in_the_middle_of_a_subscribe(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: Any, answer: int | None
) -> None:
    """Access is read, then taken away, and only then does the subscribe go on."""
    name = "carol" if change is leave_group else "alice"
    client = await enter(engine, cookies, name)
    entered, gate = threading.Event(), threading.Event()
    readable = access.readable

    def slow_readable(identity: access.Identity, stream: str) -> Stream:
        found = readable(identity, stream)
        entered.set()
        gate.wait(10)
        return found

    monkeypatch.setattr(access, "readable", slow_readable)
    command = client.command("subscribe", channel="club")
    subscribing = asyncio.create_task(client.frame(command))
    await asyncio.to_thread(entered.wait, 10)
    turn = engine.control.turn
    await elsewhere(change, name, cookies[name])
    await eventually(lambda: engine.control.turn > turn and not engine.control._due)
    await elsewhere(lambda: None)
    # That the stream is gone the subscribe finds out by itself.
    await eventually(lambda: change is remove_stream or client.closing or client.session.subscriptions["club"].ended)
    gate.set()
    await subscribing
    if answer is None:
        assert client.closing == 4501
    else:
        assert (await client.reply(command["id"]))["error"]["code"] == answer
    assert client.session.subscriptions == {}
    await more_records(client)
    assert client.pushes("pub") == []


async def test_in_the_middle_of_a_connect(engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is read, then it ends, and nobody is told, since nobody is known yet."""
    entered, gate = threading.Event(), threading.Event()
    identities = credentials.identities

    def slow_identities(shown: Any) -> Any:
        found = identities(shown)
        entered.set()
        gate.wait(10)
        return found

    await elsewhere(Stream.objects.filter(name="open").update, readers=Audience.USERS)
    monkeypatch.setattr(credentials, "identities", slow_identities)
    client = Client(engine, cookies["alice"])
    connecting = asyncio.create_task(client.frame(client.command("connect")))
    await asyncio.to_thread(entered.wait, 10)
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: engine.control.turn == 1)
    gate.set()
    await connecting
    assert client.closing == 3501
    assert client.session.identity is None


async def test_away_and_coming_back(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "club")
    client.session.leave()
    await elsewhere(end_membership, "alice", "")
    back = await enter(engine, cookies, "alice")
    assert await back.ask("subscribe", channel="club", recover=True, offset=1, epoch="") == 102
    back.session.leave()
    await elsewhere(sign_out, "alice", cookies["alice"])
    last = Client(engine, cookies["alice"])
    await last.frame(last.command("connect"))
    assert last.closing == 3501


async def test_what_was_asked_before_the_end_is_not_told_after_it(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await enter(engine, cookies, "alice")
    run = engine.reads.run
    entered, gate = asyncio.Event(), asyncio.Event()

    async def slow_run(read: Any, *args: Any) -> Any:
        found = await run(read, *args)
        if getattr(read, "__name__", "") == "history":
            entered.set()
            await gate.wait()
        return found

    monkeypatch.setattr(engine.reads, "run", slow_run)
    asking = asyncio.create_task(client.frame(client.command("history", channel="club", limit=10)))
    await entered.wait()
    before = len(client.drain())
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: client.closing == 4501)
    gate.set()
    await asking
    assert client.drain()[before:] == []


@pytest.mark.parametrize("name", ["alice", "key"])
async def test_a_credential_that_expires_ends_at_that_moment(engine: Engine, cookies: dict[str, str], name: str) -> None:
    soon = timezone.now() + timedelta(seconds=1)
    await elsewhere(SessionRow.objects.update, expire_date=soon)
    await elsewhere(ApiKey.objects.update, expires=soon)
    client = await enter(engine, cookies, name, "open")
    client.session.checked = engine.loop.time() + 1_000
    await eventually(lambda: client.closing == 4501)
    assert timezone.now() >= soon


async def test_a_session_that_is_prolonged_stays(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice")
    later = timezone.now() + timedelta(days=30)
    await elsewhere(SessionRow.objects.update, expire_date=later)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.session.identity.expires == later.timestamp())  # type: ignore[union-attr]


async def test_what_is_given_is_there_without_a_new_connection(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "bob")
    assert await client.ask("subscribe", channel="club") == 102

    def join() -> None:
        user("bob").groups.add(Group.objects.get())

    await elsewhere(join)
    await eventually(lambda: client.session.identity.group_ids)  # type: ignore[union-attr]
    assert isinstance(await client.ask("subscribe", channel="club"), dict)


async def test_a_stream_that_was_archived_before_can_be_read(engine: Engine, cookies: dict[str, str]) -> None:
    await elsewhere(archive, "", "")
    client = await enter(engine, cookies, "alice", "club")
    looked = client.session.checked
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.session.checked > looked)
    # The verdicts of a look are given before those of the next one are read.
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})


async def test_a_subscribe_that_comes_before_the_notice_of_the_archive_stays(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = engine.control.take
    held: list[list[Notice]] = []
    monkeypatch.setattr(engine.control, "take", held.append)
    await elsewhere(archive, "", "")
    await eventually(lambda: held)
    client = await enter(engine, cookies, "alice", "club")
    client.session.checked = engine.loop.time() + 1_000
    monkeypatch.setattr(engine.control, "take", take)
    take(held[0])
    await eventually(lambda: client.session.checked <= engine.loop.time())
    await elsewhere(end_membership, "alice", "")
    await eventually(lambda: outcome(client) == {"club": 2403})


async def test_an_own_password_change_ends_the_sockets_and_keeps_the_person_signed_in(engine: Engine, cookies: dict[str, str]) -> None:
    client = await enter(engine, cookies, "alice", "open")
    tab = browser("alice", cookies["alice"])
    form = {"old_password": "old", "new_password1": "correct horse 7", "new_password2": "correct horse 7"}
    assert (await elsewhere(tab.post, "/accounts/password_change/", form)).status_code == 302
    await eventually(lambda: client.closing == 4501)
    assert (await elsewhere(tab.get, "/accounts/whoami/")).json()["name"] == "alice"
    again = Client(engine, tab.cookies["sessionid"].value)
    assert (await again.ask("connect"))["data"]["name"] == "alice"


# Many at once, and trouble


async def test_one_look_at_many_takes_as_many_queries_as_one_at_few(engine: Engine, cookies: dict[str, str]) -> None:
    queries: list[str] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        queries.append(sql)
        return execute(sql, params, many, context)

    for name in [*cookies] * 3:
        if name != "bob":
            await enter(engine, cookies, name, "open", "club")
    await quiet(engine)
    for reader in engine.reads._connections:
        reader.execute_wrappers.append(count)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: not engine.control._due and len(queries) >= 4)
    await quiet(engine)
    # Sessions with their users and groups, keys, streams, memberships.
    assert [sql.split("FROM ")[-1].split()[0].strip('"') for sql in queries] == [
        "users_session",
        "realtime_apikey",
        "realtime_stream",
        "realtime_membership",
    ]


async def test_a_look_that_fails_is_tried_again(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await enter(engine, cookies, "alice", "open")

    def fail(*args: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("realtime.control.RETRY_SECONDS", 0.01)
    monkeypatch.setattr(access, "judge", fail)
    await elsewhere(close_to_members, "", "")
    await eventually(lambda: "Rights could not be read again, this is tried until they are: away" in caplog.text)
    assert client.closing is None
    monkeypatch.undo()
    await eventually(lambda: outcome(client) == {"open": 2403})


async def test_whoever_cannot_be_judged_has_to_come_back(
    engine: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = await enter(engine, cookies, "alice", "open")

    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(access, "judge", fail)
    engine.control.tick(engine.loop.time() + 60)
    await eventually(lambda: client.closing == 3004)
    assert "The rights of 1 connections could not be judged." in caplog.text
    monkeypatch.undo()
    # The control itself goes on.
    again = await enter(engine, cookies, "alice", "open")
    await elsewhere(sign_out, "alice", cookies["alice"])
    await eventually(lambda: again.closing == 4501)


async def test_everybody_is_looked_at_once_a_minute(engine: Engine, cookies: dict[str, str]) -> None:
    clients = [await enter(engine, cookies, name) for name in ("alice", "bob", "key")]
    now = engine.loop.time()
    assert all(now - 56 < client.session.checked <= now for client in clients)
    engine.control.tick(max(client.session.checked for client in clients) + 55)
    await eventually(lambda: all(client.session.checked >= now for client in clients))


# Notices


@pytest.fixture
def no_notices(cookies: dict[str, str]) -> None:
    Notice.objects.all().delete()


def subjects() -> list[dict[str, Any]]:
    return [notice.subject for notice in Notice.objects.order_by("pk")]


def test_a_notice_about_a_session_does_not_name_its_key(cookies: dict[str, str]) -> None:
    sign_out("alice", cookies["alice"])
    assert {"credential": credentials.of_session(cookies["alice"]).digest} in subjects()
    assert cookies["alice"] not in str(subjects())


def test_what_takes_nothing_away_tells_nobody(no_notices: None) -> None:
    # Signing in writes the time of it.
    cookie("bob")
    person = User.objects.create_user("dora")
    person.save(update_fields=["first_name"])
    key, _ = ApiKey.generate(name="new")
    key.last_used = timezone.now()
    key.save(update_fields=["last_used"])
    stream = Stream.objects.create(name="new")
    stream.title = "New"
    stream.save(update_fields=["title"])
    SessionRow.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1), user=person)
    call_command("clearsessions")
    assert subjects() == []


@pytest.mark.parametrize(
    "model, fields",
    [
        (User, ["password", "is_active", "is_superuser"]),
        (
            ApiKey,
            ["revoked", "expires", "scopes", "digest", "previous_digest", "previous_until", "publish_rate", "max_connections"],
        ),
        (Stream, ["name", "readers", "writers", "archived", "durable", "max_payload"]),
    ],
)
def test_each_column_that_decides_of_access_is_told_of_by_itself(no_notices: None, model: Any, fields: list[str]) -> None:
    for count, name in enumerate(fields, 1):
        model.objects.first().save(update_fields=[name])
        assert len(subjects()) == count, name


def test_a_notice_is_part_of_the_transaction_of_the_change(no_notices: None) -> None:
    with transaction.atomic():
        deactivate("alice", "")
        assert len(subjects()) == 1
        transaction.set_rollback(True)
    assert subjects() == []


def test_sessions_of_an_engine_without_a_model_end_by_the_signal_of_signing_out(db: None) -> None:
    from types import SimpleNamespace

    from realtime.revocation import logged_out

    logged_out(request=SimpleNamespace(session=SimpleNamespace(session_key="abc")))
    logged_out(request=SimpleNamespace(session=SimpleNamespace(session_key=None)))
    assert subjects() == [{"credential": credentials.of_session("abc").digest}]
