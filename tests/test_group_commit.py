"""The write thread: what waits together is committed together, and nothing that goes wrong stops it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from realtime import group_commit, hints, journal
from realtime.errors import InternalError, StorageFull, TooManyRequests, WirelogError
from realtime.group_commit import Journal
from realtime.items import Item
from realtime.journal import Appended, Outcome
from realtime.models import Record, Stream

from .core import Trouble, append, busy, elsewhere, head, offsets, write_lock
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def stream(transactional_db: None) -> Stream:
    return Stream.objects.create(name="a")


class Desk:
    """A journal, and everything that it says, in order."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.journal = Journal(lambda blob: self.said.append(hints.decode(blob)), self.said.append)
        self.outcomes: list[Outcome] = []

    def submit(self, *items: Item) -> None:
        for item in items:
            self.journal.submit(item, self._done)

    def _done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.said.append("reply")

    @property
    def hints(self) -> list[hints.Hint]:
        return [said for said in self.said if isinstance(said, hints.Hint)]

    async def busy(self) -> threading.Event:
        """The thread is at work, until the event is set."""
        return await busy(self.journal)


@pytest.fixture
async def desk(stream: Stream) -> AsyncIterator[Desk]:
    found = Desk()
    found.journal.start()
    yield found
    await asyncio.to_thread(found.journal.stop)


def items(count: int, first: int = 0) -> list[Item]:
    return [Item("a", str(first + number)) for number in range(count)]


def stored() -> list[str]:
    return list(Record.objects.order_by("offset").values_list("data", flat=True))


async def test_a_lone_record_is_committed_at_once(desk: Desk) -> None:
    appended = await desk.journal.append(Item("a", "1"))
    assert (appended.offset, appended.duplicate) == (1, False)
    assert await elsewhere(stored) == ["1"]


async def test_what_waits_while_a_transaction_runs_goes_into_one_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Event()

    def append_batch(connection: BaseDatabaseWrapper, batch: Sequence[Item]) -> list[Outcome]:
        entered.set()
        return journal.append_batch(connection, batch)

    monkeypatch.setattr(group_commit, "append_batch", append_batch)
    with write_lock():
        desk.submit(*items(1))
        await asyncio.to_thread(entered.wait)
        desk.submit(*items(100, 1))
        assert desk.outcomes == []
    await desk.journal.flush()
    assert (desk.journal.batches, desk.journal.records) == (2, 101)
    assert offsets(desk.outcomes) == list(range(1, 102))
    assert [hint.runs[0].head for hint in desk.hints] == [1, 101]
    assert await elsewhere(stored) == [str(number) for number in range(101)]


@pytest.mark.parametrize("limits, batches", [({"BATCH_RECORDS": 10}, 3), ({"BATCH_BYTES": 20}, 3), ({}, 1)])
async def test_a_batch_is_bounded_in_records_and_bytes(desk: Desk, settings: Any, limits: dict[str, int], batches: int) -> None:
    settings.WIRELOG = {**settings.WIRELOG, **limits}
    gate = await desk.busy()
    desk.submit(*(Item("a", "11") for _ in range(30)))
    gate.set()
    await desk.journal.flush()
    assert (desk.journal.batches, offsets(desk.outcomes)) == (batches, list(range(1, 31)))


async def test_what_one_caller_appends_together_shares_a_transaction_in_order(desk: Desk) -> None:
    gate = await desk.busy()
    appending = asyncio.create_task(desk.journal.append_all([Item("a", str(number)) for number in range(5)] + [Item("none", "0")]))
    await eventually(lambda: desk.journal.waiting == 6)
    gate.set()
    assert offsets(await appending) == [1, 2, 3, 4, 5, "UnknownStream"]
    assert desk.journal.batches == 1


async def test_each_caller_gets_the_outcome_of_its_own_item(desk: Desk) -> None:
    gate = await desk.busy()
    desk.submit(Item("a", "1"), Item("nowhere", "2"), Item("a", "3"))
    gate.set()
    await desk.journal.flush()
    assert offsets(desk.outcomes) == [1, "UnknownStream", 2]


