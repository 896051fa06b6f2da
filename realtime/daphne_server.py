"""Daphne on a socket of ours, inside the running event loop: bounded inbound, close reasons, aborts, and a drain at the end.

Daphne's own `run` is not used: it makes its own sockets, owns the loop, and ends connections without a close frame. Twisted's reactor
is the asyncio one, so it needs nobody to run it while the loop runs.
"""

# Overridden methods have the names that Twisted and Autobahn gave them.
# ruff: noqa: N802, N803, N815

# Must come before anything of Twisted: it chooses the reactor.
import daphne.server  # isort: skip

import asyncio
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from autobahn.util import encode_truncate
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor as twisted_reactor
from twisted.internet import tcp
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, STDLibLogObserver, globalLogBeginner

from .conf import limit
from .daphne_http import Factory, Request
from .frames import BINARY, REASON_BYTES, TEXT, frame_head, text_frame
from .lifetime import Application, Lifetime, Lingering, Peer
from .outbox import Frame

# Its declared types are zope interfaces, which the type checker does not understand.
reactor: Any = twisted_reactor

# Inbound messages that wait for the application; over it the socket is not read. Measured without: 810 MiB from one client in 5 s.
INBOX_BYTES = 262_144
# What one waiting message costs beside its text.
MESSAGE_OVERHEAD = 300
# The head of the request is there when this starts to count: it is our own time. In a storm of reconnects 5 s were too few.
HANDSHAKE_SECONDS = 20


def new_event_loop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = daphne.server.twisted_loop
    return loop


async def serve(application: Application, sock: socket.socket, lifetime: Lifetime) -> None:
    """Serve on `sock` until `lifetime` ends; returns when every connection is gone."""
    server = Server(application, lifetime)
    server.open(sock)
    lifetime.ready()
    await lifetime.stopping.wait()
    await server.shutdown()


class Inbox(asyncio.Queue[dict[str, Any]]):
    """What the application has not taken yet. While it is too much, `transport` is not read."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self.transport = transport
        self.size = 0
        self.paused = False

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self.size += _size(item)
        if self.size > INBOX_BYTES and not self.paused:
            self.paused = True
            self.transport.pauseProducing()

    def _get(self) -> dict[str, Any]:
        item = super()._get()
        self.size -= _size(item)
        if self.paused and self.size < INBOX_BYTES // 2:
            self.paused = False
            self.transport.resumeProducing()
        return item


def _size(message: dict[str, Any]) -> int:
    return MESSAGE_OVERHEAD + len(message.get("text") or message.get("bytes") or "")


class Transport(tcp.Server):
    """One TCP connection, listed in `open` while it lives."""

    # Bytes read at once. Autobahn copies what is left of them for every frame: with the default, small frames cost four times as much.
    bufferSize = 16_384

    def __init__(self, open_transports: "set[Transport]", *args: Any) -> None:
        super().__init__(*args)
        self.open_transports = open_transports
        open_transports.add(self)

    def abort(self) -> None:
        self.abortConnection()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:
        self.open_transports.discard(self)
        super().connectionLost(reason)

    def write_now(self, data: bytes) -> None:
        """Write what the kernel takes at once: the reactor would wait for a turn of the loop, and change what it polls twice."""
        sent = self._send(data) if self.connected and not self.disconnecting and not self.waiting else 0
        if sent < len(data):
            self.write(data[sent:])  # type: ignore[no-untyped-call]

    def _send(self, data: bytes) -> int:
        try:
            return self.socket.send(data)
        except OSError:
            # It takes none now, or is lost: the reactor will meet that too, and knows what to do.
            return 0

    @property
    def waiting(self) -> int:
        """Bytes written that the kernel has not taken."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class Socket:
    """Writes frames past Autobahn and, while nothing waits, past the reactor (`writer.Socket`)."""

    __slots__ = ("_protocol", "on_ready")
    # What it is given it keeps; how much is unconfirmed the outbox knows.
    ready = True

    def __init__(self, protocol: "WebSocket") -> None:
        self._protocol = protocol
        self.on_ready: Callable[[], None] = lambda: None

    def send(self, frame: Frame) -> None:
        if self._protocol.state == self._protocol.STATE_OPEN:
            self._protocol.transport.write_now(b"".join(text_frame(frame)))

    def abort(self) -> None:
        self._protocol.transport.abort()

    def release(self) -> None:
        pass


