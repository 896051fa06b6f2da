"""The document of the WebSocket is compared with the code, and with what a connection really says."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator

from realtime import asyncapi, errors, protocol, routing
from realtime.engine import Engine
from realtime.errors import Close, Unsubscribe, WirelogError
from realtime.models import Stream

from . import core
from .communicators import Communicator
from .core import Client, api_key, elsewhere
from .machine import ROOT
from .waiting import eventually

DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi.DOCUMENT)
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS: dict[str, Any] = DOCUMENT["operations"]
OFFICIAL = ROOT / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


def validator(schema: dict[str, Any]) -> Draft7Validator:
    """References are those of the whole document."""
    return Draft7Validator(schema | {"components": DOCUMENT["components"]})


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def target(reference: str) -> Any:
    node: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def body(message: str) -> tuple[str, dict[str, Any]]:
    """The method of a command or reply, and the schema of its fields."""
    properties = dict(MESSAGES[message]["payload"]["properties"])
    properties.pop("id", None)
    ((name, schema),) = properties.items()
    return name, target(schema["$ref"]) if "$ref" in schema else schema


# The document itself


def test_it_is_a_valid_document() -> None:
    if not OFFICIAL.exists():
        pytest.skip("@asyncapi/specs is not installed; make dev installs it")
    Draft7Validator(json.loads(OFFICIAL.read_text())).validate(DOCUMENT)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    found = set(references(DOCUMENT))
    assert all(target(reference) is not None for reference in found)
    defined = {f"#/components/{kind}/{name}" for kind in ("messages", "schemas") for name in DOCUMENT["components"][kind]}
    assert defined <= found


def test_every_message_of_the_channel_is_used_by_an_operation() -> None:
    channel = {f"#/channels/connection/messages/{name}" for name in DOCUMENT["channels"]["connection"]["messages"]}
    assert channel == {reference for reference in references(OPERATIONS) if "/messages/" in reference}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_an_example_that_fits(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        validator(MESSAGES[name]["payload"]).validate(example["payload"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[name])


async def test_it_is_served_to_everybody() -> None:
    scope = {"type": "http", "method": "GET", "path": "/api/asyncapi.yaml", "headers": [(b"host", b"any.example")]}
    client: Any = Communicator(routing.Application(None), scope)  # type: ignore[no-untyped-call]
    await client.send_input({"type": "http.request", "body": b""})
    start, content = await client.receive_output(), await client.receive_output()
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (200, b"application/yaml; charset=utf-8")
    assert content["body"] == asyncapi.DOCUMENT


# The code


def test_every_command_is_there_and_no_other() -> None:
    received = {name for name, operation in OPERATIONS.items() if operation["action"] == "receive"}
    assert received == set(protocol.METHODS)
    assert {name: body(name)[0] for name in received} == {name: name for name in received}


@pytest.mark.parametrize("method", ["connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "rpc"])
def test_a_command_has_the_fields_that_are_read(method: str) -> None:
    struct = next(kind for kind in protocol.Command.__annotations__[method].__args__ if kind is not type(None))
    assert body(method)[1]["properties"].keys() == set(struct.__struct_fields__)


@pytest.mark.parametrize(
    "schema, struct",
    [
        ("ConnectResult", protocol.ConnectResult),
        ("SubscribeResult", protocol.SubscribeResult),
        ("HistoryResult", protocol.HistoryResult),
        ("PresenceResult", protocol.PresenceResult),
        ("PresenceStatsResult", protocol.PresenceStatsResult),
        ("RpcResult", protocol.RpcResult),
        ("Empty", protocol.Empty),
        ("ClientInfo", protocol.ClientInfo),
        ("Position", protocol.Position),
    ],
)
def test_a_result_has_the_fields_that_are_sent(schema: str, struct: type[msgspec.Struct]) -> None:
    assert SCHEMAS[schema].get("properties", {}).keys() == set(struct.__struct_fields__)


def test_a_publication_has_the_fields_that_are_sent() -> None:
    full = protocol.Publication(7, "{}", 5, "3", "client", "key", True, '{"a":"b"}', 4)
    assert SCHEMAS["Publication"]["properties"].keys() == json.loads(protocol.publication(full)).keys()


def codes(schema: str) -> dict[int, str]:
    return {entry["const"]: entry["title"] for entry in SCHEMAS[schema]["oneOf"]}


def test_every_error_is_there_with_what_it_means() -> None:
    assert codes("ErrorCode") == {error.code: error.__name__ for error in WirelogError.__subclasses__()}
    temporary = {entry["const"] for entry in SCHEMAS["ErrorCode"]["oneOf"] if entry["description"].startswith("Temporary.")}
    assert temporary == {error.code for error in WirelogError.__subclasses__() if error.temporary}


@pytest.mark.parametrize("schema, kind", [("CloseCode", Close), ("UnsubscribeCode", Unsubscribe)])
def test_every_code_that_ends_something_is_there(schema: str, kind: type[Close | Unsubscribe]) -> None:
    assert codes(schema) == {found.code: found.reason for found in vars(errors).values() if isinstance(found, kind)}


# What is really said

OUT = {"oneOf": [{"$ref": f"#/components/messages/{name}/payload"} for name in MESSAGES if name not in protocol.METHODS]}


@pytest.fixture
async def engine(transactional_db: None) -> AsyncIterator[Engine]:
    await Stream.objects.aget_or_create(name="lobby")
    await Stream.objects.aget_or_create(name="fleeting", defaults={"durable": False})
    async with core.running() as found:
        yield found


@pytest.mark.django_db(transaction=True)
async def test_all_that_a_connection_says_is_in_the_document(engine: Engine) -> None:
    client = Client(engine, token=await elsewhere(api_key, "*", "read", "publish"))
    await client.ask("connect", token=client.token)
    for name in ("lobby", "fleeting"):
        await client.ask("subscribe", channel=name, join_leave=True)
    labels = {"key": "door", "tags": {"unit": "C"}, "device_time": 5}
    await client.rpc("publish", stream="lobby", data={"t": 1.5}, **labels)
    await client.rpc("publish", stream="lobby", data=None, key="door", removed=True)
    for method, request in (
        ("publish", {"channel": "lobby", "data": 1}),
        ("publish", {"channel": "fleeting", "data": 2}),
        ("publish", {"channel": "nowhere", "data": 3}),
        ("presence", {"channel": "lobby"}),
        ("presence_stats", {"channel": "lobby"}),
        ("history", {"channel": "lobby", "limit": -1}),
        ("rpc", {"method": "streams"}),
        ("rpc", {"method": "no.such"}),
        ("sub_refresh", {}),
        ("unsubscribe", {"channel": "lobby"}),
        ("subscribe", {"channel": "lobby", "recover": True, "offset": 1, "join_leave": True}),
    ):
        await client.ask(method, **request)
    other = await Client(engine, token=client.token).connect()
    await other.ask("subscribe", channel="lobby")
    await other.ask("unsubscribe", channel="lobby")
    await eventually(lambda: client.pushes("leave"))
    client.session.end("lobby", errors.INSUFFICIENT_STATE)
    await eventually(lambda: client.pushes("unsubscribe"))
    said = client.drain()
    check = validator(OUT)
    for message in said:
        check.validate(message)
    kinds = {next(name for name in MESSAGES if name not in protocol.METHODS and fits(name, message)) for message in said}
    assert kinds == MESSAGES.keys() - set(protocol.METHODS) - {"ping"}


def fits(name: str, message: Any) -> bool:
    return bool(validator(MESSAGES[name]["payload"]).is_valid(message))