async def test_replies_are_complete_before_the_hint_is_announced(desk: Desk) -> None:
    gate = await desk.busy()
    desk.submit(*items(3))
    gate.set()
    await desk.journal.flush()
    assert [said if isinstance(said, str) else "hint" for said in desk.said] == ["reply", "reply", "reply", "hint"]


async def test_nothing_is_announced_of_repeats_and_errors(desk: Desk) -> None:
    keyed = [Item("a", "1", publisher="7", idempotency_key="k") for _ in range(2)]
    await desk.journal.append(keyed[0])
    desk.said.clear()
    assert (await desk.journal.append(keyed[1])).duplicate
    with pytest.raises(WirelogError):
        await desk.journal.append(Item("nowhere", "1"))
    assert desk.said == []


async def test_a_retry_after_a_restart_gets_the_first_offset(desk: Desk) -> None:
    item = Item("a", "1", publisher="7", idempotency_key="k")
    await desk.journal.append(item)
    other = Desk()
    other.journal.start()
    repeat = await other.journal.append(item)
    await asyncio.to_thread(other.journal.stop)
    assert (repeat.offset, repeat.duplicate, other.said) == (1, True, [])


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(stream: Stream, settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "JOURNAL_QUEUE": 3}
    desk = Desk()
    desk.journal.start()
    gate = await desk.busy()
    desk.submit(*items(3))
    with pytest.raises(TooManyRequests, match="the journal is full"):
        desk.submit(Item("a", "x"))
    gate.set()
    await desk.journal.flush()
    await desk.journal.append(Item("a", "y"))
    await asyncio.to_thread(desk.journal.stop)
    assert await elsewhere(stored) == ["0", "1", "2", "y"]


async def test_of_what_is_appended_together_only_what_the_queue_has_no_room_for_is_refused(desk: Desk) -> None:
    desk.journal._limit = 2
    assert offsets(await desk.journal.append_all([Item("a", "1"), Item("a", "2"), Item("a", "3")])) == [1, 2, "TooManyRequests"]


async def test_whoever_gives_up_waiting_disturbs_nobody(desk: Desk) -> None:
    gate = await desk.busy()
    impatient = asyncio.create_task(desk.journal.append(Item("a", "1")))
    await asyncio.sleep(0)
    impatient.cancel()
    gate.set()
    assert (await desk.journal.append(Item("a", "2"))).offset == 2
    assert await elsewhere(stored) == ["1", "2"]


# What goes wrong


async def test_a_database_that_stays_locked_fails_the_batch_and_the_journal_goes_on(desk: Desk) -> None:
    await desk.journal.run(lambda: connections["default"].cursor().execute("PRAGMA busy_timeout = 20"))
    with write_lock(), pytest.raises(InternalError):
        await desk.journal.append(Item("a", "1"))
    assert (await desk.journal.append(Item("a", "2"))).offset == 1
    assert await elsewhere(stored) == ["2"]
    assert group_commit.UNCONFIRMED not in desk.said


def fill_up() -> None:
    """No page can be added to the database file any more: what a full disk is to SQLite."""
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")


async def test_on_a_full_disk_nothing_is_stored_and_afterwards_it_works_again(desk: Desk) -> None:
    await desk.journal.run(fill_up)
    large = [Item("a", f'"{"x" * 100_000}"') for _ in range(50)]
    outcomes = await asyncio.gather(*(desk.journal.append(item) for item in large), return_exceptions=True)
    room = sum(isinstance(outcome, Appended) for outcome in outcomes)
    assert {type(outcome) for outcome in outcomes} - {Appended} == {StorageFull}
    assert await elsewhere(head, "a") == room == await elsewhere(Record.objects.count)
    # On a new connection there is room again, as after somebody made some.
    assert [(await desk.journal.append(item)).offset for item in large[:3]] == [room + 1, room + 2, room + 3]
    assert group_commit.UNCONFIRMED not in desk.said


