"""`/api/…`, `/healthz` and `/readyz`, as programs and probes meet them."""

import http.client
import json
import socket
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from ..waiting import SECONDS, eventually_sync
from .servers import RunningServer

PUBLISH = "/api/publish"
LIMIT = 1_048_576


def publish(server: RunningServer, key: str = "device", **body: Any) -> Any:
    answer = server.post(PUBLISH, {"channel": "lobby"} | body, key)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def head(server: RunningServer) -> int:
    """Offset of the last record of the lobby."""
    return int(publish(server, data="head")["result"]["offset"])


# Probes


@pytest.mark.parametrize("path, body", [("/healthz", b"ok\n"), ("/readyz", b"ready\n")])
def test_probes_answer_under_any_host(shared_server: RunningServer, path: str, body: bytes) -> None:
    for host in ("localhost", "evil.example", "10.0.0.1:1"):
        # One that takes too long, as on a busy machine, is told that the server is not ready.
        eventually_sync(lambda host=host: probed(shared_server, path, host) == (200, body, "no-store"))  # type: ignore[misc]


def probed(server: RunningServer, path: str, host: str) -> tuple[int, bytes, str]:
    answer = server.request("GET", path, headers={"Host": host})
    return answer.status, answer.body, answer.headers["cache-control"]


def test_probes_answer_head_and_nothing_else(shared_server: RunningServer) -> None:
    answer = shared_server.request("HEAD", "/healthz")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "3")
    answer = shared_server.request("POST", "/healthz")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


# Publish


def test_a_record_is_published_with_either_header(shared_server: RunningServer) -> None:
    first = publish(shared_server, data={"text": "hi"})["result"]
    body = json.dumps({"channel": "lobby", "data": 1}).encode()
    bearer = {"Authorization": f"Bearer {shared_server.cast.keys['device']}"}
    second = shared_server.request("POST", PUBLISH, body, bearer).json()["result"]
    assert second == {"offset": first["offset"] + 1, "epoch": first["epoch"]}
    assert len(first["epoch"]) == 8


@pytest.mark.parametrize(
    "sent, stored",
    [
        (b"1.10", "1.10"),
        (b'{"a": [1, 2,\n 3]}', '{"a": [1, 2, 3]}'),
        (b'"\\u00e9 \xf0\x9f\x8e\x89"', '"\\u00e9 \N{PARTY POPPER}"'),
        (b"null", "null"),
    ],
)
def test_payloads_are_kept_as_they_were_sent(shared_server: RunningServer, sent: bytes, stored: str) -> None:
    offset = shared_server.post(PUBLISH, b'{"channel":"lobby","data":' + sent + b"}", "device").json()["result"]["offset"]
    with closing(sqlite3.connect(shared_server.data / "wirelog.sqlite3")) as database:
        assert database.execute("SELECT data FROM realtime_record WHERE offset = ?", [offset]).fetchone() == (stored,)


def test_a_repeated_key_gets_the_first_record(shared_server: RunningServer) -> None:
    first = publish(shared_server, data="once", idempotency_key="k1")
    assert publish(shared_server, data="once", idempotency_key="k1") == first
    error = publish(shared_server, data="another", idempotency_key="k1")["error"]
    assert error["code"] == 107
    assert error["message"].startswith("bad request: idempotency_key was used for another payload")


@pytest.mark.parametrize(
    "body, code, message",
    [
        ({"channel": "nowhere", "data": 1}, 102, "unknown stream 'nowhere'"),
        ({"data": 1}, 107, "channel is missing"),
        ({"channel": "lobby"}, 107, "data is missing"),
        ({"channel": 7, "data": 1}, 107, "channel must be `str`, got `int`"),
        ([1], 107, "body must be `object`, got `array`"),
        ({"channel": "lobby", "data": "\0"}, 107, "data contains a NUL character"),
        ({"channel": "lobby", "data": json.loads("[" * 70 + "]" * 70)}, 107, "data is nested deeper than 64"),
        ({"channel": "lobby", "data": "x" * 140_000}, 413, "payload too large"),
        ({"channel": "lobby", "data": 1, "idempotency_key": "k" * 201}, 107, "idempotency_key must be `str` of length <= 200"),
    ],
)
def test_what_cannot_be_stored_is_an_error_that_says_why(shared_server: RunningServer, body: Any, code: int, message: str) -> None:
    before = head(shared_server)
    answer = shared_server.post(PUBLISH, body, "device")
    assert answer.status == 200
    assert answer.json()["error"]["code"] == code
    assert message in answer.json()["error"]["message"]
    assert head(shared_server) == before + 1


def test_a_key_without_the_right_may_not_publish(shared_server: RunningServer) -> None:
    before = head(shared_server)
    assert publish(shared_server, "reader", data=1)["error"] == {
        "code": 103,
        "message": "permission denied: you may not publish to 'lobby'",
    }
    assert head(shared_server) == before + 1


# Refusals


