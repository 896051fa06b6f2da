"""What a stream keeps, and what happens to those who read what it does not keep any more."""

import io
import time
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import BinaryField, Sum
from django.db.models.functions import Cast, Length
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from realtime import latest, retention, rollups
from realtime.engine import Engine
from realtime.models import Audience, AuditEntry, Kind, Record, Rollup, Stream

from .core import Client, append, elsewhere
from .waiting import eventually

DAY = retention.DAY_MS

pytestmark = pytest.mark.django_db


def make(count: int, **fields: Any) -> Stream:
    """A stream of so many records of one byte each."""
    stream = Stream.objects.create(**{"name": "s", "readers": Audience.ANYONE} | fields)
    append(stream.name, *["1"] * count)
    stream.refresh_from_db()
    return stream


def age(stream: Stream, days: float, upto: int) -> None:
    Record.objects.filter(stream=stream, offset__lte=upto).update(received=time.time() * 1000 - days * DAY)


def prune() -> int:
    units = 0
    while retention.prune_once():
        units += 1
    return units


def kept(name: str = "s") -> list[int]:
    return list(Record.objects.filter(stream__name=name).order_by("offset").values_list("offset", flat=True))


def position(name: str = "s") -> tuple[int, int, int]:
    stream = Stream.objects.get(name=name)
    return stream.tail, stream.head, stream.size


# What goes


@pytest.mark.parametrize(
    "rule, left",
    [
        ({}, 10),
        ({"keep_records": 4}, 4),
        ({"keep_records": 10}, 10),
        ({"keep_records": 1}, 1),
        ({"keep_bytes": 3}, 3),
        ({"keep_bytes": 10}, 10),
        ({"keep_records": 4, "keep_bytes": 2}, 2),
        ({"keep_days": 0}, 10),
    ],
)
def test_the_oldest_records_over_a_limit_go(rule: dict[str, int], left: int) -> None:
    make(10, **rule)
    prune()
    assert kept() == list(range(11 - left, 11))
    assert position() == (11 - left, 10, left)


def test_what_is_too_old_goes_after_thirty_days_unless_told_otherwise() -> None:
    for name, days in (("default", None), ("week", 7), ("ever", 0)):
        stream = make(10, name=name, **({} if days is None else {"keep_days": days}))
        age(stream, 29, 8)
        age(stream, 31, 3)
    prune()
    assert [len(kept(name)) for name in ("default", "week", "ever")] == [7, 2, 10]


def test_a_payload_over_the_limit_by_itself_is_not_kept() -> None:
    make(3, keep_bytes=3)
    append("s", '"xxxxxxxxxx"')
    prune()
    assert (kept(), position()) == ([], (5, 4, 0))


def test_offsets_go_on_after_everything_was_removed() -> None:
    stream = make(5)
    age(stream, 31, 5)
    prune()
    assert position() == (6, 5, 0)
    append("s", "1")
    assert (kept(), position()) == ([6], (6, 6, 1))


