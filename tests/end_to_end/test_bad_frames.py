"""Bad input gets a clear answer and changes nothing: the same on both servers."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ..waiting import SECONDS
from .servers import RunningServer
from .wireclient import WireClient

MANY = 129


@pytest.fixture(autouse=True)
def bystander(shared_server: RunningServer) -> Iterator[WireClient]:
    """Somebody else, whom none of this may touch; and nothing may be stored."""
    before = heads(shared_server)
    with WireClient(shared_server, session="alice") as client:
        client.subscribe()
        yield client
        assert "history" in client.call("history", {"channel": "lobby"})
        assert not [push for push in client.pushes if "pub" in push]
    assert heads(shared_server) == before
    assert "Traceback" not in shared_server.log()


def heads(server: RunningServer) -> tuple[int, int]:
    with closing(sqlite3.connect(server.data / "wirelog.sqlite3")) as database:
        row: tuple[int, int] = database.execute("SELECT (SELECT count(*) FROM realtime_record), sum(head) FROM realtime_stream").fetchone()
        return row


def closed(client: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the server ends it, after whatever it sends before."""
    with pytest.raises(ConnectionClosed) as caught:
        read_on(client)
    assert caught.value.rcvd is not None, "The connection was lost without a close frame."
    return caught.value.rcvd.code, caught.value.rcvd.reason


def read_on(client: ClientConnection) -> None:
    while True:
        client.recv(SECONDS)


CONNECT = '{"id":1,"connect":{}}'
DEEP = '{"id":2,"rpc":{"method":"publish","data":{"stream":"lobby","data":' + "[" * 100_000 + "]" * 100_000 + "}}}"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(["{nonsense"], id="malformed JSON"),
        pytest.param(["[]"], id="not an object"),
        pytest.param(['{"id":"x","connect":{}}'], id="wrong type"),
        pytest.param([""], id="empty frame"),
        pytest.param([CONNECT, ""], id="empty frame later"),
        pytest.param([b"\xff\xfe"], id="bad UTF-8"),
        pytest.param([CONNECT, '{"id":2,"nope":{}}'], id="unknown command"),
        pytest.param([CONNECT, '{"id":2,"ping":{}}'], id="ping as a command"),
        pytest.param([CONNECT, '{"publish":{"channel":"lobby","data":1}}'], id="no id"),
        pytest.param([CONNECT, '{"id":-1,"presence":{"channel":"lobby"}}'], id="negative id"),
        pytest.param([CONNECT, '{"id":2,"publish":{"channel":"","data":1}}'], id="no stream"),
        pytest.param(['{"id":1,"publish":{"channel":"lobby","data":1}}'], id="command before connect"),
        pytest.param([CONNECT, CONNECT], id="second connect"),
        pytest.param([CONNECT + "\n" + '{"id":2,"publish":{"channel":"lobby","data":NaN}}'], id="NaN"),
        pytest.param([CONNECT, DEEP], id="100,000 levels"),
    ],
)
def test_a_frame_that_makes_no_sense_is_closed_with_3501(shared_server: RunningServer, frames: list[str | bytes]) -> None:
    with shared_server.connect("alice") as client:
        for frame in frames:
            client.send(frame)
        assert closed(client) == (3501, "bad request")


@pytest.mark.parametrize("key", ["expired", "revoked"])
def test_a_key_that_ended_is_closed_with_3500(shared_server: RunningServer, key: str) -> None:
    check_token(shared_server, shared_server.cast.keys[key])


def test_a_wrong_key_is_closed_with_3500(shared_server: RunningServer) -> None:
    right = shared_server.cast.keys["device"]
    for wrong in ("x", "wl_", right[:-1], right[:-1] + "!", "wl_zzzz_" + "a" * 43):
        check_token(shared_server, wrong)


def check_token(server: RunningServer, token: str) -> None:
    with server.connect() as client:
        client.send(json.dumps({"id": 1, "connect": {"token": token}}))
        assert closed(client) == (3500, "invalid token")


def test_no_credential_is_closed_with_3501(shared_server: RunningServer) -> None:
    for options in ({}, {"origin": shared_server.url}):
        with shared_server.connect(**options) as client:
            client.send(CONNECT)
            assert closed(client) == (3501, "bad request")


def origins(server: RunningServer) -> list[str]:
    host = f"{server.host}:{server.port}"
    return [
        *("null", "http://evil.example", f"https://{host}", f"http://{server.host}:{server.port + 1}"),
        *(f"http://{server.host}.evil.example:{server.port}", f"http://evil.example/{host}", f"http://x{host}", f"http://alice@{host}"),
    ]


def test_a_foreign_origin_is_closed_with_3507(shared_server: RunningServer) -> None:
    for origin in origins(shared_server):
        with shared_server.connect("alice", origin=origin) as client:
            assert closed(client) == (3507, "permission denied"), origin


def test_a_cookie_without_an_origin_is_closed_with_3507(shared_server: RunningServer) -> None:
    with shared_server.connect("alice", origin=None) as client:
        assert closed(client) == (3507, "permission denied")


