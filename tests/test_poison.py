"""Nothing that a browser or PostgreSQL would refuse is stored, whichever door it comes to."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from realtime import publish
from realtime.engine import Engine
from realtime.errors import UnknownStream, WirelogError
from realtime.items import Item
from realtime.journal import Outcome
from realtime.models import Namespace, Record, Stream

from .core import Client, api_key
from .plainhttp import Door
from .poison import PAYLOADS, SOUND, TEXTS

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class House:
    """One server, and all its doors."""

    http: Door
    key: str
    monkeypatch: pytest.MonkeyPatch

    def post(self, path: str, body: bytes, content_type: str = "application/json", **headers: str) -> int:
        """The code of the error; 0 when it was taken."""
        reply = self.http.post(path, body, {"X-API-Key": self.key, "Content-Type": content_type} | headers)
        said = json.loads(reply.body)
        error = {} if not isinstance(said, dict) else said if "code" in said else said.get("error", {})
        return int(error.get("code", 0))

    def send(self, command: bytes) -> int:
        """The same over a WebSocket; 3501 when the connection is closed."""

        async def send() -> int:
            client = await Client(self.http.engine, token=self.key, origin=False).connect()
            try:
                await client.session.receive(b'{"id":2,' + command + b"}")
                if client.closing is not None:
                    return client.closing
                reply = await client.reply(2)
                return int(reply.get("error", {}).get("code", 0))
            finally:
                client.session.leave()

        return self.http.run(send())

    def command(self, *arguments: str, stdin: bytes = b"") -> int:
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            call_command("publish", "room", *arguments, stdout=io.StringIO(), stderr=io.StringIO())
        except CommandError:
            return 107
        return 0


@pytest.fixture
def house(transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[House]:
    settings.WIRELOG = {**settings.WIRELOG, "RATE_LIMITS": False}
    Stream.objects.create(name="room")
    with Door().opened() as http:
        yield House(http, api_key("*", "read", "publish"), monkeypatch)


# What each door is given in place of a payload. A new door is one line.
RECORDS = "/api/streams/room/records"
DOORS: dict[str, Callable[[House, bytes], int]] = {
    "publish": lambda house, data: house.send(b'"publish":{"channel":"room","data":' + data + b"}"),
    "rpc publish": lambda house, data: house.send(b'"rpc":{"method":"publish","data":{"stream":"room","data":' + data + b"}}"),
    "/api/publish": lambda house, data: house.post("/api/publish", b'{"channel":"room","data":' + data + b"}"),
    "/api/broadcast": lambda house, data: house.post("/api/broadcast", b'{"channels":["room"],"data":' + data + b"}"),
    "/api/rpc": lambda house, data: house.post("/api/rpc", b'{"method":"publish","params":{"stream":"room","data":' + data + b"}}"),
    "records": lambda house, data: house.post(RECORDS, data),
    "records, atomic": lambda house, data: house.post(f"{RECORDS}?atomic=1", b'{"data":' + data + b"}", "application/x-ndjson"),
    "manage.py publish": lambda house, data: house.command(data.decode("utf-8", "surrogateescape")),
}
MANY: dict[str, Callable[[House, bytes], int]] = {
    "/api/batch": lambda house, data: house.post("/api/batch", b'{"commands":[{"publish":{"channel":"room","data":' + data + b"}}]}"),
    "records, lines": lambda house, data: house.post(RECORDS, b'{"data":' + data + b"}", "application/x-ndjson"),
    "records, a list": lambda house, data: house.post(f"{RECORDS}?batch=1", b'[{"data":' + data + b"}]"),
    "manage.py publish -": lambda house, data: house.command("-", stdin=data),
}


@pytest.mark.parametrize("door", [*DOORS.values(), *MANY.values()], ids=[*DOORS, *MANY])
def test_a_poisoned_payload_is_refused_and_a_sound_one_comes_back_as_it_was(house: House, door: Callable[[House, bytes], int]) -> None:
    told = {name: door(house, data) for name, data in PAYLOADS.items()}
    assert list(Record.objects.values_list("data", flat=True)) == []
    if door in DOORS.values():
        assert {name: code for name, code in told.items() if code not in (107, 3501)} == {}
    assert {name: code for name, data in SOUND.items() if (code := door(house, data))} == {}
    assert list(Record.objects.order_by("offset").values_list("data", flat=True)) == [data.decode() for data in SOUND.values()]


# Short texts


def labelled(field: str, text: str) -> dict[str, Any]:
    return {"tags": {text: "a"}} if field == "tag" else {"tags": {"a": text}} if field == "tag value" else {field: text}


def rpc(house: House, fields: dict[str, Any]) -> int:
    params = {"method": "publish", "data": {"stream": "room", "data": 1} | fields}
    return house.send(b'"rpc":' + json.dumps(params).encode())


def api(house: House, fields: dict[str, Any]) -> int:
    return house.post("/api/publish", json.dumps({"channel": "room", "data": 1} | fields).encode())


def lines(house: House, fields: dict[str, Any]) -> int:
    return house.post(f"{RECORDS}?atomic=1", json.dumps({"data": 1} | fields).encode(), "application/x-ndjson")


def from_django(house: House, fields: dict[str, Any]) -> int:
    try:
        publish("room", 1, **fields)
    except WirelogError as error:
        return error.code
    return 0


FIELDS = ("key", "idempotency_key", "tag", "tag value")


@pytest.mark.parametrize("door", [rpc, api, lines, from_django])
def test_poison_in_a_label_is_refused_at_every_door(house: House, door: Callable[[House, dict[str, Any]], int]) -> None:
    for field in FIELDS:
        told = {name: door(house, labelled(field, text)) for name, text in TEXTS.items()}
        # What is not even JSON closes a WebSocket.
        assert {name: code for name, code in told.items() if code not in (107, 3501)} == {}, field
        assert door(house, labelled(field, "żółć 🎈")) == 0
    assert Record.objects.count() == len(FIELDS)


@pytest.mark.parametrize("option", ["--key", "--idempotency-key"])
def test_poison_in_an_option_is_refused(house: House, option: str) -> None:
    assert {name: code for name, text in TEXTS.items() if not (code := house.command("1", option, text))} == {}
    assert {name: code for name, text in TEXTS.items() if not (code := house.command("-", option, text, stdin=b"1\n2\n"))} == {}
    assert Record.objects.count() == 0


SPOILT = [
    ["streams", "create", "room2", "--title", "a\udcff"],
    ["streams", "archive", "\udcff"],
    ["apikey", "create", "\udcff", "--scope", "*=read"],
    ["apikey", "revoke", "\udcff", "--noinput"],
    ["namespace", "set", "\udcff"],
    ["namespace", "set", "a", "kind=\udcff"],
    ["publish", "\udcff", "1"],
    ["publish", "room", '"\udcff"'],
    ["tail", "\udcff"],
]


@pytest.mark.parametrize("arguments", SPOILT, ids=" ".join)
def test_an_argument_in_another_encoding_is_refused_in_a_sentence(transactional_db: None, arguments: list[str]) -> None:
    Stream.objects.create(name="room")
    with pytest.raises(CommandError, match=r"\\udcff.* is not UTF-8\. Nothing was changed\."):
        call_command(*arguments, stdout=io.StringIO())
    assert Record.objects.count() == 0


HEADERS = {"Idempotency-Key": "{}", "Wirelog-Key": "{}", "Wirelog-Tags": "a={}", "Content-Type": "text/plain; a={}"}


@pytest.mark.parametrize("name, value", HEADERS.items())
def test_poison_in_a_header_is_refused(house: House, name: str, value: str) -> None:
    for text in TEXTS.values():
        # What UTF-8 has no form for is sent in the form that it would have.
        sent = value.format(text).encode("utf-8", "surrogatepass")
        reply = house.http.open("POST", RECORDS, {"X-API-Key": house.key}, raw=[(name.lower().encode(), sent)]).give(b"1").reply()
        assert (reply.status, reply.json()["code"]) == (400, 107), text
    assert Record.objects.count() == 0


DJANGO: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": [float("-inf")],
    "NUL": "a\0",
    "NUL in a name": {"\0": 1},
    "a lone surrogate": {"a": "\ud800"},
    "an integer beyond a double": 10**310,
    "an integer of many digits": 10**5_000,
    "an object": object(),
    "bytes": b"a",
    "a set": {1},
    "no name": {(1, 2): 3},
}


def nested(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


def test_django_code_is_told_what_cannot_be_json(house: House) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for name, value in (DJANGO | {"too deep": nested(65), "far too deep": nested(100_000), "a circle": circle}).items():
        with pytest.raises(WirelogError, match="bad request: data "):
            publish("room", value)
        assert Record.objects.count() == 0, name
    publish("room", [nested(63), "\u2028", timedelta(seconds=1)])
    assert Record.objects.count() == 1


@pytest.mark.parametrize(
    "field, value",
    [
        ("key", 5),
        ("key", b"a"),
        ("tags", {"a": 1}),
        ("tags", {1: "a"}),
        ("device_time", -1),
        ("device_time", 2**63),
        ("content_type", "a\r\nb"),
    ],
)
def test_one_callers_mistake_fails_alone(house: House, field: str, value: Any) -> None:
    outcomes = house.http.run(together(house.http.engine, {field: value}))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Appended", "BadRequest", "Appended"]
    assert list(Record.objects.order_by("offset").values_list("data", flat=True)) == ["1", "3"]


async def together(engine: Engine, fields: dict[str, Any]) -> list[Outcome]:
    bad: Any = Item("room", "2", **fields)
    return await engine.journal.append_all([Item("room", "1"), bad, Item("room", "3")])


# Names of streams

NAMES = {**TEXTS, "a path": "../room", "a slash": "room/1", "a blank": "a b", "another alphabet": "röm", "129 characters": "x" * 129}
NAMED = {
    "subscribe": {"channel": "?"},
    "unsubscribe": {"channel": "?"},
    "publish": {"channel": "?", "data": 1},
    "history": {"channel": "?", "limit": 1},
    "presence": {"channel": "?"},
    "presence_stats": {"channel": "?"},
    "rpc": {"method": "publish", "data": {"stream": "?", "data": 1}},
}


@pytest.mark.parametrize("method", NAMED)
def test_what_cannot_name_a_stream_is_a_bad_request_of_every_command(house: House, method: str) -> None:
    Namespace.objects.get_or_create(name="")
    for shown, name in NAMES.items():
        request = json.dumps(NAMED[method]).replace('"?"', json.dumps(name))
        code = house.send(f'"{method}":{request}'.encode())
        assert code == (3501 if "surrogate" in shown else 107), shown
    assert list(Stream.objects.values_list("name", flat=True)) == ["room"]


def test_what_cannot_name_a_stream_is_unknown_to_django_code_and_commands(house: House) -> None:
    for name in NAMES.values():
        with pytest.raises(UnknownStream) as refused:
            publish(name, 1)
        assert len(str(refused.value)) < 1_000
        with pytest.raises(CommandError, match=r"There is no stream|is not UTF-8"):
            call_command("publish", name, "1", stdout=io.StringIO())
