"""One client that asks for far too much: it is told so each time, and costs no memory."""

import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from .host import STREAM, NewHost

AT_ONCE = 50
MEBIBYTE = 1_048_576
# A stream that it has, names that none can have, and one that is not there: how often each, and what is answered.
NAMES = [(STREAM, 40_000, 105), ("../etc/passwd", 20_000, 107), ("two\nlines", 20_000, 107), ("\u202eobbol", 20_000, 107)]
NAMES += [("x" * 10_240, 1_000, 107), ("nothing", 1_000, 102)]


async def subscribe(socket: ClientConnection, name: str, count: int) -> list[int]:
    """The codes of the errors that answer `count` subscribes."""
    codes: list[int] = []
    for start in range(0, count, AT_ONCE):
        await socket.send("\n".join(json.dumps({"id": start + number, "subscribe": {"channel": name}}) for number in range(1, AT_ONCE + 1)))
        while len(codes) < start + AT_ONCE:
            codes += [reply["error"]["code"] for reply in await replies(socket) if "error" in reply]
    return codes


async def replies(socket: ClientConnection) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in (await socket.recv()).splitlines()]
    if {} in messages:
        await socket.send("{}")
    return messages


async def test_thousands_of_subscribes_on_one_socket(new_host: NewHost) -> None:
    async with new_host() as host, connect(host.server.socket_url, max_size=None, proxy=None) as socket:
        await socket.send(json.dumps({"id": 1, "connect": {"token": host.server.cast.keys["reader"]}}))
        await socket.send(json.dumps({"id": 2, "subscribe": {"channel": STREAM}}))
        # Whatever the first of them loads is there from now on.
        await subscribe(socket, STREAM, AT_ONCE)
        before = host.server.resident()
        for name, count, code in NAMES:
            assert await subscribe(socket, name, count) == [code] * count
        assert host.server.resident() - before < 8 * MEBIBYTE
