"""The core without sockets: an engine, sessions that are fed frames by hand, and a database that does not do what it is asked."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from channels.layers import channel_layers
from django.db import connection, connections
from django.test import Client as Browser

from project.users.models import User
from realtime import journal
from realtime.access import Identity, Scope
from realtime.callers import Caller
from realtime.credentials import identity_of_user
from realtime.engine import Engine, current
from realtime.group_commit import Journal
from realtime.items import Item
from realtime.models import ApiKey, Record, Stream
from realtime.session import Session

from .frames import taken
from .waiting import SECONDS, eventually

T = TypeVar("T")
Message = dict[str, Any]


# People and streams


def person(name: str, **fields: Any) -> Identity:
    return identity_of_user(User.objects.create_user(name, **fields))


def device(pattern: str = "*", *actions: str) -> Identity:
    return Identity("key:ab", "device", scopes=(Scope(pattern, frozenset(actions)),))


def cookie(name: str) -> str:
    """The session key of `name`, who has just signed in."""
    browser = Browser()
    browser.force_login(User.objects.get(username=name))
    return browser.cookies["sessionid"].value


def api_key(pattern: str = "*", *actions: str, **fields: Any) -> str:
    return ApiKey.generate(name="sensor", scopes=[{"pattern": pattern, "actions": list(actions)}], **fields)[1]


def append(name: str, *payloads: str, **fields: Any) -> list[journal.Outcome]:
    return journal.append_batch(connections["default"], [Item(name, data, **fields) for data in payloads])


def offsets(outcomes: list[journal.Outcome]) -> list[int | str]:
    """Where each record is, or the name of its error."""
    return [outcome.offset if isinstance(outcome, journal.Appended) else type(outcome).__name__ for outcome in outcomes]


def head(name: str) -> int:
    return Stream.objects.get(name=name).head


def stored() -> list[tuple[int, str]]:
    """Offset and payload of every record."""
    return list(Record.objects.order_by("offset").values_list("offset", "data"))


async def elsewhere(work: Callable[..., T], *args: Any, **fields: Any) -> T:
    """Run `work` as another process would: in a thread, by a connection of its own."""

    def run() -> T:
        try:
            return work(*args, **fields)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


# A database in trouble


@contextmanager
def write_lock() -> Iterator[None]:
    """Somebody else is in the middle of a transaction."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


class Trouble:
    """Instead of each statement that contains `word`, `error` is raised, while there is one. See `connection.execute_wrapper`."""

    def __init__(self, error: Exception | None, word: str = "INSERT INTO realtime_record") -> None:
        self.error = error
        self.word = word

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.error is not None and self.word in sql:
            raise self.error
        return execute(sql, params, many, context)

    async def befall(self, journal: Any) -> None:
        """Come over the connection of the write thread."""
        await journal.run(lambda: connections["default"].execute_wrappers.append(self))


async def busy(journal: Journal) -> threading.Event:
    """The write thread is at work, until the event is set."""
    started, gate = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        # A test that fails before it opens the gate must not hang.
        gate.wait(SECONDS)

    asyncio.run_coroutine_threadsafe(journal.run(work), asyncio.get_running_loop())
    await asyncio.to_thread(started.wait)
    return gate


# Engine and sessions


@asynccontextmanager
async def running() -> AsyncIterator[Engine]:
    """The engine of this loop, with a channel layer of its own."""
    channel_layers.backends.pop("default", None)
    engine = await current()
    try:
        yield engine
    finally:
        await engine.stop()


class Client:
    """A session and no socket: commands go in, and what the outbox lets out is collected. Pings are answered at once."""

    def __init__(self, engine: Engine, session_key: str = "", token: str = "", origin: bool = True) -> None:
        self.engine = engine
        self.token = token
        self.aborts = 0
        self.numbers = 0
        # Every message so far, in order.
        self.messages: list[Message] = []
        caller = Caller(session_key, origin, "10.0.0.7", "agent")
        self.session = Session(engine, caller, lambda: None, self._abort)

    def _abort(self) -> None:
        self.aborts += 1

    # In

    async def frame(self, *lines: Message | str) -> None:
        await self.session.receive("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))

    def command(self, method: str, /, **request: Any) -> Message:
        self.numbers += 1
        return {"id": self.numbers, method: request}

    async def ask(self, method: str, /, **request: Any) -> Any:
        """The result of one command, or the code of its error."""
        command = self.command(method, **request)
        await self.frame(command)
        return answer(await self.reply(command["id"]))

    async def rpc(self, method: str, /, **params: Any) -> Any:
        result = await self.ask("rpc", method=method, data=params)
        return result if isinstance(result, int) else result.get("data")

    async def connect(self) -> "Client":
        await self.ask("connect", token=self.token)
        return self

    # Out

    def drain(self) -> list[Message]:
        """Everything that may be sent now; returns all messages so far."""
        now = self.engine.loop.time()
        while (frame := taken(self.session.outbox, now)) is not None:
            for line in frame.split("\n"):
                if line == "{}":
                    self.session.outbox.pong(now)
                else:
                    self.messages.append(json.loads(line))
        return self.messages

    async def reply(self, number: int) -> Message:
        await eventually(lambda: self._of(number) or self.session.closing, f"a reply to command {number}")
        assert self._of(number), f"closed: {self.session.closing}"
        return self._of(number)[0]

    def _of(self, number: int) -> list[Message]:
        return [message for message in self.drain() if message.get("id") == number]

    def pushes(self, kind: str) -> list[Message]:
        return [message["push"][kind] for message in self.drain() if kind in message.get("push", {})]

    async def received(self, count: int) -> list[int]:
        """The offsets of the publications, once there are so many."""
        await eventually(lambda: len(self.pushes("pub")) >= count, f"{count} publications")
        return [publication.get("offset", 0) for publication in self.pushes("pub")]

    @property
    def closing(self) -> int | None:
        return self.session.closing.code if self.session.closing is not None else None


def answer(reply: Message) -> Any:
    """The result in `reply`, or the code of its error."""
    if "error" in reply:
        return reply["error"]["code"]
    (method,) = reply.keys() - {"id"}
    return reply[method]


async def quiet(engine: Engine, *clients: Client) -> None:
    """Everything that is under way has arrived: asserts about what did not come are safe after this."""
    await engine.journal.flush()
    for _ in range(20):
        await asyncio.sleep(0)
        for client in clients:
            client.drain()
