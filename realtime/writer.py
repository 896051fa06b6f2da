"""The one writer of a socket. Woken by the outbox, it lets out what may go, as long as the server takes it.

It is a callback and no task: waking a task for each of a thousand subscribers costs as much as all else that is done for a record.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from .errors import SLOW, Close
from .failpoints import failpoint
from .outbox import Frame
from .session import Session


class Socket(Protocol):
    """What the writer needs of a server. `serve` puts one into the scope, as `socket` of the extension `wirelog`."""

    # Called when it is ready again.
    on_ready: Callable[[], None]

    @property
    def ready(self) -> bool:
        """Whether it takes a frame now."""

    def send(self, frame: Frame) -> None:
        """Write a text message. One whose peer is gone goes nowhere: the consumer is told of that."""

    def abort(self) -> None:
        """End the connection without a word to a peer that takes none."""

    def release(self) -> None:
        """The connection is over."""


class AsgiSocket:
    """The socket of any other server: one send at a time, and no way to abort."""

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = lambda: None
        self._send = send
        self._sending: asyncio.Task[None] | None = None

    def send(self, frame: Frame) -> None:
        self.ready = False
        self._sending = asyncio.create_task(self._send_text(b"\n".join(frame).decode()))

    async def _send_text(self, text: str) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            # The peer has gone; the server tells the consumer as well.
            return
        self.ready = True
        self.on_ready()

    def abort(self) -> None:
        pass

    def release(self) -> None:
        if self._sending is not None:
            self._sending.cancel()


class Writer:
    def __init__(self, socket: Socket, close: Callable[[Close], None]) -> None:
        self.session: Session | None = None
        self._socket = socket
        self._socket.on_ready = self.wake
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._woken = False
        self._ended = False

    def wake(self) -> None:
        """Write in the next turn of the loop: what comes in this one goes into the same frame."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._woken = False
        session = self.session
        if session is None or self._ended:
            return
        if session.closing is not None:
            session.outbox.finish()
        now = self._loop.time()
        while self._socket.ready and session.closing != SLOW and (frame := session.outbox.take(now)) is not None:
            failpoint("socket.before_send")
            self._socket.send(frame)
        if session.closing is not None and session.finished and (self._socket.ready or session.closing == SLOW):
            self._ended = True
            self._close(session.closing)

    def end(self) -> None:
        """Nothing is written any more: the connection is over."""
        self._ended = True
        self._socket.release()