async def test_every_item_of_a_failed_batch_is_told_and_none_is_stored(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(OperationalError("database or disk is full"))
    await trouble.befall(desk.journal)
    gate = await desk.busy()
    desk.submit(*items(3))
    gate.set()
    await desk.journal.flush()
    assert offsets(desk.outcomes) == ["StorageFull"] * 3
    assert "could not commit a batch of 3 records: database or disk is full" in caplog.text
    trouble.error = None
    assert (await desk.journal.append(Item("a", "4"))).offset == 1
    assert await elsewhere(stored) == ["4"]


async def test_what_belongs_together_is_committed_and_told_as_one(desk: Desk) -> None:
    appended = await desk.journal.append_together(items(3))
    assert offsets([*appended]) == [1, 2, 3]
    assert [len(hint.runs[0].records) for hint in desk.hints] == [3]
    assert (desk.journal.waiting, desk.journal.records, desk.journal.batches) == (0, 3, 1)


async def test_of_what_belongs_together_nothing_is_stored_when_one_is_bad(desk: Desk) -> None:
    with pytest.raises(journal.Rejected):
        await desk.journal.append_together([*items(2), Item("nowhere", "1")])
    assert (await elsewhere(stored), desk.hints, desk.journal.waiting) == ([], [], 0)
    assert (await desk.journal.append(Item("a", "1"))).offset == 1


async def test_what_belongs_together_is_counted_by_the_queue(desk: Desk) -> None:
    desk.journal._limit = 2
    with pytest.raises(TooManyRequests):
        await desk.journal.append_together(items(3))
    assert await elsewhere(stored) == []


async def test_what_belongs_together_fails_together_with_its_transaction(desk: Desk) -> None:
    await Trouble(OperationalError("database or disk is full")).befall(desk.journal)
    with pytest.raises(StorageFull):
        await desk.journal.append_together(items(3))
    assert (await elsewhere(stored), desk.journal.waiting) == ([], 0)


async def test_after_an_io_error_the_outcome_is_unknown_and_the_process_must_end(desk: Desk) -> None:
    await Trouble(OperationalError("disk I/O error")).befall(desk.journal)
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "1"))
    await eventually(lambda: desk.said == [group_commit.UNCONFIRMED])


async def test_after_an_io_error_nothing_more_is_acknowledged(desk: Desk) -> None:
    trouble = Trouble(OperationalError("disk I/O error"))
    await trouble.befall(desk.journal)
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "1"))
    # The next fsync might succeed, and would prove nothing.
    trouble.error = None
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "2"))
    with pytest.raises(InternalError):
        await desk.journal.append_together([Item("a", "3")])
    assert desk.said == [group_commit.UNCONFIRMED]
    assert await Record.objects.acount() == 0


class File:
    """The file of the database."""

    def __init__(self) -> None:
        self.path = Path(connections["default"].settings_dict["NAME"])
        self.elsewhere = self.path.with_name("elsewhere")

    def take_away(self) -> None:
        self.path.rename(self.elsewhere)

    def replace(self) -> None:
        self.take_away()
        self.path.touch()

    def put_back(self) -> None:
        if self.elsewhere.exists():
            self.elsewhere.replace(self.path)


@pytest.fixture
def file() -> Iterator[File]:
    found = File()
    yield found
    found.put_back()


@pytest.mark.parametrize("befall", [File.take_away, File.replace])
async def test_what_is_written_to_a_file_that_is_not_in_its_place_is_not_acknowledged(
    desk: Desk, file: File, befall: Callable[[File], None]
) -> None:
    await desk.journal.append(Item("a", "1"))
    befall(file)
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "2"))
    with pytest.raises(InternalError):
        await desk.journal.append_together([Item("a", "3")])
    file.put_back()
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "4"))
    assert desk.said[1:] == [group_commit.MOVED]


