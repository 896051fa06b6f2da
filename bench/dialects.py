"""How each server wants to be spoken to. The payloads are the same for all."""

import json
import re
from dataclasses import dataclass

# Offsets of the server's own, or else the number that each publisher gives.
OFFSET = re.compile(rb'"offset": ?(\d+)')
NUMBER = re.compile(rb'"p": ?(\d+), ?"n": ?(\d+)')


@dataclass(frozen=True)
class Login:
    """As whom a connection is opened: headers of the handshake, or a token in the connect command."""

    headers: str = ""
    token: str = ""


class Dialect:
    """A bare server: each text message is a record, and goes to all who listen."""

    number = NUMBER
    # Whether a publish is answered.
    acks = False
    # Whether a record may get lost, so that subscribers differ.
    lossy = False
    # What the server sends to see whether one lives, and what it wants to hear.
    ping = b""
    pong = b""

    def path(self, stream: str, publisher: bool) -> str:
        return f"/{'pub' if publisher else 'sub'}/{stream}"

    def opening(self, stream: str, login: Login, publisher: bool, since: tuple[str, int] | None) -> bytes:
        """What a client says first, or nothing."""
        return b""

    def greeting(self, text: bytes, publisher: bool) -> tuple[bool, bytes, bytes]:
        """What to make of a text before the connection is ready: whether it is now, an answer, and records that came with it."""
        raise NotImplementedError

    def publish(self, stream: str, number: int, data: bytes) -> bytes:
        return data

    def join(self, messages: list[bytes]) -> list[bytes]:
        """The frames that carry `messages`."""
        return messages


class Centrifuge(Dialect):
    number = OFFSET
    acks = True
    ping = pong = b"{}"

    def path(self, stream: str, publisher: bool) -> str:
        return "/connection/websocket"

    def opening(self, stream: str, login: Login, publisher: bool, since: tuple[str, int] | None) -> bytes:
        token = f'"token":"{login.token}"' if login.token else ""
        connect = f'{{"id":1,"connect":{{{token}}}}}'
        if publisher:
            return connect.encode()
        recover = f',"recover":true,"epoch":"{since[0]}","offset":{since[1]}' if since else ""
        return f'{connect}\n{{"id":2,"subscribe":{{"channel":"{stream}"{recover}}}}}'.encode()

    def greeting(self, text: bytes, publisher: bool) -> tuple[bool, bytes, bytes]:
        lines = text.split(b"\n")
        for index, line in enumerate(lines):
            reply = json.loads(line)
            if "error" in reply:
                raise ConnectionError(f"refused: {reply['error']}")
            if ("connect" if publisher else "subscribe") in reply:
                return True, b"", b"\n".join(lines[index + 1 :])
        return False, b"", b""

    def publish(self, stream: str, number: int, data: bytes) -> bytes:
        return b'{"id":%d,"publish":{"channel":"%s","data":%s}}' % (number + 2, stream.encode(), data)

    def join(self, messages: list[bytes]) -> list[bytes]:
        return [b"\n".join(messages)]


class Channels(Dialect):
    """The stock way: nothing is promised, and past a hundred that wait for a socket the layer drops."""

    lossy = True

    def path(self, stream: str, publisher: bool) -> str:
        return f"/ws/{stream.replace(':', '-')}/"


class SocketIo(Dialect):
    ping, pong = b"2", b"3"

    def path(self, stream: str, publisher: bool) -> str:
        room = "" if publisher else f"&room={stream}"
        return f"/socket.io/?EIO=4&transport=websocket{room}"

    def greeting(self, text: bytes, publisher: bool) -> tuple[bool, bytes, bytes]:
        return (False, b"40", b"") if text.startswith(b"0") else (text.startswith(b"40"), b"", b"")

    def publish(self, stream: str, number: int, data: bytes) -> bytes:
        return b'42["publish","%s",%s]' % (stream.encode(), data)


class Rust(Dialect):
    number = OFFSET


DIALECTS: dict[str, Dialect] = {
    "wirelog": Centrifuge(),
    "centrifuge": Centrifuge(),
    "channels": Channels(),
    "socket.io": SocketIo(),
    "ws": Dialect(),
    "rust": Rust(),
}
