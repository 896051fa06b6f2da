import tracemalloc

import pytest

from realtime.outbox import Batch
from realtime.ring import Ring

from .frames import messages


def batch(first: int, last: int) -> Batch:
    return Batch([f"{offset:09}" for offset in range(first, last + 1)])


def offsets(page: Batch | None) -> list[int] | None:
    return None if page is None else [int(line) for line in messages(page)]


def test_an_empty_ring_has_nothing_after_any_position() -> None:
    ring = Ring(7)
    assert (ring.first, ring.last, ring.page(6), ring.page(7)) == (8, 7, None, None)


def test_those_who_lag_together_get_the_very_batch_that_was_delivered() -> None:
    ring = Ring(0)
    batches = [batch(1, 10), batch(11, 30), batch(31, 50)]
    for each in batches:
        ring.append(each)
    assert [ring.page(position) for position in (0, 10, 30)] == batches
    assert ring.page(50) is None


def test_a_page_in_the_middle_of_a_batch_is_the_rest_of_it() -> None:
    ring = Ring(0)
    ring.append(batch(1, 10))
    ring.append(batch(11, 13))
    assert offsets(ring.page(7)) == [8, 9, 10]
    assert offsets(ring.page(12)) == [13]


def test_dropping_forgets_the_oldest_batches_and_their_size() -> None:
    ring = Ring(0)
    for first in range(1, 50, 10):
        ring.append(batch(first, first + 9))
    ring.drop(batch(1, 10).memory + 1)
    assert (ring.first, ring.last, ring.size) == (21, 50, 3 * batch(1, 10).memory)
    assert ring.page(19) is None
    assert offsets(ring.page(28)) == [29, 30]


def test_a_page_that_meets_the_ring_is_kept_before_it() -> None:
    ring = Ring(20)
    ring.append(batch(21, 22))
    ring.prepend(batch(15, 20))
    assert (ring.first, ring.last, ring.size) == (15, 22, batch(15, 20).memory + batch(21, 22).memory)
    assert offsets(ring.page(18)) == [19, 20]
    assert offsets(ring.page(20)) == [21, 22]


@pytest.mark.parametrize("count", [1, 50])
def test_it_knows_how_much_memory_it_takes(count: int) -> None:
    ring = Ring(0)
    tracemalloc.start()
    try:
        for first in range(1, 5_000, count):
            ring.append(batch(first, first + count - 1))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 < taken / ring.size < 1.25
