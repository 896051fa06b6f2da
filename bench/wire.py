"""WebSocket and HTTP as a load generator needs them: bytes in, messages out, nothing copied that need not be.

Every connection of a process reads into one buffer, since a message is dealt with before the next read. Measured here: 500 MB/s of
frames of 64 KiB take a fifth of a core, most of it the kernel's.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
# Length of a frame's head by its length field, when it is not 2.
HEADS = {126: 4, 127: 10}
BUFFER = bytearray(262_144)
VIEW = memoryview(BUFFER)

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message of a client; its mask is zero, so the payload is what it is."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BBI", 0x80 | opcode, 0x80 | size, 0) + payload
    if size < 65_536:
        return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, size, 0) + payload
    return struct.pack("!BBQI", 0x80 | opcode, 0x80 | 127, size, 0) + payload


def measure(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` starts and ends; while its head is not complete, 0 and where the head ends."""
    there = len(data) - at
    if there < 2:
        return 0, at + 2
    short = data[at + 1]
    head = HEADS.get(short, 2)
    if there < head:
        return 0, at + head
    size = short if head == 2 else int.from_bytes(data[at + 2 : at + head], "big")
    return at + head, at + head + size


class Frames:
    """Cuts what a server sends into messages, and calls `take(opcode, payload)` for each. The payload is good only during the call."""

    __slots__ = ("_parts", "_rest", "_take")

    def __init__(self, take: Callable[[int, memoryview], None]) -> None:
        self._take = take
        # The beginning of a frame whose end has not come yet.
        self._rest = bytearray()
        # The frames so far of a message in several.
        self._parts = bytearray()

    def feed(self, data: memoryview) -> None:
        while self._rest and data:
            data = self._complete(data)
        at, size = 0, len(data)
        while at < size:
            start, end = measure(data, at)
            if start == 0 or end > size:
                self._rest += data[at:]
                return
            self._frame(data[at], data[start:end])
            at = end

    def _complete(self, data: memoryview) -> memoryview:
        """Add to the unfinished frame what belongs to it; returns what does not."""
        _, end = measure(self._rest, 0)
        missing = end - len(self._rest)
        self._rest += data[:missing]
        start, end = measure(self._rest, 0)
        if start and end == len(self._rest):
            whole, self._rest = self._rest, bytearray()
            self._frame(whole[0], memoryview(whole)[start:])
        return data[missing:]

    def _frame(self, first: int, payload: memoryview) -> None:
        opcode, final = first & 0x0F, first & 0x80
        if opcode < CLOSE and (self._parts or not final):
            self._parts += payload
            if not final:
                return
            payload, self._parts = memoryview(self._parts), bytearray()
            opcode = opcode or TEXT
        self._take(opcode, payload)


class Connection(asyncio.BufferedProtocol):
    """A WebSocket. Subclasses say what to do when it is open, with each text, and at its end."""

    def __init__(self, host: str, port: int, path: str, headers: str) -> None:
        self._request = UPGRADE.format(path=path, host=host, port=port, headers=headers).encode()
        self._head: bytearray | None = bytearray()
        self._frames = Frames(self._message)
        self.transport: asyncio.Transport
        self.open = False

    def opened(self) -> None:
        raise NotImplementedError

    def text(self, payload: memoryview) -> None:
        raise NotImplementedError

    def ended(self, reason: str) -> None:
        raise NotImplementedError

    def send(self, payload: bytes) -> None:
        self.transport.write(client_frame(payload))

    def close(self) -> None:
        self.open = False
        self.transport.abort()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by descent.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def get_buffer(self, sizehint: int) -> bytearray:
        return BUFFER

    def buffer_updated(self, size: int) -> None:
        if self._head is None:
            self._frames.feed(VIEW[:size])
        else:
            self._handshake(bytes(VIEW[:size]), self._head)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(str(error or "closed without a word"))

    def _handshake(self, data: bytes, head: bytearray) -> None:
        head += data
        if b"\r\n\r\n" not in head:
            return
        answer, _, rest = bytes(head).partition(b"\r\n\r\n")
        self._head = None
        if not answer.startswith(b"HTTP/1.1 101"):
            self._end(answer.partition(b"\r\n")[0].decode())
            self.transport.abort()
            return
        self.open = True
        self.opened()
        if rest:
            self._frames.feed(memoryview(rest))

    def _message(self, opcode: int, payload: memoryview) -> None:
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._end(f"closed with {code} {bytes(payload[2:]).decode()}")
            self.transport.abort()
        elif opcode == PING:
            self.transport.write(client_frame(bytes(payload), PONG))
        elif opcode != PONG:
            self.text(payload)

    def _end(self, reason: str) -> None:
        if self.open or self._head is not None:
            self.open = False
            self.ended(reason)
