"""Records of ephemeral streams, which wait for nobody's commit."""

from typing import Any

import pytest

from realtime.engine import Engine
from realtime.models import Audience, Stream

from .core import Client, cookie, elsewhere, head, person, write_lock
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    Stream.objects.create(name="cursors", durable=False, max_payload=100)
    for name in ("alice", "bob"):
        person(name)
    return {name: cookie(name) for name in ("alice", "bob")}


async def client(engine: Engine, cookie: str) -> Client:
    found = await Client(engine, cookie).connect()
    await found.ask("subscribe", channel="cursors")
    return found


@pytest.fixture
async def alice(engine: Engine, cookies: dict[str, str]) -> Client:
    return await client(engine, cookies["alice"])


@pytest.fixture
async def bob(engine: Engine, cookies: dict[str, str]) -> Client:
    return await client(engine, cookies["bob"])


async def save(**fields: Any) -> None:
    """Change the stream as an operator does, so that notices tell of it."""

    def change() -> None:
        stream = Stream.objects.get(name="cursors")
        for name, value in fields.items():
            setattr(stream, name, value)
        stream.save(update_fields=[*fields])

    await elsewhere(change)


async def test_it_reaches_everybody_while_another_process_holds_the_write_lock(alice: Client, bob: Client) -> None:
    with write_lock():
        assert await alice.ask("publish", channel="cursors", data={"x": 1}) == {}
        assert await alice.rpc("publish", stream="cursors", data={"x": 2}, key="alice") == {}
        await bob.received(2)
    first, second = bob.pushes("pub")
    assert (first["data"], second["data"], second["key"]) == ({"x": 1}, {"x": 2}, "alice")
    assert first["info"]["client"] == alice.session.client
    assert await alice.received(2) == [0, 0]


async def test_who_may_not_write_any_more_is_refused(engine: Engine, alice: Client, bob: Client) -> None:
    assert await alice.ask("publish", channel="cursors", data=1) == {}
    turn = engine.control.turn
    await save(writers=Audience.MEMBERS)
    await eventually(lambda: engine.control.turn > turn)
    assert await alice.ask("publish", channel="cursors", data=2) == 103
    assert len(bob.pushes("pub")) <= 1


async def test_a_stream_that_became_durable_keeps_its_records(engine: Engine, alice: Client) -> None:
    assert await alice.ask("publish", channel="cursors", data=1) == {}
    turn = engine.control.turn
    await save(durable=True)
    await eventually(lambda: engine.control.turn > turn)
    assert (await alice.rpc("publish", stream="cursors", data=2))["offset"] == 1
    assert await elsewhere(head, "cursors") == 1


async def test_what_is_too_large_is_refused_and_leaves_nothing_under_way(alice: Client, bob: Client) -> None:
    assert await alice.ask("publish", channel="cursors", data="x" * 101) == 413
    assert await alice.rpc("publish", stream="cursors", data=1, expect_offset=0) == 107
    assert alice.session.in_flight.empty
    assert bob.pushes("pub") == []


async def test_the_last_subscriber_takes_the_short_way_along(engine: Engine, alice: Client) -> None:
    assert engine.hub.ephemeral == {"cursors"}
    await alice.ask("unsubscribe", channel="cursors")
    assert engine.hub.ephemeral == set()
    assert await alice.ask("publish", channel="cursors", data=1) == {}
