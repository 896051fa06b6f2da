"""Limits of a connection, as its client meets them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime.engine import Engine
from realtime.models import Stream
from realtime.outbox import Outbox

from . import core
from .core import Client, api_key, append, cookie, elsewhere, head, person, running
from .frames import taken
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = {
    "CONNECTIONS": 5,
    "CONNECTIONS_PER_USER": 2,
    "COMMANDS_PER_SECOND": 1,
    "COMMAND_BURST": 5,
    "PUBLISHES_PER_SECOND": 1,
    "PUBLISH_BURST": 3,
    "BAD_MESSAGES_PER_MINUTE": 2,
}


@pytest.fixture
def cookies(transactional_db: None, settings: Any) -> dict[str, str]:
    settings.WIRELOG = {**settings.WIRELOG, **LIMITS}
    Stream.objects.create(name="room")
    for name in ("alice", "bob"):
        person(name)
    return {name: cookie(name) for name in ("alice", "bob")}


@pytest.fixture
async def engine(cookies: dict[str, str]) -> AsyncIterator[Engine]:
    async with running() as found:
        # No time passes: a slow machine would let more through.
        found.rates.clock = lambda: 0.0
        yield found


async def connected(client: Client) -> int | None:
    """The code of the close that answers its connect, if one does."""
    await client.frame(client.command("connect", token=client.token))
    return client.closing


# Connections


async def test_a_person_has_so_many_connections_and_a_place_that_is_left_is_free(
    engine: Engine, alice: Client, cookies: dict[str, str]
) -> None:
    assert await connected(Client(engine, cookies["alice"])) is None
    refused = Client(engine, cookies["alice"])
    assert (await connected(refused), refused.drain()) == (3504, [])
    # Its own end takes nobody's place.
    refused.session.leave()
    assert await connected(Client(engine, cookies["alice"])) == 3504
    assert await connected(Client(engine, cookies["bob"])) is None
    alice.session.leave()
    assert await connected(Client(engine, cookies["alice"])) is None


async def test_who_comes_back_before_its_old_connection_is_known_to_be_gone_is_let_in_in_the_end(engine: Engine) -> None:
    secret = await elsewhere(api_key, "*", "read", max_connections=1)

    def device() -> Client:
        return Client(engine, token=secret, origin=False)

    old = await device().connect()
    old.drain()
    old.session.heard -= 20
    assert await device().ask("connect", token=secret) == 111
    # It was asked, and is there after all.
    assert taken(old.session.outbox, engine.loop.time()) == "{}"
    await old.session.receive("{}")
    assert await connected(device()) == 3504
    # And now it is not.
    old.session.heard -= 20
    assert await device().ask("connect", token=secret) == 111
    assert taken(old.session.outbox, engine.loop.time()) == "{}"
    old.session.tick(engine.loop.time() + 9)
    assert old.closing == 3012
    old.session.leave()
    assert await connected(device()) is None


@pytest.mark.parametrize("most, let_in", [(1, 1), (3, 3), (0, 4)])
async def test_a_key_has_its_own_limit(engine: Engine, most: int, let_in: int) -> None:
    secret = await elsewhere(api_key, "*", "read", max_connections=most)
    codes = [await connected(Client(engine, token=secret, origin=False)) for _ in range(4)]
    assert codes == [None] * let_in + [3504] * (4 - let_in)


async def test_the_process_holds_so_many_with_those_that_have_said_nothing(engine: Engine, cookies: dict[str, str]) -> None:
    silent = [Client(engine) for _ in range(5)]
    assert [client.closing for client in silent] == [None] * 5
    assert Client(engine, cookies["alice"]).closing == 3504


# Rates


async def test_a_command_over_the_rate_is_refused_for_a_moment(alice: Client) -> None:
    await alice.frame(*(alice.command("presence", channel="room") for _ in range(6)))
    assert [("error" in await alice.reply(number)) for number in range(2, 8)] == [False] * 5 + [True]
    error = (await alice.reply(7))["error"]
    assert (error["code"], error["temporary"]) == (111, True)
    assert error["message"].startswith("too many requests: a connection may send 1 commands a second, try again in ")


@pytest.mark.parametrize("method", ["publish", "rpc"])
async def test_the_publishes_of_a_person_are_counted_together(engine: Engine, alice: Client, cookies: dict[str, str], method: str) -> None:
    other = await Client(engine, cookies["alice"]).connect()
    bob = await Client(engine, cookies["bob"]).connect()

    async def publish(client: Client) -> Any:
        if method == "rpc":
            return await client.rpc("publish", stream="room", data=1)
        return await client.ask("publish", channel="room", data=1)

    answers = [await publish(client) for client in (alice, other, alice, other, alice, bob)]
    assert [answer if answer == 111 else "stored" for answer in answers] == ["stored"] * 3 + [111] * 2 + ["stored"]
    assert await elsewhere(head, "room") == 4


async def test_a_key_publishes_at_its_own_rate(engine: Engine) -> None:
    for most, stored in ((1, 5), (0, 10)):
        secret = await elsewhere(api_key, "room", "publish", publish_rate=most)
        device = await Client(engine, token=secret, origin=False).connect()
        answers = [await device.ask("publish", channel="room", data=1) for _ in range(10)]
        assert answers == [{}] * stored + [111] * (10 - stored)


@pytest.mark.parametrize("method, request_", [("presence", {"channel": "room"}), ("publish", {"channel": "room", "data": 1})])
async def test_who_takes_no_notice_of_it_is_closed_and_may_come_back(
    engine: Engine, alice: Client, cookies: dict[str, str], method: str, request_: dict[str, Any]
) -> None:
    await alice.frame(*(alice.command(method, **request_) for _ in range(30)))
    assert alice.closing == 3013
    alice.session.leave()
    assert await connected(Client(engine, cookies["alice"])) is None


BAD = [
    ("subscribe", {"channel": "../room"}),
    ("publish", {"channel": "room"}),
    # Only the transaction finds these.
    ("rpc", {"method": "publish", "data": {"stream": "room", "data": 1, "key": "\n"}}),
]


@pytest.mark.parametrize("method, request_", BAD, ids=["before", "at the door", "in the journal"])
async def test_too_many_bad_messages_end_it_for_good(alice: Client, method: str, request_: dict[str, Any]) -> None:
    for _ in range(2):
        assert await alice.ask(method, **request_) == 107
    assert alice.closing is None
    await alice.frame(alice.command(method, **request_))
    await eventually(lambda: alice.closing == 3509)
    # The last one is answered as well.
    assert (await alice.reply(4))["error"]["code"] == 107


# Sizes


async def test_a_payload_over_the_limit_is_refused_and_the_connection_stays(settings: Any, alice: Client) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "PAYLOAD_BYTES": 10}
    assert await alice.ask("publish", channel="room", data="x" * 9) == 413
    assert await alice.ask("publish", channel="room", data="x" * 8) == {}


@pytest.fixture
async def cramped(cookies: dict[str, str], settings: Any) -> AsyncIterator[Engine]:
    """An engine of small outboxes and frames."""
    settings.WIRELOG = {**settings.WIRELOG, "RATE_LIMITS": False, "OUTBOX_BYTES": 4_000, "FRAME_BYTES": 500}
    async with running() as found:
        yield found


async def test_replies_that_nobody_reads_overflow_the_outbox(cramped: Engine, cookies: dict[str, str]) -> None:
    client = Client(cramped, cookies["alice"])
    await client.connect()
    for _ in range(200):
        await client.frame(client.command("presence", channel="room"))
    assert client.closing == 3008


async def test_publications_wait_in_the_database_and_leave_in_small_frames(
    cramped: Engine, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await Client(cramped, cookies["alice"]).connect()
    await client.ask("subscribe", channel="room")
    await elsewhere(append, "room", *(str(number) for number in range(300)))
    outbox = client.session.outbox
    await eventually(lambda: outbox.waiting > 2_000)
    waited, sizes = [outbox.waiting], [0]

    def watched(outbox: Outbox, now: float) -> str | None:
        waited.append(outbox.waiting)
        frame = taken(outbox, now)
        sizes.append(len(frame or ""))
        return frame

    monkeypatch.setattr(core, "taken", watched)
    assert await client.received(300) == list(range(1, 301))
    assert max(waited) <= 4_000
    # A ping may follow the last message.
    assert max(sizes) <= 503
