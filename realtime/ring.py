"""The latest records of one stream in memory, encoded, and contiguous up to its head."""

from collections.abc import Sequence

from .outbox import Batch


class Ring:
    def __init__(self, head: int) -> None:
        # Offset of the first line; `head + 1` while empty.
        self.first = head + 1
        self.size = 0
        self._lines: list[str] = []
        self._sizes: list[int] = []

    @property
    def last(self) -> int:
        return self.first + len(self._lines) - 1

    def append(self, batch: Batch) -> None:
        """The records after `last`."""
        self._lines.extend(batch.lines)
        self._sizes.extend(batch.sizes)
        self.size += batch.size

    def prepend(self, batch: Batch) -> None:
        """The records before `first`: a page that one reader needed, and others will too."""
        self._lines[:0] = batch.lines
        self._sizes[:0] = batch.sizes
        self.size += batch.size
        self.first -= len(batch.lines)

    def drop(self, size: int) -> None:
        """Forget the oldest records, at least `size` bytes of them."""
        count = dropped = 0
        while count < len(self._sizes) and dropped < size:
            dropped += self._sizes[count]
            count += 1
        del self._lines[:count], self._sizes[:count]
        self.first += count
        self.size -= dropped

    def page(self, position: int, records: int, size: int) -> Batch | None:
        """At most `records` and `size` bytes after `position`, but one record at least; None when they are not here."""
        start = position + 1 - self.first
        if start < 0 or start >= len(self._lines):
            return None
        return Batch(cut(self._lines, self._sizes, start, records, size))


def cut(lines: Sequence[str], sizes: Sequence[int], start: int, records: int, size: int) -> Sequence[str]:
    """`lines` from `start`, at most `records` of them and `size` bytes, but one at least."""
    end = start
    while end < len(lines) and end - start < records and (size >= sizes[end] or end == start):
        size -= sizes[end]
        end += 1
    return lines[start:end]