@pytest.mark.parametrize("body", [b"", b"x", b"{", b'{"channel":"lobby","data":NaN}', b'{"channel":"lobby"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(shared_server: RunningServer, body: bytes) -> None:
    answer = shared_server.post(PUBLISH, body, "device")
    assert answer.status == 400
    assert answer.json()["error"]["code"] == 107
    assert "Traceback" not in answer.body.decode()


@pytest.mark.parametrize("secret", ["", "x", "wl_", "wl_00000000_x", "wl_é_x"])
def test_a_missing_or_wrong_key_is_refused(shared_server: RunningServer, secret: str) -> None:
    before = head(shared_server)
    answer = shared_server.request("POST", PUBLISH, b'{"channel":"lobby","data":1}', {"X-API-Key": secret} if secret else {})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == 101
    assert head(shared_server) == before + 1


def test_the_right_prefix_with_a_wrong_rest_is_refused(shared_server: RunningServer) -> None:
    secret = shared_server.cast.keys["device"]
    for wrong in (secret[:-1], secret + "x", secret[:-1] + ("a" if secret[-1] != "a" else "b")):
        assert shared_server.request("POST", PUBLISH, b"{}", {"X-API-Key": wrong}).status == 401


@pytest.mark.parametrize("name", ["expired", "revoked"])
def test_a_key_that_has_ended_is_refused(shared_server: RunningServer, name: str) -> None:
    assert shared_server.post(PUBLISH, {"channel": "lobby", "data": 1}, name).status == 401


def test_keys_are_not_taken_from_the_url_and_never_logged(shared_server: RunningServer) -> None:
    secret = shared_server.cast.keys["device"]
    assert shared_server.request("POST", f"{PUBLISH}?api_key={secret}", b'{"channel":"lobby","data":1}').status == 401
    assert secret not in shared_server.log()


def test_cookies_open_nothing_here(shared_server: RunningServer) -> None:
    answer = shared_server.request("POST", PUBLISH, b'{"channel":"lobby","data":1}', {"Cookie": shared_server.cookie("alice")})
    assert answer.status == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_publishes(shared_server: RunningServer, method: str) -> None:
    answer = shared_server.request(method, PUBLISH, headers={"X-API-Key": shared_server.cast.keys["device"]})
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/publish/", "/api//publish", "/api/../healthz", "/api/%00"])
def test_an_unknown_method_is_not_found(shared_server: RunningServer, path: str) -> None:
    answer = shared_server.post(path, {}, "device")
    assert answer.status == 404
    assert answer.json()["error"]["code"] == 104


def test_the_documentation_is_there_for_everybody(shared_server: RunningServer) -> None:
    page, document = shared_server.get("/api/docs"), shared_server.get("/api/openapi.json")
    assert (page.status, document.status) == (200, 200)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert document.json()["paths"].keys() > {"/api/publish", "/healthz"}


def test_a_client_may_have_errors_by_status(shared_server: RunningServer) -> None:
    headers = {"Authorization": f"apikey {shared_server.cast.keys['device']}", "X-Centrifugo-Error-Mode": "transport"}
    answer = shared_server.request("POST", PUBLISH, b'{"channel":"nowhere","data":1}', headers)
    assert (answer.status, answer.json()["error"]["code"]) == (404, 102)


def test_a_foreign_host_is_refused(shared_server: RunningServer) -> None:
    headers = {"Host": "evil.example", "X-API-Key": shared_server.cast.keys["device"]}
    answer = shared_server.request("POST", PUBLISH, b'{"channel":"lobby","data":1}', headers)
    assert answer.status == 400
    assert "ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused(shared_server: RunningServer) -> None:
    body = b'{"channel":"lobby","data":"' + b"x" * LIMIT + b'"}'
    answer = shared_server.post(PUBLISH, body, "device")
    assert answer.status == 413
    assert answer.json()["error"]["code"] == 413


def test_a_body_without_a_length_is_held_to_the_same_limit(shared_server: RunningServer) -> None:
    connection = http.client.HTTPConnection(shared_server.host, shared_server.port, timeout=SECONDS)
    pieces = iter([b"x" * 65_536] * 20)
    connection.request("POST", PUBLISH, pieces, {"X-API-Key": shared_server.cast.keys["device"]}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_in_pieces_is_put_together(shared_server: RunningServer) -> None:
    connection = http.client.HTTPConnection(shared_server.host, shared_server.port, timeout=SECONDS)
    pieces = iter([b'{"chan', b'nel":"lobby",', b'"data":1}'])
    connection.request("POST", PUBLISH, pieces, {"X-API-Key": shared_server.cast.keys["device"]}, encode_chunked=True)
    assert "result" in json.loads(connection.getresponse().read())
    connection.close()


def test_a_client_that_leaves_in_the_middle_changes_nothing(shared_server: RunningServer) -> None:
    before = head(shared_server)
    start = f"POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {shared_server.cast.keys['device']}\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(20):
        with socket.create_connection((shared_server.host, shared_server.port)) as client:
            client.sendall(start.encode() + b'{"channel":"lobby","data":1')
    assert head(shared_server) == before + 1
    assert "Traceback" not in shared_server.log()


def test_requests_on_one_connection_are_answered_in_order(shared_server: RunningServer) -> None:
    key = shared_server.cast.keys["device"]
    body = b'{"channel":"lobby","data":1}'
    request = f"POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    before = head(shared_server)
    with socket.create_connection((shared_server.host, shared_server.port), timeout=SECONDS) as client:
        client.sendall(request * 5)
        data = b""
        while data.count(b"epoch") < 5:
            data += client.recv(65_536)
    offsets = [int(part.split(b",")[0]) for part in data.split(b'"offset":')[1:]]
    assert offsets == list(range(before + 1, before + 6))