class WebSocket(WebSocketProtocol):  # type: ignore[misc]
    def scope(self) -> dict[str, Any]:
        """What Daphne leaves out of the scope, and our own extension."""
        return {"scheme": "ws", "extensions": {"wirelog": {"abort": self.transport.abort, "socket": Socket(self)}}}

    # In. One growing buffer per message: a list of its pieces costs a hundred bytes for each.

    def dataReceived(self, data: bytes) -> None:
        # Not that of the adapter, which formats a debug line in colour for every call.
        self._dataReceived(data)

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        self.message_data = bytearray()

    def onMessageFrameData(self, payload: bytes) -> None:
        if not self.failedByMe:
            self.message_data += payload

    def onMessageFrameEnd(self) -> None:
        pass

    def onMessageEnd(self) -> None:
        if not self.failedByMe:
            self.onMessage(self.message_data, self.message_is_binary)
        self.message_data = bytearray()

    def onMessage(self, payload: bytearray, isBinary: bool) -> None:
        content = {"bytes": bytes(payload)} if isBinary else {"text": payload.decode()}
        self.application_queue.put_nowait({"type": "websocket.receive", **content})

    def onPing(self, payload: bytes) -> None:
        # Who sends pings and reads nothing would fill the memory with pongs.
        if self.transport.waiting < INBOX_BYTES:
            super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str) -> None:
        if not hasattr(self, "server"):
            # The handshake was refused before Daphne knew of it.
            return
        self.server.protocol_disconnected(self)
        if hasattr(self, "application_queue"):
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code or 1005, "reason": reason if wasClean else ""})

    # Out

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state != self.STATE_CONNECTING:
            self.close(message.get("code") or 1000, message.get("reason") or "")
        else:
            super().handle_reply(message)

    def close(self, code: int, reason: str = "") -> None:
        # Not sendClose, which knows no 1009, 1011 or 1012.
        self.sendCloseFrame(code, encode_truncate(reason, REASON_BYTES) if reason else None)

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:
        # Not sendMessage: it holds outgoing messages to the limit of incoming ones.
        if self.state == self.STATE_OPEN:
            payload = content if isinstance(content, bytes) else content.encode()
            self.transport.write(frame_head(BINARY if binary else TEXT, len(payload)) + payload)

    def application_done(self, task: "asyncio.Task[None]") -> None:
        """Daphne would leave the socket of an application that returned without closing it open for ever."""
        if self.state == self.STATE_OPEN:
            self.close(1011, "internal error")

    def _closeConnection(self, abort: bool = False) -> None:
        # After a complete closing handshake there is nothing to abort: a reset would only look like an error to proxies.
        super()._closeConnection(abort and not self.wasClean)


def log_errors() -> None:
    """Twisted's errors go to our log; the rest, as Daphne has it, nowhere."""
    # Declared by zope interfaces, which the type checker cannot match.
    stdlib: Any = STDLibLogObserver("twisted")
    errors: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.error)
    observer: Any = FilteringLogObserver(stdlib, [errors])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)


class Server(daphne.server.Server):  # type: ignore[misc]
    def __init__(self, application: Application, lifetime: Lifetime) -> None:
        # Daphne exits without endpoints; ours is opened by `open`.
        super().__init__(application, endpoints=["ours"], signal_handlers=False, server_name="")
        self.lifetime = lifetime
        self.connections: dict[Any, dict[str, Any]] = {}
        self.transports: set[Transport] = set()
        self.lingering = Lingering(limit("ABORT_SECONDS"))
        self.http_factory = Factory(self)
        self.ws_factory = self.websocket_factory()

    def websocket_factory(self) -> WebSocketFactory:
        factory = WebSocketFactory(self, server="")
        factory.protocol = WebSocket
        factory.setProtocolOptions(
            # The application checks it; Autobahn's own check is without a list.
            allowNullOrigin=True,
            openHandshakeTimeout=HANDSHAKE_SECONDS,
            closeHandshakeTimeout=limit("ABORT_SECONDS"),
            maxMessagePayloadSize=limit("MESSAGE_BYTES"),
            maxFramePayloadSize=limit("MESSAGE_BYTES"),
            # Close with 1009 and go on reading: a reset would hide the code from the client.
            failByDrop=False,
        )
        return factory

    def open(self, sock: socket.socket) -> None:
        """Accept connections on `sock`, which is taken over."""
        log_errors()
        # What reactor.run() does before it runs the loop. Daphne's timeout_checker is left out: no server pings, no end after 24 h.
        reactor.startRunning(installSignalHandlers=False)
        reactor.callLater(1, self.application_checker)
        self.port = reactor.adoptStreamPort(sock.fileno(), sock.family, self.http_factory)
        self.port.transport = partial(Transport, self.transports)
        # Twisted has made a duplicate of it.
        sock.close()

    def stop(self) -> None:
        self.lifetime.stopping.set()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> "asyncio.Queue[dict[str, Any]] | None":
        if protocol not in self.connections:
            return None
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if isinstance(protocol, WebSocket):
            queue = Inbox(protocol.transport)
            scope.update(protocol.scope())
        else:
            scope["extensions"] = {"wirelog": {"abort": protocol.transport.abort}}
        scope.setdefault("asgi", {"version": "3.0"})
        task = asyncio.ensure_future(self.application(scope, queue.get, partial(self.handle_reply, protocol)))
        task.add_done_callback(protocol.application_done)
        self.connections[protocol]["application_instance"] = task
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if isinstance(protocol, Request):
            await protocol.writable.wait()

    def application_checker(self) -> None:
        super().application_checker()
        closing = [transport for transport in self.transports if transport.disconnecting]
        for transport in self.lingering.overdue(closing, time.monotonic()):
            transport.abort()

    async def shutdown(self) -> None:
        await self.port.stopListening().asFuture(asyncio.get_running_loop())
        await self.lifetime.drain(self.peers, self.applications)

    def applications(self) -> list[Any]:
        tasks = [details.get("application_instance") for details in self.connections.values()]
        return [task for task in tasks if task is not None and not task.done()]

    def peers(self) -> list[Peer]:
        requests = {
            request.transport: request for request in self.connections if isinstance(request, Request) and request.application_queue
        }
        return [_peer(transport, requests.get(transport)) for transport in self.transports]


def _peer(transport: Transport, request: Request | None) -> Peer:
    if isinstance(transport.protocol, WebSocket):
        return Peer(True, lambda: None, transport.abort)
    return Peer(False, partial(_finish, transport, request), transport.abort)


def _finish(transport: Transport, request: Request | None) -> None:
    if request is None or request.finished:
        transport.loseConnection()  # type: ignore[no-untyped-call]
    else:
        request.channel.persistent = False
