"""The fault proxy does to a connection what it says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ..waiting import SECONDS, eventually
from .proxy import Proxy

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it gets, until its peer has no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[Proxy]:
    async with Proxy(echo) as proxy:
        yield proxy


@pytest.fixture
async def connection(proxy: Proxy) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def ask(connection: Connection, text: bytes) -> bytes:
    reader, writer = connection
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), SECONDS)


async def hears_nothing(connection: Connection) -> bool:
    try:
        await asyncio.wait_for(connection[0].read(1), 0.1)
    except TimeoutError:
        return True
    return False


async def test_it_passes_everything_both_ways(connection: Connection) -> None:
    assert await ask(connection, b"hello") == b"hello"
    large = bytes(range(256)) * 4_000
    assert await ask(connection, large) == large


async def test_a_delay_is_that_of_each_way(connection: Connection, proxy: Proxy) -> None:
    assert await ask(connection, b"x") == b"x"
    proxy.set("delay", 0.1)
    clock = asyncio.get_running_loop().time
    started = clock()
    assert await ask(connection, b"x") == b"x"
    assert clock() - started >= 0.2


@pytest.mark.parametrize("mode", ["drop", "stall up", "stall down"])
async def test_what_is_held_back_comes_when_that_is_over(connection: Connection, proxy: Proxy, mode: str) -> None:
    assert await ask(connection, b"x") == b"x"
    proxy.set(mode)  # type: ignore[arg-type]
    connection[1].write(b"later")
    assert await hears_nothing(connection)
    proxy.set("pass")
    assert await connection[0].readexactly(5) == b"later"


async def test_one_connection_may_have_a_mode_of_its_own(connection: Connection, proxy: Proxy) -> None:
    assert await ask(connection, b"x") == b"x"
    (link,) = proxy.links
    other = await asyncio.open_connection("127.0.0.1", proxy.port)
    link.set("drop")
    assert await ask(other, b"y") == b"y"
    connection[1].write(b"x")
    assert await hears_nothing(connection)
    other[1].close()


async def test_a_reset_is_one(connection: Connection, proxy: Proxy) -> None:
    assert await ask(connection, b"x") == b"x"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await connection[0].readexactly(1)
    await eventually(lambda: not proxy.links)


async def test_the_end_of_one_side_is_told_to_the_other(connection: Connection, proxy: Proxy) -> None:
    assert await ask(connection, b"x") == b"x"
    connection[1].close()
    await eventually(lambda: not proxy.links)
