"""A server that answers as it is told, and spools that send to it."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from clients import wirelog_spool
from clients.wirelog_spool import Spool

from ..waiting import SECONDS

LIMIT = wirelog_spool.SMALLEST_LIMIT
Script = Callable[["Door"], bool]


class Door(BaseHTTPRequestHandler):
    """`POST …/records?atomic=1`, but for requests that the script answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.lines = [json.loads(line) for line in body.splitlines()]
        self.server.heads.append((self.path, dict(self.headers)))
        if self.server.script and self.server.script.popleft()(self):
            return
        self.store()

    def store(self) -> None:
        bad = next((number for number, line in enumerate(self.lines, 1) if line["data"] == "bad"), 0)
        if bad:
            self.answer(400, {"detail": "no such data", "line": bad})
            return
        for line in self.lines:
            self.server.stored.setdefault(line["idempotency_key"], line)
        self.answer(200, *[{"offset": 1, "epoch": "e"}] * len(self.lines))

    def answer(self, status: int, *lines: Any, headers: dict[str, str] | None = None) -> None:
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.script: deque[Script] = deque()
        self.heads: list[tuple[str, dict[str, str]]] = []
        # By key, in the order in which they were stored first.
        self.stored: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def values(self) -> list[Any]:
        return [line["data"] for line in self.stored.values()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def says(status: int, *lines: Any, **headers: str) -> Script:
    def script(door: Door) -> bool:
        door.answer(status, *lines, headers=headers)
        return True

    return script


def says_brackets(door: Door) -> bool:
    """JSON, for all that a parser can tell before it gives up."""
    door.send_response(200)
    door.send_header("Content-Length", "60000")
    door.end_headers()
    door.wfile.write(b"[" * 60_000)
    return True


def talks_for_ever(door: Door) -> bool:
    door.send_response(200)
    door.end_headers()
    with contextlib.suppress(OSError):
        while True:
            door.wfile.write(b"x" * 10_000)
    return hangs_up(door)


def hangs_up(door: Door) -> bool:
    door.close_connection = True
    return True


def stores_and_hangs_up(door: Door) -> bool:
    door.answer = lambda *args, **more: None  # type: ignore[method-assign]
    door.store()
    return hangs_up(door)


def closes_when_idle(door: Door) -> bool:
    """As a server does with connections kept too long: without a word in the answer."""
    door.store()
    return hangs_up(door)


class Held:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, door: Door) -> bool:
        self.reached.set()
        self.go.wait(SECONDS)
        return False


def spool(server: Server | None, folder: Path, **options: Any) -> Spool:
    """Without a server the link is down: nothing listens there."""
    url = server.url if server is not None else "http://127.0.0.1:9"
    return Spool(url, "iot:shed", "wl_ab_secret", "shed-pi", folder, **options)


def fill(folder: Path, *values: Any, **options: Any) -> list[str]:
    """Put `values` while the link is down; returns their keys."""
    found = spool(None, folder, **options)
    keys = [found.put(value) for value in values]
    found.close(0)
    return keys


def send(server: Server, folder: Path, **options: Any) -> dict[str, Any]:
    """Send all that waits in the folder; returns the status after that."""
    with spool(server, folder, **options) as found:
        assert found.flush(SECONDS), found.status()
        return found.status()


def only(folder: Path, pattern: str = "*.log") -> Path:
    (path,) = folder.glob(pattern)
    return path
