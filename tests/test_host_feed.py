import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from realtime import host_feed, journal
from realtime.errors import InternalError, StorageFull, UnknownStream
from realtime.host_feed import Complaints, Counters, HostFeed, Pace
from realtime.items import Item
from realtime.models import Record, Stream

from . import desk
from .clock import Clock
from .waiting import eventually

START = Counters(time=100.0, cpu_busy=50.0, cpu_total=1000.0, disk=(1_000_000, 2_000_000, 10), net=(0, 500_000))
FIELDS = {"cpu", "memory", "memory_percent", "load", "disk_read", "disk_write", "disk_writes", "net_in", "net_out"}


# Rates


def test_rates_are_what_happened_per_second() -> None:
    later = Counters(time=102.0, cpu_busy=51.0, cpu_total=1004.0, disk=(3_000_000, 12_000_000, 82), net=(3_680_000, 1_100_000))

    assert host_feed.rates(START, later) == {
        "cpu": 25.0,
        "disk_read": 1.0,
        "disk_write": 5.0,
        "disk_writes": 36,
        "net_in": 1.84,
        "net_out": 0.3,
    }


def test_a_counter_that_went_back_counts_as_still() -> None:
    found = host_feed.rates(START, replace(START, time=101.0, cpu_busy=49.0, disk=(0, 0, 0), net=(0, 0)))

    assert set(found.values()) == {0}


def test_two_readings_at_one_moment_divide_by_nothing() -> None:
    assert host_feed.rates(START, START)["cpu"] == 0


def test_a_machine_that_tells_nothing_of_its_disks_has_no_numbers_for_them() -> None:
    assert "disk_read" not in host_feed.rates(replace(START, disk=None), START)


def test_disks_that_cannot_be_read_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NotImplementedError

    monkeypatch.setattr(psutil, "disk_io_counters", fail)

    assert host_feed.read_counters().disk is None


def test_a_sample_of_this_machine_is_numbers_that_can_be() -> None:
    sample = HostFeed().sample()

    assert {"cpu", "memory", "memory_percent", "load", "net_in", "net_out"} <= set(sample) <= FIELDS
    assert all(isinstance(value, int | float) and value >= 0 for value in sample.values())
    assert sample["cpu"] <= 100
    assert 0 < sample["memory_percent"] <= 100


def test_the_first_sample_has_real_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([START, replace(START, time=101.0, cpu_busy=52.0, cpu_total=1004.0)])
    monkeypatch.setattr(host_feed, "read_counters", lambda: next(readings))

    assert HostFeed().sample()["cpu"] == 50.0


@pytest.mark.parametrize(
    "host, name",
    [
        ("pi-4", "host:pi-4"),
        ("My Laptop.local", "host:My-Laptop.local"),
        ("ü/../:x", "host:x"),
        ("", "host:local"),
        ("x" * 300, "host:" + "x" * 100),
    ],
)
def test_the_stream_is_named_after_the_machine(host: str, name: str) -> None:
    assert host_feed.stream_name(host) == name


# Pace


def test_beats_do_not_drift_with_what_each_turn_takes() -> None:
    clock = Clock()
    pace = Pace(1.0, clock)
    beats = []
    for taken in (0.3, 0.7, 0.05, 0.5):
        clock.now += pace.delay()
        beats.append(round(clock.now, 6))
        clock.now += taken

    assert beats == [1001.0, 1002.0, 1003.0, 1004.0]


def test_a_long_pause_is_followed_by_one_beat_and_not_by_a_burst() -> None:
    clock = Clock()
    pace = Pace(1.0, clock)
    clock.now += 3600.25

    assert pace.delay() == 0.75
    clock.now += 0.75
    assert pace.delay() == 1.0


def test_a_timer_that_rings_early_gives_no_double_beat() -> None:
    clock = Clock()
    pace = Pace(1.0, clock)
    clock.now += pace.delay() - 0.001

    assert pace.delay() == pytest.approx(1.001)


# Complaints


def test_each_kind_of_failure_is_told_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("host:x")
    with caplog.at_level(logging.INFO):
        for error in (InternalError(), InternalError(), StorageFull(), InternalError()):
            complaints.failed(error)
        complaints.worked()
        complaints.worked()
        complaints.failed(InternalError())

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "WARNING"]


# Running


@dataclass
class FakeJournal:
    """Appends for good, after failing with `errors` first."""

    errors: list[Exception] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)

    async def append(self, item: Item) -> None:
        self.items.append(item)
        if self.errors:
            raise self.errors.pop(0)


@dataclass
class FakeEngine:
    journal: FakeJournal


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_feed, "INTERVAL_SECONDS", 0.005)
    monkeypatch.setattr("platform.node", lambda: "lab")


async def run_until(engine: FakeEngine, condition: Callable[[], bool]) -> None:
    task = asyncio.create_task(host_feed.run(engine))
    await eventually(lambda: condition() or task.done(), "the feed goes on")
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick")
async def test_it_makes_its_stream_and_publishes_to_it() -> None:
    engine = FakeEngine(FakeJournal())
    await run_until(engine, lambda: len(engine.journal.items) >= 3)

    stream = await Stream.objects.aget(name="host:lab")
    assert (stream.title, stream.kind, stream.readers, stream.writers, stream.presence) == ("This host", "chart", "users", "members", True)
    assert {(item.stream, item.publisher) for item in engine.journal.items} == {("host:lab", "cli:host")}
    assert set(json.loads(engine.journal.items[0].data)) <= FIELDS


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick")
async def test_nothing_temporary_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [
        InternalError(),
        InternalError(),
        StorageFull(),
        UnknownStream("host:lab"),
        OperationalError("database is locked"),
    ]
    engine = FakeEngine(FakeJournal(list(errors)))
    await run_until(engine, lambda: len(engine.journal.items) >= 7)

    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 4


@pytest.mark.django_db
def test_an_existing_stream_is_left_as_it_is() -> None:
    desk.stream("host:lab", title="Mine", kind="raw")

    HostFeed("lab").ensure_stream()

    assert Stream.objects.get(name="host:lab").title == "Mine"


# The command


@pytest.mark.django_db
def test_the_command_publishes_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = iter([None, None, None])

    def sleep(seconds: float) -> None:
        if next(beats, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    call_command("feed", "host", "--name", "pi-4", "--interval", "0.1")

    stream = Stream.objects.get(name="host:pi-4")
    assert (stream.title, stream.head) == ("pi-4", 3)
    assert {record.publisher for record in Record.objects.filter(stream=stream)} == {"cli:host"}


@pytest.mark.django_db
def test_the_command_refuses_to_feed_what_is_being_fed(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = HostFeed("pi-4")
    feed.ensure_stream()
    journal.append_batch(connections["default"], [feed.item()])
    # Late enough, it would begin to feed for ever.
    monkeypatch.setattr("realtime.management.commands.feed.now", lambda: Record.objects.get().received + 2_999)

    with pytest.raises(CommandError, match="host:pi-4 is being fed already"):
        call_command("feed", "host", "--name", "pi-4")


@pytest.mark.django_db
@pytest.mark.parametrize("interval", ["0", "-1", "nan", "99999"])
def test_an_interval_that_makes_no_sense_is_refused(interval: str) -> None:
    with pytest.raises(CommandError, match=r"give 0\.1 to 3600 seconds"):
        call_command("feed", "host", f"--interval={interval}")
