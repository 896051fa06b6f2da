"""A slow reader costs little memory and delays nobody; one that answers nothing is closed, one that trickles is served on."""

import contextlib
import json
import time
from contextlib import ExitStack
from typing import Any

import pytest

from ..waiting import eventually_sync
from .rawsocket import TEXT, RawSocket
from .servers import Fleet, RunningServer
from .wireclient import WireClient

MEBIBYTE = 1_048_576
# Seconds without an answer after which the server closes.
PROGRESS = 5
STUCK = 10
TEXT_OF_8_KB = "x" * 8_000


@pytest.fixture
def impatient(make_server: Fleet, kind: str) -> RunningServer:
    server = make_server.new(kind, WIRELOG_PROGRESS_SECONDS=str(PROGRESS), WIRELOG_ABORT_SECONDS="1")
    server.start()
    return server


class Slow(RawSocket):
    """Takes in a little at a time, as long as it is `slow`; answers pings when it comes to them."""

    slow = False

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server.host, server.port, receive_buffer=4_096)
        token = server.cast.keys["reader"]
        self.send(json.dumps({"id": 1, "connect": {"token": token}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": "lobby"}}))
        self.client = ""
        self.offsets: list[int] = []
        subscribed = False
        while not subscribed:
            subscribed = any("subscribe" in message for message in self.messages())

    def here(self) -> set[str]:
        """Client ids of those who are present."""
        self.send(json.dumps({"id": 3, "presence": {"channel": "lobby"}}))
        while True:
            for message in self.messages():
                if "presence" in message:
                    return set(message["presence"]["presence"])

    def messages(self) -> list[dict[str, Any]]:
        """Those of the next frame, which are taken note of."""
        opcode, payload = self.receive()
        assert opcode == TEXT, payload
        messages = [json.loads(line) for line in payload.splitlines()]
        for message in messages:
            self._note(message)
        return messages

    def read_to_the_end(self) -> None:
        """Take in what was on its way, up to the close frame or the loss of the connection."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while (frame := self.receive())[0] == TEXT:
                for line in frame[1].splitlines():
                    self._note(json.loads(line))

    def _note(self, message: dict[str, dict[str, dict[str, int]]]) -> None:
        if not message:
            self.send("{}")
        elif "connect" in message:
            self.client = str(message["connect"]["client"])
        elif "push" in message and "pub" in message["push"]:
            self.offsets.append(message["push"]["pub"]["offset"])

    def _more(self) -> None:
        if self.slow:
            # The pace of a bad link: about 10 KB a second.
            time.sleep(0.05)
        part = self.socket.recv(512 if self.slow else 65_536)
        if not part:
            raise EOFError
        self.data += part


def test_readers_that_stop_delay_nobody_cost_little_and_are_closed(impatient: RunningServer) -> None:
    with ExitStack() as stack:
        writer = stack.enter_context(WireClient(impatient, "device"))
        writer.subscribe()
        stuck = [stack.enter_context(Slow(impatient)) for _ in range(STUCK)]
        assert len(writer.here()) == STUCK + 1
        before = impatient.resident()
        # 4 MB for each of them: far over an outbox.
        for number in range(1, 501):
            writer.publish(TEXT_OF_8_KB)
            assert writer.publication()["offset"] == number
        # The log of the last 4 MB is shared by all; each may have an outbox of its own.
        assert impatient.resident() - before < (STUCK * 1.5 + 24) * MEBIBYTE
        eventually_sync(lambda: writer.here() == {writer.hello["client"]}, "stuck readers are still there")
        for reader in stuck:
            reader.read_to_the_end()
        # What they did get has no gap: they can resume.
        assert all(reader.offsets == list(range(1, len(reader.offsets) + 1)) for reader in stuck)


def test_a_reader_that_trickles_is_served_on(impatient: RunningServer) -> None:
    with Slow(impatient) as reader:
        reader.slow = True
        # At once: it does not read meanwhile.
        batch = b"\n".join([b'{"data":"%s"}' % (b"x" * 1_000)] * 300)
        headers = {"X-API-Key": impatient.cast.keys["device"], "Content-Type": "application/x-ndjson"}
        assert impatient.request("POST", "/api/streams/lobby/records?atomic=1", batch, headers).status == 200
        started = time.monotonic()
        reader.messages()
        # Twice as long as one that answers nothing is borne.
        while time.monotonic() - started < 2 * PROGRESS:
            reader.messages()
        assert 0 < len(reader.offsets) < 300
        reader.slow = False
        while len(reader.offsets) < 300:
            reader.messages()
        assert reader.offsets == list(range(1, 301))


def test_one_that_vanishes_while_idle_is_gone_soon(make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind, WIRELOG_PING_SECONDS="2", WIRELOG_PROGRESS_SECONDS=str(PROGRESS))
    server.start()
    with Slow(server) as reader:
        assert reader.client in reader.here()
        # It never answers another ping, and its close is never seen: it simply is not there any more.
        eventually_sync(lambda: reader.client not in present(server), "it is still present")


def present(server: RunningServer) -> set[str]:
    """Client ids, as somebody is told who has no pings to answer."""
    return set(server.post("/api/presence", {"channel": "lobby"}, "reader").json()["result"]["presence"])


def test_who_reads_nothing_of_a_ticker_for_a_while_then_gets_the_newest_of_each_key(server: RunningServer) -> None:
    server.manage("streams", "create", "ticker", "--delivery", "newest")
    with WireClient(server, key="device") as reader, WireClient(server, key="device") as publisher:
        reader.subscribe("ticker")
        newest = {str(number % 4): publisher.publish(TEXT_OF_8_KB, "ticker", key=str(number % 4)) for number in range(300)}
        seen: dict[str, int] = {}
        offsets = [0]
        while seen != newest:
            record = reader.publication()
            offsets.append(record["offset"])
            seen[record["key"]] = record["offset"]
        assert offsets == sorted(set(offsets))
        assert len(offsets) < 150
