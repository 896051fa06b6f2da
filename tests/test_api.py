"""`/api/<method>` without a server: the door, the rights that open each method, and batches of them."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest

from realtime import api, operations, routing
from realtime.access import ANONYMOUS, RIGHTS, Right
from realtime.audit import Actor
from realtime.engine import Engine
from realtime.models import ApiKey, AuditEntry, Stream

from .api_calls import ALL, Refused, call, key_of, refused
from .communicators import Communicator
from .core import append, busy, elsewhere
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def streams(transactional_db: None) -> None:
    for name in ("room", "news", "secret"):
        Stream.objects.create(name=name)
    Stream.objects.create(name="quiet", presence=False)


# Rights


# A request of each method that the right key may make.
REQUESTS = {name: method.example for name, method in api.METHODS.items()} | {
    "broadcast": {"channels": ["lobby"], "data": 1},
    "disconnect": {"user": "7"},
}
ACTIONS = {Right.READ: "read", Right.PUBLISH: "publish", Right.MANAGE: "manage", Right.EVERYTHING: "manage"}
NEEDS = {name: ACTIONS[RIGHTS[f"api {name}"]] for name in api.METHODS if RIGHTS[f"api {name}"] is not Right.ANYONE}
ON_STREAM = [name for name in NEEDS if RIGHTS[f"api {name}"] is not Right.EVERYTHING]
EVERYWHERE = [name for name in NEEDS if RIGHTS[f"api {name}"] is Right.EVERYTHING]


def code_of(answer: Any) -> int | None:
    """That of the error, also of the one response of a broadcast."""
    if isinstance(answer, Refused):
        return answer.code
    responses = answer.get("responses", [{}])
    return responses[0].get("error", {}).get("code") if responses else None


@pytest.mark.parametrize("method, action", NEEDS.items())
async def test_the_right_of_its_row_and_no_other_opens_a_method(engine: Engine, method: str, action: str) -> None:
    await elsewhere(Stream.objects.get_or_create, name="lobby")
    others = {"read", "publish", "manage"} - {action}
    assert code_of(await call(engine, method, who=key_of("*", *others), **REQUESTS[method])) in (102, 103)
    assert code_of(await call(engine, method, who=ANONYMOUS, **REQUESTS[method])) in (102, 103)
    assert code_of(await call(engine, method, who=key_of("*", action), **REQUESTS[method])) in (None, 108)


@pytest.mark.parametrize("method", EVERYWHERE)
async def test_what_concerns_everything_takes_a_key_for_everything(engine: Engine, method: str) -> None:
    expected = (103, "permission denied: you may not manage '*'")
    assert await refused(engine, method, who=key_of("lobby*", "manage"), **REQUESTS[method]) == expected


@pytest.mark.parametrize("method", ON_STREAM)
async def test_a_stream_that_is_hidden_looks_like_a_missing_one(engine: Engine, method: str) -> None:
    other = key_of("room", "read", "publish", "manage")
    answers = []
    for name in ("secret", "nowhere"):
        request = REQUESTS[method] | ({"channels": [name]} if method == "broadcast" else {"channel": name})
        answers.append(json.dumps(str(await call(engine, method, who=other, **request))).replace(name, "NAME"))
    assert answers[0] == answers[1]
    assert "unknown stream" in answers[0]


# batch


async def test_a_batch_answers_each_command_in_order_without_a_wrapper(engine: Engine) -> None:
    commands = [
        {"publish": {"channel": "room", "data": 1}},
        {"publish": {"channel": "nowhere", "data": 1}},
        {"publish": {"channel": "room", "data": 2}},
        {"history": {"channel": "room"}},
        {"publish": {"channel": "room", "data": 3}},
        {"presence_stats": {"channel": "quiet"}},
        {"history": {"channel": "room", "limit": 9}},
    ]
    replies = (await call(engine, "batch", commands=commands, parallel=True))["replies"]
    assert [replies[0]["publish"]["offset"], replies[2]["publish"]["offset"], replies[4]["publish"]["offset"]] == [1, 2, 3]
    assert [replies[1]["error"]["code"], replies[5]["error"]["code"]] == [102, 108]
    assert replies[3]["history"]["offset"] == 2
    assert [publication["data"] for publication in replies[6]["history"]["publications"]] == [1, 2, 3]


async def test_the_publishes_of_a_batch_share_a_transaction(engine: Engine) -> None:
    before = engine.journal.batches
    # Until all of them are queued.
    gate = await busy(engine.journal)
    commands = [{"publish": {"channel": "room", "data": number}} for number in range(50)]
    calling = asyncio.create_task(call(engine, "batch", commands=commands))
    await eventually(lambda: engine.journal.waiting == 50)
    gate.set()
    assert [reply["publish"]["offset"] for reply in (await calling)["replies"]] == list(range(1, 51))
    assert engine.journal.batches == before + 1


@pytest.mark.parametrize(
    "command, code, message",
    [
        (7, 107, "bad request: commands must each be an object with one method"),
        ({}, 107, "bad request: commands must each be an object with one method"),
        ({"info": {}, "channels": {}}, 107, "bad request: commands must each be an object with one method"),
        ({"nothing": {}}, 104, "unknown method 'nothing'"),
        ({'"': {}}, 104, "unknown method"),
        ({"batch": {"commands": []}}, 104, "unknown method 'batch'"),
        ({"publish": 7}, 107, "bad request: body must be `object`, got `int`"),
        ({"publish": {"data": 1}}, 107, "bad request: channel is missing"),
        ({"refresh": {"user": "1"}}, 108, "not available: "),
    ],
)
async def test_a_bad_command_of_a_batch_gets_its_own_error(engine: Engine, command: Any, code: int, message: str) -> None:
    publish = {"publish": {"channel": "room", "data": 1}}
    replies = (await call(engine, "batch", commands=[publish, command, publish]))["replies"]
    assert [replies[0]["publish"]["offset"], replies[2]["publish"]["offset"]] == [1, 2]
    assert replies[1]["error"]["code"] == code
    assert replies[1]["error"]["message"].startswith(message)


async def test_bytes_that_are_no_text_fail_their_command_alone(engine: Engine) -> None:
    wrong = (b'{"history":{"channel":"\xff"}}', b'{"publish":{"channel":"room","data":"\xff"}}')
    body = b'{"commands":[{"publish":{"channel":"room","data":1}},%b,%b]}' % wrong
    replies = json.loads(await api.run(engine, ALL, "batch", api.METHODS["batch"], body))["replies"]
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 107, 107]


async def test_a_batch_reads_no_more_than_fits_an_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_REPLIES", 2_000)
    await elsewhere(append, "room", *[f'"{"x" * 400}"'] * 4)
    replies = (await call(engine, "batch", commands=[{"history": {"channel": "room", "limit": 9}}] * 3))["replies"]
    assert [reply.get("error", {}).get("message") for reply in replies] == [
        None,
        None,
        "limit exceeded: at most 2000 bytes of replies to one batch",
    ]


# The door


async def post(path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    status, _, content = await ask(path, body, **headers)
    return status, json.loads(content)


async def ask(path: str, body: bytes, **headers: str) -> tuple[int, dict[bytes, bytes], bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "client": ("192.0.2.9", 4711),
        "headers": [(b"host", b"testserver"), *((name.encode(), value.encode()) for name, value in headers.items())],
    }
    client: Any = Communicator(routing.Application(None), scope)  # type: ignore[no-untyped-call]
    await client.send_input({"type": "http.request", "body": body})
    start = await client.receive_output()
    content = (await client.receive_output())["body"]
    await client.wait()
    return start["status"], dict(start["headers"]), content


@pytest.mark.parametrize(
    "path, body, status, code",
    [
        ("history", {"channel": "nowhere"}, 404, 102),
        ("publish", {"channel": "secret", "data": 1}, 404, 102),
        ("publish", {"channel": "news", "data": 1}, 403, 103),
        ("info", {}, 403, 103),
        ("rpc", {"method": "nothing"}, 404, 104),
        ("publish", {"channel": 7}, 400, 107),
        ("presence", {"channel": "quiet"}, 400, 108),
        ("history", {"channel": "room", "limit": 1, "since": {"epoch": "other"}}, 416, 112),
        ("publish", {"channel": "room", "data": 1, "expect_offset": 9}, 409, 113),
        ("publish", {"channel": "room", "data": "x" * 140_000}, 413, 413),
    ],
)
async def test_errors_are_told_in_the_body_or_as_the_client_wants_by_the_status(
    engine: Engine, path: str, body: Any, status: int, code: int
) -> None:
    actions = {"room": ["read", "publish"], "news": ["read"], "quiet": ["read"]}
    scopes = [{"pattern": pattern, "actions": allowed} for pattern, allowed in actions.items()]
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=scopes)
    sent = json.dumps(body).encode()
    told, answer = await post(f"/api/{path}", sent, **{"x-api-key": key})
    assert (told, answer["error"]["code"]) == (200, code)
    assert await post(f"/api/{path}", sent, **{"x-api-key": key, "x-centrifugo-error-mode": "transport"}) == (status, answer)


async def test_a_call_that_came_too_early_is_told_when_to_come_back(engine: Engine) -> None:
    scopes = [{"pattern": "room", "actions": ["publish"]}]
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=scopes, publish_rate=1)
    # More than a slow machine gives back before the next call.
    sent = json.dumps({"channels": ["room"] * 500, "data": 1}).encode()
    assert (await post("/api/broadcast", sent, **{"x-api-key": key}))[0] == 200
    status, headers, _ = await ask("/api/broadcast", sent, **{"x-api-key": key, "x-centrifugo-error-mode": "transport"})
    assert status == 429
    assert 400 < int(headers[b"retry-after"]) <= 500


async def test_a_deed_is_noted_with_the_address_that_it_came_from(engine: Engine) -> None:
    _, key = await elsewhere(ApiKey.generate, name="key", scopes=[{"pattern": "*", "actions": ["manage"]}])
    for method, body in (
        ("disconnect", {"user": "7"}),
        ("unsubscribe", {"user": "7", "channel": "room"}),
        ("history_remove", {"channel": "room"}),
    ):
        assert (await post(f"/api/{method}", json.dumps(body).encode(), **{"x-api-key": key}))[1] == {"result": {}}
    noted = await elsewhere(lambda: dict(AuditEntry.objects.values_list("action", "address")))
    assert noted == dict.fromkeys(("connection.disconnect", "connection.unsubscribe", "stream.history_remove"), "192.0.2.9")


async def test_a_key_that_is_in_use_ends_when_it_is_revoked(engine: Engine) -> None:
    key, secret = await elsewhere(ApiKey.generate, name="key", scopes=[{"pattern": "room", "actions": ["publish"]}])
    body = json.dumps({"channel": "room", "data": 1}).encode()

    async def status() -> int:
        return (await post("/api/publish", body, **{"x-api-key": secret}))[0]

    assert [await status() for _ in range(3)] == [200, 200, 200]
    await elsewhere(operations.revoke, Actor("cli:test"), key)
    await eventually(lambda: ended(status()))


async def ended(status: Awaitable[int]) -> bool:
    return await status == 401
