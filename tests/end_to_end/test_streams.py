"""`/api/streams/…` as curl, httpx and a browser meet it, on both servers."""

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from ..waiting import SECONDS, eventually_sync
from .browser import People, chromium, poll
from .servers import Fleet, RunningServer

LOBBY = "/api/streams/lobby/"
MEGABYTE = 1_048_576
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def client(server: RunningServer, key: str = "device") -> httpx.Client:
    return httpx.Client(base_url=server.url + LOBBY, headers={"Authorization": f"Bearer {server.cast.keys[key]}"}, timeout=SECONDS)


def curl(server: RunningServer, path: str, *options: str) -> str:
    """What curl prints. It fails on what is no success, or incomplete."""
    key = f"X-API-Key: {server.cast.keys['device']}"
    command = ["curl", "-sS", "--fail-with-body", "-H", key, *options, server.url + LOBBY + path]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def head(http: httpx.Client) -> int:
    return int(http.get("records?limit=0").json()["head"])


# curl


def test_a_device_publishes_and_reads_with_one_curl_each(shared_server: RunningServer) -> None:
    stored = json.loads(curl(shared_server, "records", "-d", '{"cpu": 1.10}'))
    page = curl(shared_server, f"records?after={stored['offset'] - 1}")
    assert '{"data":{"cpu": 1.10},' in page
    assert json.loads(page)["epoch"] == stored["epoch"]


def test_curl_sends_batches_files_and_tombstones(shared_server: RunningServer) -> None:
    lines = '{"data":1,"key":"pump"}\n{"data":2,"key":"fan"}'
    answers = curl(shared_server, "records", "-H", "Content-Type: application/x-ndjson", "--data-binary", lines).splitlines()
    assert [json.loads(answer).keys() for answer in answers] == [{"offset", "epoch"}] * 2
    curl(shared_server, "records", "-X", "POST", "-H", "Wirelog-Key: pump", "-H", "Wirelog-Removed: true")
    assert [record["key"] for record in json.loads(curl(shared_server, "latest?keys=pump,fan"))["records"]] == ["fan"]
    assert curl(shared_server, "download?format=csv").startswith("offset,time,publisher,")


# httpx


def test_bytes_come_back_as_they_went(shared_server: RunningServer) -> None:
    with client(shared_server) as http:
        offset = http.post("records", content=PIXEL, headers={"Content-Type": "image/png"}).json()["offset"]
        told = http.get("records", params={"after": offset - 1}).json()["records"][0]["data"]
        assert (told["content_type"], told["size"]) == ("image/png", len(PIXEL))
        url = shared_server.url + told["url"]
        blob = http.get(url)
        assert (blob.content, blob.headers["content-type"]) == (PIXEL, "image/png")
        assert http.get(url, headers={"If-None-Match": blob.headers["etag"]}).status_code == 304


def test_a_repeat_after_a_crash_is_still_one_record(server: RunningServer) -> None:
    label = {"Idempotency-Key": "once"}
    with client(server) as http:
        first = http.post("records", json={"n": 1}, headers=label)
        server.kill()
        server.start()
        again = http.post("records", json={"n": 1}, headers=label)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json() | {"duplicate": True}


def test_a_batch_is_whole_or_line_by_line(shared_server: RunningServer) -> None:
    body = b'{"data":1}\n{"data":\n{"data":2}\n'
    kind = {"Content-Type": "application/x-ndjson"}
    with client(shared_server) as http:
        before = head(http)
        whole = http.post("records?atomic=1", content=body, headers=kind)
        assert (whole.status_code, whole.json()["line"], whole.json()["code"], head(http)) == (400, 2, 107, before)
        assert whole.headers["content-type"] == "application/problem+json"
        first, broken, last = map(json.loads, http.post("records", content=body, headers=kind).text.splitlines())
        assert (first["offset"], broken["error"]["code"], last["offset"]) == (before + 1, 107, before + 2)


def test_a_long_poll_hears_of_the_next_record(shared_server: RunningServer) -> None:
    with client(shared_server) as http, client(shared_server) as other:
        before = head(http)
        # The answer begins when there is one: until then the request only waits.
        with closing(raw(shared_server, f"GET {LOBBY}records?after={before}&wait=30 HTTP/1.1")) as waiting:
            offset = other.post("records", json="next").json()["offset"]
            assert f'"offset":{offset},' in answer(waiting)


# Bodies


def raw(server: RunningServer, line: str, *headers: str, key: str = "device") -> socket.socket:
    """A connection on which a request has begun."""
    connection = socket.create_connection((server.host, server.port), SECONDS)
    own = (f"Host: {server.host}:{server.port}", f"X-API-Key: {server.cast.keys[key]}")
    connection.sendall("\r\n".join([line, *own, *headers, "", ""]).encode())
    return connection


