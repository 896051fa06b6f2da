"""What our WebSocket of uvicorn does with the bytes that it is given. How it serves is in end_to_end/."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from realtime.uvicorn_server import HEAD_BYTES, HEAD_SECONDS, TURN_BYTES, Http, Server, WebSocket

from .end_to_end.rawsocket import HANDSHAKE, PING, TEXT, frame
from .waiting import eventually


class Transport(asyncio.Transport):
    """One whose peer sends when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.closed = False
        self.written = b""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class App:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heard.append(message["text"])


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def transport() -> Transport:
    return Transport()


async def opened(app: App, transport: Transport, state: ServerState) -> WebSocket:
    socket = WebSocket(Config(app, ws_max_size=1_048_576, ws_ping_interval=None, log_config=None), state, {})
    socket.connection_made(transport)
    socket.data_received(HANDSHAKE.format(path="/", host="localhost", port=80, headers="").encode())
    await eventually(lambda: socket.handshake_complete)
    return socket


@pytest.fixture
async def socket(app: App, transport: Transport) -> AsyncIterator[WebSocket]:
    state = ServerState()
    socket = await opened(app, transport, state)
    yield socket
    socket.connection_lost(None)
    await asyncio.gather(*state.tasks)


async def test_a_connection_that_is_lost_is_not_left_to_the_garbage_collector(app: App, transport: Transport) -> None:
    state = ServerState()
    socket = await opened(app, transport, state)
    lost = weakref.ref(socket)
    gc.disable()
    try:
        socket.connection_lost(None)
        await asyncio.gather(*state.tasks)
        del socket
        await eventually(lambda: lost() is None)
    finally:
        gc.enable()


@pytest.fixture
async def http(app: App, transport: Transport) -> AsyncIterator[Http]:
    state = ServerState()
    http = Http(Config(app, log_config=None), state, {})
    http.connection_made(transport)
    yield http
    http.connection_lost(None)
    await asyncio.gather(*state.tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("cycle", "timer", "ends"),
    [
        (None, None, True),
        (SimpleNamespace(response_complete=False), None, False),
        (SimpleNamespace(response_complete=True), "runs", False),
        (SimpleNamespace(response_complete=True), None, True),
    ],
    ids=["before the first request", "within a request", "idle after one", "within the head of the next"],
)
async def test_who_takes_too_long_over_a_head_is_ended(cycle: Any, timer: Any, ends: bool, transport: Transport, app: App) -> None:
    lifetime: Any = None
    server = Server(Config(app, log_config=None), lifetime)
    connection: Any = SimpleNamespace(transport=transport, cycle=cycle, timeout_keep_alive_task=timer)
    server.server_state.connections = [connection]  # type: ignore[assignment]
    server.sweep(0)
    server.sweep(HEAD_SECONDS)
    assert not transport.closed
    server.sweep(HEAD_SECONDS + 1)
    assert transport.closed == ends


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "filler"),
    [(GET + b"X: ", b"x"), (GET, b"a: b\r\n"), (b"GET /", b"x"), (b"", b"\r\n"), (POST + b"1;", b"x"), (POST + b"0\r\nX: ", b"x")],
    ids=["a header", "many headers", "a path", "nothing", "what follows a length", "a trailer"],
)
async def test_a_head_without_an_end_is_cut_off(begun: bytes, filler: bytes, http: Http, transport: Transport, app: App) -> None:
    http.data_received(begun)
    piece = filler * (10_000 // len(filler))
    for _ in range(HEAD_BYTES // len(piece)):
        http.data_received(piece)
    assert not transport.closed
    http.data_received(piece)
    assert transport.closed


async def test_a_large_body_is_no_head(http: Http, transport: Transport, app: App) -> None:
    http.data_received(POST)
    for _ in range(20):
        http.data_received(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    http.data_received(b"0\r\n\r\n" + GET + b"X: " + b"x" * HEAD_BYTES)
    assert not transport.closed


async def test_who_sends_thousands_of_tiny_frames_keeps_nobody_else_waiting(socket: WebSocket, transport: Transport, app: App) -> None:
    waiting_at: list[int] = []

    async def somebody_else() -> None:
        while True:
            waiting_at.append(len(app.heard))
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    socket.data_received(frame(TEXT, b"{}") * 10_000)
    assert not transport.reading
    await eventually(lambda: len(app.heard) == 10_000)
    other.cancel()
    # The longest that it had to wait for a turn, in frames.
    assert max(after - before for before, after in pairwise(waiting_at)) <= 2 * TURN_BYTES / len(frame(TEXT, b"{}"))
    assert transport.reading


async def test_what_comes_in_one_read_is_heard_whole_and_in_order(socket: WebSocket, transport: Transport, app: App) -> None:
    texts = [str(number) * (number % 50 * 200) for number in range(500)]
    data = b"".join(frame(TEXT, text.encode()) + frame(PING, b"") for text in texts)
    for start in range(0, len(data), 262_144):
        await eventually(lambda: transport.reading)
        socket.data_received(data[start : start + 262_144])
    await eventually(lambda: len(app.heard) == len(texts))
    assert app.heard == texts


async def test_while_something_is_unread_the_socket_is_not_read(socket: WebSocket, transport: Transport, app: App) -> None:
    """Else who sends without a pause would fill the memory."""
    socket.data_received(frame(TEXT, b"x" * TURN_BYTES) * 100)
    while socket.unread:
        assert not transport.reading
        await asyncio.sleep(0)
    await eventually(lambda: transport.reading)


async def test_of_a_connection_that_is_over_nothing_more_is_handled(socket: WebSocket, transport: Transport, app: App) -> None:
    socket.data_received(frame(TEXT, b"{}") * 10_000)
    transport.close()
    await eventually(lambda: not socket.unread)
    assert len(app.heard) < 10_000


async def test_no_message_follows_the_close_frame_of_one_that_said_too_much(socket: WebSocket, transport: Transport) -> None:
    assert socket.socket is not None
    socket.socket.send([b"in time"])
    assert transport.written.endswith(b"in time")
    socket.data_received(frame(TEXT, b"x" * 1_048_577))
    await eventually(lambda: socket.close_sent)
    closed = transport.written
    socket.socket.send([b"too late"])
    assert transport.written == closed
