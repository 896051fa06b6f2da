"""The one writer of a socket. Woken by the outbox, it lets out what may go, as long as the server takes it.

It is a callback and no task: waking a task for each of a thousand subscribers costs as much as all else that is done for a record.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from .errors import SERVER_ERROR, SLOW, Close
from .failpoints import failpoint
from .outbox import Frame
from .session import Session

logger = logging.getLogger(__name__)

# So many writers share a callback. What their frames take in memory meanwhile is bounded by it.
CROWD = 64


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


class Turn:
    """The writers that were woken in this turn of the loop, in crowds that write in the next one."""

    def __init__(self) -> None:
        self._crowd: list[Writer] = []

    def add(self, writer: "Writer") -> None:
        if not 0 < len(self._crowd) < CROWD:
            self._crowd = []
            asyncio.get_running_loop().call_soon(self._write, self._crowd)
        self._crowd.append(writer)

    def _write(self, crowd: list["Writer"]) -> None:
        # First all frames are taken, then they are sent: between calls to the kernel the same Python takes longer.
        # Measured for a lone record to a thousand sockets: 12.3 µs of CPU for each when every writer takes and sends, 10.3 µs so.
        if self._crowd is crowd:
            self._crowd = []
        now = asyncio.get_running_loop().time()
        for writer, frame in [(writer, writer.take(now)) for writer in crowd]:
            try:
                writer.write(frame, now)
            except Exception:
                # The edge: an error of ours ends this connection, which comes back and resumes. The others get what was taken for them.
                logger.exception("A frame could not be sent.")
                writer.fail()


_turns: "WeakKeyDictionary[asyncio.AbstractEventLoop, Turn]" = WeakKeyDictionary()


class Writer:
    __slots__ = ("_close", "_ended", "_socket", "_turn", "_woken", "session")

    session: Session | None

    def __init__(self, socket: Socket, close: Callable[[Close], None]) -> None:
        self.session = None
        self._socket = socket
        self._socket.on_ready = self.wake
        self._close = close
        self._turn = _turns.setdefault(asyncio.get_running_loop(), Turn())
        self._woken = False
        self._ended = False

    def wake(self) -> None:
        """Write in the next turn of the loop: what comes in this one goes into the same frame."""
        if not self._woken:
            self._woken = True
            self._turn.add(self)

    def take(self, now: float) -> Frame | None:
        """The frame to write next, if any may go."""
        self._woken = False
        session = self.session
        if session is None or self._ended:
            return None
        if session.closing is not None:
            session.outbox.finish()
        return session.outbox.take(now) if self._socket.ready and session.closing != SLOW else None

    def write(self, frame: Frame | None, now: float) -> None:
        """Write `frame`, then all else that may go."""
        session = self.session
        if session is None or self._ended:
            return
        while frame is not None:
            failpoint("socket.before_send")
            self._socket.send(frame)
            frame = self.take(now) if session.outbox.waiting else None
        if session.closing is not None and session.finished and (self._socket.ready or session.closing == SLOW):
            self._ended = True
            self._close(session.closing)

    def fail(self) -> None:
        if self.session is not None:
            self.session.close(SERVER_ERROR)

    def end(self) -> None:
        """Nothing is written any more: the connection is over."""
        self._ended = True
        self.session = None
        self._socket.release()
