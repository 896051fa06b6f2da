"""Time that jumps or stands still changes no order and loses nothing."""

import asyncio
import signal
import sqlite3
from contextlib import closing

from .host import Host, NewHost
from .wallclock import DAY_SECONDS

STILL_SECONDS = 2.0


async def test_a_wall_clock_that_jumps_by_a_day(new_host: NewHost) -> None:
    async with new_host() as host:
        await host.load()
        await host.acks(1_000)
        for direction in ("back", "ahead", "right"):
            host.fault(f"clock {direction}")
            host.server.send_signal(signal.SIGUSR1)
            await host.acks(200)
            host.drop_connections()
            await host.acks(50)
        assert days_of_records(host) > 1.9
        await host.finish()


def days_of_records(host: Host) -> float:
    """From the earliest to the latest time at which a record was received."""
    with closing(sqlite3.connect(host.server.data / "wirelog.sqlite3")) as database:
        (span,) = database.execute("SELECT max(received) - min(received) FROM realtime_record").fetchone()
    return float(span) / 1_000 / DAY_SECONDS


async def test_a_process_that_stands_still_and_goes_on(new_host: NewHost) -> None:
    async with new_host() as host:
        await host.load()
        await host.acks(1_000)
        host.fault("SIGSTOP")
        host.server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STILL_SECONDS)
        # Half of them do not wait for it.
        for client in host.clients[::2]:
            client.drop()
        host.server.send_signal(signal.SIGCONT)
        await host.acks(100)
        await host.finish()
