"""What one process does in the background for all."""

import asyncio
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from realtime import jobs
from realtime.engine import Engine
from realtime.jobs import Job
from realtime.models import Kind, Rollup, ServerProcess, Stream

from .core import append, elsewhere, running
from .waiting import SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)


class Work:
    """A job with so many units of work; what it is asked once there is none is counted too."""

    def __init__(self, units: int = 0) -> None:
        self.left = units
        self.turns = 0
        self.error: Exception | None = None
        self.threads: set[str] = set()

    def __call__(self) -> bool:
        self.turns += 1
        self.threads.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        self.left -= 1
        return self.left >= 0

    @property
    def job(self) -> Job:
        return Job("work", self, 0.05)


class Running:
    def __init__(self, engine: Engine, *jobs_: Job) -> None:
        self.task = asyncio.create_task(jobs.run(engine, jobs_))

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc: Any) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_job_is_done_until_nothing_is_left_and_asked_again_later(engine: Engine) -> None:
    work = Work(5)
    async with Running(engine, work.job):
        await eventually(lambda: work.left < 0)
        work.left = 3
        await eventually(lambda: work.turns > 6 and work.left < 0)
    assert work.threads == {"wirelog-journal"}


async def test_jobs_take_turns(engine: Engine) -> None:
    endless, work = Work(10**9), Work(20)
    # How many turns the one had had at each of the other.
    had: list[int] = []

    def unit() -> bool:
        had.append(endless.turns)
        return work()

    async with Running(engine, endless.job, Job("work", unit, 0.05)):
        await eventually(lambda: work.left < 0)
    assert had[:21] == list(range(1, 22))


def beside(started: timedelta, heartbeat: timedelta = timedelta()) -> uuid.UUID:
    now = timezone.now()
    row = ServerProcess.objects.create(id=uuid.uuid4(), host="b", pid=1, started=now + started, heartbeat=now + heartbeat)
    return row.pk


HOUR = timedelta(hours=1)
OTHERS: list[tuple[Callable[[], uuid.UUID], bool]] = [
    (lambda: beside(-HOUR), False),
    (lambda: beside(HOUR), True),
    (lambda: beside(-HOUR, heartbeat=-HOUR), True),
]


@pytest.mark.parametrize("other, ours", OTHERS, ids=["older", "younger", "dead"])
async def test_the_oldest_process_that_lives_does_the_jobs(engine: Engine, other: Any, ours: bool) -> None:
    await elsewhere(other)
    assert await jobs.leads(engine) is ours


async def test_when_the_oldest_process_goes_the_next_one_takes_over(engine: Engine) -> None:
    pk = await elsewhere(beside, -HOUR)
    work, asked = Work(), asyncio.Event()
    leads = jobs.leads

    async def ask(engine: Engine) -> bool:
        found = await leads(engine)
        asked.set()
        return found

    jobs.leads = ask
    try:
        async with Running(engine, work.job):
            await asked.wait()
            assert work.turns == 0
            await elsewhere(lambda: ServerProcess.objects.filter(pk=pk).delete())
            await eventually(lambda: work.turns > 0)
    finally:
        jobs.leads = leads


@pytest.mark.parametrize("error", [OperationalError("database is locked"), KeyError("x")], ids=["database", "mistake"])
async def test_a_failing_job_says_so_once_is_tried_again_and_stops_no_other(
    engine: Engine, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "realtime.jobs")
    failing, work = Work(), Work()
    failing.error = error
    async with Running(engine, failing.job, work.job):
        await eventually(lambda: failing.turns > 2 and work.turns > 2)
        failing.error = None
        await eventually(lambda: len(caplog.records) > 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"The job work failed, and is tried again: {error}",
        "The job work works again.",
    ]


async def test_a_unit_that_is_under_way_ends_before_the_engine_does(transactional_db: None) -> None:
    started, go_on = threading.Event(), threading.Event()
    ended: list[bool] = []

    def unit() -> bool:
        started.set()
        go_on.wait(SECONDS)
        ended.append(True)
        return True

    async with running() as engine, Running(engine, Job("slow", unit, 1)):
        await asyncio.to_thread(started.wait, SECONDS)
        engine.loop.call_later(0.05, go_on.set)
    assert ended == [True]


async def test_what_is_drawn_is_rolled_up_and_what_is_not_kept_is_pruned(engine: Engine) -> None:
    stream = await elsewhere(Stream.objects.create, name="s", kind=Kind.CHART, keep_records=40)
    await elsewhere(append, "s", *["1"] * 100)
    async with Running(engine, *jobs.JOBS):
        await eventually(lambda: elsewhere(lambda: Stream.objects.get(pk=stream.pk).tail == 61), "pruned")
        await eventually(lambda: elsewhere(lambda: Stream.objects.get(pk=stream.pk).rolled == 96), "rolled up")
        await eventually(lambda: elsewhere(lambda: Rollup.objects.filter(block__gte=4).count() == 2))