async def test_what_a_job_writes_to_a_file_that_is_not_in_its_place_is_not_acknowledged(desk: Desk, file: File) -> None:
    await desk.journal.run(lambda: append("a", "1"))
    file.take_away()
    with pytest.raises(InternalError):
        await desk.journal.run(lambda: append("a", "2"))
    file.put_back()
    with pytest.raises(InternalError):
        await desk.journal.run(lambda: append("a", "3"))
    await eventually(lambda: desk.said == [group_commit.MOVED])


async def test_after_an_io_error_of_a_job_nothing_more_is_acknowledged(desk: Desk) -> None:
    trouble = Trouble(OperationalError("disk I/O error"))
    await trouble.befall(desk.journal)
    with pytest.raises(OperationalError):
        await desk.journal.run(lambda: append("a", "1"))
    trouble.error = None
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "2"))
    assert desk.said == [group_commit.UNCONFIRMED]


async def test_an_error_of_ours_fails_its_batch_and_not_the_journal(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(ZeroDivisionError())
    await trouble.befall(desk.journal)
    with pytest.raises(InternalError):
        await desk.journal.append(Item("a", "1"))
    assert "ZeroDivisionError" in caplog.text
    trouble.error = None
    assert (await desk.journal.append(Item("a", "2"))).offset == 1


async def test_an_error_of_ours_after_a_commit_ends_the_process_and_no_wait(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(group_commit, "tell_receivers", fail)
    assert (await desk.journal.append(Item("a", "1"))).offset == 1
    await eventually(lambda: group_commit.FAILED in desk.said)
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(InternalError):
        await desk.journal.run(lambda: None)


# Jobs


async def test_a_job_runs_between_two_batches(desk: Desk) -> None:
    gate = await desk.busy()
    desk.submit(*items(2))
    counted = asyncio.create_task(desk.journal.run(Record.objects.count))
    await asyncio.sleep(0)
    desk.submit(*items(2, 2))
    gate.set()
    assert await counted == 2
    await desk.journal.flush()
    assert (desk.journal.batches, offsets(desk.outcomes)) == (2, [1, 2, 3, 4])


@pytest.mark.parametrize("error", [DatabaseError("no"), KeyError("k"), WirelogError()])
async def test_the_error_of_a_job_reaches_its_caller_and_the_journal_goes_on(desk: Desk, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await desk.journal.run(fail)
    assert raised.value is error
    assert (await desk.journal.append(Item("a", "1"))).offset == 1


async def test_a_job_whose_caller_has_gone_is_no_error(desk: Desk) -> None:
    gate = await desk.busy()
    job = asyncio.create_task(desk.journal.run(stored))
    await asyncio.sleep(0)
    job.cancel()
    gate.set()
    assert await desk.journal.run(lambda: 7) == 7


# The end


async def test_stop_commits_what_is_queued(stream: Stream) -> None:
    desk = Desk()
    desk.journal.start()
    gate = await desk.busy()
    desk.submit(*items(50))
    stopping = asyncio.create_task(asyncio.to_thread(desk.journal.stop))
    gate.set()
    await stopping
    await eventually(lambda: len(desk.outcomes) == 50)
    assert offsets(desk.outcomes) == list(range(1, 51))
    assert len(await elsewhere(stored)) == 50


async def test_flush_waits_for_the_replies(desk: Desk) -> None:
    gate = await desk.busy()
    desk.submit(*items(3))
    flush = asyncio.create_task(desk.journal.flush())
    await asyncio.sleep(0)
    assert not flush.done()
    gate.set()
    await flush
    assert len(desk.outcomes) == 3
    await desk.journal.flush()


async def test_another_connection_that_appends_meanwhile_shares_the_order(desk: Desk) -> None:
    others = asyncio.gather(*(elsewhere(append, "a", "1", "2") for _ in range(20)))
    mine = [await desk.journal.append(Item("a", "3")) for _ in range(20)]
    theirs = [outcome for batch in await others for outcome in batch]
    assert sorted(one.offset for one in [*mine, *theirs] if isinstance(one, Appended)) == list(range(1, 61))
    assert await elsewhere(head, "a") == 60
