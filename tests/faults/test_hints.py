"""A broadcast is a hint: lost, doubled, late or out of order, it costs latency and nothing else."""

import asyncio

import pytest

from ..end_to_end.servers import KINDS
from ..waiting import eventually
from .host import STREAM, NewHost

# The layer is the same under both servers: each fault on one of them.
LAYERS = [(KINDS[number % 2], layer) for number, layer in enumerate(("drop:1", "drop:2", "drop:7", "double", "delay", "reorder"))]
BURST = 10_000
MEBIBYTE = 1_048_576


@pytest.mark.parametrize("kind, layer", LAYERS)
async def test_everybody_sees_everything_whatever_becomes_of_the_hints(new_host: NewHost, layer: str) -> None:
    async with new_host(LAYER=layer) as host:
        host.fault(f"layer {layer}")
        await host.load()
        await host.acks(1_000)
        # Who comes back meanwhile reads from the same feed.
        host.drop_connections()
        await host.acks(200)
        await host.settle()
        # The last record before silence.
        writer = await host.client("last")
        position = await writer.publish(STREAM, host.value())
        assert position is not None
        reached = eventually(lambda: all(client.positions[STREAM] == position for client in host.clients if client.streams))
        await host.timed("last record", reached)
        await host.finish()


async def test_a_burst_loses_nothing_and_queues_without_a_bound_nowhere(new_host: NewHost) -> None:
    async with new_host() as host:
        readers = [await host.client(f"reader{number}", STREAM, key="reader") for number in range(3)]
        writers = [await host.client(f"publisher{number}") for number in range(10)]
        host.fault("burst")
        before = host.server.resident()
        publishes = (writers[number % 10].publish(STREAM, host.value(100)) for number in range(BURST))
        burst = asyncio.create_task(host.timed("burst", asyncio.gather(*publishes)))
        await host.acks(BURST // 4)
        readers[0].drop()
        await burst
        await host.finish()
        # The rings hold all of it, once: a fifth of what a queue for each would.
        assert host.server.resident() - before < 48 * MEBIBYTE
