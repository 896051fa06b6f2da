"""Who may do what, at every door: each command, method and route, for each kind of identity, in a stream of their own, in one that is none
of their business, and in one that does not exist. The last two must look the same, down to the queries.

What is needed is `access.RIGHTS`; what there is comes from the tables of the code. What has no row fails. Pages and the admin are in
test_access_matrix_pages.py.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from project.users.models import User
from realtime import api, engine, highwater, rpc_registry, stream_api, stream_events, tick
from realtime.access import RIGHTS, Right
from realtime.models import Audience, Namespace, Stream
from realtime.session import Session

from .cast import FOREIGN, KEYS, MISSING, OWN, PEOPLE, Cast, Queries, everybody, hide, rows, verdict
from .core import Client, answer
from .plainhttp import Door

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def door(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    # What is read in the background would stand among the queries.
    for module, interval in ((engine, "WHEEL_SECONDS"), (highwater, "NOTE_SECONDS"), (tick, "TICK_SECONDS")):
        monkeypatch.setattr(module, interval, 3_600)
    with Door().opened() as found:
        yield found


Ask = Callable[[str], dict[str, Any]]


def channel(**more: Any) -> Ask:
    return lambda stream: {"channel": stream, **more}


def rpc(name: str, params: str = "data", **more: Any) -> Ask:
    return lambda stream: {"method": name, params: {"stream": stream, **more}}


# WebSocket

# How one asks for it of a stream.
COMMANDS: dict[str, Ask] = {
    "subscribe": channel(),
    "publish": channel(data=1),
    "presence": channel(),
    "presence_stats": channel(),
    "history": channel(limit=10),
    "unsubscribe": channel(),
    "sub_refresh": channel(),
}
# Of no stream, or the end of the connection.
OTHER_COMMANDS = {"connect", "rpc", "send", "refresh"}
RPC = {
    "publish": rpc("publish", data=1),
    "latest": rpc("latest"),
    "series": rpc("series"),
    "mark_read": rpc("mark_read", offset=0),
    "names": rpc("names", principals=["1"]),
    "streams": rpc("streams"),
}


def client_of(door: Door, cast: Cast, kind: str) -> Client:
    return Client(door.engine, cast.sessions.get(kind, ""), cast.secrets.get(kind, ""))


def asked(client: Client, command: str, request: dict[str, Any]) -> Callable[[], Any]:
    async def ask() -> Any:
        message = client.command(command, **request)
        await client.frame(message)
        return await client.reply(message["id"])

    return lambda: client.engine and ask()


def code_of(reply: dict[str, Any]) -> int:
    found = answer(reply)
    return found if isinstance(found, int) else 0


def test_every_command_and_rpc_method_has_a_row() -> None:
    assert rows("command").keys() == Session._handlers.keys() == COMMANDS.keys() | OTHER_COMMANDS
    assert rows("rpc").keys() == rpc_registry.METHODS.keys() == RPC.keys()


@everybody
def test_commands(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    client = client_of(door, cast, kind)
    door.run(client.connect())
    commands = [(f"command {name}", name, ask) for name, ask in COMMANDS.items()]
    for asking, command, ask in [*commands, *((f"rpc {name}", "rpc", ask) for name, ask in RPC.items())]:
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            reply, statements = queries.during(lambda: door.run(asked(client, command, ask(stream))()))  # noqa: B023
            expected = 108 if command == "sub_refresh" else verdict(kind, stream, RIGHTS[asking])
            assert (asking, stream, code_of(reply)) == (asking, stream, expected)
            found[stream] = hide(json.dumps(reply)), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], asking
        if Right.SIGNED_IN in RIGHTS[asking] and kind not in PEOPLE:
            assert found[FOREIGN] == (found[OWN][0], [])


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "key in scope", "operator"])
def test_the_personal_stream_of_somebody_else_looks_like_that_of_nobody(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    client = client_of(door, cast, kind)
    door.run(client.connect())
    other = f"#{User.objects.get(username='somebody else').pk}"
    for command, request in (("subscribe", {}), ("publish", {"data": 1}), ("history", {"limit": 1})):
        found = []
        for stream in (other, "#999999"):
            reply, statements = queries.during(lambda: door.run(asked(client, command, {"channel": stream, **request})()))  # noqa: B023
            assert (command, stream, code_of(reply)) == (command, stream, 102)
            found.append((hide(json.dumps(reply)).replace(stream, "*"), statements))
        assert found[0] == found[1], command


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "key out of scope"])
def test_a_namespace_tells_nothing_to_whom_it_would_not_let_create(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    """Whom it would, it lets find out which names are taken: that is what creating on first use means."""
    Namespace.objects.create(name="lab", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    Stream.objects.create(name="lab:vault", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    client = client_of(door, cast, kind)
    door.run(client.connect())
    for command, request in (("subscribe", {}), ("publish", {"data": 1}), ("history", {"limit": 1})):
        found = []
        for stream in ("lab:vault", "lab:nowhere"):
            reply, statements = queries.during(lambda: door.run(asked(client, command, {"channel": stream, **request})()))  # noqa: B023
            assert (command, stream, code_of(reply)) == (command, stream, 102)
            found.append((hide(json.dumps(reply)), statements))
        assert found[0] == found[1], command


# The server API, for keys only

API: dict[str, Ask] = {
    "publish": channel(data=1),
    "broadcast": lambda stream: {"channels": [stream], "data": 1},
    "presence": channel(),
    "presence_stats": channel(),
    "history": channel(limit=10),
    "history_remove": channel(),
    "unsubscribe": channel(user="1"),
    "subscribe": channel(user="1"),
    "disconnect": channel(user="1"),
    "refresh": channel(user="1"),
    "info": lambda stream: {},
    "channels": lambda stream: {"pattern": stream},
    "rpc": rpc("latest", "params"),
    "batch": lambda stream: {"commands": [{"history": {"channel": stream, "limit": 10}}, {"presence": {"channel": stream}}]},
}
# What those are judged by that only pass on.
PASSED_ON = {"rpc": Right.READ, "batch": Right.READ}


def test_every_method_of_the_api_has_a_row() -> None:
    assert rows("api").keys() == api.METHODS.keys() == API.keys()


def codes_of(answered: dict[str, Any]) -> set[int]:
    """Of the answer, and of those within it."""
    replies = answered.get("replies") or answered.get("result", {}).get("responses") or [answered]
    return {reply.get("error", {"code": 0})["code"] for reply in replies}


@pytest.mark.parametrize("kind", KEYS)
def test_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"X-API-Key": cast.secrets[kind], "Content-Type": "application/json"}
    for name, ask in API.items():
        needs = PASSED_ON.get(name, RIGHTS[f"api {name}"])
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            body = json.dumps(ask(stream)).encode()
            reply, statements = queries.during(lambda: door.post(f"/api/{name}", body, headers))  # noqa: B023
            assert (name, stream, codes_of(json.loads(reply.body))) == (name, stream, {verdict(kind, stream, needs)})
            found[stream] = reply.status, hide(reply.body.decode()), statements
        assert found[FOREIGN] == found[MISSING], name


def test_one_stream_of_a_broadcast_tells_nothing_of_the_others(door: Door, cast: Cast) -> None:
    headers = {"X-API-Key": cast.secrets["key in scope"]}
    reply = door.post("/api/broadcast", json.dumps({"channels": [OWN, FOREIGN, MISSING], "data": 1}).encode(), headers)
    own, foreign, missing = json.loads(reply.body)["result"]["responses"]
    assert own["result"]["offset"] == 2
    assert foreign["error"]["code"] == 102
    assert hide(json.dumps(foreign)) == hide(json.dumps(missing))


@pytest.mark.parametrize("kind", ["anonymous", *sorted(PEOPLE)])
def test_nobody_but_a_key_uses_the_api(door: Door, cast: Cast, queries: Queries, kind: str) -> None:
    headers = {"Cookie": f"sessionid={cast.sessions.get(kind, '')}", "Origin": "http://testserver"}
    for name in API:
        reply, statements = queries.during(lambda: door.post(f"/api/{name}", b"{}", headers))  # noqa: B023
        assert (name, reply.status, statements) == (name, 401, [])


def test_what_the_table_alone_enforces() -> None:
    """Rights on a stream the code judges too, so their rows are compared. To loosen one of these would change both sides at once."""
    general = Right.SIGNED_IN | Right.EVERYTHING
    alone = {asked for asked, right in RIGHTS.items() if right & general and not asked.startswith("page")}
    assert alone == {"rpc mark_read", "rpc names", "api subscribe", "api disconnect", "api refresh", "api info"}


# Plain HTTP

# Not JSON, so the route has no blob: who may read hears that the record is not there.
TARGETS = {"blobs/": "blobs/1"}


def test_every_route_has_a_row() -> None:
    assert {f"{verb} {path}" for verb in ("GET", "POST") for path in rows(verb)} == {
        f"{route.method} {route.path}" for route in stream_api.ROUTES
    }


@everybody
def test_routes(door: Door, cast: Cast, queries: Queries, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # An answer that ends with its first event; tests/test_stream_events.py reads the others.
    monkeypatch.setattr(stream_events, "MAX_SECONDS", 0)
    headers = {"X-API-Key": cast.secrets[kind]} if kind in KEYS else {"Origin": "http://testserver"}
    if kind in PEOPLE:
        headers["Cookie"] = f"sessionid={cast.sessions[kind]}"
    for verb, path in ((route.method, route.path) for route in stream_api.ROUTES):
        needs = RIGHTS[f"{verb} {path}"]
        found = {}
        for stream in (OWN, FOREIGN, MISSING):
            target = f"/api/streams/{stream}/{TARGETS.get(path, path)}"
            body = b"1" if verb == "POST" else b""
            reply, statements = queries.during(lambda: door.ask(verb, target, body, headers))  # noqa: B023
            assert (verb, path, stream, reply.status) == (verb, path, stream, status(kind, stream, needs, path))
            found[stream] = reply.status, hide(reply.body.decode()), statements
        if kind != "operator":
            assert found[FOREIGN] == found[MISSING], path


def status(kind: str, stream: str, needs: Right, path: str) -> int:
    code = verdict(kind, stream, needs)
    if code and kind == "anonymous":
        return 401
    if code:
        return {102: 404, 103: 403}[code]
    return {"records": 201 if needs is Right.PUBLISH else 200, "blobs/": 404}.get(path, 200)
