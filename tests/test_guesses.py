"""Who shows wrong API keys has to wait, at every door; who has shown a right one has not."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from realtime import guesses
from realtime.credentials import Credential
from realtime.engine import Engine
from realtime.errors import TooManyRequests
from realtime.guesses import Guesses
from realtime.models import ApiKey, Stream
from realtime.reads import THREADS
from realtime.routing import route

from .clock import Clock
from .core import Client, api_key, elsewhere, running

HERE, THERE = "198.51.100.7", "203.0.113.9"


def key(name: str) -> Credential:
    return Credential("key", name, name * 64)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(settings: Any, clock: Clock) -> Guesses:
    settings.WIRELOG = {**settings.WIRELOG, "WRONG_KEYS_PER_MINUTE": 3}
    return Guesses(clock)


def show(door: Guesses, address: str | None, name: str, right: bool = False) -> bool:
    """Whether the key was looked at."""
    try:
        door.admit(address, key(name))
    except TooManyRequests:
        return False
    door.note(address, key(name), right)
    return True


def test_after_some_wrong_keys_an_address_has_to_wait(door: Guesses, clock: Clock) -> None:
    assert [show(door, HERE, name) for name in "abcd"] == [True, True, True, False]
    with pytest.raises(TooManyRequests, match="an address may show 3 wrong API keys a minute, try again in 20 s"):
        door.admit(HERE, key("e"))
    assert show(door, THERE, "f")
    clock.now += 21
    assert [show(door, HERE, name) for name in "gh"] == [True, False]


def test_a_key_that_was_right_before_is_not_held_up_by_its_neighbour(door: Guesses) -> None:
    assert show(door, HERE, "good", right=True)
    assert [show(door, HERE, "bad") for _ in range(4)] == [True, True, True, False]
    assert show(door, HERE, "good", right=True)
    # Once it is wrong, since it was revoked, it is a wrong one like any other.
    assert show(door, HERE, "good")
    assert not show(door, HERE, "good")


def test_one_host_has_a_whole_network_of_ipv6(door: Guesses) -> None:
    assert [show(door, f"2001:db8:1:2::{number}", "a") for number in range(4)] == [True, True, True, False]
    assert show(door, "2001:db8:1:3::1", "a")


def test_what_is_remembered_is_bounded(door: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "MAX_ADDRESSES", 5)
    monkeypatch.setattr(guesses, "MAX_KEYS", 5)
    for number in range(100):
        show(door, f"10.0.0.{number}", "bad")
        show(door, f"10.0.1.{number}", f"good{number}", right=True)
    assert (len(door._buckets), len(door._known)) == (5, 5)


@pytest.mark.parametrize("setting, value", [("WRONG_KEYS_PER_MINUTE", 0), ("RATE_LIMITS", False)])
def test_without_a_limit_nobody_has_to_wait(settings: Any, clock: Clock, setting: str, value: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, setting: value}
    assert all(show(Guesses(clock), None, "a") for _ in range(100))


# The doors


@pytest.fixture
async def engine(transactional_db: None, settings: Any) -> AsyncIterator[Engine]:
    settings.WIRELOG = {**settings.WIRELOG, "WRONG_KEYS_PER_MINUTE": 3}
    await elsewhere(Stream.objects.create, name="room")
    async with running() as found:
        yield found


Door = Any


async def by_socket(engine: Engine, secret: str) -> int:
    client = Client(engine, token=secret, origin=False)
    await client.frame(client.command("connect", token=secret))
    return client.closing or 200


async def by_http(engine: Engine, secret: str, method: str, path: str) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[dict[str, Any]] = []
    headers = [(b"host", b"testserver"), (b"x-api-key", secret.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers, "client": ("10.0.0.7", 1)}
    requests = [{"type": "http.request", "body": b'{"channel":"room"}'}]

    async def receive() -> dict[str, Any]:
        # After the body the client only listens.
        return requests.pop() if requests else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await route(scope)(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body)


async def by_api(engine: Engine, secret: str) -> int:
    status, headers, body = await by_http(engine, secret, "POST", "/api/info")
    if status == 429:
        assert int(headers[b"retry-after"]) > 0
        assert body["error"]["code"] == 111
    return status


async def by_stream(engine: Engine, secret: str) -> int:
    status, headers, body = await by_http(engine, secret, "GET", "/api/streams/room/records")
    if status == 429:
        assert int(headers[b"retry-after"]) > 0
        assert body["code"] == 111
    return status


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door, wrong, wait", [(by_socket, 3500, 3013), (by_api, 401, 429), (by_stream, 401, 429)])
async def test_every_door_counts_and_lets_the_right_key_in(
    engine: Engine, door: Door, wrong: int, wait: int, caplog: pytest.LogCaptureFixture
) -> None:
    good, later = await elsewhere(api_key, "*", "read", "manage"), await elsewhere(api_key, "*", "read", "manage")
    assert await door(engine, good) == 200
    bad = good[:-1] + ("x" if good[-1] != "x" else "y")
    assert [await door(engine, bad) for _ in range(4)] == [wrong, wrong, wrong, wait]
    assert await door(engine, good) == 200
    assert await door(engine, later) == wait
    # The doors count together.
    assert await by_api(engine, bad) == 429
    assert not any(secret in caplog.text for secret in (good, bad, later))


@pytest.mark.django_db(transaction=True)
async def test_a_right_prefix_with_a_wrong_rest_is_as_many_queries_as_a_wrong_prefix(engine: Engine) -> None:
    queries: list[str] = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        # The mark of the database is read in these threads, too.
        if ApiKey._meta.db_table in sql:
            queries.append(sql)
        return execute(sql, params, many, context)

    good = await elsewhere(api_key, "*", "read")
    # A thread that came later would count nothing.
    everybody = threading.Barrier(THREADS)
    await asyncio.gather(*(engine.reads.run(everybody.wait) for _ in range(THREADS)))
    for reader in engine.reads._connections:
        reader.execute_wrappers.append(count)
    assert await by_api(engine, good + "x") == 401
    assert await by_api(engine, "wl_00000000_x") == 401
    first, second = queries
    assert first == second
