"""One subscriber, one publisher: WebSockets that speak the dialect of a server."""

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence

from .check import Checker
from .dialects import Dialect, Login
from .wire import Connection


class Client(Connection):
    """`ready` is done when the client is connected and subscribed, and fails when that does not happen."""

    publisher = False

    def __init__(self, dialect: Dialect, address: tuple[str, int], stream: str, login: Login, since: tuple[str, int] | None = None) -> None:
        super().__init__(*address, dialect.path(stream, self.publisher), login.headers)
        self.dialect = dialect
        self.stream = stream
        self.login = login
        self.since = since
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Why it ended, when that was not asked for.
        self.reason = ""

    def opened(self) -> None:
        opening = self.dialect.opening(self.stream, self.login, self.publisher, self.since)
        if opening:
            self.send(opening)
        elif not self.dialect.ping:
            self.ready.set_result(None)

    def text(self, payload: memoryview) -> None:
        if not self.ready.done():
            self._greet(bytes(payload))
            return
        if size := len(self.dialect.ping):
            rest = len(payload) - size
            if rest >= 0 and payload[rest:] == self.dialect.ping and (rest == 0 or payload[rest - 1] == 10):
                self.send(self.dialect.pong)
                if rest == 0:
                    return
                payload = payload[: rest - 1]
        self.take(payload)

    def _greet(self, text: bytes) -> None:
        try:
            ready, answer, rest = self.dialect.greeting(text, self.publisher)
        except ConnectionError as error:
            self.ready.set_exception(error)
            return
        if answer:
            self.send(answer)
        if ready:
            self.ready.set_result(None)
        if rest:
            self.text(memoryview(rest))

    def take(self, payload: memoryview) -> None:
        raise NotImplementedError

    def ended(self, reason: str) -> None:
        self.reason = reason
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))


class Subscriber(Client):
    checker: Checker
    # Called after something was received.
    heard: Callable[[], None] | None = None

    def take(self, payload: memoryview) -> None:
        self.checker.take(payload, time.monotonic_ns())
        if self.heard is not None:
            self.heard()


class Publisher(Client):
    """Sends records of `size` bytes. What is answered is counted, and how long that took."""

    publisher = True

    def __init__(self, dialect: Dialect, address: tuple[str, int], streams: Sequence[str], login: Login, number: int, size: int) -> None:
        super().__init__(dialect, address, streams[0], login)
        # One after another.
        self.streams = streams
        self.number = number
        self.size = size
        self.sent = 0
        self.answered = 0
        self.refused = 0
        self.samples: array[int] = array("q")
        self._waiting: deque[int] = deque()
        # Called with the number of answers.
        self.landed: Callable[[int], None] | None = None

    def publish(self, count: int, times: list[int] | None = None) -> None:
        """`times` are when the records were due; now, if nothing is said."""
        times = times or [time.monotonic_ns()] * count
        messages = [self._command(moment) for moment in times]
        if self.dialect.acks:
            self._waiting.extend(times)
        for frame in self.dialect.join(messages):
            self.send(frame)

    def _command(self, moment: int) -> bytes:
        stream = self.streams[self.sent % len(self.streams)]
        self.sent += 1
        data = b'{"p":%d,"n":%d,"t":%d,"pad":"' % (self.number, self.sent, moment)
        data += b"x" * (self.size - len(data) - 2) + b'"}'
        return self.dialect.publish(stream, self.sent, data)

    def take(self, payload: memoryview) -> None:
        # A server that sends records to publishers too answers nothing.
        if not self.dialect.acks:
            return
        now = time.monotonic_ns()
        lines = bytes(payload).split(b"\n")
        for line in lines:
            self.samples.append(now - self._waiting.popleft())
            self.refused += b'"error"' in line
        self.answered += len(lines)
        if self.landed is not None:
            self.landed(len(lines))
