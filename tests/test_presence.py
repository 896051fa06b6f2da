"""Who is here: from memory at once, as rows a moment later."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from project.users.models import User
from realtime import presence
from realtime.engine import Engine
from realtime.models import Connection, Presence, ServerProcess, Stream
from realtime.presence import Member

from .core import Trouble, elsewhere, person, running
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stream(transactional_db: None) -> Stream:
    return Stream.objects.create(name="a")


@pytest.fixture
async def engine(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    # Rows are written when the test says so.
    monkeypatch.setattr(presence, "WRITE_SECONDS", 3_600)
    async with running() as found:
        yield found


def member(name: str = "", user_id: int | None = None) -> Member:
    return Member(str(uuid.uuid4()), str(user_id or name), name, user_id, "10.0.0.7", "agent")


def rows() -> tuple[int, int]:
    return Connection.objects.count(), Presence.objects.count()


def process(age: int) -> ServerProcess:
    heartbeat = timezone.now() - timedelta(seconds=age)
    return ServerProcess.objects.create(pk=uuid.uuid4(), host="other", pid=1, heartbeat=heartbeat)


def present(stream: Stream, server: ServerProcess, principal: str, user_id: int | None = None) -> Connection:
    connection = Connection.objects.create(pk=uuid.uuid4(), process=server, principal=principal, user_id=user_id, label=principal)
    Presence.objects.create(stream=stream, connection=connection)
    return connection


async def test_rows_are_written_behind_and_go_when_the_connection_does(engine: Engine, stream: Stream) -> None:
    alice = await elsewhere(person, "alice")
    one = member("alice", alice.user_id)
    engine.presence.connected(one)
    engine.presence.subscribed(one, stream)
    assert list(await engine.presence.members(stream.pk)) == [one.client]
    assert await elsewhere(rows) == (0, 0)
    await engine.presence.write()
    assert await elsewhere(rows) == (1, 1)
    row = await elsewhere(Connection.objects.get)
    assert (str(row.pk), row.user_id, row.principal, row.address, row.agent) == (
        one.client,
        alice.user_id,
        alice.principal,
        "10.0.0.7",
        "agent",
    )
    engine.presence.unsubscribed(one, stream)
    await engine.presence.write()
    assert (await elsewhere(rows), await engine.presence.members(stream.pk)) == ((1, 0), {})
    engine.presence.disconnected(one)
    await engine.presence.write()
    assert await elsewhere(rows) == (0, 0)


async def test_only_the_last_state_between_two_writes_is_written(engine: Engine, stream: Stream) -> None:
    gone, back = member("gone"), member("back")
    for one in (gone, back):
        engine.presence.connected(one)
        engine.presence.subscribed(one, stream)
    engine.presence.disconnected(gone)
    engine.presence.unsubscribed(back, stream)
    engine.presence.subscribed(back, stream)
    await engine.presence.write()
    assert [str(row.connection_id) for row in await elsewhere(lambda: list(Presence.objects.all()))] == [back.client]


async def test_a_stream_without_presence_has_no_members(engine: Engine, stream: Stream) -> None:
    stream.presence = stream.join_leave = False
    one = member("alice")
    engine.presence.connected(one)
    engine.presence.subscribed(one, stream)
    await engine.presence.write()
    assert (await engine.presence.members(stream.pk), await elsewhere(rows)) == ({}, (1, 0))


def remove_stream(alice: int) -> None:
    Stream.objects.all().delete()


def remove_user(alice: int) -> None:
    User.objects.filter(pk=alice).delete()


@pytest.mark.parametrize("remove, left", [(remove_stream, (2, 0)), (remove_user, (1, 1))])
async def test_what_was_removed_meanwhile_does_not_keep_the_others_out(
    engine: Engine, stream: Stream, remove: Any, left: tuple[int, int]
) -> None:
    alice = await elsewhere(person, "alice")
    for one in (member("alice", alice.user_id), member("device")):
        engine.presence.connected(one)
        engine.presence.subscribed(one, stream)
    await elsewhere(remove, alice.user_id)
    await engine.presence.write()
    assert await elsewhere(rows) == left


async def test_a_write_that_failed_is_made_up_for_by_the_next(engine: Engine, stream: Stream) -> None:
    trouble = Trouble(OperationalError("database is locked"), "INTO realtime_connection")
    await trouble.befall(engine.journal)
    stays, goes = member("stays"), member("goes")
    for one in (stays, goes):
        engine.presence.connected(one)
        engine.presence.subscribed(one, stream)
    with pytest.raises(OperationalError):
        await engine.presence.write()
    engine.presence.disconnected(goes)
    trouble.error = None
    await engine.presence.write()
    assert [row.label for row in await elsewhere(lambda: list(Connection.objects.all()))] == ["stays"]
    assert await elsewhere(rows) == (1, 1)


async def test_who_comes_and_goes_while_nothing_can_be_written_leaves_nothing_behind(engine: Engine, stream: Stream) -> None:
    book = engine.presence
    await book.write()
    trouble = Trouble(OperationalError("database or disk is full"), "INTO realtime_connection")
    await trouble.befall(engine.journal)
    before, at_once, during, after = (member(name) for name in ("before", "at once", "during", "after"))

    def come(one: Member) -> None:
        book.connected(one)
        book.subscribed(one, stream)

    come(at_once)
    book.disconnected(at_once)
    come(during)
    come(after)
    writing = asyncio.create_task(book.write())
    await asyncio.sleep(0)
    book.disconnected(during)
    with pytest.raises(OperationalError):
        await writing
    book.disconnected(after)
    assert (book._connections, book._presence) == ({}, {})
    trouble.error = None
    come(before)
    await book.write()
    assert await elsewhere(rows) == (1, 1)
    book.disconnected(before)
    await book.write()
    assert await elsewhere(rows) == (0, 0)


async def test_the_heartbeat_goes_on_after_a_database_error(stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(presence, "WRITE_SECONDS", 0.01)
    async with running() as engine:
        trouble = Trouble(IntegrityError("no"), "realtime_serverprocess")
        await trouble.befall(engine.journal)
        await elsewhere(ServerProcess.objects.update, heartbeat=timezone.now() - timedelta(hours=1))
        # The beat that is due when the process starts has been written, or is in trouble by now.
        later = asyncio.create_task(engine.presence.run())
        await eventually(lambda: "Who is connected could not be written" in caplog.text)
        trouble.error = None
        await eventually(lambda: elsewhere(ServerProcess.objects.filter(presence.fresh()).exists))
        assert not later.done()
        later.cancel()
        await asyncio.gather(later, return_exceptions=True)


async def test_a_process_that_was_taken_for_dead_is_back_with_its_next_beat(engine: Engine) -> None:
    await elsewhere(ServerProcess.objects.all().delete)
    await engine.presence.write(beat=True)
    assert (await elsewhere(ServerProcess.objects.get)).pk == engine.presence.process_id


async def test_everything_of_a_process_goes_with_it(engine: Engine, stream: Stream) -> None:
    one = member("alice")
    engine.presence.connected(one)
    engine.presence.subscribed(one, stream)
    await engine.presence.write()
    await engine.presence.stop()
    assert (await elsewhere(rows), await elsewhere(ServerProcess.objects.count)) == ((0, 0), 0)


# Other processes


@pytest.mark.parametrize("alone, left", [(False, {"fresh"}), (True, set())])
def test_a_process_that_starts_clears_away_the_dead_and_all_others_when_it_is_alone(stream: Stream, alone: bool, left: set[str]) -> None:
    for name, age in (("fresh", 20), ("dead", 70)):
        present(stream, process(age), name)
    own = uuid.uuid4()
    presence.register(own, alone)
    assert set(Connection.objects.values_list("principal", flat=True)) == left
    assert Presence.objects.count() == len(left)
    assert ServerProcess.objects.filter(pk=own).exists()


async def test_with_redis_the_members_of_other_live_processes_are_told_too(engine: Engine, stream: Stream, settings: Any) -> None:
    mine = member("mine")
    engine.presence.connected(mine)
    engine.presence.subscribed(mine, stream)
    await engine.presence.write()
    theirs = await elsewhere(lambda: present(stream, process(20), "theirs"))
    await elsewhere(lambda: present(stream, process(70), "dead"))
    assert set(await engine.presence.members(stream.pk)) == {mine.client}
    settings.WIRELOG = {**settings.WIRELOG, "REDIS_URL": "redis://example"}
    members = await engine.presence.members(stream.pk)
    assert {client: info.user for client, info in members.items()} == {mine.client: "mine", str(theirs.pk): "theirs"}


def test_people_are_counted_and_not_tabs_or_devices(stream: Stream) -> None:
    alice, bob = person("alice"), person("bob")
    live, dead = process(0), process(70)
    for _ in range(3):
        present(stream, live, alice.principal, alice.user_id)
    present(stream, live, "key:ab")
    present(stream, dead, bob.principal, bob.user_id)
    other = Stream.objects.create(name="b")
    assert presence.people_by_stream([stream.pk, other.pk]) == {stream.pk: 1}
    present(other, live, bob.principal, bob.user_id)
    assert presence.people_by_stream([stream.pk, other.pk]) == {stream.pk: 1, other.pk: 1}
