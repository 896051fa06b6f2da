"""Every place that takes an API key, with each kind of key that must not come in. A new door is one line in the table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.utils import timezone

from realtime import operations
from realtime.api import METHODS
from realtime.audit import Actor
from realtime.models import ApiKey, Audience, Stream
from realtime.stream_api import ROUTES

from .core import Client, api_key, append
from .plainhttp import Door
from .waiting import eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)

ACTOR = Actor("cli:ops")
HOUR = timedelta(hours=1)


class Answer(NamedTuple):
    """What one may see of a refusal: the status or close code, the error code, and the sentence."""

    status: int
    code: int = 0
    sentence: str = ""


@dataclass
class House:
    http: Door

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        exchange = self.http.open(method, path, headers).give(body)
        # An answer that goes on for ever has begun.
        eventually_sync(lambda: exchange.sent)
        status = exchange.sent[0]["status"]
        if status == 200 and "events" in path:
            exchange.leave()
            return Answer(status)
        said = exchange.reply().json() if method == "POST" or status >= 400 else {}
        error = said.get("error", said)
        return Answer(status, error.get("code", 0), error.get("message", error.get("detail", "")))

    def connect(self, token: str) -> Answer:
        async def connect() -> Answer:
            client = Client(self.http.engine, token=token, origin=False)
            await client.frame(client.command("connect", token=token), client.command("subscribe", channel="room"))
            try:
                if client.session.closing is not None:
                    return Answer(client.session.closing.code, 0, client.session.closing.reason)
                error = (await client.reply(2)).get("error", {})
                return Answer(200, error.get("code", 0), error.get("message", ""))
            finally:
                client.session.leave()

        return self.http.run(connect())


@pytest.fixture
def house(transactional_db: None, settings: Any) -> Iterator[House]:
    # Who shows many wrong keys must wait else: tests/test_guesses.py.
    settings.WIRELOG = {**settings.WIRELOG, "RATE_LIMITS": False}
    # Everybody signed in may read and write: a key gets nothing from that.
    Stream.objects.create(name="room", readers=Audience.USERS, writers=Audience.USERS)
    append("room", "", blob=b"bytes", content_type="text/plain")
    with Door().opened() as http:
        yield House(http)


# Doors

Way = Callable[[str], dict[str, str]]
WAYS: dict[str, Way] = {
    "X-API-Key": lambda secret: {"X-API-Key": secret},
    "Bearer": lambda secret: {"Authorization": f"Bearer {secret}"},
    "apikey": lambda secret: {"Authorization": f"apikey {secret}"},
}
STREAM = "/api/streams/room/"
REQUESTS = [
    ("POST", "/api/publish", b'{"channel":"room","data":1}'),
    ("POST", "/api/history", b'{"channel":"room","limit":1}'),
    ("POST", STREAM + "records", b"1"),
    ("GET", STREAM + "records", b""),
    ("GET", STREAM + "latest", b""),
    ("GET", STREAM + "download", b""),
    ("GET", STREAM + "events", b""),
    ("GET", STREAM + "blobs/1", b""),
]


def asking(method: str, path: str, body: bytes, way: Way) -> Callable[[House, str], Answer]:
    return lambda house, secret: house.ask(method, path, way(secret), body)


DOORS = {"connect": House.connect} | {
    f"{method} {path} by {name}": asking(method, path, body, way) for method, path, body in REQUESTS for name, way in WAYS.items()
}


def test_the_table_has_every_route() -> None:
    assert {(route.method, STREAM + route.path) for route in ROUTES} <= {
        (method, path.replace("blobs/1", "blobs/")) for method, path, _ in REQUESTS
    }


# Keys


def altered(**fields: Any) -> str:
    return api_key("*", "read", "publish", **fields)


def rotated(overlap: timedelta) -> tuple[str, str]:
    old = altered()
    return old, operations.rotate(ACTOR, ApiKey.objects.latest("pk"), overlap)


def outlived() -> str:
    """The overlap of its rotation has passed."""
    old, _ = rotated(HOUR)
    ApiKey.objects.filter(pk=ApiKey.objects.latest("pk").pk).update(previous_until=timezone.now())
    return old


def nobodys() -> dict[str, str]:
    right = altered()
    return {
        "wrong": "wl_00000000_" + "x" * 43,
        "of no form": "secret",
        "right but for the end": right[:-1] + ("a" if right[-1] != "a" else "b"),
        "right but for the prefix": "wl_00000000_" + right.split("_", 2)[2],
        "expired": altered(expires=timezone.now()),
        "revoked": altered(revoked=timezone.now()),
        "rotated away": rotated(timedelta(0))[0],
        "rotated away an hour ago": outlived(),
    }


def test_a_key_that_is_not_valid_is_refused_the_same_whatever_is_wrong_with_it(house: House) -> None:
    secrets = nobodys()
    for name, door in DOORS.items():
        told = {kind: door(house, secret) for kind, secret in secrets.items()}
        assert len(set(told.values())) == 1, (name, told)
        assert (told["wrong"].status, told["wrong"].code) == ((3500, 0) if name == "connect" else (401, 101)), name
    assert Stream.objects.get().head == 1


def test_a_good_key_comes_in_with_both_secrets_of_an_overlap(house: House) -> None:
    secrets = (altered(expires=timezone.now() + HOUR), *rotated(HOUR))
    for name, door in DOORS.items():
        for secret in secrets:
            answer = door(house, secret)
            assert (answer.status in (200, 201), answer.code) == (True, 0), (name, answer)


def test_a_key_of_other_streams_finds_none_here(house: House) -> None:
    secrets = [api_key(pattern, "read", "publish") for pattern in ("other:*", "roo", "#*")]
    for name, door in DOORS.items():
        for secret in secrets:
            answer = door(house, secret)
            assert answer.code == 102, (name, answer)
            # As for a stream that is not there.
            assert "unknown stream 'room': it does not exist, or you may not read it" in answer.sentence, name
    assert Stream.objects.get().head == 1


def test_no_method_of_the_server_api_answers_a_key_that_is_not_valid(house: House) -> None:
    secrets = nobodys().values()
    for method in METHODS:
        told = {house.ask("POST", f"/api/{method}", {"X-API-Key": secret}, b"{}") for secret in secrets}
        assert [(answer.status, answer.code) for answer in told] == [(401, 101)], method
