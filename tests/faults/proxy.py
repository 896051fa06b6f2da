"""A TCP proxy that does to connections what networks do: delays, black holes, one direction that stalls, resets."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable
from typing import Literal, Self

Mode = Literal["pass", "delay", "drop", "stall up", "stall down"]
CHUNK = 65_536
# SO_LINGER with 0 seconds: the close is a reset.
RESET = struct.pack("ii", 1, 0)


class Link:
    """One connection through the proxy. Its mode may change at any time."""

    def __init__(self, mode: Mode, seconds: float) -> None:
        self.mode = mode
        self.seconds = seconds
        self.writers: list[asyncio.StreamWriter] = []
        # Set while bytes may go on.
        self.flowing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.set(mode, seconds)

    def set(self, mode: Mode, seconds: float = 0) -> None:
        """`pass`; `delay`: each piece by `seconds`; `drop`: nothing passes; `stall up` or `stall down`: nothing passes that way.

        What is held back passes when the mode ends, as after a cut that TCP survives.
        """
        self.mode, self.seconds = mode, seconds
        for way, event in self.flowing.items():
            if mode in ("drop", f"stall {way}"):
                event.clear()
            else:
                event.set()

    def reset(self) -> None:
        """End both sides by a reset."""
        for writer in self.writers:
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def run(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], port: int) -> None:
        reader, writer = client
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            upstream, server = await asyncio.open_connection("127.0.0.1", port)
            self.writers.append(server)
            ways = [asyncio.create_task(self._copy(reader, server, "up")), asyncio.create_task(self._copy(upstream, writer, "down"))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancel(ways)
        for each in self.writers:
            each.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self.flowing[way].wait()
                data = await reader.read(CHUNK)
                if self.mode == "delay":
                    await asyncio.sleep(self.seconds)
                await self.flowing[way].wait()
                if not data:
                    return
                writer.write(data)
                await writer.drain()


class Proxy:
    """For use with `async with`. `port` is where clients connect; new connections get `mode`."""

    def __init__(self, port: int, mode: Mode = "pass", seconds: float = 0) -> None:
        self.target = port
        self.mode: Mode = mode
        self.seconds = seconds
        self.port = 0
        self.links: set[Link] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        await _cancel(self.tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self.mode, self.seconds)
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.links.add(link)
        try:
            await link.run((reader, writer), self.target)
        except asyncio.CancelledError:
            link.reset()
        finally:
            self.links.discard(link)
            self.tasks.discard(task)

    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/connection/websocket"

    def set(self, mode: Mode, seconds: float = 0) -> None:
        """For all connections, those of now and new ones."""
        self.mode, self.seconds = mode, seconds
        for link in self.links:
            link.set(mode, seconds)

    def reset(self) -> None:
        for link in list(self.links):
            link.reset()


async def _cancel(tasks: Iterable["asyncio.Task[None]"]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
