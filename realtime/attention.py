"""Whether a connection is listened to: while a frame is run its socket is not read, and a pong waits behind it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .conf import limit

# A frame that runs for longer waits for something, such as a lock of the database.
LONG_SECONDS = 1.0


class Attention:
    """Of one connection."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Since when a frame is run; None while the next one is waited for.
        self.running_since: float | None = None
        # When the last one ended that had taken long.
        self.listening_since = float("-inf")

    @contextmanager
    def turned_away(self) -> Iterator[None]:
        """While a frame is run."""
        self.running_since = started = self._clock()
        try:
            yield
        finally:
            self.running_since = None
            if (ended := self._clock()) - started > LONG_SECONDS:
                self.listening_since = ended

    def may_have_missed(self, now: float) -> bool:
        """Whether a pong may be there and not read yet. A frame without end excuses no silence."""
        if self.running_since is not None:
            return LONG_SECONDS < now - self.running_since < limit("PROGRESS_SECONDS")
        return now - self.listening_since < limit("PONG_SECONDS")
