"""Several servers on one database, joined by Redis: one of each kind. Redis only makes it quick; the database is the truth."""

import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from realtime.hints import SEND_SECONDS
from realtime.hub import GAP_SECONDS

from ..waiting import eventually_sync
from .redis_server import Redis
from .servers import Fleet, RunningServer
from .wireclient import WireClient, end_of

# Without a hint a record waits for the next tick, and for the pause before a gap is filled.
QUICK = GAP_SECONDS


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.kill()


@pytest.fixture
def pair(make_server: Fleet, redis: Redis) -> list[RunningServer]:
    """Two servers on the same data."""
    first = make_server.new("uvicorn", REDIS_URL=redis.url)
    second = make_server.new("daphne", data=first.data, REDIS_URL=redis.url)
    first.start()
    second.start()
    return [first, second]


class Wires:
    """A publisher and a subscriber at each server."""

    def __init__(self, pair: list[RunningServer], stack: ExitStack) -> None:
        self.writers = [stack.enter_context(WireClient(server, "device")) for server in pair]
        self.readers = [stack.enter_context(WireClient(server, "reader")) for server in pair]
        self.head = 0
        for reader in self.readers:
            reader.subscribe()

    def publish(self, writer: int) -> None:
        """Publish a record, and have it acknowledged."""
        self.head += 1
        assert self.writers[writer].publish(self.head) == self.head

    def publish_some(self) -> None:
        """Ten records at either server."""
        for number in range(20):
            self.publish(number % 2)

    def latency(self) -> float:
        """Seconds from an acknowledgement to the subscriber of the other server, as a rule; subscribers must have read everything."""
        return statistics.median(self._across() for _ in range(9))

    def _across(self) -> float:
        self.publish(0)
        started = time.monotonic()
        assert self.readers[1].publication()["offset"] == self.head
        took = time.monotonic() - started
        assert self.readers[0].publication()["offset"] == self.head
        return took

    def check(self, start: int) -> None:
        """Both have everything after `start`, each record once and in order."""
        for reader in self.readers:
            assert reader.offsets(self.head - start) == list(range(start + 1, self.head + 1))


@pytest.fixture
def wires(pair: list[RunningServer]) -> Iterator[Wires]:
    with ExitStack() as stack:
        yield Wires(pair, stack)


def test_a_record_reaches_the_other_server_sooner_than_by_the_tick(wires: Wires) -> None:
    # As a rule, and again on a machine that is busy with something else.
    eventually_sync(lambda: wires.latency() < QUICK, "records come by the tick only")
    before = wires.head
    wires.publish_some()
    wires.check(before)


def test_presence_is_that_of_all_servers(wires: Wires) -> None:
    everybody = {reader.hello["client"] for reader in wires.readers}
    for writer in wires.writers:
        eventually_sync(lambda writer=writer: writer.here() == everybody)  # type: ignore[misc]
    wires.readers[1].call("unsubscribe", {"channel": "lobby"})
    eventually_sync(lambda: wires.writers[0].here() == {wires.readers[0].hello["client"]})


def test_without_redis_everything_goes_on(wires: Wires, redis: Redis) -> None:
    wires.publish_some()
    redis.kill()
    wires.publish_some()
    wires.check(0)

    # It comes back, and knows nothing.
    redis.start()
    eventually_sync(lambda: wires.latency() < QUICK, "hints do not come again")
    before = wires.head
    wires.publish_some()
    wires.check(before)


def test_a_redis_that_hangs_delays_no_acknowledgement(wires: Wires, redis: Redis) -> None:
    redis.process.send_signal(signal.SIGSTOP)
    # Past the time after which a broadcast is given up.
    until = time.monotonic() + 3 * SEND_SECONDS
    times = [took(wires, number % 2) for number in range(20)]
    while time.monotonic() < until:
        times.append(took(wires, len(times) % 2))
    assert statistics.median(times) < SEND_SECONDS
    # By the tick, while it still hangs.
    wires.check(0)
    redis.process.send_signal(signal.SIGCONT)
    eventually_sync(lambda: wires.latency() < QUICK, "hints do not come again")


def took(wires: Wires, writer: int) -> float:
    """Seconds until the acknowledgement. One that waited for the broadcast would take SEND_SECONDS."""
    started = time.monotonic()
    wires.publish(writer)
    return time.monotonic() - started


def test_a_server_that_is_killed_takes_nothing_with_it(wires: Wires, pair: list[RunningServer]) -> None:
    wires.publish_some()
    wires.check(0)
    pair[0].kill()
    wires.publish(1)
    assert wires.readers[1].offsets(1) == [wires.head]
    pair[0].start()
    with WireClient(pair[0], "reader") as client:
        assert client.subscribe(recover=True, offset=10)["recovered"]
        assert client.offsets(wires.head - 10) == list(range(11, wires.head + 1))


def test_a_command_tells_the_servers_at_once(wires: Wires, pair: list[RunningServer]) -> None:
    done = pair[0].manage("publish", "lobby", "1")
    assert done.returncode == 0, done.stderr
    for reader in wires.readers:
        assert reader.offsets(1) == [1]


def test_disconnect_closes_the_connections_at_every_server(wires: Wires, pair: list[RunningServer]) -> None:
    with ExitStack() as stack:
        tabs = [stack.enter_context(WireClient(server, session="alice")) for server in pair]
        request = {"user": tabs[0].hello["data"]["user"], "disconnect": {"code": 4700, "reason": "come back later"}}
        assert pair[0].post("/api/disconnect", request, "backend").json() == {"result": {}}
        assert [end_of(tab) for tab in tabs] == [4700, 4700]
    # Nobody else.
    wires.publish_some()
    wires.check(0)
