"""A kill at any instant loses no acknowledged record and doubles none."""

import random

from realtime.failpoints import NAMES

from .host import NewHost

KILLS = 4
# How often each place is passed in one life, at least; the others as often as anybody publishes.
PASSES = {"subscribe.state": 2, "reads.page": 1}


async def test_kills_under_load_lose_and_double_nothing(new_host: NewHost) -> None:
    async with new_host() as host:
        await host.load()
        await host.acks(1_000)
        for name in NAMES:
            # It needs the pages that nobody else does.
            host.newcomer(f"newcomer at {name}")
            await host.die_at(f"{name}=kill:{random.randint(1, PASSES.get(name, 20))}")
        await host.restart()
        for _ in range(KILLS):
            await host.acks(random.randint(1, 200))
            await host.kill()
        await host.finish()
