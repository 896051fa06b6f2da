"""A database that was put back from a copy is found out before anybody resumes into it."""

import pytest
from django.db import DatabaseError, connection

from realtime import highwater, times
from realtime.engine import Engine
from realtime.highwater import Highwater, Mark, is_foreign
from realtime.models import Audience, AuditEntry, Database, Record, Stream

from .core import Client, append, elsewhere, running
from .settings import FOLDER
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)

PATH = FOLDER / "highwater"


@pytest.fixture(autouse=True)
def streams(transactional_db: None) -> None:
    for name in ("a", "b"):
        Stream.objects.create(name=name, readers=Audience.ANYONE)


def epochs() -> set[str]:
    return set(Stream.objects.values_list("epoch", flat=True))


def start_and_stop() -> None:
    """What a server does with the mark."""
    mark = Highwater(FOLDER)
    mark.check()
    mark.note()


class Copy:
    """The database as it is now. To put the file itself back needs a server that is stopped: tests/end_to_end/test_storage.py does."""

    def __init__(self) -> None:
        self.newest = Record.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        self.heads = dict(Stream.objects.values_list("pk", "head"))

    def put_back(self) -> None:
        Record.objects.filter(pk__gt=self.newest).delete()
        for pk, head in self.heads.items():
            Stream.objects.filter(pk=pk).update(head=head)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = 'realtime_record'", [self.newest])


# The last number is when the record at the mark was received: 0 when it is gone.
MARKS = [
    (Mark("x", 5, 70), Mark("x", 5, 70), 70, False),
    (Mark("x", 9, 90), Mark("x", 5, 70), 70, False),
    (Mark("x", 4, 60), Mark("x", 5, 70), 0, True),
    (Mark("x", 0, 0), Mark("x", 5, 70), 0, True),
    (Mark("x", 5, 71), Mark("x", 5, 70), 71, True),
    (Mark("x", 9, 90), Mark("x", 5, 70), 71, True),
    (Mark("x", 9, 90), Mark("x", 5, 70), 0, False),
    (Mark("x", 9, 90), Mark("x", 5, 0), 71, False),
    (Mark("y", 9, 90), Mark("x", 5, 70), 70, True),
    (Mark("y", 1, 70), Mark("x", 5, 70), 0, True),
    (Mark("y", 0, 0), Mark("x", 5, 70), 0, False),
]


@pytest.mark.parametrize("found, noted, received, foreign", MARKS)
def test_a_database_is_foreign_when_it_is_behind_or_has_another_record_or_is_another_one_with_records(
    found: Mark, noted: Mark, received: int, foreign: bool
) -> None:
    assert is_foreign(found, noted, received) is foreign


def test_the_first_start_in_a_folder_changes_nothing() -> None:
    append("a", "1")
    before = epochs()
    start_and_stop()
    assert epochs() == before
    record = Record.objects.get()
    assert PATH.read_text() == f"{Database.objects.get().pk} {record.pk} {record.received}\n"


def test_a_start_on_the_same_database_changes_nothing_however_far_it_went_on(caplog: pytest.LogCaptureFixture) -> None:
    before = epochs()
    for _ in range(3):
        start_and_stop()
        append("a", "1")
    Record.objects.all().delete()
    start_and_stop()
    assert (epochs(), caplog.messages, AuditEntry.objects.count()) == (before, [], 0)


def test_an_older_copy_gets_new_epochs_once_with_one_warning_and_a_line_in_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    append("a", "1")
    start_and_stop()
    copy = Copy()
    append("a", "2", "3")
    start_and_stop()
    before = epochs()

    copy.put_back()
    start_and_stop()

    after = epochs()
    assert not after & before
    assert len(after) == len(before)
    (message,) = caplog.messages
    assert message.startswith("This is an older copy of the database: it ends at record ")
    assert AuditEntry.objects.get().action == "database.restored"
    start_and_stop()
    assert (epochs(), len(caplog.messages)) == (after, 1)


def test_an_older_copy_that_was_written_beyond_the_mark_gets_new_epochs_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy()
    append("a", "1", "2")
    start_and_stop()
    before = epochs()
    copy.put_back()
    now = times.now()
    monkeypatch.setattr(times, "now", lambda: now + 1)
    append("a", '"other"', '"records"', '"there"')
    start_and_stop()
    assert not epochs() & before
    assert caplog.messages[0].startswith("This is an older copy of the database: ")


def test_another_database_gets_new_epochs(caplog: pytest.LogCaptureFixture) -> None:
    append("a", "1")
    start_and_stop()
    before = epochs()
    Database.objects.all().delete()
    start_and_stop()
    assert not epochs() & before
    assert caplog.messages[0].startswith("This is another database: ")


@pytest.mark.parametrize("content", [b"", b"x", b"\xff\xfe 1", b"a b c", b"a 1", b"a -1 1", b"a 1 99999999999999999999x", b"a 1 1 1"])
def test_a_torn_mark_is_none(content: bytes) -> None:
    append("a", "1")
    PATH.write_bytes(content)
    before = epochs()
    start_and_stop()
    assert epochs() == before
    assert PATH.read_text().startswith(str(Database.objects.get().pk))


# The engine


async def mark() -> int:
    return int(PATH.read_text().split()[1])


async def test_the_server_notes_how_far_it_is_and_once_more_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highwater, "NOTE_SECONDS", 0.01)
    async with running() as engine:
        start = await mark()
        await elsewhere(append, "a", "1")
        await eventually(lambda: int(PATH.read_text().split()[1]) == start + 1)
        engine._highwater.note = lambda: None  # type: ignore[method-assign]
        await elsewhere(append, "a", "2")
        del engine._highwater.note
    assert await mark() == start + 2


async def test_a_client_of_the_lost_records_is_told_to_start_again() -> None:
    await elsewhere(append, "a", "1")
    async with running() as engine:
        client = await Client(engine).connect()
        copy = await elsewhere(Copy)
        await elsewhere(append, "a", "2", "3")
        known = await client.ask("subscribe", channel="a")
    await elsewhere(copy.put_back)
    async with running() as engine:
        await elsewhere(append, "a", '"other"', '"records"', '"there"')
        client = await Client(engine).connect()
        position = {"offset": 3, "epoch": known["epoch"]}
        found = await client.ask("subscribe", channel="a", recover=True, **position)
        assert found["epoch"] != known["epoch"]
        assert found["was_recovering"] is True
        assert "recovered" not in found
        assert await client.ask("history", channel="a", limit=1, since=position) == 112


async def test_a_mark_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(highwater, "NOTE_SECONDS", 0.01)
    notes: list[int] = []

    def note() -> None:
        notes.append(1)
        raise OSError("no space") if len(notes) % 2 else DatabaseError("locked")

    async with running() as engine:
        assert isinstance(engine, Engine)
        engine._highwater.note = note  # type: ignore[method-assign]
        await eventually(lambda: len(notes) > 3)
    assert [message for message in caplog.messages if "could not be written" in message] == [f"{PATH} could not be written: no space"]
