"""The faulty layer does what it says."""

import asyncio
from typing import Any

import pytest

from ..waiting import eventually
from .layer import FaultyLayer

MESSAGES = 20


async def sent_through(fault: str, expected: int) -> list[int]:
    layer = FaultyLayer(fault)
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    got: list[int] = []

    async def hear() -> None:
        while True:
            message: Any = await layer.receive(channel)
            got.append(message["n"])

    hearing = asyncio.create_task(hear())
    for number in range(1, MESSAGES + 1):
        await layer.group_send("group", {"type": "x", "n": number})
    await eventually(lambda: len(got) == expected and not layer.tasks)
    hearing.cancel()
    return got


@pytest.mark.parametrize("every", [1, 2, 7])
async def test_every_kth_is_dropped(every: int) -> None:
    kept = [number for number in range(1, MESSAGES + 1) if number % every]
    assert await sent_through(f"drop:{every}", len(kept)) == kept


async def test_each_is_doubled() -> None:
    assert await sent_through("double", 2 * MESSAGES) == [number for number in range(1, MESSAGES + 1) for _ in range(2)]


@pytest.mark.parametrize("fault", ["delay", "reorder"])
async def test_all_come_in_another_order(fault: str) -> None:
    got = await sent_through(fault, MESSAGES)
    assert sorted(got) == list(range(1, MESSAGES + 1))
    assert got != sorted(got)
