"""A client of the bare wire that records what it does and sees: it comes back from everything, and sends again until it has an answer."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from .history import Delivered, Ended, Fail, History, Info, Invoke, Ok, Position, ReadInvoke, ReadOk, Subscribed

Message = dict[str, Any]

# A command without an answer for so long is an unknown outcome.
ANSWER_SECONDS = 30.0
# Without a ping for so long after it was due the connection is given up, as SDKs do.
PATIENCE_SECONDS = 10.0
BACK_OFF_SECONDS = (0.02, 0.2)
# From here on an unsubscribe push says: subscribe again.
TEMPORARY_UNSUBSCRIBE = 2_500


class Lost(Exception):
    """The connection went away, or nothing came back."""


class Refused(Exception):
    """An error reply."""

    def __init__(self, error: Message) -> None:
        self.code = int(error["code"])
        self.temporary = bool(error.get("temporary"))
        super().__init__(error)


class Pending(NamedTuple):
    """A command that waits for its answer; `on_reply` sees the reply before anything that comes after it."""

    # None: there will be no answer.
    future: "asyncio.Future[Message | None]"
    on_reply: Callable[[Message], None]


def ignore(reply: Message) -> None:
    """Nothing of the reply is recorded."""


class RecordingClient:
    """`url` is asked at each connect, so that a client may move from one server to another. Use it by `start` and `stop`."""

    def __init__(self, name: str, history: History, url: Callable[[], str], token: str, streams: Sequence[str] = ()) -> None:
        self.name = name
        self.history = history
        self.url = url
        self.token = token
        self.streams = streams
        # Where each stream has been read up to.
        self.positions: dict[str, Position] = {}
        self.connected = asyncio.Event()
        self.connects = 0
        # Set by each record.
        self._moved = asyncio.Event()
        # Close codes that the server gave.
        self.closes: list[int] = []
        # Retries of what had been stored, but not answered.
        self.duplicates = 0
        # Its id in the current connection.
        self.id = ""
        self._silence = ANSWER_SECONDS
        self._subscribed: set[str] = set()
        self._socket: ClientConnection | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Pending] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def drop(self) -> None:
        """Lose the connection without a word, and come back."""
        if self._socket is not None:
            self._socket.transport.abort()

    # Life

    async def _run(self) -> None:
        while True:
            try:
                # No limit of its own, no keepalive of its own: what the server does is what is looked at.
                async with connect(
                    self.url(), max_size=None, proxy=None, ping_interval=None, open_timeout=ANSWER_SECONDS, close_timeout=1
                ) as self._socket:
                    await self._live(self._socket)
            except ConnectionClosed as error:
                if error.rcvd is not None:
                    self.closes.append(error.rcvd.code)
            except (OSError, WebSocketException, TimeoutError, Lost):
                pass
            finally:
                self._lose()
            await asyncio.sleep(random.uniform(*BACK_OFF_SECONDS))

    async def _live(self, socket: ClientConnection) -> None:
        reading = asyncio.create_task(self._read(socket))
        # Nobody waits for an answer that cannot come any more.
        reading.add_done_callback(lambda _: self._give_up())
        try:
            hello = (await self.call("connect", {"token": self.token}))["connect"]
            self.id = hello["client"]
            self._silence = hello["ping"] + PATIENCE_SECONDS
            self.connects += 1
            for stream in self.streams:
                await self.subscribe(stream)
            self.connected.set()
            await reading
        finally:
            reading.cancel()
            # What it died of says why the connection ended.
            (end,) = await asyncio.gather(reading, return_exceptions=True)
        if isinstance(end, Exception):
            raise end

    def _lose(self) -> None:
        self.connected.clear()
        self._socket = None
        for stream in list(self._subscribed):
            self._end(stream)
        self._give_up()

    def _give_up(self) -> None:
        for pending in self._waiting.values():
            if not pending.future.done():
                pending.future.set_result(None)
        self._waiting.clear()

    def _end(self, stream: str) -> None:
        self._subscribed.discard(stream)
        self.history.add(Ended(self.name, stream))

    # In

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            async with asyncio.timeout(self._silence):
                frame = await socket.recv()
            text = frame if isinstance(frame, str) else frame.decode()
            messages = [json.loads(line) for line in text.split("\n")]
            for message in messages:
                self._take(message)
            if {} in messages:
                await socket.send("{}")

    def _take(self, message: Message) -> None:
        if "id" in message:
            self._answer(message)
        elif "push" in message:
            self._push(message["push"])

    def _answer(self, message: Message) -> None:
        pending = self._waiting.pop(message["id"], None)
        if pending is None or pending.future.done():
            return
        if "error" not in message:
            pending.on_reply(message)
        pending.future.set_result(message)

    def _push(self, push: Message) -> None:
        stream = push["channel"]
        if "pub" in push:
            offset = int(push["pub"]["offset"])
            position = Position(self.positions.get(stream, Position("", 0)).epoch, offset)
            self.history.add(Delivered(self.name, stream, position, push["pub"]["data"]))
            self.positions[stream] = position
            self._moved.set()
        elif "unsubscribe" in push:
            self._end(stream)
            if int(push["unsubscribe"]["code"]) >= TEMPORARY_UNSUBSCRIBE:
                self._again = asyncio.create_task(self.subscribe(stream))

    # Out

    async def call(self, method: str, params: Message, on_reply: Callable[[Message], None] = ignore) -> Message:
        """The reply. Raises Lost, Refused."""
        if self._socket is None:
            raise Lost("not connected")
        number = next(self._numbers)
        self._waiting[number] = Pending(asyncio.get_running_loop().create_future(), on_reply)
        future = self._waiting[number].future
        try:
            await self._socket.send(json.dumps({"id": number, method: params}))
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await future
        except (ConnectionClosed, TimeoutError) as error:
            raise Lost(repr(error)) from error
        finally:
            self._waiting.pop(number, None)
        if reply is None:
            raise Lost("connection lost")
        if "error" in reply:
            raise Refused(reply["error"])
        return reply

    async def subscribe(self, stream: str) -> Message:
        """From where it stood, or from now on the first time."""
        asked = self.positions.get(stream)
        params = {"channel": stream} | ({"recover": True, **asked._asdict()} if asked else {})
        reply = await self.call("subscribe", params, lambda reply: self._subscribe(stream, asked, reply["subscribe"]))
        result: Message = reply["subscribe"]
        return result

    def _subscribe(self, stream: str, asked: Position | None, result: Message) -> None:
        position = Position(result["epoch"], int(result.get("offset", 0)))
        self.history.add(Subscribed(self.name, stream, asked, position, bool(result.get("recovered"))))
        self.positions[stream] = position
        self._subscribed.add(stream)

    async def unsubscribe(self, stream: str) -> None:
        await self.call("unsubscribe", {"channel": stream}, lambda reply: self._end(stream))

    async def publish(self, stream: str, value: str) -> Position | None:
        """Publish until there is an answer, always with the same key. None: it was refused for good."""
        operation = self.history.number()
        params = {"stream": stream, "data": value, "idempotency_key": f"{self.name}-{operation}"}

        def ok(reply: Message) -> None:
            data = reply["rpc"]["data"]
            self.duplicates += bool(data.get("duplicate"))
            self.history.add(Ok(operation, Position(data["epoch"], int(data["offset"]))))

        while True:
            await self.connected.wait()
            self.history.add(Invoke(operation, stream, value))
            try:
                data = (await self.call("rpc", {"method": "publish", "data": params}, ok))["rpc"]["data"]
                return Position(data["epoch"], int(data["offset"]))
            except Lost as error:
                self.history.add(Info(operation, str(error)))
            except Refused as error:
                if not error.temporary:
                    self.history.add(Fail(operation, error.code))
                    return None
                self.history.add(Info(operation, f"error {error.code}"))
            await asyncio.sleep(random.uniform(*BACK_OFF_SECONDS))

    async def reach(self, stream: str, position: Position | None) -> None:
        """Wait until everything up to `position` has come."""
        while self.positions[stream] != position:
            self._moved.clear()
            await self._moved.wait()

    async def here(self, stream: str) -> set[str]:
        """Client ids of those who are present."""
        return set((await self.call("presence", {"channel": stream}))["presence"]["presence"])

    async def read(self, stream: str, limit: int = 10) -> None:
        """The newest records, by history."""
        read = self.history.number()
        self.history.add(ReadInvoke(read, stream))

        def ok(reply: Message) -> None:
            result = reply["history"]
            records = tuple((int(record["offset"]), record["data"]) for record in result["publications"])
            self.history.add(ReadOk(read, Position(result["epoch"], int(result["offset"])), records))

        await self.call("history", {"channel": stream, "limit": limit, "reverse": True}, ok)
