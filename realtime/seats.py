"""How many connections a process holds: in all, of each person and of each key."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from .access import Identity
from .conf import limit, option, rate
from .errors import CONNECTION_LIMIT, Disconnect, TooManyRequests
from .outbox import Outbox


class Holder(Protocol):
    """What is needed of a session."""

    identity: Identity | None
    outbox: Outbox
    # Time of the loop at which it was heard of last.
    heard: float


class Seats:
    """Used on the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._apply = bool(option("RATE_LIMITS"))
        self._in_all = rate("CONNECTIONS")
        self._of_a_person = rate("CONNECTIONS_PER_USER")
        self._taken: Counter[str] = Counter()
        # Answers by HTTP that last: each holds a connection, too.
        self._answers = 0

    def room_for(self, sockets: int) -> bool:
        """Whether the process may hold so many beside the answers that last, those included that have not said who they are."""
        return not self._in_all or sockets + self._answers <= self._in_all

    def most(self, identity: Identity) -> int:
        """How many `identity` may hold; 0 sets no limit. Nobody is counted among the anonymous."""
        if not self._apply or not identity.principal:
            return 0
        return self._of_a_person if identity.scopes is None else identity.max_connections

    def full(self, identity: Identity) -> bool:
        most = self.most(identity)
        return most > 0 and self._taken[identity.principal] >= most

    def take(self, identity: Identity, holders: Iterable[Holder] = ()) -> None:
        """Raises Disconnect (3504) when `identity` has as many as it may, and TooManyRequests while some of `holders` may be gone."""
        if self.full(identity):
            self._ask_the_silent(identity, holders)
            raise Disconnect(CONNECTION_LIMIT)
        self._taken[identity.principal] += 1

    def _ask_the_silent(self, identity: Identity, holders: Iterable[Holder]) -> None:
        """Who comes back over another network does so before the server knows that the old connection is dead."""
        now, longest = self._clock(), limit("PONG_SECONDS")
        own = [holder for holder in holders if holder.identity is not None and holder.identity.principal == identity.principal]
        silent = [holder for holder in own if now - holder.heard > longest]
        for holder in silent:
            holder.outbox.ask(now)
        if silent:
            raise TooManyRequests(f"{identity.label} has as many connections as it may, and {len(silent)} of them may be gone", longest)

    @contextmanager
    def held(self, identity: Identity) -> Iterator[None]:
        """A seat for an answer that lasts. Raises Disconnect as `take`."""
        self.take(identity)
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            self.leave(identity)

    def leave(self, identity: Identity) -> None:
        self._taken[identity.principal] -= 1
        if not self._taken[identity.principal]:
            del self._taken[identity.principal]
