"""What is done in the background, by one process for all: the oldest that is fresh. When it stops another one takes over.

For the while that a dead one still counts as fresh nobody does it, and two may overlap for a moment; neither harms these.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import DatabaseError

from . import notices
from .engine import Engine
from .errors import InternalError
from .models import ServerProcess
from .presence import fresh
from .retention import prune_once
from .rollups import roll_once

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    # One short transaction, in the write thread between two batches; whether there may be more to do.
    run: Callable[[], bool]
    # How long to wait after there was nothing to do, or an error.
    every: float


JOBS = (
    Job("rollups", roll_once, 1),
    Job("retention", prune_once, 10),
    Job("notices", lambda: notices.prune() > 0, 60),
)


async def run(engine: Engine, jobs: Sequence[Job] = JOBS) -> None:
    """Do what there is to do, until cancelled. All jobs take turns, so that together they leave half of the time to the publishers."""
    due = dict.fromkeys(jobs, 0.0)
    failing: set[Job] = set()
    while True:
        for job in jobs:
            if engine.loop.time() >= due[job] and not await _turn(engine, job, failing):
                due[job] = engine.loop.time() + job.every
        if min(due.values()) > engine.loop.time():
            await asyncio.sleep(POLL_SECONDS)


async def _turn(engine: Engine, job: Job, failing: set[Job]) -> bool:
    try:
        again = await leads(engine) and await engine.journal.run_paced(job.run)
    except Exception as error:
        # The edge of the job: whatever it is, the others go on, and it is said once.
        if job not in failing:
            failing.add(job)
            logger.warning(
                "The job %s failed, and is tried again: %s", job.name, error, exc_info=not isinstance(error, DatabaseError | InternalError)
            )
        return False
    if job in failing:
        failing.discard(job)
        logger.info("The job %s works again.", job.name)
    return again


async def leads(engine: Engine) -> bool:
    """Whether this process is the one that does the jobs."""
    return await engine.reads.run(_oldest) == engine.presence.process_id


def _oldest() -> object:
    return ServerProcess.objects.filter(fresh()).order_by("started", "pk").values_list("pk", flat=True).first()
