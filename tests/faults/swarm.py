"""Thousands of subscribers that cost little: bare WebSockets of asyncio, which read, answer pings, and note how far they got."""

import asyncio
import json
import random
import re
import struct
from typing import Any

from ..end_to_end.rawsocket import CLOSE, HANDSHAKE, TEXT, frame
from .history import Position

OFFSET = re.compile(rb'"offset":(\d+)')
PONG = frame(TEXT, b"{}")
# Between two tries, as the SDKs have it: a random part of what doubles from the one to the other.
BACKOFF_SECONDS = (0.5, 20.0)


class Member(asyncio.Protocol):
    """One subscriber of `stream` (none: only connected), from now on or from `since`."""

    def __init__(self, host: str, port: int, token: str, stream: str, since: Position | None = None) -> None:
        self.request = HANDSHAKE.format(path="/connection/websocket", host=host, port=port, headers="").encode()
        recover: dict[str, Any] = {"recover": True, **since._asdict()} if since else {}
        commands: list[dict[str, Any]] = [{"id": 1, "connect": {"token": token}}]
        if stream:
            commands.append({"id": 2, "subscribe": {"channel": stream} | recover})
        # The reply that is waited for.
        self.last = b'{"id":%d' % len(commands)
        self.commands = "\n".join(map(json.dumps, commands)).encode()
        self.data = b""
        self.upgraded = False
        self.ready = False
        # Set when it is ready, or was turned away.
        self.settled = asyncio.Event()
        self.records = 0
        # Offset of the newest record, or where it started.
        self.offset = since.offset if since else 0
        self.gaps = 0
        self.close_code = 0
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.upgraded:
            _head, found, rest = self.data.partition(b"\r\n\r\n")
            if not found:
                return
            self.upgraded, self.data = True, rest
            self.transport.write(frame(TEXT, self.commands))
        while (message := self._next()) is not None:
            self._take(*message)

    def _next(self) -> tuple[int, bytes] | None:
        """The next whole frame."""
        data = self.data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126 and len(data) >= 4:
            (size,), start = struct.unpack("!H", data[2:4]), 4
        elif size == 127 and len(data) >= 10:
            (size,), start = struct.unpack("!Q", data[2:10]), 10
        if len(data) < start + size:
            return None
        self.data = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            (self.close_code,) = struct.unpack("!H", payload[:2])
            self.transport.write(frame(CLOSE, payload[:2]))
            return
        for line in payload.split(b"\n"):
            if line == b"{}":
                self.transport.write(PONG)
            elif line.startswith(self.last):
                self._begin(json.loads(line))
            elif b'"pub":' in line:
                self._record(line)

    def _begin(self, reply: dict[str, Any]) -> None:
        self.ready = "error" not in reply
        if self.ready:
            self.settled.set()
        self.offset = self.offset or int(reply.get("subscribe", {}).get("offset", 0))

    def _record(self, line: bytes) -> None:
        # The last one: a payload has no such field here.
        offset = int(OFFSET.findall(line)[-1])
        self.gaps += offset != self.offset + 1
        self.offset = offset
        self.records += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.settled.set()


class Swarm:
    """For use with `async with`."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self.token = token
        self.members: list[Member] = []

    async def __aenter__(self) -> "Swarm":
        return self

    async def __aexit__(self, *error: object) -> None:
        for member in self.members:
            member.transport.abort()
        # Their ends are told in the next turn of the loop.
        await asyncio.sleep(0)

    async def join(self, count: int, stream: str = "lobby", since: Position | None = None, at_once: int = 50) -> None:
        """Add `count` members, so many at a time; those that are turned away try again, as clients do."""
        gate = asyncio.Semaphore(at_once)

        async def one() -> None:
            async with gate:
                self.members.append(await self._connect(stream, since))

        await asyncio.gather(*(one() for _ in range(count)))

    async def _connect(self, stream: str, since: Position | None) -> Member:
        loop = asyncio.get_running_loop()
        backoff, longest = BACKOFF_SECONDS
        while True:
            member = Member(self.host, self.port, self.token, stream, since)
            try:
                await loop.create_connection(lambda member=member: member, self.host, self.port)  # type: ignore[misc]
                await member.settled.wait()
            except OSError:
                member.lost = True
            if not member.lost:
                return member
            await asyncio.sleep(random.uniform(0, backoff))
            backoff = min(2 * backoff, longest)

    def closes(self) -> set[int]:
        return {member.close_code for member in self.members}

    def at(self, offset: int) -> bool:
        """Whether everybody has got as far."""
        return all(member.offset == offset for member in self.members)