def answer(connection: socket.socket) -> str:
    """The head of the answer and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data or not data.split(b"\r\n\r\n", 1)[1]:
        part = connection.recv(65_536)
        assert part, data
        data += part
    return data.decode()


POST = f"POST {LOBBY}records HTTP/1.1"


def test_two_gigabytes_are_refused_before_the_first_byte(shared_server: RunningServer) -> None:
    with closing(raw(shared_server, POST, f"Content-Length: {2**31}", "Expect: 100-continue")) as connection:
        said = answer(connection)
        assert said.startswith("HTTP/1.1 413 ")
        assert '"code":413' in said
        assert "application/problem+json" in said


def test_a_body_without_an_end_is_refused_and_kept_nowhere(shared_server: RunningServer) -> None:
    before = shared_server.resident()
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with closing(raw(shared_server, POST, "Transfer-Encoding: chunked")) as connection:
        for _ in range(2 * MEGABYTE // 65_536):
            connection.sendall(piece)
        assert answer(connection).startswith("HTTP/1.1 413 ")
        try:
            for _ in range(64 * MEGABYTE // 65_536):
                connection.sendall(piece)
        except OSError:
            # Closed on who does not stop.
            pass
        assert shared_server.resident() - before < 16 * MEGABYTE


@pytest.mark.parametrize("end", ["shut", "reset"])
def test_a_body_that_stops_half_way_changes_nothing(shared_server: RunningServer, end: str) -> None:
    with client(shared_server) as http:
        before = head(http)
        connection = raw(shared_server, POST, "Content-Type: application/x-ndjson", "Content-Length: 1000")
        connection.sendall(b'{"data":1}\n{"data":2}\n')
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        assert http.post("records", json=1).json()["offset"] == before + 1


def test_a_reader_that_stops_reading_costs_no_memory(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.start()
    batch = "\n".join([json.dumps({"data": "x" * 1000})] * 900).encode()
    with client(server) as http:
        for _ in range(30):
            assert http.post("records", content=batch, headers={"Content-Type": "application/x-ndjson"}).status_code == 200
        before = server.resident()
        with closing(raw(server, f"GET {LOBBY}download HTTP/1.1")) as stuck:
            answer(stuck)
            # Time for the server to send all of it, if it did not wait.
            for _ in range(200):
                head(http)
            assert server.resident() - before < 12 * MEGABYTE
            assert received(stuck) > 29_000_000


def received(connection: socket.socket) -> int:
    """Bytes until the end of a chunked answer."""
    size, end = 0, b""
    while not end.endswith(b"\r\n0\r\n\r\n"):
        part = connection.recv(MEGABYTE)
        assert part, size
        size, end = size + len(part), end[-7:] + part
    return size


# A browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def people(browser: Browser) -> Iterator[People]:
    people = People(browser)
    yield people
    people.close()


FOLLOW = """() => {
    window.got = [];
    window.source = new EventSource('/api/streams/lobby/events');
    window.source.onmessage = (event) => window.got.push([event.lastEventId, JSON.parse(event.data).data]);
    return new Promise((resolve) => { window.source.onopen = () => resolve(null); });
}"""


def got(page: Page) -> Any:
    return page.evaluate("window.got")


def test_a_browser_follows_over_a_crash_and_misses_and_doubles_nothing(server: RunningServer, people: People) -> None:
    page = people.open(server, "alice", "/me/")
    page.evaluate(FOLLOW)
    with client(server) as http:
        epoch = http.post("records", json=1).json()["epoch"]
        poll(page, lambda: len(got(page)) == 1, "the first event")
        server.kill()
        assert server.manage("publish", "lobby", "2").returncode == 0
        server.start()
        assert http.post("records", json=3).status_code == 201
        poll(page, lambda: len(got(page)) >= 3, "the events after the crash")
        server.stop()
        server.start()
        assert http.post("records", json=4).status_code == 201
        poll(page, lambda: len(got(page)) >= 4, "the event after the stop")
    assert got(page) == [[f"{epoch}:{number}", number] for number in (1, 2, 3, 4)]


def test_a_page_shows_a_picture_of_the_stream(shared_server: RunningServer, people: People) -> None:
    with client(shared_server) as http:
        offset = http.post("records", content=PIXEL, headers={"Content-Type": "image/png"}).json()["offset"]
    page = people.open(shared_server, "alice", "/me/")
    page.evaluate(f"() => {{ window.picture = new Image(); window.picture.src = '{LOBBY}blobs/{offset}'; }}")
    poll(page, lambda: page.evaluate("window.picture.naturalWidth") == 1, "the picture")


def test_a_reader_that_leaves_leaves_nothing_behind(shared_server: RunningServer) -> None:
    """The connections of those who left are closed by the server, too."""
    before = sockets(shared_server)
    connections = [raw(shared_server, f"GET {LOBBY}events HTTP/1.1") for _ in range(20)]
    for connection in connections:
        answer(connection)
        connection.close()
    eventually_sync(lambda: sockets(shared_server) <= before, "they are closed")


def sockets(server: RunningServer) -> int:
    """How many the process has open."""
    listed = subprocess.run(["ls", "-l", f"/proc/{server.pid}/fd"], capture_output=True, text=True, check=False).stdout
    return listed.count("socket:")
