"""`manage.py tail`, turn by turn. As a real process beside a real writer it is in end_to_end/test_commands.py."""

import io
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from realtime.conf import limit
from realtime.management.commands import tail
from realtime.models import Record, Stream

from . import desk

pytestmark = pytest.mark.django_db

NAME = "iot:pi"


@pytest.fixture(autouse=True)
def stream() -> Stream:
    return desk.stream(NAME)


class Database:
    """Stands in for the number that SQLite moves when another connection commits: here there is only one."""

    version = 0


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> type[Database]:
    monkeypatch.setattr(tail, "data_version", lambda: Database.version)
    return Database


def doing(*steps: Callable[[], Any]) -> Callable[[], bool]:
    """A wait that does one step each time, as another process would, and ends when there is none left."""
    waiting = iter(steps)

    def wait() -> bool:
        step = next(waiting, None)
        if step is not None:
            step()
            Database.version += 1
        return step is not None

    return wait


def followed(since: int | None, *steps: Callable[[], Any]) -> list[str | list[int]]:
    """What is told meanwhile: sentences, and the offsets of each page."""
    found = tail.follow(NAME, since, doing(*steps))
    return [one if isinstance(one, str) else [record.offset for record in one[1]] for one in found]


def append(count: int) -> None:
    desk.append(NAME, *(str(number) for number in range(count)))


def prune(upto: int) -> None:
    Record.objects.filter(stream__name=NAME, offset__lte=upto).delete()
    Stream.objects.filter(name=NAME).update(tail=upto + 1)


def test_it_shows_the_last_records_then_each_new_one() -> None:
    append(25)

    assert followed(None, lambda: append(2), lambda: append(1)) == [list(range(16, 26)), [26, 27], [28]]


@pytest.mark.parametrize("since, shown", [(0, [1, 2, 3]), (2, [3])])
def test_since_starts_after_an_offset(since: int, shown: list[int]) -> None:
    append(3)

    assert followed(since, lambda: append(1)) == [shown, [4]]


def test_since_the_head_waits_for_what_comes_next() -> None:
    append(3)

    assert followed(3, lambda: append(1)) == [[4]]


@pytest.mark.parametrize("since", [-1, 4, 2**70])
def test_since_a_position_that_is_none_is_refused(since: int) -> None:
    append(3)

    with pytest.raises(CommandError, match=f"--since {since} is not a position of iot:pi: give 0 for its start, up to 3"):
        followed(since)


def test_a_commit_elsewhere_in_the_database_shows_nothing() -> None:
    desk.stream("other")

    assert followed(0, lambda: desk.append("other", "1"), lambda: append(1)) == [[1]]


def test_a_long_stream_is_read_page_by_page() -> None:
    append(2 * limit("PAGE_RECORDS") + 1)

    assert [len(page) for page in followed(0)] == [limit("PAGE_RECORDS"), limit("PAGE_RECORDS"), 1]


def test_a_page_of_large_records_is_bounded_in_bytes() -> None:
    desk.append(NAME, *('"' + "x" * 100_000 + '"' for _ in range(7)))

    pages = followed(0)

    assert [offset for page in pages for offset in page] == list(range(1, 8))
    assert max(len(page) for page in pages) * 100_000 <= limit("PAGE_BYTES")


def test_it_says_so_when_the_records_asked_for_were_pruned() -> None:
    append(5)
    prune(3)

    assert followed(1) == ["Records 2 to 3 of iot:pi are not kept any more.", [4, 5]]
    assert followed(None) == [[4, 5]]


def test_it_says_so_when_nothing_is_left() -> None:
    append(5)
    prune(5)

    assert followed(0, lambda: append(1)) == ["Records 1 to 5 of iot:pi are not kept any more.", [6]]


def test_it_says_so_when_the_stream_was_restored_and_shows_what_came_after() -> None:
    append(5)

    def restore() -> None:
        prune(5)
        Stream.objects.filter(name=NAME).update(epoch="restored", head=2, tail=3)

    told = followed(5, restore, lambda: append(1))

    assert isinstance(told[0], str)
    assert "this is restored" in told[0]
    assert told[1:] == [[3]]


def test_it_says_so_when_the_stream_is_archived() -> None:
    told = followed(0, lambda: Stream.objects.filter(name=NAME).update(archived=timezone.now()))

    assert told == ["iot:pi is archived now: nothing more will come until it is unarchived."]


def test_it_ends_when_the_stream_is_gone() -> None:
    with pytest.raises(CommandError, match="There is no stream 'iot:pi'"):
        followed(0, lambda: Stream.objects.filter(name=NAME).delete())


def printed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command prints until it would wait."""
    monkeypatch.setattr(tail, "wait_for_reader", lambda output: False)
    out = io.StringIO()
    call_command("tail", NAME, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_text_names_the_publisher_and_shows_no_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    ana = desk.user("ana", first_name="Ana\x1b[31m")
    desk.append(NAME, '"\x9b2J\u202e"', publisher=str(ana.pk))
    desk.append(NAME, "2", publisher="cli:root", key="t1")
    desk.append(NAME, "null", key="t1", removed=True)
    Record.objects.update(received=1_795_000_000_123)

    assert printed(monkeypatch, "--since", "0").splitlines() == [
        '1  2026-11-18 11:06:40.123Z  Ana\\u001b[31m  "\\u009b2J\\u202e"',
        "2  2026-11-18 11:06:40.123Z  root t1:  2",
        "3  2026-11-18 11:06:40.123Z  anonymous t1 removed:  null",
    ]


def test_json_is_one_object_a_line_with_the_payload_as_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    desk.append(NAME, '{"a": 1.10, "b": "\x9b\u2028"}', publisher="cli:root", key="t1", tags={"unit": "C"})

    line = printed(monkeypatch, "--since", "0", "--json")

    assert '"data":{"a": 1.10,' in line
    assert line.count("\n") == 1
    assert line.strip().isprintable()
    told = json.loads(line)
    assert told["data"] == {"a": 1.1, "b": "\x9b\u2028"}
    assert (told["stream"], told["offset"], told["key"], told["tags"]) == (NAME, 1, "t1", {"unit": "C"})
    assert told["epoch"] == Stream.objects.get(name=NAME).epoch
    assert told["info"]["user"] == "cli:root"


def test_waiting_ends_when_nobody_reads_any_more() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as output:
        assert tail.wait_for_reader(output)
        os.close(read_end)
        assert not tail.wait_for_reader(output)


def test_waiting_goes_on_for_an_output_that_is_no_file() -> None:
    assert tail.wait_for_reader(io.StringIO())
