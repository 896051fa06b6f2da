"""What notices ask of the connections of this process."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from .access import Identity
from .errors import FORCED, UNSUBSCRIBED, Close, Unsubscribe
from .models import Notice

logger = logging.getLogger(__name__)

Subject = Mapping[str, Any]


class Controlled(Protocol):
    """What is needed of a session."""

    client: str
    identity: Identity | None

    def close(self, close: Close) -> None: ...

    def end(self, stream: str, unsubscribe: Unsubscribe) -> None: ...


class Control:
    """One for each process. Its methods are called on the event loop."""

    def __init__(self, sessions: Collection[Controlled]) -> None:
        self._sessions = sessions

    def take(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            act = self._kinds.get(notice.kind)
            if act is None:
                # Of a newer version, whose processes run beside this one.
                logger.warning("A notice of the unknown kind %r was ignored.", notice.kind)
            else:
                act(self, notice.subject)

    def _disconnect(self, subject: Subject) -> None:
        """Close the connections of `user` (a principal), `client`, `session`, but for the clients in `whitelist`; with `code`, `reason`."""
        kept = subject.get("whitelist", ())
        close = Close(*_ending(subject, FORCED))
        for session in self._named(subject):
            if session.client not in kept:
                session.close(close)

    def _unsubscribe(self, subject: Subject) -> None:
        """End the subscriptions of `user`, `client`, `session` to the stream `channel`; with `code`, `reason`."""
        unsubscribe = Unsubscribe(*_ending(subject, UNSUBSCRIBED))
        for session in self._named(subject):
            session.end(subject["channel"], unsubscribe)

    def _named(self, subject: Subject) -> Iterator[Controlled]:
        # A session of ours is its connection, and has the same id.
        clients = {subject[name] for name in ("client", "session") if subject.get(name)}
        user = subject.get("user")
        for session in list(self._sessions):
            known = session.identity
            if known is not None and user in (None, known.principal) and clients <= {session.client} and (user is not None or clients):
                yield session

    _kinds: Mapping[str, Callable[[Any, Subject], None]] = {"disconnect": _disconnect, "unsubscribe": _unsubscribe}


def _ending(subject: Subject, default: tuple[int, str]) -> tuple[int, str]:
    code, reason = default
    return subject.get("code") or code, subject.get("reason") or reason
