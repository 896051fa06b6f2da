"""The parts of `serve` that a test of the whole process cannot reach (tests/end_to_end/test_serve.py has the rest)."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from realtime.management.commands import serve
from realtime.management.commands.serve import Run

from .waiting import eventually


class Engine:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.fatal = asyncio.Event()
        self.drained: list[float] = []

    async def drain(self, seconds: float) -> None:
        self.drained.append(seconds)


class Timer:
    """Of a watchdog that must not bark in a test."""

    made: list["Timer"] = []

    def __init__(self, seconds: float, act: Any) -> None:
        self.seconds = seconds
        self.act = act
        self.daemon = False
        self.started = False

    def start(self) -> None:
        self.started = True
        self.made.append(self)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in serve.SIGNALS}
    monkeypatch.setattr(threading, "Timer", Timer)
    Timer.made.clear()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def new_run(**options: Any) -> Run:
    engine: Any = Engine()
    run = Run(engine, "127.0.0.1:1", {"server": "uvicorn", "sign_in_link": False, "demo": False} | options)
    run.start()
    return run


async def test_a_signal_ends_it_with_status_0() -> None:
    run = new_run()
    signal.raise_signal(signal.SIGTERM)
    await eventually(run.lifetime.stopping.is_set)
    assert run.status == 0


async def test_a_failed_write_to_the_disk_ends_it_with_status_1() -> None:
    run = new_run()
    run.engine.fatal.set()
    await eventually(run.lifetime.stopping.is_set)
    assert run.status == 1


async def test_after_the_first_signal_nobody_handles_another() -> None:
    run = new_run()
    run.stop()
    assert [signal.getsignal(number) for number in serve.SIGNALS] == [signal.SIG_DFL, signal.SIG_DFL]


async def test_a_watchdog_ends_the_process_before_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: list[int] = []
    monkeypatch.setattr(serve.os, "_exit", exits.append)  # type: ignore[attr-defined]
    monkeypatch.setattr(serve.logging, "shutdown", lambda: None)  # type: ignore[attr-defined]
    run = new_run()
    run.stop()
    (timer,) = Timer.made
    assert timer.daemon
    assert timer.started
    assert timer.seconds < run.lifetime.seconds
    timer.act()
    assert exits == [0]


async def test_what_runs_beside_the_server_ends_before_the_sessions() -> None:
    run = new_run()
    beside = asyncio.create_task(asyncio.Event().wait())
    run.tasks.append(beside)  # type: ignore[arg-type]
    await run.flush(2)
    await asyncio.wait([beside], timeout=5)
    assert beside.cancelled()
    assert run.engine.drained == [2]  # type: ignore[attr-defined]
