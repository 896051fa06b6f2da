"""Whatever a network does, histories stay valid, and who is cut off is noticed."""

import asyncio
from contextlib import suppress

import pytest

from ..end_to_end.servers import KINDS
from ..waiting import eventually
from .client import Lost
from .host import STREAM, Host, NewHost
from .proxy import Mode, Proxy

# Small, so that a cut is noticed within a test; with the defaults it is 40 s.
IMPATIENT = {"WIRELOG_PING_SECONDS": "1", "WIRELOG_PONG_SECONDS": "1", "WIRELOG_PROGRESS_SECONDS": "2", "WIRELOG_ABORT_SECONDS": "1"}
RESETS = 10
CUTS: list[tuple[str, Mode]] = [("uvicorn", "drop"), ("daphne", "drop"), ("uvicorn", "stall up"), ("daphne", "stall down")]


async def loaded(host: Host, proxy: Proxy, **options: int) -> None:
    """Everybody comes through `proxy`."""
    await host.load(url=proxy.url, **options)
    await host.acks(1_000)


async def test_resets_under_load(new_host: NewHost) -> None:
    async with new_host() as host, Proxy(host.server.port) as proxy:
        await loaded(host, proxy)
        for _ in range(RESETS):
            await host.acks(50)
            host.fault("reset")
            proxy.reset()
        await host.acks(50)
        await host.finish()


async def test_half_a_second_each_way_and_back(new_host: NewHost) -> None:
    async with new_host() as host, Proxy(host.server.port) as proxy:
        await loaded(host, proxy)
        host.fault("delay")
        proxy.set("delay", 0.25)
        await host.acks(30)
        host.drop_connections()
        await host.acks(30)
        proxy.set("pass")
        await host.finish()


@pytest.mark.parametrize("kind, mode", CUTS)
async def test_who_is_cut_off_is_gone_soon_and_resumes_when_the_cut_is_over(new_host: NewHost, mode: Mode) -> None:
    async with new_host(**IMPATIENT) as host, Proxy(host.server.port) as proxy:
        witness = await host.client("witness", STREAM, key="reader")
        await loaded(host, proxy, sdk=0)

        async def others(wanted: bool) -> bool:
            # On a busy machine a ping may find the witness silent, too: it comes back.
            with suppress(Lost):
                return bool(await witness.here(STREAM) - {witness.id}) == wanted
            return False

        await eventually(lambda: others(True), "nobody else is present")
        host.fault(mode)
        proxy.set(mode)
        await host.timed("presence gone", eventually(lambda: others(False), "those who are cut off are still present"))
        proxy.set("pass")
        await host.acks(50)
        await host.finish()


@pytest.mark.parametrize("kind", KINDS[:1])
async def test_a_cut_that_tcp_survives_is_not_even_noticed(new_host: NewHost) -> None:
    async with new_host() as host, Proxy(host.server.port) as proxy:
        await loaded(host, proxy)
        connects = sum(client.connects for client in host.clients)
        host.fault("black hole")
        proxy.set("drop")
        await asyncio.sleep(2)  # the cut itself
        proxy.set("pass")
        await host.acks(50)
        assert sum(client.connects for client in host.clients) == connects
        host.drop_connections()
        await host.finish()
