"""What one connection may send, and what follows when it goes on regardless."""

from typing import Any

import pytest

from realtime.access import Identity
from realtime.conduct import Conduct
from realtime.errors import TOO_MANY_ERRORS, TOO_MANY_REQUESTS, BadRequest, Close, Disconnect, TooManyRequests, UnknownStream
from realtime.protocol import ChannelRequest, PublishRequest, Request, RpcRequest, SubscribeRequest
from realtime.rates import Rates

from .test_rates import Clock

ALICE, BOB = Identity("1", "Alice", 1), Identity("2", "Bob", 2)
PRESENCE: tuple[str, Request] = ("presence", ChannelRequest("a"))
PUBLISHES: list[tuple[str, Request]] = [("publish", PublishRequest("a")), ("rpc", RpcRequest("publish"))]
OTHERS: list[tuple[str, Request]] = [PRESENCE, ("subscribe", SubscribeRequest("a")), ("rpc", RpcRequest("streams"))]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def conduct(clock: Clock) -> Conduct:
    return Conduct(Rates(clock), "10.0.0.7")


def send(
    conduct: Conduct, count: int, command: tuple[str, Request] = PRESENCE, identity: Identity = ALICE
) -> tuple[int, int, Close | None]:
    """Of `count` commands: how many pass and are refused, and why the connection ends."""
    passed = refused = 0
    for _ in range(count):
        try:
            conduct.admit(identity, *command)
        except TooManyRequests:
            refused += 1
        except Disconnect as disconnect:
            return passed, refused, disconnect.close
        else:
            passed += 1
    return passed, refused, None


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_commands_have_a_burst_and_a_rate(conduct: Conduct, clock: Clock, command: tuple[str, Request]) -> None:
    assert send(conduct, 210, command) == (200, 10, None)
    clock.now += 1
    assert send(conduct, 60, command) == (50, 10, None)


@pytest.mark.parametrize("command", PUBLISHES, ids=str)
def test_publishes_are_counted_for_the_person_and_not_as_commands(conduct: Conduct, clock: Clock, command: tuple[str, Request]) -> None:
    other = Conduct(conduct._rates, "10.0.0.8")
    assert send(conduct, 60, command) == (60, 0, None)
    assert send(other, 50, command) == (40, 10, None)
    assert send(other, 50, command, BOB) == (50, 0, None)
    assert send(conduct, 200) == (200, 0, None)


def test_an_unsubscribe_is_never_refused(conduct: Conduct) -> None:
    send(conduct, 200)
    assert send(conduct, 1_000, ("unsubscribe", ChannelRequest("a"))) == (1_000, 0, None)


@pytest.mark.parametrize("command", [PRESENCE, PUBLISHES[0]], ids=str)
def test_who_goes_on_after_as_many_refusals_as_a_burst_is_closed(conduct: Conduct, command: tuple[str, Request]) -> None:
    _, refused, close = send(conduct, 1_000, command)
    assert (refused, close) == (200, TOO_MANY_REQUESTS)


def test_who_heeds_a_refusal_now_and_then_may_stay(conduct: Conduct, clock: Clock) -> None:
    send(conduct, 200)
    for _ in range(60):
        clock.now += 1
        assert send(conduct, 65) == (50, 15, None)


def bad_messages(conduct: Conduct, count: int) -> list[Close]:
    return [close for _ in range(count) if (close := conduct.after(BadRequest("data", "is missing"))) is not None]


def test_ten_bad_messages_a_minute_are_borne(conduct: Conduct, clock: Clock) -> None:
    for _ in range(3):
        assert bad_messages(conduct, 10) == []
        clock.now += 60
    assert bad_messages(conduct, 11) == [TOO_MANY_ERRORS]


def test_other_errors_are_no_bad_messages(conduct: Conduct) -> None:
    assert [conduct.after(UnknownStream("a")) for _ in range(100)] == [None] * 100


NONE = {"COMMANDS_PER_SECOND": 0, "PUBLISHES_PER_SECOND": 0, "BAD_MESSAGES_PER_MINUTE": 0}


@pytest.mark.parametrize("off", [{"RATE_LIMITS": False}, NONE], ids=["switched off", "set to 0"])
def test_without_a_limit_nothing_is_refused(settings: Any, clock: Clock, off: dict[str, int]) -> None:
    settings.WIRELOG = {**settings.WIRELOG, **off}
    conduct = Conduct(Rates(clock), None)
    assert send(conduct, 5_000) == (5_000, 0, None)
    assert send(conduct, 5_000, PUBLISHES[1]) == (5_000, 0, None)
    assert bad_messages(conduct, 1_000) == []