def test_one_unit_is_small_and_says_whether_to_go_on(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(retention, "UNIT", 4)
    stream = make(10, keep_records=1)
    assert retention.prune_once()
    assert position() == (5, 10, 6)
    settings.WIRELOG = settings.WIRELOG | {"BATCH_BYTES": 2}
    assert retention.prune_stream_once(stream.pk) == (2, 2)
    assert prune() == 2
    assert not retention.prune_once()


def test_the_bytes_of_a_payload_count_and_those_of_a_blob(settings: Any) -> None:
    stream = make(0, keep_records=1)
    append("s", '"é"', "22")
    Record.objects.filter(offset=1).update(blob=b"12345")
    Stream.objects.update(size=11)
    assert retention.prune_stream_once(stream.pk) == (1, 9)
    assert position() == (2, 2, 2)


def test_every_stream_that_is_due_gets_its_turn() -> None:
    for number in range(5):
        make(3, name=f"s{number}", keep_records=1)
    prune()
    assert [kept(f"s{number}") for number in range(5)] == [[3]] * 5


def test_to_find_what_is_due_reads_no_record_but_the_oldest() -> None:
    make(10)
    with CaptureQueriesContext(connection) as queries:
        assert not retention.prune_once()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
        steps = [str(row[-1]) for row in cursor.fetchall()]
    assert [step for step in steps if "SCAN" in step] == ["SCAN realtime_stream"]
    assert [step for step in steps if step.endswith("(stream_id=? AND offset=?)")]


def test_rollups_go_with_their_records() -> None:
    make(200, kind=Kind.CHART, keep_records=100)
    while rollups.roll_once():
        pass
    before = set(Rollup.objects.filter(block__gte=6, size=16).values_list("block", "total"))
    prune()
    assert set(Rollup.objects.filter(size=16).values_list("block", "total")) == before


# The latest of each key


def publish(*keys: str, **fields: Any) -> None:
    for key in keys:
        append("s", "1", key=key, **fields)


def told() -> list[int]:
    return [record.offset for record in latest.newest(connection, Stream.objects.get(name="s").pk, "", "", 100).records]


def test_the_latest_record_of_each_key_stays_and_history_begins_at_the_tail() -> None:
    make(0, keep_records=2, keep_latest=True)
    publish("a", "b", "a", "", "c", "")
    prune()
    assert (kept(), position(), told()) == ([2, 3, 5, 6], (5, 6, 2), [3, 2, 5])


def test_it_goes_when_a_newer_one_of_its_key_is_pruned() -> None:
    make(0, keep_records=1, keep_latest=True)
    publish("a", "", "a", "")
    Stream.objects.update(keep_records=3)
    prune()
    assert kept() == [2, 3, 4]

    Stream.objects.update(keep_records=1)
    publish("a")
    prune()
    publish("", "a", "")
    prune()
    assert (kept(), told()) == ([7, 8], [7])


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_an_ended_key_does_not_come_back(keep: int) -> None:
    make(0, keep_records=keep, keep_latest=True)
    publish("a", "x", "x")
    prune()
    publish("a", removed=True)
    for _ in range(4):
        publish("x")
        prune()
        assert told() == [Stream.objects.get(name="s").head]
    assert not Record.objects.filter(key="a").exists()


def test_what_stayed_goes_when_it_need_not_stay_any_more() -> None:
    make(0, keep_records=1, keep_latest=True)
    publish("a", "b", "")
    prune()
    assert kept() == [1, 2, 3]
    Stream.objects.update(keep_latest=False)
    prune()
    assert (kept(), position()) == ([3], (3, 3, 1))


# All of it


def test_a_removed_history_leaves_nothing_and_the_offsets_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "UNIT", 3)
    stream = make(0, keep_records=2, keep_latest=True)
    publish("a", "b", "", "", "")
    prune()
    assert kept() == [1, 2, 4, 5]
    publish("c")
    epoch = stream.epoch
    units = 0
    while retention.remove_once(stream.pk, 5):
        units += 1
    stream.refresh_from_db()
    assert (kept(), position(), stream.epoch, units) == ([6], (6, 6, 1), epoch, 2)


def test_a_removed_history_takes_nothing_along_that_came_after_it() -> None:
    stream = make(0, keep_records=1, keep_latest=True)
    publish("a", "b", "")
    upto = 1
    prune()
    assert kept() == [1, 2, 3]
    while retention.remove_once(stream.pk, upto):
        pass
    assert (kept(), told()) == ([2, 3], [2])


class Property(TestCase):
    actions = st.lists(
        st.tuples(st.sampled_from(["publish", "end", "prune", "sweep"]), st.sampled_from(["", "a", "b"]), st.integers(1, 4)), max_size=25
    )

    @settings(max_examples=80)
    @given(actions, st.booleans(), st.integers(0, 4), st.integers(0, 4))
    def test_what_is_kept_is_dense_and_counted(self, actions: Any, protect: bool, records: int, size: int) -> None:
        Stream.objects.all().delete()
        stream = make(0, keep_latest=protect, keep_records=records, keep_bytes=size)
        state: dict[str, int] = {}
        for action, key, number in actions:
            if action in ("publish", "end"):
                append("s", "1" * number, key=key, removed=action == "end" and key != "")
                state.pop(key, None)
                if key and action == "publish":
                    state[key] = Stream.objects.get(name="s").head
            elif action == "prune":
                retention.prune_stream_once(stream.pk)
            else:
                retention.prune_once()
            stream.refresh_from_db()
            history = Record.objects.filter(stream=stream, offset__gte=stream.tail)
            assert [offset for offset in kept() if offset >= stream.tail] == list(range(stream.tail, stream.head + 1))
            assert stream.size == (history.aggregate(sum=Sum(Length(Cast("data", BinaryField()))))["sum"] or 0)
            if protect:
                assert sorted(told()) == sorted(state.values())
        prune()
        stream.refresh_from_db()
        assert not records or stream.head - stream.tail < records
        assert not size or stream.size <= size
        if protect:
            assert sorted(told()) == sorted(state.values())
        else:
            assert kept() == list(range(stream.tail, stream.head + 1))


