"""What processes tell each other through the channel layer: hints, at most once, never the truth.

One opaque blob per committed batch. A lost, late, doubled or reordered one costs latency and nothing else: the hub reads the database.
"""

import asyncio
import logging
from collections import deque
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer

from .conf import option
from .protocol import Publication

logger = logging.getLogger(__name__)

GROUP = "wirelog"
# The layer is not in the ack's way, but a hint that is a second late is of no use: the tick has found the records.
SEND_SECONDS = 1.0
# A body over this is left out of the hint; the hub reads it from the database.
MAX_BODY = 262_144
# Membership in a group of the layer in memory must not run out: the hub joins once.
TEN_YEARS = 10 * 365 * 24 * 60 * 60


class Run(msgspec.Struct, array_like=True):
    """Consecutive new records of one stream, from offset `first` to `head`; `records` may end before, or be empty."""

    stream_id: int
    epoch: str
    first: int
    head: int
    records: list[Publication]


class Event(msgspec.Struct, array_like=True):
    """Something that is not stored, as JSON: the ClientInfo of a join or leave, or the Publication of an ephemeral stream (pub)."""

    stream_id: int
    kind: str
    body: str


class Hint(msgspec.Struct, array_like=True):
    runs: list[Run] = []
    events: list[Event] = []

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.runs or self.events)


_decoder = msgspec.msgpack.Decoder(Hint)


def encode(hint: Hint) -> bytes:
    return msgspec.msgpack.encode(Hint([_light(run) for run in hint.runs], hint.events))


def _light(run: Run) -> Run:
    """`run` up to its first large body. The gap that this leaves is filled from the database."""
    for index, record in enumerate(run.records):
        if len(record.data) > MAX_BODY:
            return Run(run.stream_id, run.epoch, run.first, run.head, run.records[:index])
    return run


def decode(blob: bytes) -> Hint:
    return _decoder.decode(blob)


def layer() -> Any:
    """The channel layer of the project; where it names none, one in memory, since a process alone needs no other."""
    found = get_channel_layer()
    if found is None:
        found = InMemoryChannelLayer(expiry=TEN_YEARS, group_expiry=TEN_YEARS, capacity=10_000)
        channel_layers.set("default", found)
    return found


def send_now(hint: Hint) -> None:
    """Tell the servers of records that this process, which serves nothing, has committed."""
    if not hint or not option("REDIS_URL"):
        return
    try:
        async_to_sync(_send_once)(encode(hint))
    except Exception as error:  # noqa: BLE001
        # Any error of any layer (those of Redis are no OSError): the records are committed, so nothing has failed.
        logger.warning("The broadcast was lost, the records are stored and the servers will find them: %r", error)


async def _send_once(blob: bytes) -> None:
    await _broadcast(layer(), blob)


async def _broadcast(joined: Any, blob: bytes) -> None:
    # Not wait_for: before Python 3.12 it swallows a cancellation that meets the end of the send, and `Sender.run` went on for ever.
    async with asyncio.timeout(SEND_SECONDS):
        await joined.group_send(GROUP, {"type": "wirelog.hint", "blob": blob})


class Sender:
    """Sends hints in order, one at a time, from one task."""

    def __init__(self) -> None:
        # While the layer hangs only the newest hints are worth keeping.
        self._waiting: deque[bytes] = deque(maxlen=100)
        # Who comes and goes while one is under way is told in one hint.
        self._events: deque[Event] = deque(maxlen=10_000)
        self._wake = asyncio.Event()
        self._failing = False

    def announce(self, blob: bytes) -> None:
        self._waiting.append(blob)
        self._wake.set()

    def tell(self, event: Event) -> None:
        self._events.append(event)
        self._wake.set()

    async def run(self) -> None:
        joined = layer()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._events:
                await self._send(joined, self._waiting.popleft() if self._waiting else self._take_events())

    def _take_events(self) -> bytes:
        events, self._events = self._events, deque(maxlen=self._events.maxlen)
        return encode(Hint(events=list(events)))

    async def _send(self, joined: Any, blob: bytes) -> None:
        try:
            await _broadcast(joined, blob)
        except Exception as error:  # noqa: BLE001
            # Any error of any layer: the records are stored, every process finds them by its tick. Said once per outage.
            if not self._failing:
                logger.warning("The channel layer takes no broadcasts; subscribers are served from the database: %r", error)
            self._failing = True
        else:
            self._failing = False
