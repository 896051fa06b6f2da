import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from realtime import group_read
from realtime.group_read import GroupRead

from .waiting import eventually


class HeldReads:
    """Reader threads that begin a read when told to."""

    def __init__(self) -> None:
        self.held: list[asyncio.Future[None]] = []

    async def run(self, read: Callable[..., Any], *args: Any) -> Any:
        self.held.append(asyncio.get_running_loop().create_future())
        await self.held[-1]
        return read(*args)

    async def let_go(self) -> None:
        await eventually(lambda: bool(self.held))
        self.held.pop().set_result(None)


class Doubles:
    """Answers with twice the number, and keeps what it was asked."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []

    def __call__(self, asked: Sequence[int]) -> list[int]:
        self.reads.append([*asked])
        if 0 in asked:
            raise ValueError("0")
        return [2 * number for number in asked]


@pytest.fixture
def doubles() -> Doubles:
    return Doubles()


@pytest.fixture
def reads() -> HeldReads:
    return HeldReads()


@pytest.fixture
def group(reads: HeldReads, doubles: Doubles) -> GroupRead[int, int]:
    return GroupRead(reads, doubles)  # type: ignore[arg-type]


async def ask(group: GroupRead[int, int], *numbers: int) -> list["asyncio.Task[int]"]:
    """Tasks that have all asked."""
    tasks = [asyncio.create_task(group.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_during_a_read_goes_into_the_next_one(group: GroupRead[int, int], reads: HeldReads, doubles: Doubles) -> None:
    first = await ask(group, 1)
    await eventually(lambda: bool(reads.held))
    later = [*await ask(group, 2), *await ask(group, 3)]
    await reads.let_go()
    await reads.let_go()
    assert await asyncio.gather(*first, *later) == [2, 4, 6]
    assert doubles.reads == [[1], [2, 3]]


async def test_no_answer_is_older_than_its_question(group: GroupRead[int, int], reads: HeldReads, doubles: Doubles) -> None:
    first = await ask(group, 1)
    await eventually(lambda: bool(reads.held))
    # The same question: a read that is under way may have looked already.
    again = await ask(group, 1)
    await reads.let_go()
    assert await asyncio.gather(*first) == [2]
    assert doubles.reads == [[1]]
    assert not again[0].done()
    await reads.let_go()
    assert await asyncio.gather(*again) == [2]


async def test_a_read_is_asked_so_much_and_no_more(
    group: GroupRead[int, int], reads: HeldReads, doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_read, "MOST", 2)
    asked = await ask(group, 1, 2, 3, 4, 5)
    for _ in range(3):
        await reads.let_go()
    assert await asyncio.gather(*asked) == [2, 4, 6, 8, 10]
    assert doubles.reads == [[1, 2], [3, 4], [5]]


async def test_an_error_reaches_all_who_asked_and_nobody_after_them(group: GroupRead[int, int], reads: HeldReads) -> None:
    wrong = await ask(group, 0, 1)
    await reads.let_go()
    assert [str(error) for error in await asyncio.gather(*wrong, return_exceptions=True)] == ["0", "0"]
    right = await ask(group, 1)
    await reads.let_go()
    assert await asyncio.gather(*right) == [2]


async def test_one_who_gives_up_ends_it_for_nobody_else(group: GroupRead[int, int], reads: HeldReads) -> None:
    gone, there = await ask(group, 1, 2)
    await eventually(lambda: bool(reads.held))
    gone.cancel()
    await reads.let_go()
    assert await there == 4
    assert gone.cancelled()
