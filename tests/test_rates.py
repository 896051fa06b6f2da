"""How fast one may go."""

from typing import Any

import pytest

from realtime.access import ANONYMOUS, Identity
from realtime.errors import TOO_MANY_ERRORS, TOO_MANY_REQUESTS, BadRequest, Close, Disconnect, TooManyRequests, UnknownStream
from realtime.protocol import ChannelRequest, PublishRequest, Request, RpcRequest, SubscribeRequest
from realtime.rates import FEW_BUCKETS, Bucket, Conduct, Rates

from .clock import Clock

ALICE, BOB = Identity("1", "Alice", 1), Identity("2", "Bob", 2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(clock)


def key(rate: int) -> Identity:
    return Identity("key:ab", "sensor", scopes=(), publish_rate=rate)


def passed(rates: Rates, identity: Identity, count: int, address: str | None = None) -> int:
    """How many of `count` publishes are let through."""
    done = 0
    for _ in range(count):
        try:
            rates.publish(identity, address=address)
        except TooManyRequests:
            continue
        done += 1
    return done


# Buckets


def test_a_burst_passes_at_once_and_then_the_rate() -> None:
    bucket = Bucket(rate=10, burst=3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert bucket.take(0.05) == pytest.approx(0.05)
    assert bucket.take(0.1) == 0
    assert bucket.take(0.1) == pytest.approx(0.1)


def test_it_saves_up_no_more_than_a_burst() -> None:
    bucket = Bucket(rate=10, burst=3, now=0)
    assert sum(bucket.take(3_600) == 0 for _ in range(10)) == 3


def test_what_was_refused_costs_nothing() -> None:
    bucket = Bucket(rate=1, burst=2, now=0)
    bucket.take(0, 2)
    assert all(bucket.take(0) == pytest.approx(1) for _ in range(100))
    assert bucket.take(1) == 0


def test_a_batch_over_the_burst_needs_a_full_bucket_and_is_paid_off_later() -> None:
    bucket = Bucket(rate=10, burst=5, now=0)
    assert bucket.take(0, 105) == 0
    # 100 owed, and one: 101 tokens at 10 a second.
    assert bucket.take(0) == pytest.approx(10.1)
    assert bucket.take(10.1) == 0
    assert bucket.take(10.1, 105) == pytest.approx(0.5)


def test_a_rate_of_0_never_runs_out() -> None:
    bucket = Bucket(rate=0, burst=0, now=0)
    assert [bucket.take(0, 10**9) for _ in range(3)] == [0, 0, 0]


# Principals


def test_a_person_has_the_rate_of_the_settings_and_everybody_their_own(rates: Rates, clock: Clock) -> None:
    assert passed(rates, ALICE, 500) == 100
    assert passed(rates, BOB, 50) == 50
    clock.now += 0.5
    assert passed(rates, ALICE, 500) == 10


def test_it_is_the_person_who_is_counted_whatever_the_credential(rates: Rates) -> None:
    assert passed(rates, ALICE, 60) == 60
    assert passed(rates, Identity("1", "Alice", 1, expires=5.0), 60) == 40


def test_the_refusal_says_who_may_how_much_and_when(rates: Rates) -> None:
    passed(rates, ALICE, 100)
    with pytest.raises(TooManyRequests) as refused:
        rates.publish(ALICE)
    assert refused.value.retry_after == pytest.approx(0.05)
    assert str(refused.value) == "too many requests: Alice may publish 20 records a second, try again in 0.1 s"


def test_a_key_has_a_rate_of_its_own_or_none(rates: Rates, clock: Clock) -> None:
    assert passed(rates, key(0), 10_000) == 10_000
    assert passed(rates, key(4), 100) == 20
    clock.now += 1
    assert passed(rates, key(4), 100) == 4


def test_a_new_rate_of_a_key_counts_from_the_next_publish_on(rates: Rates, clock: Clock) -> None:
    passed(rates, key(4), 100)
    clock.now += 1
    assert passed(rates, key(40), 100) == 40
    clock.now += 60
    assert passed(rates, key(1), 100) == 5


def test_anonymous_people_are_counted_by_their_address(rates: Rates) -> None:
    assert passed(rates, ANONYMOUS, 200, "10.0.0.1") == 100
    assert passed(rates, ANONYMOUS, 200, "10.0.0.2") == 100
    assert passed(rates, ANONYMOUS, 200, None) == 100
    # One host has a whole network of IPv6.
    assert passed(rates, ANONYMOUS, 200, "2001:db8:1:2::1") == 100
    assert passed(rates, ANONYMOUS, 1, "2001:db8:1:2::2") == 0
    assert passed(rates, ANONYMOUS, 1, "2001:db8:1:3::1") == 1


def test_a_batch_counts_for_all_its_records(rates: Rates) -> None:
    rates.publish(ALICE, 70)
    assert passed(rates, ALICE, 100) == 30


@pytest.mark.parametrize("off", [{"RATE_LIMITS": False}, {"PUBLISHES_PER_SECOND": 0}], ids=["switched off", "set to 0"])
def test_without_a_limit_nobody_is_refused(settings: Any, clock: Clock, off: dict[str, int]) -> None:
    settings.WIRELOG = {**settings.WIRELOG, **off}
    assert passed(Rates(clock), ALICE, 1_000) == 1_000


def test_switched_off_lifts_the_limits_of_keys_too(settings: Any, clock: Clock) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "RATE_LIMITS": False}
    assert passed(Rates(clock), key(1), 1_000) == 1_000


def test_who_was_idle_is_forgotten_and_who_is_in_debt_is_not(rates: Rates, clock: Clock) -> None:
    rates.publish(ALICE, 10_000)
    for number in range(10 * FEW_BUCKETS):
        clock.now += 0.01
        rates.publish(ANONYMOUS, address=str(number))
    assert len(rates._buckets) <= FEW_BUCKETS
    assert passed(rates, ALICE, 1) == 0


# Connections

PRESENCE: tuple[str, Request] = ("presence", ChannelRequest("a"))
PUBLISHES: list[tuple[str, Request]] = [("publish", PublishRequest("a")), ("rpc", RpcRequest("publish"))]
OTHERS: list[tuple[str, Request]] = [PRESENCE, ("subscribe", SubscribeRequest("a")), ("rpc", RpcRequest("streams"))]


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