# manage.py prune


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("prune", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_says_how_much_would_go_and_removes_nothing() -> None:
    make(10, keep_records=4)
    make(5, name="t", keep_records=5)
    assert [line.split() for line in run("--dry-run").splitlines()] == [["STREAM", "RECORDS", "BYTES"], ["s", "6", "6"]]
    assert len(kept()) == 10


def test_the_command_prunes_the_named_streams_and_notes_it() -> None:
    for name in ("s", "t", "u"):
        make(10, name=name, keep_records=4)
    run("s", "t", "--noinput")
    assert [len(kept(name)) for name in ("s", "t", "u")] == [4, 4, 10]
    entries = AuditEntry.objects.filter(action="stream.prune").order_by("subject")
    assert list(entries.values_list("subject", "detail")) == [(name, {"records": 6, "bytes": 6}) for name in ("s", "t")]


def test_the_command_removes_what_stayed_and_need_not_any_more() -> None:
    make(0, keep_records=1, keep_latest=True)
    publish("a", "b", "")
    prune()
    Stream.objects.update(keep_latest=False)
    assert run("--noinput").split()[-3:] == ["s", "2", "0"]
    assert kept() == [3]
    assert run("--noinput") == ""


def test_the_command_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    make(10, keep_records=4)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run()
    assert len(kept()) == 10
    monkeypatch.setattr("builtins.input", lambda question: "y")
    run()
    assert len(kept()) == 4


def test_the_command_knows_no_other_streams() -> None:
    with pytest.raises(CommandError, match="There is no stream 'nowhere'"):
        run("nowhere")


# Who reads meanwhile


class Slowly:
    """Before the page number `page` is read, something happens to the database."""

    def __init__(self, engine: Engine, page: int, happens: Any) -> None:
        self.read, self.page, self.happens = engine.reads.page, page, happens
        engine.reads.page = self  # type: ignore[method-assign]

    async def __call__(self, stream_id: int, position: int, upto: int) -> Any:
        self.page -= 1
        if self.page == 0:
            await elsewhere(self.happens)
        return await self.read(stream_id, position, upto)


def remove(upto: int) -> None:
    while retention.remove_once(Stream.objects.get(name="s").pk, upto):
        pass


@pytest.mark.django_db(transaction=True)
async def test_a_replay_is_complete_when_it_is_past_what_is_pruned(engine: Engine) -> None:
    stream = await elsewhere(make, 1_000)
    client = await Client(engine).connect()
    Slowly(engine, 2, partial(remove, 200))
    answer = await client.ask("subscribe", channel="s", recover=True, offset=0, epoch=stream.epoch)
    assert answer["recovered"] is True
    assert await client.received(1_000) == list(range(1, 1_001))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("protected", [[], [251], [251, 252, 253, 260]])
async def test_a_replay_that_is_overtaken_ends_and_never_leaps(engine: Engine, protected: list[int]) -> None:
    stream = await elsewhere(make, 1_000)
    client = await Client(engine).connect()

    def happens() -> None:
        Record.objects.filter(offset__in=protected).update(key="k")
        Record.objects.filter(offset__lte=500).exclude(offset__in=protected).delete()
        Stream.objects.filter(name="s").update(tail=501)

    Slowly(engine, 2, happens)
    await client.ask("subscribe", channel="s", recover=True, offset=0, epoch=stream.epoch)
    assert await client.received(250) == list(range(1, 251))
    await eventually(lambda: client.pushes("unsubscribe"))
    assert [push["code"] for push in client.pushes("unsubscribe")] == [2500]
    assert len(client.pushes("pub")) == 250
    again = await client.ask("subscribe", channel="s", recover=True, offset=250, epoch=stream.epoch)
    assert "recovered" not in again


@pytest.mark.django_db(transaction=True)
async def test_a_history_is_removed_under_a_running_server(engine: Engine) -> None:
    stream = await elsewhere(make, 600)
    client = await Client(engine).connect()
    await client.ask("subscribe", channel="s")
    await retention.remove_history(engine.journal, stream)
    assert (await client.ask("history", channel="s", limit=10))["publications"] == []
    await elsewhere(append, "s", "1")
    assert await client.received(1) == [601]
    with pytest.raises(Stream.DoesNotExist):
        await engine.journal.run_paced(partial(retention.remove_once, 0, 1))