def test_a_bad_host_is_closed_with_3507(shared_server: RunningServer) -> None:
    # A browser that a foreign name has led here.
    path = socket.create_connection((shared_server.host, shared_server.port))
    headers = {"Cookie": shared_server.cookie("alice")}
    options: dict[str, Any] = {"open_timeout": SECONDS, "sock": path, "origin": "http://evil.example", "additional_headers": headers}
    with connect("ws://evil.example/connection/websocket", **options) as client:
        assert closed(client) == (3507, "permission denied")


def test_a_path_that_is_no_endpoint_is_closed_with_3501(shared_server: RunningServer) -> None:
    with connect(f"ws://{shared_server.host}:{shared_server.port}/elsewhere", open_timeout=SECONDS) as client:
        assert closed(client)[0] == 3501


def send_too_much(client: ClientConnection) -> None:
    # It may learn of the end while it still sends.
    client.send(" " * 1_048_577)
    read_on(client)


def test_a_message_over_the_limit_is_closed_with_1009(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "device") as client:
        with pytest.raises(ConnectionClosed) as caught:
            send_too_much(client.socket)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_a_payload_over_the_limit_is_refused_and_the_socket_stays(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "device") as client:
        large = "x" * 131_072
        assert client.error("publish", {"channel": "lobby", "data": large}) == 413
        assert client.error("rpc", {"method": "publish", "data": {"stream": "lobby", "data": large}}) == 413
        assert "presence" in client.call("presence", {"channel": "lobby"})


def publish(**params: Any) -> tuple[str, dict[str, Any]]:
    return "rpc", {"method": "publish", "data": {"stream": "lobby", "data": 1} | params}


NOTHING = {"channel": "nope"}
DEEP_VALUE = json.loads("[" * 70 + "]" * 70)
REFUSED: list[tuple[int, str, dict[str, Any]]] = [
    (102, "subscribe", NOTHING),
    (102, "publish", NOTHING | {"data": 1}),
    (102, *publish(stream="nope")),
    (102, "history", NOTHING),
    (102, "presence", NOTHING),
    (102, "presence_stats", NOTHING),
    (104, "rpc", {"method": "nope"}),
    (107, "publish", {"channel": "lobby"}),
    (107, *publish(stream=1)),
    (107, *publish(data="\0")),
    (107, *publish(idempotency_key="x" * 201)),
    (107, *publish(key="a\nb")),
    (107, *publish(tags={"a": 1})),
    (107, *publish(expect_offset=-1)),
    (107, *publish(data=DEEP_VALUE)),
    (107, "history", {"channel": "lobby", "limit": 1, "reverse": True, "since": {"offset": 0}}),
    (108, "subscribe", {"channel": "lobby", "type": 1}),
    (113, *publish(expect_offset=1_000_000)),
]


def test_a_command_that_cannot_be_done_is_answered_with_its_error(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "device") as client:
        assert [client.error(method, params) for _, method, params in REFUSED] == [code for code, _, _ in REFUSED]


def test_publishing_without_the_right_to_is_103(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "reader") as client:
        assert client.error("publish", {"channel": "lobby", "data": 1}) == 103
        assert client.error(*publish()) == 103
        assert client.subscribe()["recoverable"]


@pytest.mark.parametrize("name", ["a\nb", "../etc/passwd", "a\u202eb", "x" * 10_240, "\0", ".a", "a/b", "a b", "лобби", "#", "lobby\n"])
def test_a_name_that_none_can_have_is_107(shared_server: RunningServer, name: str) -> None:
    with WireClient(shared_server, "device") as client:
        assert client.error("subscribe", {"channel": name}) == 107
        assert client.error("publish", {"channel": name, "data": 1}) in (102, 107)


def test_a_second_subscribe_is_105_and_the_first_goes_on(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "device") as client:
        client.subscribe()
        assert client.error("subscribe", {"channel": "lobby"}) == 105
        assert client.hello["client"] in client.here()


def test_one_subscription_too_many_is_106(shared_server: RunningServer) -> None:
    make = f"Stream.objects.bulk_create(Stream(name=f'many:{{number}}') for number in range({MANY}))"
    made = shared_server.manage("shell", "-c", f"from realtime.models import Stream; {make}")
    assert made.returncode == 0, made.stderr
    with WireClient(shared_server, "device") as client:
        numbers = [client.send("subscribe", {"channel": f"many:{number}"}) for number in range(MANY)]
        replies = [client.reply(number) for number in numbers]
        assert all("subscribe" in reply for reply in replies[:-1])
        assert replies[-1]["error"]["code"] == 106
        client.call("unsubscribe", {"channel": "many:0"})
        assert client.subscribe(f"many:{MANY - 1}")["recoverable"]


def test_an_unsolicited_pong_is_ignored(shared_server: RunningServer) -> None:
    with WireClient(shared_server, "device") as client:
        client.socket.send("{}")
        client.socket.send("{}\n{}")
        assert client.subscribe()["recoverable"]
