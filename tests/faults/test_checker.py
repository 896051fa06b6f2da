"""The checker bites: each fault is planted once in a history that is otherwise sound, and is named, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from .checker import INVARIANTS, Least, check
from .history import (
    Database,
    Delivered,
    Ended,
    Fail,
    Fault,
    History,
    Info,
    Invoke,
    Kept,
    Ok,
    Position,
    ReadInvoke,
    ReadOk,
    Revoked,
    Subscribed,
)

RECORDS = 6
HEAD = Kept("e", RECORDS, 1)
LEAST = Least(acks=RECORDS, resumes=1, faults=1)


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def got(offset: int, value: str = "", client: str = "reader") -> Delivered:
    return Delivered(client, "s", at(offset), value or f"v{offset}")


class Run:
    """Six records, one after another; a reader that is there from the start, and resumes after the third."""

    def __init__(self) -> None:
        self.history = History()
        self.database = Database({"s": HEAD}, {("s", offset): f"v{offset}" for offset in range(1, RECORDS + 1)})
        self.add(Subscribed("reader", "s", None, at(0), recovered=False))
        for offset in range(1, 4):
            self.publish(offset)
        self.add(Fault("kill"), Ended("reader", "s"))
        self.add(Subscribed("reader", "s", at(3), at(3), recovered=True))
        for offset in range(4, RECORDS + 1):
            self.publish(offset)
        self.add(ReadInvoke(90, "s"), ReadOk(90, at(RECORDS), ((RECORDS, "v6"),)))

    def add(self, *events: object) -> None:
        self.history.events.extend(events)  # type: ignore[arg-type]

    def publish(self, offset: int) -> None:
        self.add(Invoke(offset, "s", f"v{offset}"), Ok(offset, at(offset)), got(offset))

    def drop(self, event: object) -> None:
        self.history.events.remove(event)  # type: ignore[arg-type]

    def lose(self, offset: int, **streams: Kept) -> None:
        """Take a row out of the database."""
        rows = {place: value for place, value in self.database.rows.items() if place[1] != offset}
        self.database = replace(self.database, rows=rows, streams=streams or self.database.streams)

    def swap(self, event: object, other: object) -> None:
        events: list[object] = self.history.events  # type: ignore[assignment]
        one, two = events.index(event), events.index(other)
        events[one], events[two] = events[two], events[one]

    def violations(self, least: Least = LEAST) -> set[str]:
        return {violation.invariant for violation in check(self.history, self.database, least)}


# Each breaks the sound run in one way, and names the invariants that must be found broken. A record that is lost is a hole as well.


def lose_an_acknowledged_record(run: Run) -> set[str]:
    run.drop(got(6))
    run.drop(ReadOk(90, at(6), ((6, "v6"),)))
    run.lose(6, s=Kept("e", 5, 1))
    return {"acked is stored"}


def show_what_is_not_stored(run: Run) -> set[str]:
    run.add(got(7, "ghost"))
    return {"seen is stored", "caught up"}


def read_what_is_not_stored(run: Run) -> set[str]:
    run.add(ReadInvoke(91, "s"), ReadOk(91, at(7), ((7, "ghost"),)))
    return {"seen is stored"}


def store_what_was_refused(run: Run) -> set[str]:
    run.drop(Ok(6, at(6)))
    run.add(Fail(6, 103), Invoke(7, "s", "v7"), Ok(7, at(7)), got(7))
    run.database = Database({"s": Kept("e", 7, 1)}, run.database.rows | {("s", 7): "v7"})
    return {"refused is unseen"}


def show_another_value(run: Run) -> set[str]:
    run.add(Subscribed("other", "s", at(5), at(5), recovered=True), got(6, "v66", "other"))
    return {"one value", "seen is stored"}


def store_a_value_twice(run: Run) -> set[str]:
    run.database = Database({"s": Kept("e", 7, 1)}, run.database.rows | {("s", 7): "v6"})
    run.add(got(7, "v6"))
    return {"one place"}


def leave_a_hole(run: Run) -> set[str]:
    run.database = Database({"s": Kept("e", 8, 1)}, run.database.rows | {("s", 8): "v8"})
    run.add(Ended("reader", "s"))
    return {"dense"}


def break_the_file(run: Run) -> set[str]:
    run.database = replace(run.database, integrity="row 3 missing from index")
    return {"intact"}


def skip_a_record(run: Run) -> set[str]:
    run.drop(got(5))
    return {"no gap"}


def deliver_twice(run: Run) -> set[str]:
    run.add(got(6))
    return {"no duplicate"}


def deliver_twice_after_a_reconnect(run: Run) -> set[str]:
    run.add(Ended("reader", "s"), Subscribed("reader", "s", at(6), at(6), recovered=True), got(6))
    return {"no duplicate"}


def deliver_out_of_order(run: Run) -> set[str]:
    run.swap(got(4), got(5))
    return {"no gap", "no duplicate"}


def resume_elsewhere(run: Run) -> set[str]:
    run.add(Subscribed("other", "s", at(4), at(6), recovered=True))
    return {"exact resume"}


def refuse_a_kept_position(run: Run) -> set[str]:
    run.add(Subscribed("other", "s", at(4), at(6), recovered=False))
    return {"kept is resumed"}


def turn_the_order_round(run: Run) -> set[str]:
    # The second operation was begun after the fifth had been acknowledged.
    late = Invoke(2, "s", "v2")
    ok = Ok(2, at(2))
    run.drop(late)
    run.drop(ok)
    run.add(late, ok)
    return {"real order"}


def read_the_past(run: Run) -> set[str]:
    run.add(ReadInvoke(91, "s"), ReadOk(91, at(5)))
    return {"fresh read"}


def deliver_after_a_revocation(run: Run) -> set[str]:
    events = run.history.events
    events.insert(events.index(got(5)), Revoked("reader", "s"))
    return {"revoked"}


def subscribe_after_a_revocation(run: Run) -> set[str]:
    run.add(Ended("reader", "s"), Revoked("reader", "s"), Subscribed("reader", "s", at(6), at(6), recovered=True))
    return {"revoked"}


def deliver_without_a_subscription(run: Run) -> set[str]:
    events = run.history.events
    events.insert(events.index(got(5)), Ended("reader", "s"))
    return {"subscribed"}


def forget_the_last_record(run: Run) -> set[str]:
    run.drop(got(6))
    return {"caught up"}


def prove_too_little(run: Run) -> set[str]:
    run.drop(Fault("kill"))
    return {"proof"}


FAULTS = [
    lose_an_acknowledged_record,
    show_what_is_not_stored,
    read_what_is_not_stored,
    store_what_was_refused,
    show_another_value,
    store_a_value_twice,
    leave_a_hole,
    break_the_file,
    skip_a_record,
    deliver_twice,
    deliver_twice_after_a_reconnect,
    deliver_out_of_order,
    resume_elsewhere,
    refuse_a_kept_position,
    turn_the_order_round,
    read_the_past,
    deliver_after_a_revocation,
    subscribe_after_a_revocation,
    deliver_without_a_subscription,
    forget_the_last_record,
    prove_too_little,
]


def test_a_sound_run_has_no_violation() -> None:
    assert check(Run().history, Run().database, LEAST) == []


@pytest.mark.parametrize("plant", FAULTS)
def test_a_planted_fault_is_named(plant: Callable[[Run], set[str]]) -> None:
    run = Run()
    expected = plant(run)
    assert run.violations() == expected


def test_every_invariant_is_broken_once() -> None:
    assert set().union(*(plant(Run()) for plant in FAULTS)) == INVARIANTS.keys()


@pytest.mark.parametrize("least", [Least(RECORDS + 1, 1, 1), Least(RECORDS, 2, 1), Least(RECORDS, 1, 2)])
def test_a_run_with_too_few_acks_resumes_or_faults_failed(least: Least) -> None:
    assert Run().violations(least) == {"proof"}


# What is no violation


def test_an_unknown_outcome_may_be_either() -> None:
    run = Run()
    run.add(Invoke(7, "s", "v7"), Info(7, "reset"))
    assert run.violations() == set()
    run.add(got(7))
    run.database = Database({"s": Kept("e", 7, 1)}, run.database.rows | {("s", 7): "v7"})
    assert run.violations() == set()


def test_a_refusal_after_an_unknown_outcome_proves_nothing() -> None:
    run = Run()
    run.drop(Ok(6, at(6)))
    run.add(Info(6, "reset"), Fail(6, 413))
    assert run.violations(Least(5, 1, 1)) == set()


def test_a_retry_may_be_answered_with_the_offset_of_the_first_attempt() -> None:
    run = Run()
    run.swap(Ok(2, at(2)), got(5))
    # The answer was lost; another attempt, later, gets the same offset.
    run.add(Info(2, "reset"), Invoke(2, "s", "v2"), Ok(2, at(2)))
    assert "real order" not in run.violations()


def test_what_was_pruned_need_not_be_stored_any_more() -> None:
    run = Run()
    run.lose(1, s=Kept("e", 6, 2))
    assert run.violations() == set()


def test_a_pruned_position_or_one_of_another_epoch_may_be_refused() -> None:
    run = Run()
    run.lose(1, s=Kept("e", 6, 2))
    run.add(Subscribed("late", "s", at(0), at(6), recovered=False), Subscribed("old", "s", at(3, "d"), at(6), recovered=False))
    assert run.violations() == set()
