"""The latest records of one stream in memory, encoded, and contiguous up to its head."""

from bisect import bisect_right

from .outbox import Batch


class Ring:
    """Kept in the batches in which the records were delivered, so that all who lag together are sent the same text."""

    def __init__(self, head: int) -> None:
        # Offset of the first record of each batch, and after them that of the next record to come.
        self._firsts: list[int] = [head + 1]
        self._batches: list[Batch] = []
        self.size = 0

    @property
    def first(self) -> int:
        """Offset of the oldest record here; that of the next one while there is none."""
        return self._firsts[0]

    @property
    def last(self) -> int:
        return self._firsts[-1] - 1

    def append(self, batch: Batch) -> None:
        """The records after `last`."""
        self._batches.append(batch)
        self._firsts.append(self._firsts[-1] + batch.count)
        self.size += batch.memory

    def prepend(self, batch: Batch) -> None:
        """The records before `first`: a page that one reader needed, and others will too."""
        self._batches.insert(0, batch)
        self._firsts.insert(0, self.first - batch.count)
        self.size += batch.memory

    def drop(self, size: int) -> None:
        """Forget the oldest batches, at least `size` bytes of them."""
        count = dropped = 0
        while count < len(self._batches) and dropped < size:
            dropped += self._batches[count].memory
            count += 1
        self._drop(count)

    def forget(self, offset: int) -> None:
        """Forget the batch that holds the record at `offset`, and all before it."""
        if self.first <= offset <= self.last:
            self._drop(bisect_right(self._firsts, offset))

    def _drop(self, count: int) -> None:
        self.size -= sum(batch.memory for batch in self._batches[:count])
        del self._batches[:count], self._firsts[:count]

    def page(self, position: int) -> Batch | None:
        """The records after `position`, up to the end of their batch; None when they are not here."""
        index = bisect_right(self._firsts, position + 1) - 1
        if index < 0 or index >= len(self._batches):
            return None
        batch, start = self._batches[index], position + 1 - self._firsts[index]
        return batch if start == 0 else batch.part(start, batch.count)
