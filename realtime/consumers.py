"""The Channels consumer: accept, bytes in, frames out, close. No rule of the product is in it."""

import asyncio
import contextlib
import logging
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from . import callers, engine
from .callers import Caller
from .endpoint import Endpoint, Refusal
from .errors import FOREIGN_ORIGIN, SERVER_ERROR, BadRequest, Close
from .session import Session
from .writer import AsgiSocket, Socket, Writer

logger = logging.getLogger(__name__)

# What a client says of itself, for lists: no more of it is kept.
MAX_AGENT = 200
UPGRADE = ((b"connection", b"upgrade"), (b"upgrade", b"websocket"))


class NotUpgraded(Endpoint):
    """A plain request where sockets are opened: mostly it was to become one, and a proxy has kept that to itself."""

    def screen(self) -> None:
        reason = "bad request: this takes WebSockets: a proxy on the way must pass on the headers Upgrade and Connection"
        raise Refusal(426, BadRequest.code, reason, *UPGRADE)


class WebSocketConsumer(AsyncConsumer):
    scope: Any
    base_send: Any
    session: Session | None = None
    socket: Socket
    writer: Writer
    closing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Not the loop of Channels, which makes two tasks for every message, and one that waits for a channel layer."""
        self.scope, self.base_send = scope, send
        self.socket = scope.get("extensions", {}).get("wirelog", {}).get("socket") or AsgiSocket(send)
        self.writer = Writer(self.socket, self._start_close)
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            return
        finally:
            # Not in `disconnect`: that is not called when a send failed, or the task was cancelled.
            self.writer.end()
            if self.session is not None:
                self.session.leave()
            # They refer to each other: the garbage collector, which seldom looks at what has lived long, would be left to find them.
            self.session = None
            del self.writer

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels does, without its hop to a database thread for every message."""
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)
        elif message["type"] == "websocket.connect":
            await self.websocket_connect(message)
        elif message["type"] == "websocket.disconnect":
            raise StopConsumer

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        # Accepted before it is refused: a client retries an HTTP 403 for ever, and heeds a close code.
        await self.base_send({"type": "websocket.accept", "subprotocol": self._subprotocol()})
        refusal, caller = admit(self.scope)
        if refusal is not None:
            await self._close(refusal)
            return
        running = await engine.current(lenient=True)
        self.session = self.writer.session = Session(running, caller, self.writer.wake, self.socket.abort)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.session is None or self.session.closing is not None:
            return
        text = message.get("text")
        try:
            await self.session.receive(message.get("bytes") or b"" if text is None else text)
        except Exception:
            # The edge: an error of ours ends this connection, which comes back and resumes.
            logger.exception("A command could not be run.")
            self.session.close(SERVER_ERROR)

    def _start_close(self, close: Close) -> None:
        self.closing = asyncio.create_task(self._close(close))

    async def _close(self, close: Close) -> None:
        # It fails when the peer has gone; the server tells of that as well.
        with contextlib.suppress(OSError, RuntimeError):
            await self.base_send({"type": "websocket.close", "code": close.code, "reason": close.reason})

    def _subprotocol(self) -> str | None:
        """The JSON subprotocol, if offered: a browser fails the handshake when none of its offers is taken."""
        offered = self.scope.get("subprotocols", [])
        return "centrifuge-json" if "centrifuge-json" in offered else None


def admit(scope: Any) -> tuple[Close | None, Caller]:
    """Whether to go on with a handshake, judged by its headers alone, before any session or row is read."""
    cookie = callers.session_cookie(scope)
    origin = callers.header(scope, b"origin")
    allowed = callers.origin_allowed(scope)
    caller = Caller(cookie if allowed else "", allowed, callers.client_address(scope), _agent(scope))
    if not callers.host_allowed(scope) or (origin and not allowed) or (cookie and not origin):
        return FOREIGN_ORIGIN, caller
    return None, caller


def _agent(scope: Any) -> str:
    agent = callers.header(scope, b"user-agent")
    return "".join(character for character in agent if character.isprintable())[:MAX_AGENT]
