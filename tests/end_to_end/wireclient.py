"""A client of the bare wire: one command out, its reply in; pushes are kept in the order in which they came, pings are answered."""

import json
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..waiting import SECONDS
from .servers import RunningServer

Message = dict[str, Any]


class WireClient:
    """For use with `with`. `hello` is the result of connect."""

    def __init__(self, server: RunningServer, key: str = "", session: str = "") -> None:
        # No limit of its own: what the server sends is what is looked at.
        self._connection = server.connect(session, max_size=None)
        self._token = {"token": server.cast.keys[key]} if key else {}
        self.pushes: deque[Message] = deque()
        self._messages: deque[Message] = deque()
        self._id = 0

    def __enter__(self) -> Self:
        self.socket: ClientConnection = self._connection.__enter__()
        self.hello: Message = self.call("connect", self._token)["connect"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.__exit__(kind, error, trace)

    def send(self, method: str, params: Message) -> int:
        self._id += 1
        self.socket.send(json.dumps({"id": self._id, method: params}))
        return self._id

    def call(self, method: str, params: Message) -> Message:
        return self.reply(self.send(method, params))

    def reply(self, number: int) -> Message:
        while (message := self.receive()).get("id") != number:
            self.pushes.append(message["push"])
        return message

    def error(self, method: str, params: Message) -> int:
        """The code of the error that answers."""
        return int(self.call(method, params)["error"]["code"])

    def receive(self) -> Message:
        """The next reply or push."""
        deadline = time.monotonic() + SECONDS
        while not self._messages:
            frame = self.socket.recv(max(0.0, deadline - time.monotonic()))
            for line in frame.splitlines():
                self._take(json.loads(line))
        return self._messages.popleft()

    def _take(self, message: Message) -> None:
        if message:
            self._messages.append(message)
        else:
            self.socket.send("{}")

    def push(self) -> Message:
        """The next push."""
        while not self.pushes:
            self.pushes.append(self.receive()["push"])
        return self.pushes.popleft()

    # What tests mostly do

    def subscribe(self, stream: str = "lobby", **params: Any) -> Message:
        result: Message = self.call("subscribe", {"channel": stream} | params)["subscribe"]
        return result

    def publish(self, value: Any, stream: str = "lobby", **params: Any) -> int:
        """The offset of the record."""
        answer = self.call("rpc", {"method": "publish", "data": {"stream": stream, "data": value} | params})
        return int(answer["rpc"]["data"]["offset"])

    def publication(self) -> Message:
        """The next record; pushes of other kinds are passed over."""
        while "pub" not in (push := self.push()):
            pass
        record: Message = push["pub"]
        return record

    def offsets(self, count: int) -> list[int]:
        """Offsets of the next `count` records."""
        return [int(self.publication()["offset"]) for _ in range(count)]

    def here(self, stream: str = "lobby") -> set[str]:
        """Client ids of those who are present."""
        return set(self.call("presence", {"channel": stream})["presence"]["presence"])


def end_of(client: WireClient) -> int:
    """The code with which the server closes."""
    try:
        while True:
            client.receive()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006
