"""From Django code: in the caller's transaction, or through the journal of the server."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from project.users.models import User
from realtime import apublish, hints, publish
from realtime.errors import BadRequest, UnknownStream
from realtime.models import Record, Stream

from .core import elsewhere, running
from .waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lobby() -> Stream:
    return Stream.objects.get_or_create(name="lobby")[0]


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[hints.Hint]:
    """What a process that serves nothing tells the servers."""
    told: list[hints.Hint] = []
    monkeypatch.setattr(hints, "send_now", told.append)
    return told


def test_a_record_is_part_of_the_transaction_and_announced_after_it(lobby: Stream, announced: list[hints.Hint]) -> None:
    with transaction.atomic():
        assert publish("lobby", {"n": 1}) == (1, lobby.epoch, False)
        assert publish("lobby", {"n": 2}).offset == 2
        assert announced == []
    assert [(run.first, run.head) for hint in announced for run in hint.runs] == [(1, 1), (2, 2)]
    assert list(Record.objects.values_list("offset", "data")) == [(1, '{"n":1}'), (2, '{"n":2}')]


def test_a_transaction_that_rolls_back_leaves_no_record_no_hole_and_tells_nobody(lobby: Stream, announced: list[hints.Hint]) -> None:
    with transaction.atomic():
        publish("lobby", 1)
        transaction.set_rollback(True)
    assert (announced, Record.objects.count()) == ([], 0)
    assert publish("lobby", 2).offset == 1


def test_a_refused_record_leaves_the_transaction_usable(lobby: Stream) -> None:
    with transaction.atomic():
        with pytest.raises(UnknownStream):
            publish("nowhere", 1)
        publish("lobby", 1)
    assert Record.objects.count() == 1


def test_it_takes_what_django_can_write_as_json_and_names_who_published(lobby: Stream) -> None:
    alice = User.objects.create_user("alice")
    publish("lobby", {"at": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.10")}, user=alice, key="k", tags={"a": "b"})
    record = Record.objects.get()
    assert record.data == '{"at":"2026-01-02T00:00:00Z","price":"1.10"}'
    assert (record.publisher, record.key, record.tags) == (str(alice.pk), "k", '{"a":"b"}')


@pytest.mark.parametrize("data", [float("nan"), object(), "\0", "\ud800", {1, 2}])
def test_what_cannot_be_json_is_a_bad_request(lobby: Stream, data: Any) -> None:
    with pytest.raises(BadRequest):
        publish("lobby", data)
    assert Record.objects.count() == 0


def test_a_repeat_tells_where_the_first_one_is(lobby: Stream) -> None:
    first = publish("lobby", 1, idempotency_key="once")
    assert publish("lobby", 1, idempotency_key="once") == (first.offset, first.epoch, True)


async def test_in_a_coroutine_it_names_apublish() -> None:
    async with running():
        with pytest.raises(SynchronousOnlyOperation, match="apublish"):
            publish("lobby", 1)


async def test_in_a_server_it_goes_through_the_journal() -> None:
    await elsewhere(Stream.objects.get_or_create, name="lobby")
    async with running() as engine:
        assert (await apublish("lobby", 1)).offset == 1
        assert (await asyncio.to_thread(publish, "lobby", 2)).offset == 2
        assert engine.journal.records == 2


async def test_in_a_server_a_committed_transaction_reaches_subscribers_by_a_hint() -> None:
    stream, _ = await elsewhere(Stream.objects.get_or_create, name="lobby")

    def work() -> None:
        with transaction.atomic():
            publish("lobby", 1)

    async with running() as engine:
        # Or it might come first.
        engine._tick.stop()
        feed = await engine.hub.open(stream)
        await elsewhere(work)
        await eventually(lambda: feed.last == 1)
        assert engine.hub.fills == 0


def test_a_visitor_who_is_nobody_stands_in_the_record_as_nobody(lobby: Stream) -> None:
    publish("lobby", 1, user=AnonymousUser())
    assert Record.objects.get().publisher == ""


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"stream": 7}, "stream must be text, not int"),
        ({"removed": "no", "key": "k"}, "removed must be True or False, not str"),
        ({"tags": ["a"]}, "tags must be a dict of texts, not list"),
        ({"device_time": datetime.now(UTC)}, "device_time must be a whole number of milliseconds since 1970, not datetime"),
        ({"device_time": 1.5}, "device_time must be a whole number of milliseconds since 1970, not float"),
        ({"device_time": True}, "device_time must be a whole number of milliseconds since 1970, not bool"),
        ({"expect_offset": "0"}, "expect_offset must be a whole number, not str"),
        ({"blob": "x"}, "blob must be bytes, not str"),
    ],
)
async def test_a_field_of_a_wrong_type_fails_alone(lobby: Stream, fields: dict[str, Any], told: str) -> None:
    async with running():
        # In one transaction with others.
        asked: list[dict[str, Any]] = [{"stream": "lobby", "data": 1} | given for given in ({}, fields, {})]
        first, wrong, last = await asyncio.gather(*(apublish(**given) for given in asked), return_exceptions=True)
        assert (str(wrong), type(wrong)) == (f"bad request: {told}", BadRequest)
        assert [first, last] == [(1, lobby.epoch, False), (2, lobby.epoch, False)]
