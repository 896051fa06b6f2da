"""uvicorn on a socket of ours: signals are the command's, WebSockets can be aborted, and the end is a drain."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop
import wsproto.events
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from .conf import limit
from .frames import text_frame
from .lifetime import Application, Lifetime, Lingering, Peer
from .listener import BACKLOG
from .outbox import Frame

# Bytes that wait for a slow reader in user space before `send` does.
WRITE_BUFFER = 65_536
# Bytes handled in one turn of the loop. Measured: frames of two bytes take 35 µs each, so that one read of 256 KiB kept everybody else
# waiting for a second, and the next one for another.
TURN_BYTES = 4_096
# Time for the head of a request; without it, who connects and says nothing, or stops within a head, keeps the connection for ever.
HEAD_SECONDS = 30
# Size of a head, and of what comes between the pieces of a body. The parser knows no end: it copies all that it has with every read, so
# that one head of 76 MB kept everybody else waiting for seconds.
HEAD_BYTES = 65_536


def new_event_loop() -> asyncio.AbstractEventLoop:
    return uvloop.new_event_loop()


async def serve(application: Application, sock: socket.socket, lifetime: Lifetime) -> None:
    """Serve on `sock` until `lifetime` ends; returns when every connection is gone."""
    config = uvicorn.Config(
        application,
        interface="asgi3",
        http=Http,
        # Not "auto": websockets-sansio answers 400 to older Python clients, which send an empty subprotocol header.
        ws=WebSocket,
        ws_max_size=limit("MESSAGE_BYTES"),
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        backlog=BACKLOG,
    )
    await Server(config, lifetime).serve([sock])


class Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    # h11, which parses where httptools is not installed, has a limit of its own, and calls nothing of what follows.
    counts = hasattr(AutoHTTPProtocol, "on_headers_complete")
    # Whether the last read brought something to its end, and the bytes of those since then that did not.
    completed = False
    incomplete = 0

    def data_received(self, data: bytes) -> None:
        self.completed = not self.counts
        super().data_received(data)
        self.incomplete = 0 if self.completed else self.incomplete + len(data)
        if self.incomplete > HEAD_BYTES and not self.transport.is_closing():
            self.refuse_head()

    def refuse_head(self) -> None:
        if _awaits_head(self):
            self.send_400_response(f"The head of a request may have at most {HEAD_BYTES} bytes.")
        else:
            # Another answer is under way.
            self.transport.abort()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.completed = True

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self.completed = True

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.completed = True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"wirelog": {"abort": self.transport.abort}}


class Socket:
    """Writes frames without the copies that wsproto makes of a message (`writer.Socket`)."""

    __slots__ = ("_transport", "on_ready", "open", "ready")

    def __init__(self, protocol: "WebSocket") -> None:
        self._transport = protocol.transport
        # Until a close frame has gone out: no message may follow it.
        self.open = True
        self.ready = True
        self.on_ready: Callable[[], None] = lambda: None

    def send(self, frame: Frame) -> None:
        if self.open and not self._transport.is_closing():
            self._transport.writelines(text_frame(frame))

    def abort(self) -> None:
        self._transport.abort()

    def release(self) -> None:
        self.on_ready = lambda: None


class WebSocket(WSProtocol):
    # None until the head of the request is here.
    socket: Socket | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = float(limit("ABORT_SECONDS"))
        # What was read and has not had its turn. While there is any, the socket is not read.
        self.unread = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def handle_connect(self, event: wsproto.events.Request) -> None:
        super().handle_connect(event)
        # The application starts after this returns.
        self.socket = Socket(self)
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions["wirelog"] = {"abort": self.transport.abort, "socket": self.socket}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.socket is not None:
            # It refers to this: see `consumers.py`.
            self.socket = None
            del self.scope["extensions"]["wirelog"]

    def data_received(self, data: bytes) -> None:
        if not self.unread and len(data) <= TURN_BYTES:
            super().data_received(data)
            return
        if not self.unread:
            self.loop.call_soon(self.take_turn)
        self.unread += data
        self.transport.pause_reading()

    def take_turn(self) -> None:
        if self.transport.is_closing():
            self.unread.clear()
            return
        piece = bytes(self.unread[:TURN_BYTES])
        del self.unread[:TURN_BYTES]
        super().data_received(piece)
        if self.unread:
            self.loop.call_soon(self.take_turn)
        elif not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        # As the base class does it, but for what is unread: its last turn reads on.
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if not self.unread:
                self.transport.resume_reading()
        return message

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.socket is not None:
            self.socket.ready = False

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.socket is not None:
            self.socket.ready = True
            self.socket.on_ready()

    def handle_message(self, event: wsproto.events.TextMessage | wsproto.events.BytesMessage) -> None:
        size = len(event.data.encode()) if isinstance(event.data, str) else len(event.data)
        if self.buffer.length + size > self.config.ws_max_size:
            self.refuse_size()
        else:
            super().handle_message(event)

    def refuse_size(self) -> None:
        """Close with 1009, but go on reading: a connection reset while the client still sends would hide the code from it."""
        self.close_sent = True
        if self.socket is not None:
            self.socket.open = False
        self.buffer.clear()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1009, "reason": "message too big"})
        self.transport.write(self.conn.send(wsproto.events.CloseConnection(code=1009, reason="message too big")))
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def handle_ping(self, event: wsproto.events.Ping) -> None:
        # Who sends pings and reads nothing would fill the memory with pongs.
        if self.writable.is_set():
            super().handle_ping(event)


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, lifetime: Lifetime) -> None:
        super().__init__(config)
        self.lifetime = lifetime
        self.lingering = Lingering(limit("ABORT_SECONDS"))
        self.silent = Lingering(HEAD_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The command handles signals: uvicorn would raise them again at the end, and the exit status would not be 0.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.lifetime.ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self.sweep(time.monotonic())
        self.should_exit = self.lifetime.stopping.is_set()
        return await super().on_tick(counter)

    def sweep(self, now: float) -> None:
        """Abort connections that take too long to say what they want, or to end."""
        connections = self.server_state.connections
        closing = [connection.transport for connection in connections if connection.transport.is_closing()]
        silent = [connection.transport for connection in connections if _awaits_head(connection)]
        for transport in (*self.lingering.overdue(closing, now), *self.silent.overdue(silent, now)):
            transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        await self.lifetime.drain(self.peers, lambda: self.server_state.tasks)

    def peers(self) -> list[Peer]:
        return [_peer(connection) for connection in self.server_state.connections]


def _awaits_head(connection: Any) -> bool:
    """Whether it is before its first request, or within the head of a later one: for those two uvicorn counts no time."""
    if isinstance(connection, WebSocket):
        return False
    cycle = connection.cycle
    return cycle is None or (cycle.response_complete and connection.timeout_keep_alive_task is None)


def _peer(connection: Any) -> Peer:
    if isinstance(connection, WebSocket):
        # Its session has closed it; uvicorn's own shutdown would send 1012.
        return Peer(True, lambda: None, connection.transport.abort)
    return Peer(False, connection.shutdown, connection.transport.abort)
