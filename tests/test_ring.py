from realtime.outbox import Batch
from realtime.ring import Ring


def batch(first: int, last: int) -> Batch:
    return Batch([f"{offset:09}" for offset in range(first, last + 1)])


def offsets(page: Batch | None) -> list[int] | None:
    return None if page is None else [int(line) for line in page.lines]


def test_an_empty_ring_has_nothing_after_any_position() -> None:
    ring = Ring(7)
    assert (ring.first, ring.last, ring.page(6, 10, 1_000), ring.page(7, 10, 1_000)) == (8, 7, None, None)


def test_a_page_starts_after_the_position_and_keeps_to_records_and_bytes() -> None:
    ring = Ring(0)
    ring.append(batch(1, 50))
    assert offsets(ring.page(0, 3, 1_000)) == [1, 2, 3]
    assert offsets(ring.page(48, 10, 1_000)) == [49, 50]
    assert offsets(ring.page(10, 10, 25)) == [11, 12]
    assert offsets(ring.page(10, 10, 1)) == [11]
    assert ring.page(50, 10, 1_000) is None


def test_dropping_forgets_the_oldest_and_their_size() -> None:
    ring = Ring(0)
    ring.append(batch(1, 50))
    ring.drop(95)
    assert (ring.first, ring.last, ring.size) == (11, 50, 400)
    assert ring.page(9, 10, 1_000) is None
    assert offsets(ring.page(10, 1, 1_000)) == [11]


def test_a_page_that_meets_the_ring_is_kept_before_it() -> None:
    ring = Ring(20)
    ring.append(batch(21, 22))
    ring.prepend(batch(15, 20))
    assert (ring.first, ring.last, ring.size) == (15, 22, 80)
    assert offsets(ring.page(18, 3, 1_000)) == [19, 20, 21]
