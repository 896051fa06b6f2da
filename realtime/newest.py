"""The newest record of each key of one stream, encoded: what a lagging reader of `delivery=newest` is sent instead of all it missed."""

from collections.abc import Sequence

from .protocol import Publication


class Newest:
    """At most one page: the keys that changed last."""

    def __init__(self, last: int, max_records: int, max_size: int) -> None:
        # Every record after this offset has been taken in; what came before it is in the database.
        self.since = last
        self._max_records = max_records
        self._max_size = max_size
        # Key → (offset, message), the oldest offset first.
        self._entries: dict[str, tuple[int, str]] = {}
        self._size = 0

    def append(self, records: Sequence[Publication], lines: Sequence[str]) -> None:
        """Take in the records that follow, and their messages."""
        for record, line in zip(records, lines, strict=True):
            self._drop(record.key)
            self._entries[record.key] = (record.offset, line)
            self._size += len(line)
        self._shrink()

    def load(self, records: Sequence[Publication], lines: Sequence[str], position: int) -> None:
        """Take in what the database has after `position`, oldest first. What came meanwhile is newer, and stays."""
        later = self._entries
        self._entries, self._size = {}, 0
        self.append(records, lines)
        for key, (offset, line) in later.items():
            self._drop(key)
            self._entries[key] = (offset, line)
            self._size += len(line)
        self._shrink()
        self.since = min(self.since, position)

    def after(self, position: int) -> list[str]:
        """The messages of the keys that have a record after `position`, in the order of offsets. They are all here from `since` on."""
        return [line for offset, line in self._entries.values() if offset > position]

    def begin_anew(self, last: int) -> None:
        """Some may have been taken away: those up to the offset `last` are in the database, if they are anywhere."""
        self._entries, self._size, self.since = {}, 0, last

    def _drop(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._size -= len(entry[1])

    def _shrink(self) -> None:
        while len(self._entries) > self._max_records or (self._size > self._max_size and len(self._entries) > 1):
            self._drop(next(iter(self._entries)))
