"""A signal ends the server cleanly with everybody on board: what was published is answered, who is connected is told to come back."""

import signal
import sqlite3
from contextlib import closing

import pytest

from ..end_to_end.rawsocket import RawSocket
from ..end_to_end.test_serve import FORCED
from ..waiting import eventually
from .host import STREAM, Host, NewHost
from .swarm import Swarm

IDLE = 1_000
PUBLISHERS = 100
# 100 publishers that wait for each other need a moment for so many.
ACKS = 1_000
SIGNALS = [("uvicorn", signal.SIGTERM), ("daphne", signal.SIGINT)]
# More than a busy machine takes for so many.
DRAIN_SECONDS = 40


def left_behind(host: Host) -> int:
    """Rows of processes, connections and presence."""
    tables = ("realtime_serverprocess", "realtime_connection", "realtime_presence")
    with closing(sqlite3.connect(host.server.data / "wirelog.sqlite3")) as database:
        return sum(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)


def stuck_reader(host: Host) -> RawSocket:
    """Subscribed, and never read from again."""
    server = host.server
    client = RawSocket(server.host, server.port, receive_buffer=4_096)
    token = server.cast.keys["reader"]
    client.send(f'{{"id":1,"connect":{{"token":"{token}"}}}}\n{{"id":2,"subscribe":{{"channel":"{STREAM}"}}}}')
    return client


async def stop_with_everybody(host: Host, number: signal.Signals, idle: int = IDLE) -> None:
    server = host.server
    async with Swarm(server.host, server.port, server.cast.keys["reader"]) as swarm:
        # They subscribe to nothing: here they are only many.
        await swarm.join(idle, stream="")
        await host.load(publishers=PUBLISHERS, workers=1, readers=2)
        with stuck_reader(host):
            await host.acks(ACKS)
            host.fault(number.name)
            server.send_signal(number)
            await host.timed(f"{number.name} to exit", host.ended())
        await eventually(lambda: all(member.lost for member in swarm.members), "a connection is left")
        assert swarm.closes() == {3001}
    assert host.status == 0
    assert FORCED not in server.log()
    assert left_behind(host) == 0
    assert {3001} == {code for client in host.clients for code in client.closes}
    await host.restart()
    await host.acks(100)
    await host.settle()
    # What was stored had been answered.
    assert sum(client.duplicates for client in host.clients) == 0
    await host.finish()


@pytest.mark.parametrize("kind, number", SIGNALS)
async def test_it_stops_with_a_thousand_connections_while_a_hundred_publish_and_one_is_stuck(
    new_host: NewHost, number: signal.Signals
) -> None:
    async with new_host(WIRELOG_DRAIN_SECONDS=str(DRAIN_SECONDS)) as host:
        await stop_with_everybody(host, number)
