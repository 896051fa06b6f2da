"""Whose API key was looked up just now. Used on the event loop.

A device that publishes by HTTP shows its key with every record, and to read its row costs more than all the rest of a publish: with 100
clients at once 458 µs of the server's time each, and 138 µs without. What was read counts for a second, and no longer than until the next
notice about access, so that a revoked key ends in time even when its notice is lost.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from .access import Identity
from .credentials import Credential

KNOWN_SECONDS = 1.0
MAX_KEYS = 10_000


class _Known(NamedTuple):
    identity: Identity
    # `Control.turn` before the row was read.
    turn: int
    until: float


class KnownKeys:
    def __init__(self, clock: Callable[[], float], turn: Callable[[], int]) -> None:
        self._clock = clock
        self._turn = turn
        self._known: dict[Credential, _Known] = {}

    def get(self, shown: Credential) -> Identity | None:
        """None for a key that must be looked up."""
        known = self._known.get(shown)
        if known is None or known.turn != self._turn() or known.until <= self._clock():
            return None
        ended = known.identity.expires is not None and known.identity.expires <= time.time()
        return None if ended else known.identity

    def keep(self, shown: Credential, identity: Identity, turn: int) -> None:
        """`identity` is that of the key `shown`, read after `turn`."""
        if len(self._known) >= MAX_KEYS:
            # They come back with their next request.
            self._known.clear()
        self._known[shown] = _Known(identity, turn, self._clock() + KNOWN_SECONDS)
