"""The history command: every rule of the protocol."""

import json
from typing import Any

import pytest

from realtime.access import ANONYMOUS
from realtime.errors import BadRequest, UnknownStream, Unrecoverable
from realtime.history import history
from realtime.models import Audience, Record, Stream
from realtime.protocol import HistoryRequest, Position

from .core import append

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stream() -> Stream:
    found = Stream.objects.create(name="a", readers=Audience.ANYONE)
    append("a", *map(str, range(1, 11)))
    found.refresh_from_db()
    return found


def ask(limit: int = 0, since: int | None = None, epoch: str = "", reverse: bool = False) -> Any:
    position = Position(since, epoch) if since is not None else None
    return history(ANONYMOUS, HistoryRequest("a", limit, position, reverse))


def offsets(**request: Any) -> list[int]:
    return [json.loads(bytes(publication))["offset"] for publication in ask(**request).publications]


def prune(upto: int) -> None:
    Record.objects.filter(stream__name="a", offset__lte=upto).delete()
    Stream.objects.filter(name="a").update(tail=upto + 1)


def test_without_a_limit_it_tells_the_position_only(stream: Stream) -> None:
    result = ask()
    assert (result.publications, result.epoch, result.offset) == ([], stream.epoch, 10)


@pytest.mark.parametrize(
    "request_, found",
    [
        ({"limit": 3}, [1, 2, 3]),
        ({"limit": -1}, list(range(1, 11))),
        ({"limit": 999}, list(range(1, 11))),
        ({"limit": 3, "reverse": True}, [10, 9, 8]),
        ({"limit": -1, "reverse": True}, list(range(10, 0, -1))),
        ({"limit": 3, "since": 4}, [5, 6, 7]),
        ({"limit": -1, "since": 8}, [9, 10]),
        ({"limit": -1, "since": 0}, list(range(1, 11))),
        ({"limit": -1, "since": 10}, []),
        ({"limit": -1, "since": 999}, []),
        ({"limit": 3, "since": 4, "reverse": True}, [3, 2, 1]),
        ({"limit": 2, "since": 4, "reverse": True}, [3, 2]),
        ({"limit": -1, "since": 1, "reverse": True}, []),
        ({"limit": 2, "since": 999, "reverse": True}, [10, 9]),
        ({"limit": 0, "since": 4}, []),
        ({"limit": 0, "since": 4, "reverse": True}, []),
        ({"limit": 2, "since": 2**63 - 1, "reverse": True}, [10, 9]),
        ({"limit": -(2**60), "since": 8}, [9, 10]),
    ],
)
def test_which_records_a_request_finds(request_: dict[str, Any], found: list[int]) -> None:
    assert offsets(**request_) == found
    assert ask(**request_).offset == 10


@pytest.mark.parametrize(
    "request_, found",
    [
        ({"limit": -1}, [5, 6, 7, 8, 9, 10]),
        ({"limit": 2, "since": 1}, [5, 6]),
        ({"limit": -1, "reverse": True}, [10, 9, 8, 7, 6, 5]),
        ({"limit": -1, "since": 3, "reverse": True}, []),
        ({"limit": -1, "since": 6, "reverse": True}, [5]),
    ],
)
def test_what_was_trimmed_away_is_skipped_without_an_error(request_: dict[str, Any], found: list[int]) -> None:
    prune(4)
    assert offsets(**request_) == found


def test_records_that_are_about_to_be_pruned_are_not_shown() -> None:
    Stream.objects.filter(name="a").update(tail=5)
    assert offsets(limit=1) == [5]
    assert offsets(limit=-1, reverse=True)[-1] == 5


def test_a_stream_of_which_nothing_is_kept_has_its_position(stream: Stream) -> None:
    prune(10)
    result = ask(limit=-1)
    assert (result.publications, result.epoch, result.offset) == ([], stream.epoch, 10)


@pytest.mark.parametrize("limit", [-1, 5, 6, 1_000])
def test_a_page_holds_no_more_than_the_server_gives(settings: Any, limit: int) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "PAGE_RECORDS": 5}
    assert offsets(limit=limit) == [1, 2, 3, 4, 5]
    assert offsets(limit=limit, reverse=True) == [10, 9, 8, 7, 6]


def test_a_page_holds_three_hundred_by_default() -> None:
    append("a", *["1"] * 300)
    assert offsets(limit=-1) == list(range(1, 301))


def test_the_epoch_must_be_that_of_the_stream_if_one_is_given(stream: Stream) -> None:
    assert offsets(limit=1, since=4, epoch=stream.epoch) == [5]
    with pytest.raises(Unrecoverable):
        ask(limit=1, since=4, epoch="another")


@pytest.mark.parametrize("limit", [0, -1, 3])
def test_in_reverse_there_is_nothing_before_offset_0(limit: int) -> None:
    with pytest.raises(BadRequest, match=r"since\.offset must be over 0 in reverse"):
        ask(limit=limit, since=0, reverse=True)


def test_a_stream_that_may_not_be_read_is_unknown() -> None:
    Stream.objects.update(readers=Audience.MEMBERS)
    with pytest.raises(UnknownStream):
        ask(limit=1)


def test_a_publication_is_as_it_was_sent() -> None:
    append("a", "1.10", publisher="7", client="c")
    (publication,) = ask(limit=1, since=10).publications
    assert bytes(publication).startswith(b'{"data":1.10,"offset":11,"time":')
    assert b'"info":{"user":"7","client":"c"}' in bytes(publication)
