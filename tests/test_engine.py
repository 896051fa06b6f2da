"""What one process runs: started once, ready or not, drained, stopped."""

import asyncio
import threading
from typing import Any

import pytest
import redis.exceptions
from channels.layers import InMemoryChannelLayer
from django.conf import settings as django_settings
from django.db import OperationalError

from realtime import engine as engine_module
from realtime import hints
from realtime.engine import Engine, current
from realtime.highwater import Highwater
from realtime.lock import AlreadyServing, ServeLock
from realtime.models import ServerProcess, Stream

from .core import Client, append, busy, cookie, elsewhere, head, person, running
from .waiting import SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def session_key(transactional_db: None) -> str:
    Stream.objects.create(name="room")
    person("alice")
    return cookie("alice")


def threads() -> list[str]:
    """Those of engines. That of the signals is the process's, and may be left by another test."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("wirelog") and name != "wirelog-signals"]


async def test_it_is_started_once_for_all_who_ask() -> None:
    async with running() as engine:
        found = await asyncio.gather(*(current() for _ in range(5)))
        assert set(map(id, found)) == {id(engine)}
        assert await elsewhere(ServerProcess.objects.count) == 1


async def test_a_second_server_is_refused_and_runserver_only_warned(caplog: pytest.LogCaptureFixture) -> None:
    other = ServeLock(django_settings.WIRELOG["DATA"], shared=False)
    other.take()
    with pytest.raises(AlreadyServing):
        await current()
    assert threads() == []
    engine = await current(lenient=True)
    assert "Another Wirelog server already uses" in caplog.text
    await engine.stop()
    other.release()
    # Who failed may try again.
    async with running():
        pass


@pytest.mark.parametrize("alone", [True, False])
async def test_rows_of_earlier_processes_go_at_once_only_when_it_is_alone(alone: bool) -> None:
    other = ServeLock(django_settings.WIRELOG["DATA"], shared=False)
    if not alone:
        other.take()
    await elsewhere(ServerProcess.objects.create, pk="00000000-0000-0000-0000-000000000001", host="other", pid=1)
    engine = await current(lenient=True)
    assert await elsewhere(ServerProcess.objects.count) == (1 if alone else 2)
    await engine.stop()
    other.release()


async def test_a_start_that_failed_leaves_nothing_behind_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Highwater) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(Highwater, "check", fail)
    with pytest.raises(OperationalError):
        await current()
    assert threads() == []
    monkeypatch.undo()
    async with running() as engine:
        await eventually(engine.ready)


async def test_stop_ends_the_threads_and_lets_go_of_everything(session_key: str) -> None:
    async with running() as engine:
        client = await Client(engine, session_key).connect()
        await client.ask("subscribe", channel="room")
        await engine.presence.write()
        assert len(threads()) >= 3
    assert threads() == []
    assert (client.closing, engine.sessions) == (3004, set())
    assert all(task.done() for task in engine._tasks)
    assert await elsewhere(ServerProcess.objects.count) == 0
    async with running() as another:
        assert another is not engine


# Ready


async def test_it_is_ready_while_database_and_layer_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as engine:
        await eventually(engine.ready)

        def fail() -> None:
            raise OperationalError

        monkeypatch.setattr(engine_module, "_ask_database", fail)
        assert not await engine.ready()


@pytest.mark.parametrize("error", [ConnectionError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError])
async def test_it_is_not_ready_while_the_layer_is_away(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    async with running() as engine:

        async def fail(*args: Any) -> None:
            raise error

        monkeypatch.setattr(InMemoryChannelLayer, "group_send", fail)
        assert not await engine.ready()


@pytest.mark.parametrize("end", ["drain", "fatal"])
async def test_it_is_not_ready_when_it_is_about_to_end(end: str) -> None:
    async with running() as engine:
        if end == "drain":
            await engine.drain(1)
        else:
            engine.fatal.set()
        assert not await engine.ready()


async def test_it_must_end_when_something_that_it_lives_by_has_failed(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async def fail(self: Engine) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "_turn_wheel", fail)
    async with running() as engine:
        await asyncio.wait_for(engine.fatal.wait(), SECONDS)
    assert "ZeroDivisionError" in caplog.text


# The end


async def test_a_drain_answers_what_is_in_flight_and_closes_with_3001(session_key: str) -> None:
    async with running() as engine:
        client = await Client(engine, session_key).connect()
        gate = await busy(engine.journal)
        await client.frame(client.command("publish", channel="room", data=1))
        draining = asyncio.create_task(engine.drain(SECONDS))
        for _ in range(50):
            await asyncio.sleep(0)
        # It waits for the commit.
        assert (engine.draining, client.closing, draining.done()) == (True, None, False)
        gate.set()
        await eventually(lambda: client.closing == 3001)
        assert (await client.reply(2))["publish"] == {}
        assert not draining.done()
        client.session.leave()
        await draining
        assert await elsewhere(head, "room") == 1


async def test_a_drain_closes_everybody(session_key: str) -> None:
    async with running() as engine:
        clients = [await Client(engine, session_key).connect() for _ in range(5)]
        draining = asyncio.create_task(engine.drain(1))
        await eventually(lambda: [client.closing for client in clients] == [3001] * 5)
        for client in clients:
            client.session.leave()
        await draining


async def test_a_drain_waits_for_nobody_longer_than_it_was_told(session_key: str) -> None:
    async with running() as engine:
        client = await Client(engine, session_key).connect()
        gate = await busy(engine.journal)
        await client.frame(client.command("publish", channel="room", data=1))
        await asyncio.wait_for(engine.drain(0.2), SECONDS)
        assert (client.closing, engine.journal.waiting) == (3001, 1)
        gate.set()


async def test_who_comes_during_a_drain_is_sent_away(session_key: str) -> None:
    async with running() as engine:
        await engine.drain(1)
        assert Client(engine, session_key).closing == 3001


# The layer


async def test_without_the_layer_subscribers_are_served_from_the_database(
    session_key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(engine_module, "LAYER_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(InMemoryChannelLayer, "receive", fail)
    monkeypatch.setattr(InMemoryChannelLayer, "group_send", fail)
    async with running() as engine:
        client = await Client(engine, session_key).connect()
        await client.ask("subscribe", channel="room")
        await elsewhere(append, "room", "1")
        await client.ask("publish", channel="room", data=2)
        assert await client.received(2) == [1, 2]
        assert "The channel layer is away" in caplog.text
        monkeypatch.undo()
        # It joins again by itself: from then on a hint tells of each record, and the database is not asked.
        await eventually(lambda: told_by_a_hint(engine, client))


async def test_after_a_hint_that_makes_no_sense_it_is_in_the_group_once(session_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another version, beside which this one runs for a while: what it has left would be kept for it without bound."""
    monkeypatch.setattr(engine_module, "LAYER_RETRY_SECONDS", 0.01)
    async with running() as engine:
        client = await Client(engine, session_key).connect()
        await client.ask("subscribe", channel="room")
        layer = hints.layer()
        await eventually(lambda: layer.groups)
        (before,) = layer.groups[hints.GROUP]
        engine.announce(b"?")
        await eventually(lambda: layer.groups.get(hints.GROUP) and before not in layer.groups[hints.GROUP])
        assert len(layer.groups[hints.GROUP]) == 1
        await eventually(lambda: told_by_a_hint(engine, client))


async def told_by_a_hint(engine: Engine, client: Client) -> bool:
    fills = engine.hub.fills
    await client.ask("publish", channel="room", data=1)
    await client.received(await elsewhere(head, "room"))
    return engine.hub.fills == fills


async def test_a_hint_reaches_subscribers_before_any_tick(session_key: str) -> None:
    async with running() as engine:
        engine._tick.stop()
        client = await Client(engine, session_key).connect()
        await client.ask("subscribe", channel="room")
        for number in range(1, 51):
            await client.ask("publish", channel="room", data=number)
        assert await client.received(50) == list(range(1, 51))
        assert engine.hub.fills == 0


async def test_the_wheel_turns_for_every_session(session_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "WHEEL_SECONDS", 0.01)
    async with running() as engine:
        clients = [Client(engine) for _ in range(3)]
        for client in clients:
            client.session._opened_at -= 60
        await eventually(lambda: [client.closing for client in clients] == [3502] * 3)
