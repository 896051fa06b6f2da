from itertools import accumulate

import pytest

from realtime.errors import NO_PONG, SLOW
from realtime.outbox import FIRST_WINDOW, MAX_WINDOW, MIN_WINDOW, Batch, Limits, Outbox

from .frames import messages, taken

LIMITS = Limits(outbox_bytes=10_000, frame_bytes=1_000, ping_seconds=25, pong_seconds=8, progress_seconds=30)


class Desk:
    """An outbox, its wake-ups, and a reader whose pongs the test sends."""

    def __init__(self, limits: Limits = LIMITS, connected: bool = True) -> None:
        self.wakes = 0
        self.outbox = Outbox(limits, self.wake)
        if connected:
            self.outbox.start_pings(1_000.0)

    def wake(self) -> None:
        self.wakes += 1

    def drain(self, now: float = 0.0) -> list[str]:
        """The messages of all frames that may go now."""
        messages = []
        while (frame := taken(self.outbox, now)) is not None:
            messages += frame.split("\n")
        return messages


def lines(count: int, size: int) -> Batch:
    """`count` messages of `size` bytes each, newline included."""
    return Batch([f"{number:0{size - 1}}" for number in range(count)])


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [(["a"], [2]), (["a", "bc"], [2, 3]), (["ż"], [3]), (["🎈"], [5]), ([""], [1])],
)
def test_a_batch_knows_its_size_in_bytes_on_the_wire(texts: list[str], sizes: list[int]) -> None:
    batch = Batch(texts)
    assert (batch.ends, batch.size, messages(batch)) == (list(accumulate(sizes)), sum(sizes), texts)


@pytest.mark.parametrize(("size", "counts"), [(1, [1] * 5), (100, [1] * 5), (250, [2, 2, 1]), (500, [5]), (10_000, [5])])
def test_a_batch_is_split_between_messages(size: int, counts: list[int]) -> None:
    batch = lines(5, 100)
    parts = list(batch.split(size))
    assert [part.count for part in parts] == counts
    assert [message for part in parts for message in messages(part)] == messages(batch)
    assert [part.size for part in parts] == [100 * count for count in counts]


def test_everything_that_waits_goes_as_one_frame_in_order() -> None:
    desk = Desk()
    desk.outbox.control("reply")
    desk.outbox.offer(Batch(["one", "two"]))
    desk.outbox.control("push")
    assert taken(desk.outbox, 0) == "reply\none\ntwo\npush"
    assert taken(desk.outbox, 0) is None
    assert (desk.outbox.waiting, desk.wakes) == (0, 3)


def test_a_frame_is_cut_between_messages_at_the_frame_size() -> None:
    desk = Desk()
    desk.outbox.offer(lines(15, 100))
    first = taken(desk.outbox, 0) or ""
    assert len(first.split("\n")) == 10
    assert len(first) < LIMITS.frame_bytes
    second = taken(desk.outbox, 0) or ""
    assert first.split("\n") + second.split("\n") == messages(lines(15, 100))


def test_a_message_larger_than_a_frame_goes_alone() -> None:
    desk = Desk()
    large = "x" * 3_000
    for text in ("a", large, "b"):
        desk.outbox.control(text)
    assert [taken(desk.outbox, 0) for _ in range(3)] == ["a", large + "\n{}", "b"]


def test_at_most_a_window_and_one_message_is_unconfirmed() -> None:
    desk = Desk()
    desk.outbox.offer(lines(100, 100))
    sent = [message for message in desk.drain() if message != "{}"]
    assert FIRST_WINDOW <= len(sent) * 100 < FIRST_WINDOW + 100
    assert taken(desk.outbox, 0) is None


def test_the_rest_follows_the_pong_and_nothing_is_lost_or_doubled() -> None:
    desk = Desk()
    batch = lines(100, 100)
    desk.outbox.offer(batch)
    received: list[str] = []
    for second in range(20):
        received += [message for message in desk.drain(second) if message != "{}"]
        desk.outbox.pong(second + 0.5)
    assert received == messages(batch)


def test_a_ping_goes_out_when_half_a_window_is_unconfirmed() -> None:
    desk = Desk()
    desk.outbox.offer(lines(20, 100))
    assert "{}" not in (taken(desk.outbox, 0) or "")
    assert "{}" not in (taken(desk.outbox, 0) or "")
    desk.outbox.offer(lines(2, 100))
    assert (taken(desk.outbox, 0) or "").endswith("\n{}")


def test_only_one_ping_is_outstanding() -> None:
    desk = Desk()
    desk.outbox.offer(lines(100, 100))
    assert desk.drain().count("{}") == 1


