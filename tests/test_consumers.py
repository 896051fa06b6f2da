"""The edge: a real consumer under the communicator of Channels."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer

from realtime.consumers import WebSocketConsumer, admit
from realtime.engine import Engine
from realtime.errors import SHUTDOWN, SLOW, STALE
from realtime.models import Audience, Stream
from realtime.outbox import Frame
from realtime.session import Session

from .communicators import SocketCommunicator
from .core import busy, cookie, person, running
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

OWN = {"host": "testserver", "origin": "http://testserver"}
CONNECT = '{"id":1,"connect":{}}'


@pytest.fixture
def session_key(transactional_db: None) -> str:
    Stream.objects.create(name="room", readers=Audience.ANYONE)
    person("alice")
    return cookie("alice")


@pytest.fixture
async def engine(session_key: str) -> AsyncIterator[Engine]:
    async with running() as found:
        yield found


def socket(headers: dict[str, str] = OWN, subprotocols: list[str] | None = None) -> SocketCommunicator:
    named = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return SocketCommunicator(WebSocketConsumer.as_asgi(), "/connection/websocket", named, subprotocols)


async def opened(**headers: str) -> SocketCommunicator:
    found = socket(headers or OWN)
    assert await found.connect() == (True, None)
    return found


async def close_of(found: SocketCommunicator) -> tuple[int, str]:
    message = await found.receive_output()
    assert message["type"] == "websocket.close"
    return message["code"], message["reason"]


async def the_session(engine: Engine) -> Any:
    await eventually(lambda: engine.sessions)
    (found,) = engine.sessions
    return found


async def test_a_browser_that_is_signed_in_connects_by_its_cookie(engine: Engine, session_key: str) -> None:
    found = await opened(**OWN, cookie=f"a=b; sessionid={session_key}")
    await found.send_to(text_data=CONNECT)
    assert json.loads(await found.receive_from())["connect"]["data"]["name"] == "alice"
    await found.disconnect()


async def test_a_session_that_has_ended_is_not_left_to_the_garbage_collector(engine: Engine) -> None:
    found = await opened()
    await found.send_to(text_data=CONNECT)
    await found.receive_from()
    session = weakref.ref(await the_session(engine))
    gc.disable()
    try:
        await found.disconnect()
        await eventually(lambda: session() is None)
    finally:
        gc.enable()


@pytest.mark.parametrize("text", [True, False])
async def test_frames_are_taken_as_text_and_as_bytes(engine: Engine, text: bool) -> None:
    found = await opened()
    await (found.send_to(text_data=CONNECT) if text else found.send_to(bytes_data=CONNECT.encode()))
    assert '"id":1' in await found.receive_from()
    await found.disconnect()


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "testserver", "origin": "http://evil.test"},
        {"host": "testserver", "origin": "https://testserver"},
        {"host": "testserver", "origin": "null"},
        {"host": "testserver", "origin": "file://"},
        {"host": "testserver", "origin": "http://testserver:8001"},
        {"host": "testserver:8001", "origin": "http://testserver"},
        {"host": "testserver", "origin": "http://testserver.evil.test"},
        {"host": "testserver", "origin": "http://eviltestserver"},
        {"host": "testserver", "origin": "http://evil.test/http://testserver"},
        {"host": "testserver", "origin": "http://testserver@evil.test"},
        {"host": "testserver", "origin": "http://testserver/"},
        {"host": "testserver", "origin": "http://testserver, http://evil.test"},
        {"host": "testserver, evil.test", "origin": "http://testserver, evil.test"},
        {"host": "", "origin": "http://"},
        {"host": "evil.test", "origin": "http://evil.test"},
        {"origin": "http://testserver"},
        {"host": "testserver", "cookie": "sessionid=x"},
    ],
    ids=str,
)
async def test_a_foreign_page_is_accepted_and_closed_before_anything_is_read(
    engine: Engine, session_key: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.reads, "run", lambda *args: pytest.fail("read something"))
    found = socket({"cookie": f"sessionid={session_key}"} | headers)
    assert (await found.connect())[0]
    assert await close_of(found) == (3507, "permission denied")
    await found.send_to(text_data=CONNECT)
    assert engine.sessions == set()
    await found.disconnect()


async def test_a_program_without_cookie_and_origin_may_come_with_a_key_only(engine: Engine) -> None:
    found = await opened(host="testserver")
    await found.send_to(text_data=CONNECT)
    assert await close_of(found) == (3501, "bad request")
    await found.disconnect()


@pytest.mark.parametrize(
    "offered, taken",
    [([], None), (["centrifuge-json"], "centrifuge-json"), (["x", "centrifuge-json"], "centrifuge-json"), (["centrifuge-protobuf"], None)],
)
async def test_the_subprotocol_that_is_spoken_here_is_echoed(engine: Engine, offered: list[str], taken: str | None) -> None:
    found = socket(subprotocols=offered)
    assert await found.connect() == (True, taken)
    await found.disconnect()


async def test_what_was_answered_goes_out_before_the_close(engine: Engine) -> None:
    found = await opened()
    await found.send_to(text_data=f"{CONNECT}\n{CONNECT}")
    assert json.loads(await found.receive_from())["id"] == 1
    assert await close_of(found) == (3501, "bad request")
    await found.send_to(text_data=CONNECT)
    await found.disconnect()


async def test_a_publish_on_its_way_is_answered_before_a_shutdown_closes_its_connection(engine: Engine, session_key: str) -> None:
    found = await opened(**OWN, cookie=f"sessionid={session_key}")
    await found.send_to(text_data=CONNECT)
    await found.receive_from()
    gate = await busy(engine.journal)
    await found.send_to(text_data='{"id":2,"publish":{"channel":"room","data":1}}')
    await eventually(lambda: engine.journal.waiting == 1)
    (await the_session(engine)).close(SHUTDOWN)
    gate.set()
    await eventually(lambda: engine.journal.waiting == 0)
    assert json.loads(await found.receive_from()) == {"id": 2, "publish": {}}
    assert await close_of(found) == (3001, "shutdown")


async def test_a_slow_connection_is_closed_without_what_waits_for_it(engine: Engine) -> None:
    found = await opened()
    session = await the_session(engine)
    session.outbox.control("never sent")
    session.close(SLOW)
    assert await close_of(found) == (3008, "slow")
    await found.disconnect()


async def test_an_error_of_ours_closes_with_3004_and_is_logged(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Session, frame: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Session, "receive", fail)
    found = await opened()
    await found.send_to(text_data=CONNECT)
    assert await close_of(found) == (3004, "internal server error")
    assert "A command could not be run" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    await found.disconnect()


async def test_no_connection_is_a_member_of_the_channel_layer(engine: Engine) -> None:
    sockets = [await opened() for _ in range(3)]
    layer: Any = get_channel_layer()
    await eventually(lambda: len(engine.sessions) == 3)
    assert {name: len(channels) for name, channels in layer.groups.items()} == {"wirelog": 1}
    for found in sockets:
        await found.disconnect()


# However it ends


async def subscribed(engine: Engine) -> SocketCommunicator:
    found = await opened()
    await found.send_to(text_data=CONNECT + '\n{"id":2,"subscribe":{"channel":"room"}}')
    answers = ""
    while '"id":2' not in answers:
        answers += str(await found.receive_from())
    return found


def forgotten(engine: Engine) -> bool:
    return not engine.sessions and not engine.hub.feeds


async def test_a_client_that_goes_is_forgotten(engine: Engine) -> None:
    found = await subscribed(engine)
    await found.disconnect()
    assert forgotten(engine)


async def test_a_consumer_that_is_cancelled_forgets_its_client(engine: Engine) -> None:
    found = await subscribed(engine)
    found.future.cancel()
    await asyncio.gather(found.future, return_exceptions=True)
    assert forgotten(engine)


async def run_with(send: Any, *messages: dict[str, Any]) -> None:
    """The consumer under a server of our own."""
    waiting = [{"type": "websocket.connect"}, *messages, {"type": "websocket.disconnect"}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    headers = [(name.encode(), value.encode()) for name, value in OWN.items()]
    scope = {"type": "websocket", "path": "/", "headers": headers, "subprotocols": []}
    application: Any = WebSocketConsumer.as_asgi()
    await application(scope, receive, send)


async def test_a_socket_that_takes_nothing_any_more_is_forgotten(engine: Engine) -> None:
    sent: list[str] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            raise OSError

    await run_with(send, {"type": "websocket.receive", "text": CONNECT})
    assert sent[0] == "websocket.accept"
    assert forgotten(engine)


async def test_an_error_in_the_handshake_leaves_nothing_behind(engine: Engine) -> None:
    async def send(message: dict[str, Any]) -> None:
        raise OSError

    with pytest.raises(OSError, match=r"^$"):
        await run_with(send)
    assert forgotten(engine)


class Transport:
    """A `writer.Socket` that takes everything, and notes that it was aborted."""

    ready = True

    def __init__(self, aborted: list[bool]) -> None:
        self.on_ready: Callable[[], None] = lambda: None
        self.aborted = aborted

    def send(self, frame: Frame) -> None:
        pass

    def abort(self) -> None:
        self.aborted.append(True)

    def release(self) -> None:
        pass


@pytest.mark.parametrize("offered", [True, False])
async def test_a_transport_is_aborted_where_the_server_can(engine: Engine, offered: bool) -> None:
    aborted: list[bool] = []
    found = socket()
    if offered:
        found.scope["extensions"] = {"wirelog": {"socket": Transport(aborted)}}
    assert (await found.connect())[0]
    session = await the_session(engine)
    session.close(STALE)
    session.tick(engine.loop.time() + 6)
    assert aborted == [True] * offered
    await found.disconnect()


def test_what_is_kept_of_a_client_is_short_and_printable() -> None:
    _, caller = admit({"headers": [(b"user-agent", b"a\x00\x1b[1mb" + b"x" * 1_000), (b"host", b"testserver")], "client": ("10.0.0.7", 1)})
    assert caller.agent == ("a[1mb" + "x" * 1_000)[:200]
    assert (caller.address, caller.session_key, caller.origin_allowed) == ("10.0.0.7", "", False)
