"""The JavaScript client of npm, unmodified, in node, against real servers. The scenarios are in `node/`."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.machine import require

from ..waiting import SECONDS
from .servers import RunningServer
from .wireclient import WireClient

FOLDER = Path(__file__).parent / "node"
RECORDS = 600

Run = Callable[..., Awaitable["Scenario"]]


class Scenario:
    """A script that tells, line by line, what came to pass."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS)
        told: dict[str, Any] = json.loads(line or "{}")
        return told

    async def rest(self) -> dict[str, Any]:
        """All that it tells until it ends."""
        told: dict[str, Any] = {}
        while line := await self.line():
            told |= line
        assert await asyncio.wait_for(self.process.wait(), SECONDS) == 0
        return told


@pytest.fixture
async def run(server: RunningServer) -> AsyncIterator[Run]:
    """Starts a script with a key of the cast."""
    started: list[Process] = []

    async def run(script: str, *arguments: str, key: str = "device") -> Scenario:
        command = [require("node"), str(FOLDER / script), server.socket_url, server.cast.keys[key], *arguments]
        # One line may be the whole log.
        started.append(await asyncio.create_subprocess_exec(*command, stdout=PIPE, limit=1_048_576))
        return Scenario(started[-1])

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_everything_that_a_client_does(server: RunningServer, run: Run) -> None:
    made = [await asyncio.to_thread(server.manage, "streams", "create", name) for name in ("one", "two")]
    assert [done.returncode for done in made] == [0, 0], made
    told = await (await run("basics.mjs")).rest()
    assert told == {
        "firstFrame": ["connect", *["subscribe"] * 4],
        "subscribed": [["lobby", True, True, 0], ["one", True, True, 0], ["two", True, True, 0]],
        "joined": True,
        # Final: it is not asked for again.
        "refused": 102,
        "state": "unsubscribed",
        "seen": [[1, {"text": "hi"}, True], [2, "two", True]],
        "rpc": [2, 2, True, True],
        "wrong": 104,
        "history": [1, 2],
        "top": 2,
        "same": True,
        "lost": 112,
        "present": 1,
        "me": {"name": "device"},
        "stats": 1,
        "disconnected": 0,
        "reason": "disconnect called",
    }


async def test_a_kill_loses_and_doubles_nothing(server: RunningServer, run: Run) -> None:
    scenario = await run("resume.mjs", str(RECORDS), key="reader")
    assert await scenario.line() == {"subscribed": [False, False]}
    for start in range(0, RECORDS, RECORDS // 3):
        await asyncio.to_thread(publish, server, range(start, start + RECORDS // 3))
        if start < 2 * RECORDS // 3:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert await scenario.line() == {"subscribed": [True, True]}
    told = await scenario.rest()
    assert told["records"] == [[number + 1, number] for number in range(RECORDS)]


def publish(server: RunningServer, numbers: range) -> None:
    with WireClient(server, "device") as writer:
        for number in numbers:
            writer.publish(number)


async def test_subscribing_again_leaves_no_gap(run: Run) -> None:
    told = await (await run("again.mjs", "300")).rest()
    assert told["records"] == [[number, number] for number in range(1, 301)]
    assert told["everyTime"]
    assert told["rounds"] > 1


async def test_a_wrong_key_is_final(server: RunningServer, run: Run) -> None:
    for key in ("expired", "revoked"):
        scenario = await run("resume.mjs", "1", key=key)
        assert await scenario.line() == {"disconnected": 3500, "reason": "invalid token"}