@pytest.mark.parametrize(
    ("after", "window"),
    [(0.1, FIRST_WINDOW * 2), (1.0, FIRST_WINDOW * 2), (1.5, FIRST_WINDOW), (2.0, FIRST_WINDOW), (2.1, FIRST_WINDOW // 2)],
)
def test_the_window_follows_the_round_trip_of_a_pressed_reader(after: float, window: int) -> None:
    desk = Desk()
    desk.outbox.offer(lines(100, 100))
    desk.drain()
    desk.outbox.pong(after)
    assert (desk.outbox.window, desk.outbox.rtt) == (window, after)


def test_the_window_stays_within_its_bounds() -> None:
    slow, quick = Desk(), Desk()
    for turn in range(12):
        for desk, after in ((slow, 3.0), (quick, 0.1)):
            desk.outbox.offer(Batch(["x" * 600_000]))
            desk.drain(turn * 10)
            desk.outbox.pong(turn * 10 + after)
    assert (slow.outbox.window, quick.outbox.window) == (MIN_WINDOW, MAX_WINDOW)


def test_an_idle_ping_says_nothing_of_speed() -> None:
    desk = Desk()
    desk.outbox.tick(1_000.0)
    assert taken(desk.outbox, 1_000.0) == "{}"
    desk.outbox.pong(1_000.1)
    assert desk.outbox.window == FIRST_WINDOW


def test_a_stray_pong_confirms_nothing() -> None:
    desk = Desk()
    desk.outbox.offer(lines(10, 100))
    desk.drain()
    before = desk.outbox.unconfirmed
    desk.outbox.pong(1.0)
    assert (desk.outbox.unconfirmed, desk.outbox.window, desk.outbox.rtt) == (before, FIRST_WINDOW, None)


def test_publications_that_do_not_fit_are_refused_whole_and_replies_never() -> None:
    desk = Desk()
    assert desk.outbox.offer(lines(90, 100))
    assert not desk.outbox.offer(lines(20, 100))
    assert desk.outbox.waiting == 9_000
    assert desk.outbox.control("x" * 5_000)
    assert desk.outbox.waiting == 14_001


def test_an_empty_outbox_takes_any_message() -> None:
    assert Desk().outbox.offer(Batch(["x" * 20_000]))


def test_replies_that_alone_overflow_say_so_and_room_comes_back_when_they_are_sent() -> None:
    desk = Desk()
    assert desk.outbox.control("x" * 9_000)
    assert not desk.outbox.control("x" * 2_000)
    desk.drain()
    desk.outbox.pong(0.1)
    desk.drain()
    assert desk.outbox.control("x" * 9_000)


def test_at_the_end_only_replies_go_out_and_no_window_holds_them() -> None:
    desk = Desk()
    desk.outbox.offer(lines(100, 100))
    desk.drain()
    desk.outbox.offer(lines(3, 100))
    for number in range(60):
        desk.outbox.control(f"reply{number:095}")
    desk.outbox.finish()
    assert [message for message in desk.drain() if message != "{}"] == [f"reply{number:095}" for number in range(60)]
    assert desk.outbox.waiting == 0


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_what_may_not_be_read_any_more_is_forgotten_and_the_rest_stays(sent: int) -> None:
    desk = Desk(Limits(frame_bytes=6))
    desk.outbox.offer(Batch(["secret", "secrets"]))
    desk.outbox.offer(Batch(["open"]))
    desk.outbox.offer(Batch(["secret"]))
    desk.outbox.control("reply")
    for _ in range(sent):
        desk.outbox.take(0)
    desk.outbox.forget("secret")
    assert desk.outbox.waiting == len("open\nreply\n")
    desk.outbox.forget("nothing")
    desk.outbox.control("secret of a reply")
    assert desk.drain() == ["open", "reply", "secret of a reply"]
    assert desk.outbox.waiting == 0


def test_it_tells_when_less_than_half_waits() -> None:
    desk = Desk(Limits(outbox_bytes=4_000, frame_bytes=1_000))
    told: list[int] = []
    desk.outbox.on_room = lambda: told.append(desk.outbox.waiting)
    desk.outbox.offer(lines(39, 100))
    assert not desk.outbox.has_room
    desk.drain()
    assert told[0] == 1_900
    assert desk.outbox.has_room


def test_the_first_ping_comes_on_schedule_and_each_ping_sets_the_next() -> None:
    desk = Desk(connected=False)
    assert desk.outbox.tick(1_000_000.0) is None
    assert taken(desk.outbox, 1_000_000.0) is None
    desk.outbox.start_pings(10.0)
    desk.outbox.tick(9.9)
    assert taken(desk.outbox, 9.9) is None
    desk.outbox.tick(10.0)
    assert taken(desk.outbox, 10.0) == "{}"
    desk.outbox.pong(10.1)
    desk.outbox.tick(34.9)
    assert taken(desk.outbox, 34.9) is None
    desk.outbox.tick(35.0)
    assert taken(desk.outbox, 35.0) == "{}"


@pytest.mark.parametrize(
    ("data", "after", "close"),
    [(False, 8.0, None), (False, 8.1, NO_PONG), (True, 8.1, None), (True, 30.0, None), (True, 30.1, SLOW)],
)
def test_an_unanswered_ping_closes_sooner_when_nothing_else_is_on_its_way(data: bool, after: float, close: object) -> None:
    desk = Desk()
    if data:
        desk.outbox.offer(lines(30, 100))
    desk.outbox.tick(1_000.0)
    desk.drain(1_000.0)
    assert desk.outbox.tick(1_000.0 + after) == close


def test_a_reader_that_stops_before_there_is_a_ping_to_answer_is_closed_as_well() -> None:
    """The server takes nothing any more, neither data nor ping."""
    desk = Desk()
    assert [desk.outbox.tick(now) for now in (1_000.0, 1_030.0, 1_030.1)] == [None, None, SLOW]


def test_a_ping_that_goes_out_late_is_waited_for_like_any_other() -> None:
    desk = Desk()
    desk.outbox.tick(1_000.0)
    desk.drain(1_029.0)
    assert desk.outbox.tick(1_037.0) is None
    desk.outbox.pong(1_037.0)
    assert [desk.outbox.tick(now) for now in (1_054.0, 1_084.0, 1_084.1)] == [None, None, SLOW]
