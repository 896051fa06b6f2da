"""How many connections a process holds."""

from typing import Any

import pytest

from realtime.access import ANONYMOUS, Identity
from realtime.errors import CONNECTION_LIMIT, Disconnect
from realtime.seats import Seats

ALICE, BOB = Identity("1", "Alice", 1), Identity("2", "Bob", 2)


def key(most: int) -> Identity:
    return Identity("key:ab", "sensor", scopes=(), max_connections=most)


def taken(seats: Seats, identity: Identity, count: int) -> int:
    """How many of `count` connections are let in."""
    done = 0
    for _ in range(count):
        try:
            seats.take(identity)
        except Disconnect:
            continue
        done += 1
    return done


@pytest.fixture
def small(settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "CONNECTIONS": 10, "CONNECTIONS_PER_USER": 3}


@pytest.mark.parametrize(
    "identity, seats",
    [(ALICE, 3), (key(2), 2), (key(0), 50), (ANONYMOUS, 50)],
    ids=["a person", "a key with a limit", "a key without one", "anonymous people"],
)
def test_everybody_has_so_many_and_no_more(small: None, identity: Identity, seats: int) -> None:
    assert taken(Seats(lambda: 0.0), identity, 50) == seats


def test_who_finds_no_place_is_told_so_for_good(small: None) -> None:
    seats = Seats(lambda: 0.0)
    taken(seats, ALICE, 3)
    with pytest.raises(Disconnect) as refused:
        seats.take(ALICE)
    assert refused.value.close == CONNECTION_LIMIT


def test_a_place_that_is_left_can_be_taken_again_by_the_same_only(small: None) -> None:
    seats = Seats(lambda: 0.0)
    assert (taken(seats, ALICE, 5), taken(seats, BOB, 5)) == (3, 3)
    seats.leave(ALICE)
    assert (taken(seats, BOB, 5), taken(seats, ALICE, 5)) == (0, 1)


def test_nobody_who_has_left_is_remembered(small: None) -> None:
    seats = Seats(lambda: 0.0)
    for number in range(1_000):
        seats.take(Identity(str(number), "x", number))
        seats.leave(Identity(str(number), "x", number))
    assert not seats._taken


@pytest.mark.parametrize("count, room", [(0, True), (10, True), (11, False)])
def test_the_process_holds_so_many_in_all(small: None, count: int, room: bool) -> None:
    assert Seats(lambda: 0.0).room_for(count) == room


@pytest.mark.parametrize("off", [{"RATE_LIMITS": False}, {"CONNECTIONS": 0, "CONNECTIONS_PER_USER": 0}], ids=["switched off", "set to 0"])
def test_without_a_limit_everybody_is_let_in(settings: Any, off: dict[str, int]) -> None:
    settings.WIRELOG = {**settings.WIRELOG, **off}
    seats = Seats(lambda: 0.0)
    assert taken(seats, ALICE, 100) == 100
    assert seats.room_for(10**6)


def test_switched_off_lifts_the_limits_of_keys_too(settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "RATE_LIMITS": False}
    assert taken(Seats(lambda: 0.0), key(1), 100) == 100
