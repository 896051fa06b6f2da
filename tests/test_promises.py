"""What is promised, against a model: hypothesis publishes, retries, loses and doubles hints, prunes, redacts, revokes and restarts in any
order it likes. Journal, retention, redaction and every query are the real ones; time and the channel layer belong to the test.
"""

import asyncio
import json
import os
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.db import connection, connections
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from realtime import hints, hub, journal, operations, retention
from realtime.audit import Actor
from realtime.cursor import Subscription
from realtime.errors import ACCESS_REVOKED, INSUFFICIENT_STATE, BadRequest, Unsubscribe
from realtime.hub import Hub
from realtime.items import Item
from realtime.models import Record, Stream, new_epoch
from realtime.outbox import Limits, Outbox
from realtime.pump import Pump
from realtime.reads import Page, page_after
from realtime.tick import Head

from .clock import ClockLoop
from .frames import taken

# More of them, and other ones each time: WIRELOG_EXAMPLES=5000.
EXAMPLES = int(os.environ.get("WIRELOG_EXAMPLES", "100"))
SMALL = Limits(outbox_bytes=2_000, frame_bytes=500)
PAGE = 15
ACTOR = Actor("cli:model")
names = (f"model-{number}" for number in count())


class Database:
    """What Reads gives the hub, in the transaction of the test: inside a coroutine Django would open another connection."""

    def __init__(self) -> None:
        self.connection = connections["default"]

    async def run(self, read: Callable[..., Any], stream_id: int) -> tuple[str, int]:
        assert read is hub._read_state
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT epoch, head FROM {Stream._meta.db_table} WHERE id = %s", [stream_id])
            state: tuple[str, int] = cursor.fetchone()
        # Long enough for anything to happen to what is on its way.
        await asyncio.sleep(0.02)
        return state

    async def page(self, stream_id: int, position: int, upto: int) -> Page:
        page = page_after(self.connection, stream_id, position, upto, PAGE)
        await asyncio.sleep(0.05)
        return page


class Client:
    """One that keeps its position, as the SDKs do: (epoch, offset), moved by each publication."""

    def __init__(self) -> None:
        self.position: tuple[str, int] | None = None
        self.seen: dict[tuple[str, int], Any] = {}
        self.resets: dict[int, float] = {}
        self.subscription: Subscription | None = None
        self.told: list[Unsubscribe] = []

    def connect(self, hub: Hub) -> None:
        self.outbox = Outbox(SMALL, lambda: None)
        self.outbox.start_pings(1e9)
        self.pump = Pump(self.outbox, hub.replay.step, hub.end)

    def ended(self, subscription: Subscription, unsubscribe: Unsubscribe) -> None:
        assert subscription is self.subscription
        self.outbox.control(json.dumps({"ended": unsubscribe.code}))
        self.told.append(unsubscribe)

    def read(self) -> None:
        """Take everything that may come now."""
        while (frame := taken(self.outbox, 0.0)) is not None:
            for message in map(json.loads, frame.split("\n")):
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if not message:
            self.outbox.pong(0.0)
        elif "ended" in message:
            # It learns of the end in its turn, after what came before.
            self.subscription = None
        elif "push" in message:
            record = message["push"]["pub"]
            assert self.position is not None
            epoch, offset = self.position
            assert record["offset"] == offset + 1, f"{record['offset']} after {offset}"
            self.position = (epoch, offset + 1)
            self.seen[self.position] = record["data"]


