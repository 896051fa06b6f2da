"""A WebSocket client without manners: it stops reading, never answers, sends what it likes."""

import socket
import struct
from types import TracebackType
from typing import Self

from ..waiting import SECONDS

TEXT, CLOSE, PING = 1, 8, 9
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


def frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """A client's frame; its mask is zero, so the payload is what it is."""
    size = len(payload)
    first = (0x80 if final else 0) | opcode
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


class RawSocket:
    def __init__(self, host: str, port: int, path: str = "/connection/websocket", headers: str = "", receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if receive_buffer:
            # Before connecting: it decides the window that the server is offered.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, port))
        self.socket.sendall(HANDSHAKE.format(path=path, host=host, port=port, headers=headers).encode())
        self.data = b""
        self.status = int(self._until(b"\r\n\r\n").split(b" ")[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, text: str) -> None:
        self.socket.sendall(frame(TEXT, text.encode()))

    def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises EOFError or ConnectionResetError when there is none."""
        first, size = self._take(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first & 0x0F, self._take(size)

    def send_for(self, data: bytes, seconds: float, most: int = 200_000_000) -> int:
        """Send `data` over and over until the server takes no more of it for `seconds`; returns the bytes that went out, `most` at most."""
        self.socket.settimeout(seconds)
        sent = 0
        try:
            while sent < most:
                sent += self.socket.send(data)
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(SECONDS)
        return sent

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.data:
            self._more()
        head, _, self.data = self.data.partition(mark)
        return head

    def _take(self, size: int) -> bytes:
        while len(self.data) < size:
            self._more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def _more(self) -> None:
        part = self.socket.recv(65_536)
        if not part:
            raise EOFError
        self.data += part
