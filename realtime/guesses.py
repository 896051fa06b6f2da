"""Who shows wrong API keys has to wait. Pure: time is read from a clock that is passed in. Used on the event loop."""

from collections.abc import Callable
from typing import TypeVar

from .conf import rate
from .credentials import Credential
from .errors import TooManyRequests
from .rates import Bucket, host_of

K = TypeVar("K")
V = TypeVar("V")

# What is remembered at most. Who has more addresses than that is not held up by counting them.
MAX_ADDRESSES = 10_000
MAX_KEYS = 10_000


class Guesses:
    """Counts wrong keys by address. A key that was right before is not held up by a neighbour behind the same address."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most = rate("WRONG_KEYS_PER_MINUTE")
        self._buckets: dict[str, Bucket] = {}
        self._known: dict[Credential, None] = {}

    def admit(self, address: str | None, shown: Credential) -> None:
        """Before a key is looked at. Raises TooManyRequests."""
        if not self._buckets or shown in self._known:
            return
        bucket = self._buckets.get(host_of(address))
        if bucket is not None and (wait := bucket.wait(self._clock())):
            raise TooManyRequests(f"an address may show {self._most} wrong API keys a minute", wait)

    def note(self, address: str | None, shown: Credential, right: bool) -> None:
        """After it was looked at."""
        if right:
            _keep(self._known, shown, None, MAX_KEYS)
            return
        self._known.pop(shown, None)
        name, now = host_of(address), self._clock()
        bucket = self._buckets.get(name) or Bucket(self._most / 60, self._most, now)
        _keep(self._buckets, name, bucket, MAX_ADDRESSES)
        bucket.take(now)


def _keep(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """As the newest; the oldest goes when there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
