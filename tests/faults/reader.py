"""A reader whose pace and manners a test decides."""

import asyncio
import json
import socket

from ..end_to_end.rawsocket import CLOSE, HANDSHAKE, TEXT, frame
from ..end_to_end.servers import RunningServer
from .host import STREAM

LATE_SECONDS = 1.5


class Reader:
    """A bare WebSocket that reads the lobby at a pace of `pace` bytes a second (0: not at all; None: as fast as it can)."""

    def __init__(self, server: RunningServer, port: int, pace: int | None = None, pongs: str = "at once") -> None:
        self.pace = pace
        # `at once`, `late`, `never`, or `unasked`: all the time.
        self.pongs = pongs
        self.offsets: list[int] = []
        self.close_code = 0
        self.lost = asyncio.Event()
        self.id = ""
        self._port = port
        self._token = server.cast.keys["reader"]
        self._data = b""

    async def start(self) -> "Reader":
        sock = socket.socket()
        # Before connecting: it decides the window that the server is offered.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=1_024)
        host = HANDSHAKE.format(path="/connection/websocket", host="127.0.0.1", port=self._port, headers="")
        self._writer.write(host.encode())
        await self._reader.readuntil(b"\r\n\r\n")
        commands = [{"id": 1, "connect": {"token": self._token}}, {"id": 2, "subscribe": {"channel": STREAM}}]
        self._send("\n".join(map(json.dumps, commands)))
        subscribed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run(subscribed))]
        if self.pongs == "unasked":
            self._tasks.append(asyncio.create_task(self._pong_all_the_time()))
        await subscribed.wait()
        return self

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.transport.abort()

    def _send(self, text: str) -> None:
        self._writer.write(frame(TEXT, text.encode()))

    async def _pong_all_the_time(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._send("{}")

    async def _run(self, subscribed: asyncio.Event) -> None:
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == CLOSE:
                    self.close_code = int.from_bytes(payload[:2])
                    return
                for line in payload.split(b"\n"):
                    self._take(json.loads(line), subscribed)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.lost.set()

    def _take(self, message: dict[str, dict[str, dict[str, int]]], subscribed: asyncio.Event) -> None:
        if not message and self.pongs in ("at once", "late"):
            asyncio.get_running_loop().call_later(LATE_SECONDS if self.pongs == "late" else 0, self._send, "{}")
        elif "connect" in message:
            self.id = str(message["connect"]["client"])
        elif "subscribe" in message:
            subscribed.set()
        elif "push" in message and "pub" in message["push"]:
            self.offsets.append(message["push"]["pub"]["offset"])

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._take_bytes(2)
        if size == 126:
            size = int.from_bytes(await self._take_bytes(2))
        elif size == 127:
            size = int.from_bytes(await self._take_bytes(8))
        return first & 0x0F, await self._take_bytes(size)

    async def _take_bytes(self, size: int) -> bytes:
        while len(self._data) < size:
            await self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def _more(self) -> None:
        # Subscribed first, at full speed.
        pace = self.pace if self.offsets or self.pace != 0 else None
        while pace == 0:
            await asyncio.sleep(0.05)
            pace = self.pace
        part = await self._reader.read(65_536 if pace is None else max(1, pace // 8))
        if not part:
            raise asyncio.IncompleteReadError(b"", None)
        self._data += part
        if pace is not None:
            await asyncio.sleep(len(part) / pace)
