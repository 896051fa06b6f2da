import logging
import re
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, transaction
from django.dispatch import Signal

from realtime import apublish, publish, signals
from realtime.engine import Engine
from realtime.items import Item
from realtime.journal import append_now
from realtime.models import Stream

from .core import Client, api_key, cookie, elsewhere, person
from .machine import ROOT
from .waiting import SECONDS, eventually

pytestmark = pytest.mark.django_db(transaction=True)

ALL = {name: getattr(signals, name) for name in ("connected", "disconnected", "subscribed", "unsubscribed", "published")}
Heard = Queue[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def lobby(transactional_db: None) -> None:
    # A test with transactions leaves no row behind, not even those of migrations.
    Stream.objects.get_or_create(name="lobby")


@pytest.fixture
def listen() -> Iterator[Callable[..., None]]:
    """Connect a receiver to a signal for the time of a test."""
    connected: list[tuple[Signal, Any]] = []

    def connect(signal: Signal, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)
    assert signals.outlet.flush(SECONDS)


@pytest.fixture
def heard(listen: Callable[..., None]) -> Heard:
    """What receivers of every signal are told, in order."""
    found: Heard = Queue()
    for name, signal in ALL.items():
        listen(signal, lambda sender, signal, _name=name, **event: found.put((_name, event)))
    return found


def following(heard: Heard, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next events; they follow the answers to what caused them."""
    return [heard.get(timeout=SECONDS) for _ in range(count)]


# What is told


async def test_a_connection_is_told_of_from_its_connect_to_its_end(engine: Engine, heard: Heard) -> None:
    alice = await elsewhere(person, "alice")
    client = Client(engine, await elsewhere(cookie, "alice"))
    await client.connect()
    await client.ask("subscribe", channel="lobby")
    await client.ask("unsubscribe", channel="lobby")
    await client.ask("subscribe", channel="lobby")
    client.session.leave()
    events = following(heard, 6)
    assert [name for name, _ in events] == ["connected", "subscribed", "unsubscribed", "subscribed", "unsubscribed", "disconnected"]
    who = {"client": client.session.client, "principal": alice.principal, "user_id": alice.user_id, "address": "10.0.0.7", "agent": "agent"}
    assert [event for _, event in events] == [who, *[who | {"stream": "lobby"}] * 4, who]


async def test_a_stream_without_presence_is_told_of_all_the_same(engine: Engine, heard: Heard) -> None:
    await Stream.objects.filter(name="lobby").aupdate(presence=False, join_leave=False)
    client = await Client(engine, token=await elsewhere(api_key, "*", "read")).connect()
    await client.ask("subscribe", channel="lobby")
    assert [name for name, _ in following(heard, 2)] == ["connected", "subscribed"]


async def test_a_record_is_told_of_once_and_as_it_is(engine: Engine, heard: Heard) -> None:
    item: dict[str, Any] = {"device_time": 5, "idempotency_key": "k", "key": "door", "tags": {"unit": "C"}}
    first = await apublish("lobby", {"t": 1.5}, **item)
    assert (await apublish("lobby", {"t": 1.5}, **item)).duplicate
    ((name, event),) = following(heard, 1)
    assert name == "published"
    assert event.pop("time") > 0
    where = {"stream": "lobby", "epoch": first.epoch, "offset": 1, "publisher": "", "client": "", "device_time": 5}
    assert event == where | {"data": {"t": 1.5}, "key": "door", "removed": False, "tags": {"unit": "C"}}
    assert heard.empty()


async def test_each_record_of_a_batch_is_told_of_and_no_refused_one(engine: Engine, heard: Heard) -> None:
    await engine.journal.append_together([Item("lobby", "1"), Item("lobby", "2")])
    await engine.journal.append_all([Item("lobby", "3"), Item("missing", "4"), Item("lobby", "5")])
    assert [event["data"] for _, event in following(heard, 4)] == [1, 2, 3, 5]
    assert heard.empty()


def test_a_process_that_serves_nothing_tells_its_own_receivers(heard: Heard) -> None:
    append_now([Item("lobby", "1")])
    publish("lobby", 2)
    assert [event["offset"] for _, event in following(heard, 2)] == [1, 2]


def test_a_record_of_a_transaction_is_told_of_after_its_commit_or_never(heard: Heard) -> None:
    with transaction.atomic():
        publish("lobby", "kept")
        assert signals.outlet.flush(SECONDS)
        assert heard.empty()
    with transaction.atomic():
        publish("lobby", "undone")
        transaction.set_rollback(True)
    assert [event["data"] for _, event in following(heard, 1)] == ["kept"]
    assert heard.empty()


async def test_every_signal_and_what_it_tells_stands_in_the_documentation(engine: Engine, heard: Heard) -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \| .*? \| (.*) \|$", (ROOT / "docs" / "django.md").read_text(), re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", fields)) for names, fields in rows for name in re.findall(r"`(\w+)`", names)}
    client = await Client(engine, token=await elsewhere(api_key, "*", "read")).connect()
    await client.ask("subscribe", channel="lobby")
    await apublish("lobby", 1)
    events = dict(following(heard, 3))
    assert {name for name in told if name in ALL} == ALL.keys()
    assert told["connected"] == events["connected"].keys()
    assert told["subscribed"] | told["connected"] == events["subscribed"].keys()
    assert told["published"] == events["published"].keys()


# In nobody's way


async def test_nothing_is_done_when_nobody_listens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals.outlet, "put", lambda *args: pytest.fail("an event was queued"))
    client = await Client(engine, token=await elsewhere(api_key, "*", "read")).connect()
    await client.ask("subscribe", channel="lobby")
    await apublish("lobby", 1)
    client.session.leave()


async def test_publishing_goes_on_while_a_receiver_hangs(
    engine: Engine, listen: Callable[..., None], monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "SIGNAL_QUEUE": 3}
    outlet = signals.Outlet()
    monkeypatch.setattr(signals, "outlet", outlet)
    reached, go = threading.Event(), threading.Event()
    told: list[int] = []

    def hang(offset: int, **event: Any) -> None:
        told.append(offset)
        reached.set()
        go.wait(SECONDS)

    listen(signals.published, hang)
    await apublish("lobby", 0)
    assert reached.wait(SECONDS)
    with caplog.at_level(logging.WARNING, "realtime.signals"):
        for number in range(20):
            await apublish("lobby", number)
    await eventually(lambda: outlet.lost == 17)
    assert len([record for record in caplog.records if "too slow" in record.message]) == 1
    go.set()
    assert outlet.flush(SECONDS)
    assert told == [1, 2, 3, 4]


async def test_publishing_goes_on_where_there_is_no_thread_for_receivers(
    engine: Engine, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    outlet = signals.Outlet()
    monkeypatch.setattr(signals, "outlet", outlet)
    with monkeypatch.context() as full:
        full.setattr(signals, "threading", SimpleNamespace(Thread=refuse))
        assert [(await apublish("lobby", number)).offset for number in (1, 2)] == [1, 2]
        # They are answered before they are told.
        await engine.journal.run(lambda: None)
        assert outlet.lost == 2
    await apublish("lobby", 3)
    assert [event["offset"] for _, event in following(heard, 1)] == [3]
    assert outlet.flush(SECONDS)


async def test_an_error_of_a_receiver_is_logged_and_the_next_one_is_told(
    engine: Engine, listen: Callable[..., None], heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**event: Any) -> None:
        raise ZeroDivisionError

    listen(signals.published, fail)
    await apublish("lobby", 1)
    await apublish("lobby", 2)
    assert [event["data"] for _, event in following(heard, 2)] == [1, 2]
    assert "ZeroDivisionError" in caplog.text


async def test_a_receiver_may_use_the_database_and_its_connection_is_closed_after(engine: Engine, listen: Callable[..., None]) -> None:
    found: list[Any] = []

    def look(stream: str, **event: Any) -> None:
        found.append(Stream.objects.get(name=stream).head)
        found.append(connections["default"].connection)

    listen(signals.published, look)
    await apublish("lobby", 1)
    await eventually(lambda: len(found) == 2)
    assert signals.outlet.flush(SECONDS)
    head, connection = found
    assert head == 1
    with pytest.raises(Exception, match="closed database"):
        connection.execute("SELECT 1")
