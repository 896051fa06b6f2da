"""Publishes that are on their way: pipelined, bounded, and answered whatever becomes of their connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from realtime.engine import Engine
from realtime.errors import SHUTDOWN
from realtime.models import Stream
from realtime.session import Session

from .core import Client, append, busy, cookie, elsewhere, head, person, quiet
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """`room` holds three records."""
    Stream.objects.create(name="room")
    append("room", "1", "2", "3")
    person("alice")
    return {"alice": cookie("alice")}


async def test_publishes_are_answered_after_their_commit_and_hold_up_no_other_command(engine: Engine, alice: Client) -> None:
    gate = await busy(engine.journal)
    await alice.frame(*(alice.command("publish", channel="room", data=number) for number in range(3)))
    assert await alice.ask("history", channel="room")
    assert [message["id"] for message in alice.drain()[1:]] == [5]
    assert await elsewhere(head, "room") == 3
    gate.set()
    await alice.reply(4)
    assert alice.drain()[2:] == [{"id": number, "publish": {}} for number in (2, 3, 4)]
    assert await elsewhere(head, "room") == 6


async def test_over_so_many_publishes_in_flight_it_reads_no_further(engine: Engine, cookies: dict[str, str], settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "IN_FLIGHT": 2}
    client = await Client(engine, cookies["alice"]).connect()
    gate = await busy(engine.journal)
    reading = asyncio.create_task(client.frame(*(client.command("publish", channel="room", data=number) for number in range(5))))
    await eventually(lambda: engine.journal.waiting == 2)
    await quiet_without_flush()
    assert (engine.journal.waiting, reading.done()) == (2, False)
    gate.set()
    await reading
    await client.reply(6)
    assert await elsewhere(head, "room") == 8


async def quiet_without_flush() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_full_journal_is_a_temporary_error(engine: Engine, alice: Client) -> None:
    engine.journal._limit = 1
    gate = await busy(engine.journal)
    await alice.frame(*(alice.command("publish", channel="room", data=number) for number in range(2)))
    assert (await alice.reply(3))["error"] == {
        "code": 111,
        "message": "too many requests: the journal is full, try again in 1 s",
        "temporary": True,
    }
    gate.set()
    assert (await alice.reply(2))["publish"] == {}


async def test_what_was_published_before_the_end_is_stored(engine: Engine, alice: Client) -> None:
    gate = await busy(engine.journal)
    await alice.frame(alice.command("publish", channel="room", data=1))
    alice.session.leave()
    gate.set()
    await quiet(engine, alice)
    assert await elsewhere(head, "room") == 4


@pytest.mark.parametrize("end", [Session.leave, lambda session: session.close(SHUTDOWN)], ids=["it leaves", "it is closed"])
async def test_a_connection_that_ends_while_it_waits_for_room_ends_its_frame(
    engine: Engine, cookies: dict[str, str], settings: Any, end: Callable[[Session], None]
) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "IN_FLIGHT": 1}
    client = await Client(engine, cookies["alice"]).connect()
    gate = await busy(engine.journal)
    reading = asyncio.create_task(client.frame(*(client.command("publish", channel="room", data=number) for number in range(3))))
    await eventually(lambda: engine.journal.waiting == 1)
    end(client.session)
    await reading
    assert engine.journal.waiting == 1
    gate.set()
    await engine.journal.flush()
    # Only the one that was in the journal: the others were never begun.
    assert await elsewhere(head, "room") == 4
