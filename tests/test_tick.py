"""How a process finds records that no hint told of, and notices."""

import threading
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from realtime import notices, tick
from realtime.models import Notice, Stream
from realtime.tick import Head, Tick

from .core import append
from .waiting import eventually_sync

pytestmark = pytest.mark.django_db(transaction=True)


class Desk:
    def __init__(self) -> None:
        self.heads: list[dict[int, int]] = []
        self.streams: list[tuple[list[Head], Collection[int]]] = []
        self.subscribed: tuple[int, ...] = ()
        self.notices: list[dict[str, Any]] = []
        self.tick = Tick(
            self.heads.append,
            lambda rows, asked: self.streams.append((rows, asked)),
            lambda found: self.notices.extend(notice.subject for notice in found),
            lambda: self.subscribed,
        )

    def look(self) -> list[dict[int, int]]:
        """What one more look finds."""
        self.heads.clear()
        self.tick.look(connection)
        return list(self.heads)


@pytest.fixture
def stream(transactional_db: None) -> Stream:
    found = Stream.objects.create(name="a")
    append("a", "1", "2")
    return found


@pytest.fixture
def desk(stream: Stream) -> Desk:
    found = Desk()
    found.look()
    return found


def elsewhere(*work: Any, do: Callable[..., object] = append) -> None:
    def run() -> None:
        do(*work)
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_what_was_there_before_is_no_news(stream: Stream) -> None:
    assert Desk().look() == []


def test_records_of_another_connection_are_found_once(desk: Desk, stream: Stream) -> None:
    other = Stream.objects.create(name="b")
    elsewhere("a", "3", "4")
    elsewhere("b", "1")
    assert desk.look() == [{stream.pk: 4, other.pk: 1}]
    assert desk.look() == []
    elsewhere("a", "5")
    assert desk.look() == [{stream.pk: 5}]


def test_while_nobody_writes_a_look_asks_for_nothing_more(desk: Desk, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        desk.look()


def test_new_records_are_found_by_their_id_without_a_scan(stream: Stream) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {tick._MOVED}", [5])
        plan = [row[-1] for row in cursor.fetchall()]
    assert plan[0] == "SEARCH realtime_record USING INTEGER PRIMARY KEY (rowid>?)"


def test_the_subscribed_streams_are_compared_and_a_removed_one_is_missing(desk: Desk, stream: Stream) -> None:
    desk.tick.compare()
    assert desk.streams == []
    desk.subscribed = (stream.pk, 999)
    Stream.objects.update(epoch="restored")
    desk.tick.compare()
    assert desk.streams == [([Head(stream.pk, "restored", 1, 2, "every")], (stream.pk, 999))]


# Notices


def test_a_notice_of_anybody_is_found_once_and_in_order(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "PAGE", 2)
    for name in "12345":
        notices.post("disconnect", user=name)
    elsewhere("a", "3")
    desk.look()
    assert desk.notices == [{"user": name} for name in "12345"]
    desk.look()
    desk.tick.compare()
    assert len(desk.notices) == 5


def test_a_notice_is_not_there_before_its_transaction_commits(desk: Desk) -> None:
    with transaction.atomic():
        notices.post("disconnect", user="1")
        transaction.set_rollback(True)
    desk.tick.compare()
    assert desk.notices == []


def test_a_notice_is_found_by_the_comparison_when_the_version_told_nothing(desk: Desk) -> None:
    # By the connection of the tick itself, whose own commits move no version.
    notices.post("disconnect", user="1")
    desk.look()
    assert desk.notices == []
    desk.tick.compare()
    assert desk.notices == [{"user": "1"}]


def test_notices_are_removed_when_everybody_has_read_them(desk: Desk) -> None:
    notices.post("disconnect", user="1")
    notices.post("disconnect", user="2")
    Notice.objects.filter(pk=notices.newest()).update(created=timezone.now() - timedelta(minutes=11))
    assert (notices.prune(), notices.prune()) == (1, 0)
    # Ids are not used again, so that who has read the removed one waits for the right one.
    notices.post("disconnect", user="3")
    desk.tick.compare()
    assert desk.notices == [{"user": "1"}, {"user": "3"}]


# The thread


@pytest.fixture
def running(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(tick, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(tick, "COMPARE_SECONDS", 0.01)
    found = Desk()
    found.tick.start(notices.newest())
    eventually_sync(lambda: found.tick._seen > 0)
    yield found
    found.tick.stop()


def test_it_looks_and_compares_again_and_again(running: Desk, stream: Stream) -> None:
    append("a", "3")
    eventually_sync(lambda: running.heads == [{stream.pk: 3}])
    running.subscribed = (stream.pk,)
    eventually_sync(lambda: len(running.streams) >= 3)


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("away")])
def test_it_survives_an_error_and_says_so_once(
    error: Exception, running: Desk, stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    failed = []

    def fail(*args: Any) -> None:
        failed.append(1)
        raise error

    # In the middle of a look, when the version has been noted already.
    monkeypatch.setattr(notices, "after", fail)
    eventually_sync(lambda: len(failed) >= 3)
    assert caplog.messages == ["The tick could not read the database, and tries again until it can: away"]
    append("a", "3")
    notices.post("disconnect", user="1")
    monkeypatch.undo()
    eventually_sync(lambda: running.heads == [{stream.pk: 3}])
    eventually_sync(lambda: running.notices == [{"user": "1"}])


def test_stop_ends_the_thread(running: Desk) -> None:
    running.tick.stop()
    assert not running.tick._thread.is_alive()
