"""The one writer of a socket, and how it keeps to the pace of the server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from realtime.errors import SERVER_ERROR, SHUTDOWN, SLOW, Close
from realtime.outbox import Batch, Frame, Limits, Outbox
from realtime.writer import CROWD, AsgiSocket, Writer

from .waiting import eventually


class Line:
    """A server that takes frames while it is `ready`."""

    def __init__(self) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = lambda: None
        self.frames: list[str] = []
        self.released = False

    def send(self, frame: Frame) -> None:
        self.frames.append(b"\n".join(frame).decode())

    def abort(self) -> None:
        pass

    def release(self) -> None:
        self.released = True


class Session:
    """What a writer sees of one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.outbox = Outbox(Limits(frame_bytes=10), wake)
        self.closing: Close | None = None
        self.finished = False

    def close(self, close: Close) -> None:
        self.closing = close


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def closed() -> list[Close]:
    return []


@pytest.fixture
async def writer(line: Line, closed: list[Close]) -> Writer:
    return Writer(line, closed.append)


@pytest.fixture
async def session(writer: Writer) -> Any:
    session: Any = Session(writer.wake)
    writer.session = session
    return session


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_comes_in_one_turn_of_the_loop_goes_as_one_frame(line: Line, session: Any) -> None:
    session.outbox.control("a")
    session.outbox.offer(Batch(["b", "c"]))
    assert line.frames == []
    await turn()
    assert line.frames == ["a\nb\nc"]


def connect(line: Line) -> Any:
    writer = Writer(line, lambda close: None)
    session: Any = Session(writer.wake)
    writer.session = session
    return session


async def test_a_thousand_that_are_woken_together_all_write_in_the_next_turn() -> None:
    lines = [Line() for _ in range(3 * CROWD + 1)]
    sessions = [connect(line) for line in lines]
    for record in ("a", "b"):
        batch = Batch([record])
        for session in sessions:
            assert session.outbox.offer(batch)
        await turn()
    assert all(line.frames == ["a", "b"] for line in lines)


async def test_a_send_that_fails_ends_its_own_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Line):
        def send(self, frame: Frame) -> None:
            raise ValueError("broken")

    lines = [Line(), Broken(), Line()]
    sessions = [connect(line) for line in lines]
    for session in sessions:
        session.outbox.control("a")
    await turn()
    assert [line.frames for line in lines] == [["a"], [], ["a"]]
    assert [session.closing for session in sessions] == [None, SERVER_ERROR, None]
    assert "broken" in caplog.text


async def test_a_server_that_takes_no_more_is_given_no_more_until_it_is_ready(line: Line, session: Any) -> None:
    line.ready = False
    session.outbox.control("a")
    await turn()
    session.outbox.control("b")
    await turn()
    assert line.frames == []
    line.ready = True
    line.on_ready()
    await turn()
    assert line.frames == ["a\nb"]


async def test_replies_go_out_before_the_close_and_nothing_after_it(line: Line, session: Any, closed: list[Close]) -> None:
    session.outbox.control("reply")
    session.outbox.offer(Batch(["record"]))
    session.closing, session.finished = SHUTDOWN, True
    await turn()
    assert (line.frames, closed) == (["reply"], [SHUTDOWN])
    session.outbox.control("late")
    await turn()
    assert (line.frames, closed) == (["reply"], [SHUTDOWN])


async def test_a_close_waits_for_a_server_that_has_not_taken_the_replies(line: Line, session: Any, closed: list[Close]) -> None:
    line.ready = False
    session.outbox.control("reply")
    session.closing, session.finished = SHUTDOWN, True
    await turn()
    assert closed == []
    line.ready = True
    line.on_ready()
    await turn()
    assert (line.frames, closed) == (["reply"], [SHUTDOWN])


async def test_who_is_too_slow_is_closed_without_what_waits(line: Line, session: Any, closed: list[Close]) -> None:
    line.ready = False
    session.outbox.control("reply")
    session.closing, session.finished = SLOW, True
    await turn()
    assert (line.frames, closed) == ([], [SLOW])


async def test_an_ended_writer_lets_go_of_the_socket_and_writes_nothing(line: Line, session: Any, writer: Writer) -> None:
    session.outbox.control("a")
    writer.end()
    await turn()
    assert (line.frames, line.released) == ([], True)


async def test_any_asgi_server_is_given_one_frame_at_a_time() -> None:
    taken: list[str] = []
    gate = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        taken.append(message["text"])
        await gate.wait()

    socket = AsgiSocket(send)
    writer = Writer(socket, lambda close: None)
    session: Any = Session(writer.wake)
    writer.session = session
    for text in ("123456789", "abcdefghi"):
        session.outbox.control(text)
    await turn()
    assert (taken, socket.ready) == (["123456789"], False)
    gate.set()
    await eventually(lambda: taken == ["123456789", "abcdefghi"])
    await eventually(lambda: socket.ready)


async def test_a_send_that_fails_ends_quietly() -> None:
    async def send(message: Any) -> None:
        raise OSError("gone")

    socket = AsgiSocket(send)
    socket.send([b"a"])
    await turn()
    assert not socket.ready
