"""Requests to the application without a server: what it receives and sends is what ASGI servers pass on.

The application has a thread to itself, so that tests are free to use the database.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from project.asgi import application
from realtime.engine import Engine

from .core import running
from .waiting import SECONDS, eventually_sync

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


def refused(reply: Reply) -> tuple[int, int, str]:
    """Status, code and field of a problem."""
    said = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    return reply.status, said["code"], said.get("field", "")


class Exchange:
    """One request and its answer. The body may come in pieces, and the client may leave."""

    def __init__(self, door: "Door", scope: dict[str, Any]) -> None:
        self.door = door
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.done = asyncio.run_coroutine_threadsafe(application(scope, self.inbox.get, self._send), door.loop)

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def _receive(self, **message: Any) -> None:
        self.door.loop.call_soon_threadsafe(self.inbox.put_nowait, message)

    def give(self, body: bytes, more: bool = False) -> "Exchange":
        self._receive(type="http.request", body=body, more_body=more)
        return self

    def leave(self) -> None:
        self._receive(type="http.disconnect")

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in list(self.sent) if message["type"] == "http.response.body")

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")

    def holds(self, text: str) -> None:
        """Wait until `text` has been sent."""
        eventually_sync(lambda: text.encode() in self.body, f"{text!r} in {self.body!r}")

    def reply(self) -> Reply:
        self.done.result(SECONDS)
        assert self.complete, self.sent
        headers = {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}
        return Reply(self.sent[0]["status"], headers, self.body)


class Door:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine: Engine
        self._opened = threading.Event()
        self._close = asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=[self._run()])

    async def _run(self) -> None:
        async with running() as self.engine:
            self._opened.set()
            await self._close.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work` on the loop of the application."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def open(self, method: str, target: str, headers: Mapping[str, str] | None = None, raw: Sequence[tuple[bytes, bytes]] = ()) -> Exchange:
        """`raw` are headers that are no text."""
        path, _, query = target.partition("?")
        named = {"host": "testserver"} | {name.lower(): value for name, value in (headers or {}).items()}
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "scheme": "http",
            "headers": [*((name.encode(), value.encode()) for name, value in named.items()), *raw],
            "client": ("192.0.2.9", 4711),
            "server": ("127.0.0.1", 8000),
        }
        return Exchange(self, scope)

    def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        return self.open(method, target, headers).give(body).reply()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("GET", target, b"", headers)

    def post(self, target: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("POST", target, body, headers)

    @contextmanager
    def opened(self) -> Iterator["Door"]:
        self.thread.start()
        assert self._opened.wait(SECONDS)
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self._close.set)
            self.thread.join(SECONDS)
            self.loop.close()