class Promises(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = ClockLoop()
        self.database = Database()
        self.stream = Stream.objects.create(name=next(names), keep_days=0)
        # What was acknowledged: offset → payload; None for one whose payload was taken away.
        self.records: dict[int, Any] = {}
        # Idempotency keys, and what was stored under them where.
        self.keys: dict[str, tuple[int, Any]] = {}
        # Offsets of the records that tell of a redaction.
        self.notices: set[int] = set()
        self.numbers = count()
        self.hints: list[bytes] = []
        self.clients = [Client() for _ in range(3)]
        self.run(self._restart())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    async def _restart(self) -> None:
        self.hub = Hub(self.database)  # type: ignore[arg-type]
        for client in self.clients:
            client.connect(self.hub)

    @property
    def row(self) -> Stream:
        return Stream.objects.get(pk=self.stream.pk)

    # Publishing

    def append(self, *payloads: Any, key: str = "") -> list[journal.Outcome]:
        items = [Item(self.stream.name, json.dumps(payload), idempotency_key=key) for payload in payloads]
        outcomes = journal.append_batch(connection, items)
        hint = journal.hint_of(outcomes)
        if hint.runs:
            self.hints.append(hints.encode(hint))
        return outcomes

    @rule(size=st.integers(1, 40))
    def publish(self, size: int) -> None:
        payloads = [next(self.numbers) for _ in range(size)]
        first = max(self.records, default=0) + 1
        outcomes = self.append(*payloads)
        assert [outcome.offset for outcome in outcomes if isinstance(outcome, journal.Appended)] == list(range(first, first + size))
        self.records |= dict(zip(range(first, first + size), payloads, strict=True))

    @rule()
    def publish_with_a_key(self) -> None:
        payload = next(self.numbers)
        [outcome] = self.append(payload, key=f"k{payload}")
        assert isinstance(outcome, journal.Appended)
        self.records[outcome.offset] = payload
        self.keys[f"k{payload}"] = (outcome.offset, payload)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), same=st.booleans())
    def retry(self, data: st.DataObject, same: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.keys)))
        offset, payload = self.keys[key]
        if offset < self.row.tail:
            # A key is kept as long as its record.
            return
        [outcome] = self.append(payload if same else -1, key=key)
        if same or self.records[offset] is None:
            assert isinstance(outcome, journal.Appended)
            assert (outcome.offset, outcome.duplicate) == (offset, True)
        else:
            assert isinstance(outcome, BadRequest)

    # Hints, and the tick that makes up for them

    @precondition(lambda self: self.hints)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "double", "lose"]))
    def hint(self, data: st.DataObject, fate: str) -> None:
        blob = self.hints.pop(data.draw(st.integers(0, len(self.hints) - 1)))
        for _ in range({"deliver": 1, "double": 2, "lose": 0}[fate]):
            self.run(self._hear(blob))

    async def _hear(self, blob: bytes) -> None:
        self.hub.take_hint(blob)

    @rule()
    def tick(self) -> None:
        self.run(self._tick(self.row))

    async def _tick(self, row: Stream) -> None:
        self.hub.take_heads({row.pk: row.head})
        self.hub.take_streams([Head(row.pk, row.epoch, row.tail, row.head, row.delivery)], tuple(self.hub.feeds))

    @rule(seconds=st.sampled_from([0.01, 0.03, 0.2, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.wait(seconds)

    # Clients

    @rule(index=st.integers(0, 2))
    def subscribe(self, index: int) -> None:
        client = self.clients[index]
        if client.subscription is None:
            self.run(self._subscribe(client, self.row))

    async def _subscribe(self, client: Client, stream: Stream) -> None:
        """As resume.py and session.py do it."""
        feed = await self.hub.open(stream)
        epoch, offset = client.position or ("", 0)
        if client.position is not None and offset > feed.last:
            await self.hub.catch_up(feed, stream)
        recovered = client.position is not None and epoch == feed.epoch and stream.tail - 1 <= offset <= feed.last
        if client.position is not None and not recovered:
            assert epoch != stream.epoch or offset < stream.tail - 1, f"refused at {offset} of {stream.tail} to {stream.head}"
        client.subscription = self.hub.subscribe(feed, client, offset if recovered else None)
        client.position = (feed.epoch, offset if recovered else feed.last)
        client.pump.start()

    @rule(index=st.integers(0, 2))
    def read(self, index: int) -> None:
        self.clients[index].read()

    @rule(index=st.integers(0, 2))
    def lose_connection(self, index: int) -> None:
        self.run(self._drop(self.clients[index]))

    async def _drop(self, client: Client) -> None:
        client.pump.stop()
        if client.subscription is not None:
            self.hub.unsubscribe(client.subscription)
            client.subscription = None
        client.connect(self.hub)

    @rule(index=st.integers(0, 2))
    def revoke(self, index: int) -> None:
        client = self.clients[index]
        if client.subscription is not None:
            self.run(self._end(client.subscription))
            client.read()
            seen = len(client.seen)
            self.publish(3)
            self.deliver_all()
            client.read()
            assert len(client.seen) == seen, "delivered after it was revoked"

    async def _end(self, subscription: Subscription) -> None:
        self.hub.end(subscription, ACCESS_REVOKED)

    def deliver_all(self) -> None:
        for blob in self.hints:
            self.run(self._hear(blob))
        self.hints.clear()

    # What operators and accidents do

    @rule(keep=st.integers(1, 60))
    def prune(self, keep: int) -> None:
        Stream.objects.filter(pk=self.stream.pk).update(keep_records=keep)
        while retention.prune_stream_once(self.stream.pk).records:
            pass
        Stream.objects.filter(pk=self.stream.pk).update(keep_records=0)

    @precondition(lambda self: self.redactable())
    @rule(data=st.data())
    def redact(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(self.redactable()))
        assert operations.redact(ACTOR, self.row, offset)
        self.records[offset] = None
        notice = Record.objects.filter(stream=self.stream).latest("offset")
        self.records[notice.offset] = json.loads(notice.data)
        self.notices.add(notice.offset)

    def redactable(self) -> list[int]:
        tail = self.row.tail
        return [offset for offset, data in self.records.items() if offset >= tail and data is not None and offset not in self.notices]

    @rule()
    def restart(self) -> None:
        """The process dies with every hint that was on its way."""
        self.hints.clear()
        for client in self.clients:
            self.run(self._drop(client))
        self.run(self._restart())

    @rule()
    def restore(self) -> None:
        """Records are lost, and others come under their offsets: a new epoch."""
        row = self.row
        lost = Record.objects.filter(stream=row, offset__gt=max(row.head - 5, row.tail - 1))
        gone = set(lost.values_list("offset", flat=True))
        lost.delete()
        head = row.head - len(gone)
        size = sum(len(data.encode()) for data in Record.objects.filter(stream=row).values_list("data", flat=True))
        Stream.objects.filter(pk=row.pk).update(head=head, epoch=new_epoch(), size=size)
        self.records = {offset: payload for offset, payload in self.records.items() if offset <= head}
        self.notices = {offset for offset in self.notices if offset <= head}
        self.keys = {key: (offset, payload) for key, (offset, payload) in self.keys.items() if offset <= head}
        self.restart()

    # Always

    @invariant()
    def what_is_kept_is_dense_and_what_was_acknowledged(self) -> None:
        row = self.row
        kept = Record.objects.filter(stream=row)
        assert list(kept.order_by("offset").values_list("offset", flat=True)) == list(range(row.tail, row.head + 1))
        assert row.head == max(self.records, default=0)
        assert row.size == sum(len(data.encode()) for data in kept.values_list("data", flat=True))

    @invariant()
    def what_was_seen_was_stored(self) -> None:
        epoch = self.row.epoch
        for client in self.clients:
            for (seen_in, offset), data in client.seen.items():
                if seen_in == epoch:
                    stored = self.records[offset]
                    assert stored is None or data == stored

    def teardown(self) -> None:
        try:
            self.everybody_who_stays_is_told_everything()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.wait(0)
            self.loop.close()

    def everybody_who_stays_is_told_everything(self) -> None:
        for index in range(len(self.clients)):
            self.lose_connection(index)
            self.subscribe(index)
        row = self.row
        for _ in range(400):
            if all(client.position == (row.epoch, row.head) for client in self.clients):
                break
            self.tick()
            self.wait(0.1)
            for index, client in enumerate(self.clients):
                client.read()
                self.subscribe(index)
        for client in self.clients:
            assert client.position == (row.epoch, row.head)
            assert set(client.told) <= {ACCESS_REVOKED, INSUFFICIENT_STATE}


@pytest.mark.django_db
def test_every_promise_holds_in_any_order_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub reads in the test's own thread and transaction: which of two things happens first is then the test's to say.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    checks = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        deadline=None,
        derandomize=EXAMPLES == 100,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(Promises, settings=checks)
