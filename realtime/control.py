"""What notices ask of the connections of this process.

A notice about access says only whom to look at again. Their credentials are read by the same functions that let them in, and each of
their subscriptions is judged anew. Every connection gets this look from time to time besides, so nothing depends on a notice.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, cast

from django.db import DatabaseError

from . import access, credentials
from .access import Identity
from .conf import limit
from .credentials import Credential
from .cursor import Pending, Subscription
from .errors import FORCED, SERVER_ERROR, SIGNED_OUT, UNSUBSCRIBED, Close, Unsubscribe
from .hub import Hub
from .models import Notice, Stream
from .reads import Reads

logger = logging.getLogger(__name__)

# Connections that are looked at by one set of queries.
CROWD = 200
RETRY_SECONDS = 1.0

Subject = Mapping[str, Any]


class Controlled(Protocol):
    """What is needed of a session."""

    client: str
    # Neither is None once it is connected, but the credential of an anonymous one.
    identity: Identity | None
    credential: Credential | None
    # Time of the loop at which it was looked at last.
    checked: float
    closing: Close | None
    subscriptions: dict[str, Subscription | Pending]
    # Whether a subscription is under way.
    subscribing: bool

    def close(self, close: Close) -> None: ...

    def end(self, stream: str, unsubscribe: Unsubscribe) -> None: ...

    def judge(self, name: str, asked: Subscription | Pending, verdict: Stream | Unsubscribe) -> None: ...


class Control:
    """One for each process. Its methods are called on the event loop."""

    def __init__(self, sessions: Collection[Controlled], hub: Hub, reads: Reads) -> None:
        self._sessions = sessions
        self._hub = hub
        self._reads = reads
        # Grows with every notice about access: who was reading access meanwhile reads it again.
        self.turn = 0
        # Whom to look at, in order; the values say nothing.
        self._due: dict[Controlled, None] = {}
        self._wake = asyncio.Event()

    # Notices

    def take(self, notices: Iterable[Notice]) -> None:
        changes: list[Subject] = []
        for notice in notices:
            if notice.kind == "access":
                changes.append(notice.subject)
            else:
                self._act(notice)
        if changes:
            self.turn += 1
            self._look_again(self._concerned(changes))
            # Who reads by requests looks at the turn. It is not worth knowing whom it concerns: each costs one read.
            self._hub.wake()

    def _act(self, notice: Notice) -> None:
        act = self._kinds.get(notice.kind)
        if act is None:
            # Of a newer version, whose processes run beside this one.
            logger.warning("A notice of the unknown kind %r was ignored.", notice.kind)
            return
        try:
            act(self, notice.subject)
        except Exception:
            # The edge: those that follow may be about access, and must not be lost with it.
            logger.exception("This notice could not be acted on: %s", notice)

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

    _kinds: Mapping[str, Callable[[Any, Subject], None]] = {"disconnect": _disconnect, "unsubscribe": _unsubscribe}

    def _named(self, subject: Subject) -> Iterator[Controlled]:
        # A session of ours is its connection, and has the same id.
        clients = {subject[name] for name in ("client", "session") if subject.get(name)}
        user = subject.get("user")
        for session in list(self._sessions):
            known = session.identity
            if known is not None and user in (None, known.principal) and clients <= {session.client} and (user is not None or clients):
                yield session

    def _concerned(self, changes: Collection[Subject]) -> Iterator[Controlled]:
        """Those with a `user` (a principal), a `credential` (its digest) or a `group` in `changes`, and the readers of a `stream`."""
        users, digests, groups, streams = (
            {change[field] for change in changes if field in change} for field in ("user", "credential", "group", "stream")
        )
        for session in self._sessions:
            identity, credential = session.identity, session.credential
            if identity is None:
                continue
            shown = credential is not None and credential.digest in digests
            if shown or identity.principal in users or not groups.isdisjoint(identity.group_ids) or (streams and session.subscribing):
                yield session
        for stream_id in streams & self._hub.feeds.keys():
            feed = self._hub.feeds[stream_id]
            for subscription in (*feed.live, *feed.lagging):
                yield cast(Controlled, subscription.subscriber)

    # Looking again

    def tick(self, now: float) -> None:
        """Turned by the engine's wheel: look at those who were not looked at for long."""
        oldest = now - limit("RECHECK_SECONDS")
        self._look_again(session for session in self._sessions if session.checked <= oldest)

    def _look_again(self, sessions: Iterable[Controlled]) -> None:
        self._due |= dict.fromkeys(sessions)
        if self._due:
            self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                crowd = list(islice(self._due, CROWD))
                for session in crowd:
                    # Before it is read: a notice that comes meanwhile asks for one more look.
                    del self._due[session]
                await self._look_or_retry(crowd)

    async def _look_or_retry(self, crowd: list[Controlled]) -> None:
        try:
            await self._look([session for session in crowd if session.identity is not None and session.closing is None])
        except DatabaseError as error:
            logger.warning("Rights could not be read again, this is tried until they are: %s", error)
            self._look_again(crowd)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            # The edge of the task: whoever cannot be judged comes back and is let in anew.
            logger.exception("The rights of %d connections could not be judged.", len(crowd))
            for session in crowd:
                session.close(SERVER_ERROR)

    async def _look(self, crowd: list[Controlled]) -> None:
        now = asyncio.get_running_loop().time()
        for session in crowd:
            session.checked = now
        shown = {session.credential for session in crowd if session.credential is not None}
        found = await self._reads.run(credentials.identities, shown)
        for session in crowd:
            if session.credential is not None:
                self._identify(session, found.get(session.credential))
        readers = [session for session in crowd if session.closing is None]
        await self._judge([(session, *item) for session in readers for item in session.subscriptions.items()])

    def _identify(self, session: Controlled, identity: Identity | None) -> None:
        if identity is None:
            session.close(SIGNED_OUT)
        else:
            session.identity = identity

    async def _judge(self, asked: list[tuple[Controlled, str, Subscription | Pending]]) -> None:
        names = [(session.identity, name) for session, name, _ in asked if session.identity is not None]
        for (session, name, subscription), verdict in zip(asked, await self._reads.run(access.judge, names), strict=True):
            session.judge(name, subscription, verdict)


def _ending(subject: Subject, default: tuple[int, str]) -> tuple[int, str]:
    code, reason = default
    return subject.get("code") or code, subject.get("reason") or reason
