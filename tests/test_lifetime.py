import asyncio
import time
from dataclasses import dataclass, field

import pytest

from realtime import lifetime
from realtime.lifetime import Lifetime, Lingering, Peer

from .waiting import SECONDS


@dataclass
class Connections:
    """Fake ones: each name is open until it is finished or aborted, or for ever when it is `stuck`."""

    websockets: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def peers(self) -> list[Peer]:
        return [self.peer(name, name in self.websockets) for name in sorted(self.websockets | self.requests)]

    def peer(self, name: str, websocket: bool) -> Peer:
        return Peer(websocket, lambda: self.finish(name), lambda: self.abort(name))

    def finish(self, name: str) -> None:
        self.log.append(f"finish {name}")
        if name not in self.stuck:
            self.end(name)

    def abort(self, name: str) -> None:
        self.log.append(f"abort {name}")
        self.end(name)

    def end(self, name: str) -> None:
        self.websockets.discard(name)
        self.requests.discard(name)

    def lifetime(self, seconds: float) -> Lifetime:
        async def flush(given: float) -> None:
            self.log.append(f"flush {given / seconds:.1f}")

        return Lifetime(lambda: None, flush, seconds)


async def drain(connections: Connections, seconds: float = 1, tasks: list[str] | None = None) -> float:
    started = time.monotonic()
    await connections.lifetime(seconds).drain(connections.peers, lambda: tasks or [])
    return time.monotonic() - started


async def test_sessions_are_flushed_before_any_connection_is_ended() -> None:
    connections = Connections(requests={"a", "b"})
    await drain(connections)
    assert connections.log == [f"flush {lifetime.FLUSH_SHARE}", "finish a", "finish b"]


async def test_it_takes_no_time_when_everybody_goes() -> None:
    assert await drain(Connections(), seconds=100) < 100 * lifetime.HANDSHAKE_SHARE


async def test_a_stuck_socket_is_aborted_before_a_request_under_way() -> None:
    connections = Connections(websockets={"socket"}, requests={"request"}, stuck={"socket", "request"})
    await drain(connections)
    assert connections.log[-2:] == ["abort socket", "abort request"]


async def test_the_tasks_of_the_connections_are_waited_for() -> None:
    tasks = ["one"]
    asyncio.get_running_loop().call_later(0.1, tasks.clear)
    await drain(Connections(), seconds=100, tasks=tasks)
    assert tasks == []


async def test_a_task_that_never_ends_is_not_waited_for() -> None:
    await asyncio.wait_for(drain(Connections(), tasks=["one"]), SECONDS)


def test_the_shares_leave_time_for_threads_and_exit() -> None:
    assert lifetime.FLUSH_SHARE + lifetime.HANDSHAKE_SHARE <= lifetime.REQUESTS_SHARE
    assert lifetime.REQUESTS_SHARE + lifetime.CLEANUP_SHARE <= 0.9


@pytest.mark.parametrize("gone", [True, False])
def test_only_what_lingers_without_a_break_is_overdue(gone: bool) -> None:
    lingering = Lingering(5)
    assert lingering.overdue(["a", "b"], 0) == []
    assert lingering.overdue(["b"] if gone else ["a", "b"], 4) == []
    assert lingering.overdue(["a", "b"], 6) == (["b"] if gone else ["a", "b"])
