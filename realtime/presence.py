"""Who is here. Rows belong to a server process and die with its heartbeat; this process' own are answered from memory.

Rows are written behind, once a second, in the journal's thread: a storm of connects costs one transaction a second.
"""

import asyncio
import functools
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from . import access, hints, protocol, signals
from .access import Identity
from .conf import limit, option
from .errors import InternalError, NotAvailable
from .group_commit import Journal
from .models import ApiKey, Connection, Presence, ServerProcess, Stream
from .protocol import ClientInfo, PresenceStatsResult
from .reads import Reads

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
USED_SECONDS = 60.0


@dataclass(eq=False, slots=True)
class Member:
    """A connection, as others see it."""

    client: str
    principal: str
    label: str
    user_id: int | None
    address: str | None
    agent: str
    streams: set[int] = field(default_factory=set)

    @property
    def info(self) -> ClientInfo:
        name = protocol.quote(self.label)
        return ClientInfo(self.principal, self.client, msgspec.Raw(f'{{"name":{name}}}'.encode()))


class PresenceBook:
    """The presence of one process. Its methods are called on the event loop."""

    def __init__(self, journal: Journal, reads: Reads, sender: hints.Sender) -> None:
        self.process_id = uuid.uuid4()
        self._journal = journal
        self._reads = reads
        self._sender = sender
        self._here: dict[int, dict[str, Member]] = {}
        # Written behind: what has come or gone since the last write, the last state of each deciding.
        self._connections: dict[str, Member | None] = {}
        self._presence: dict[tuple[int, str], bool] = {}
        self._used: set[str] = set()
        # When the use of each key was noted last.
        self._keys: dict[str, float] = {}

    def key_used(self, principal: str) -> None:
        """Note that an API key was used. At most once a minute: a device that publishes every second must not write a row for it."""
        now = time.monotonic()
        if principal.startswith("key:") and now - self._keys.get(principal, -USED_SECONDS) >= USED_SECONDS:
            self._keys[principal] = now
            self._used.add(principal.removeprefix("key:"))

    # Coming and going

    def connected(self, member: Member) -> None:
        self._connections[member.client] = member
        signals.tell(signals.connected, signals.describe_member, member)

    def disconnected(self, member: Member) -> None:
        for stream_id in list(member.streams):
            self._leave(stream_id, member)
        # Who came since the last write has no row; while none can be written they would be without end.
        if self._connections.pop(member.client, None) is None:
            self._connections[member.client] = None
        signals.tell(signals.disconnected, signals.describe_member, member)

    def subscribed(self, member: Member, stream: Stream) -> None:
        if stream.presence:
            member.streams.add(stream.pk)
            self._here.setdefault(stream.pk, {})[member.client] = member
            self._presence[stream.pk, member.client] = True
        if stream.join_leave:
            self._announce(stream.pk, "join", member)
        signals.tell(signals.subscribed, signals.describe_member, member, stream.name)

    def unsubscribed(self, member: Member, stream: Stream) -> None:
        self._leave(stream.pk, member)
        if stream.join_leave:
            self._announce(stream.pk, "leave", member)
        signals.tell(signals.unsubscribed, signals.describe_member, member, stream.name)

    def _leave(self, stream_id: int, member: Member) -> None:
        member.streams.discard(stream_id)
        here = self._here.get(stream_id, {})
        if here.pop(member.client, None) is not None:
            self._presence[stream_id, member.client] = False
        if self._connections.get(member.client) is not None:
            self._presence.pop((stream_id, member.client), None)
        if not here:
            self._here.pop(stream_id, None)

    def _announce(self, stream_id: int, kind: str, member: Member) -> None:
        info = msgspec.json.encode(member.info).decode()
        self._sender.tell(hints.Event(stream_id, kind, info))

    # Asking

    async def seen_by(self, identity: Identity, name: str) -> dict[str, ClientInfo]:
        """Everybody in the stream `name`, as `members`. Raises UnknownStream; NotAvailable where presence is off."""
        stream = await self._reads.run(access.readable, identity, name)
        if not stream.presence:
            raise NotAvailable(f"presence is off in {stream.name!r}")
        return await self.members(stream.pk)

    async def members(self, stream_id: int) -> dict[str, ClientInfo]:
        """Everybody in the stream, by client id: of this process from memory, of others from their rows."""
        members = {client: member.info for client, member in self._here.get(stream_id, {}).items()}
        if option("REDIS_URL"):
            members |= await self._reads.run(members_elsewhere, stream_id, self.process_id)
        return members

    # Rows

    async def start(self, alone: bool) -> None:
        await self._journal.run(lambda: register(self.process_id, alone))

    async def run(self) -> None:
        beat_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            beat = loop.time() >= beat_at
            try:
                await self.write(beat)
            except (DatabaseError, InternalError) as error:
                # Without its heartbeat this process would be taken for dead: the next second tries again.
                logger.warning("Who is connected could not be written: %s", error)
            else:
                beat_at = loop.time() + limit("HEARTBEAT_SECONDS") if beat else beat_at

    async def write(self, beat: bool = False) -> None:
        """Write what has changed, and the heartbeat when it is due. Raises DatabaseError; the next write then has it all."""
        connections, self._connections = self._connections, {}
        presence, self._presence = self._presence, {}
        used, self._used = self._used, set()
        if not (connections or presence or used or beat):
            return
        try:
            await self._journal.run(lambda: write_rows(self.process_id, connections, presence, used, beat))
        except DatabaseError:
            # Who came before it and has gone since was never written.
            never = {client for client, member in self._connections.items() if member is None and connections.get(client) is not None}
            connections |= self._connections
            presence |= self._presence
            self._connections = {client: member for client, member in connections.items() if client not in never}
            self._presence = {place: here for place, here in presence.items() if place[1] not in never}
            self._used |= used
            raise

    async def stop(self) -> None:
        await self._journal.run(lambda: ServerProcess.objects.filter(pk=self.process_id).delete())


def fresh() -> Q:
    """Processes whose heartbeat counts."""
    return Q(heartbeat__gte=timezone.now() - timedelta(seconds=limit("FRESH_SECONDS")))


def presence_stats(members: Mapping[str, ClientInfo]) -> PresenceStatsResult:
    """How many connections, and of how many. All who are anonymous count as one."""
    return PresenceStatsResult(len(members), len({info.user for info in members.values()}))


def members_elsewhere(stream_id: int, process_id: uuid.UUID) -> dict[str, ClientInfo]:
    processes = ServerProcess.objects.filter(fresh()).exclude(pk=process_id)
    rows = Connection.objects.filter(present__stream=stream_id, process__in=processes)
    members = (Member(str(row.pk), row.principal, row.label, row.user_id, None, "") for row in rows)
    return {member.client: member.info for member in members}


def people_by_stream(stream_ids: Iterable[int]) -> dict[int, int]:
    """How many people are in each stream, in all processes. One with three tabs counts once, a device not at all."""
    processes = ServerProcess.objects.filter(fresh())
    rows = Presence.objects.filter(stream__in=list(stream_ids), connection__process__in=processes, connection__user__isnull=False)
    people: dict[int, set[str]] = {}
    for stream_id, principal in rows.values_list("stream_id", "connection__principal"):
        people.setdefault(stream_id, set()).add(principal)
    return {stream_id: len(principals) for stream_id, principals in people.items()}


# In the journal's thread


def register(process_id: uuid.UUID, alone: bool) -> None:
    """Write the row of this process, and remove those of the dead: every other, when this process is known to be alone."""
    with transaction.atomic():
        others = ServerProcess.objects.exclude(pk=process_id)
        (others if alone else others.exclude(fresh())).delete()
        _register(process_id)


def _register(process_id: uuid.UUID) -> None:
    ServerProcess.objects.create(pk=process_id, host=socket.gethostname(), pid=os.getpid())


def write_rows(
    process_id: uuid.UUID,
    connections: dict[str, Member | None],
    presence: dict[tuple[int, str], bool],
    used: set[str],
    beat: bool,
) -> None:
    now = timezone.now()
    since = connection.ops.adapt_datetimefield_value(now)
    gone = [(_hex(client),) for client, member in connections.items() if member is None]
    come = [_values(process_id, member, since) for member in connections.values() if member is not None]
    left = [(stream_id, _hex(client)) for (stream_id, client), here in presence.items() if not here]
    here = [(stream_id, _hex(client)) for (stream_id, client), here in presence.items() if here]
    with transaction.atomic(), connection.cursor() as cursor:
        if beat and not ServerProcess.objects.filter(pk=process_id).update(heartbeat=now):
            # Another process took this one for dead, after a long stop: it is back, with what it has from now on.
            _register(process_id)
        ApiKey.objects.filter(prefix__in=used).update(last_used=now)
        cursor.executemany(_LEAVE, left)
        cursor.executemany(_LEAVE_ALL, gone)
        cursor.executemany(_DISCONNECT, gone)
        cursor.executemany(_connect(), come)
        cursor.executemany(_ENTER, here)


def _hex(client: str) -> str:
    """As a UUID stands in its column."""
    return client.replace("-", "")


def _values(process_id: uuid.UUID, member: Member, since: str | None) -> tuple[Any, ...]:
    # In a foreign project users may have keys of any type.
    user = _USER_FIELD.get_db_prep_save(member.user_id, connection)
    return (_hex(member.client), process_id.hex, user, member.principal, member.label, member.address, member.agent, since, user, user)


# Statements of their own: in a storm of a thousand connects the queries that Django builds took a sixth of the processor.
# A user, stream or connection that was removed meanwhile adds no row; one that did would fail the rows of everybody.
_USER_FIELD: Any = Connection._meta.get_field("user")
_LEAVE = f"DELETE FROM {Presence._meta.db_table} WHERE stream_id = %s AND connection_id = %s"
_LEAVE_ALL = f"DELETE FROM {Presence._meta.db_table} WHERE connection_id = %s"
_DISCONNECT = f"DELETE FROM {Connection._meta.db_table} WHERE id = %s"
_ENTER = f"""
    INSERT INTO {Presence._meta.db_table} (stream_id, connection_id)
    SELECT {Stream._meta.db_table}.id, {Connection._meta.db_table}.id FROM {Stream._meta.db_table}, {Connection._meta.db_table}
    WHERE {Stream._meta.db_table}.id = %s AND {Connection._meta.db_table}.id = %s
    ON CONFLICT DO NOTHING
"""


@functools.cache
def _connect() -> str:
    """Not at the top: a project may publish from the module that has its users, which is not there yet then."""
    user = get_user_model()._meta
    return f"""
        INSERT INTO {Connection._meta.db_table} (id, process_id, user_id, principal, label, address, agent, since)
        SELECT %s, %s, %s, %s, %s, %s, %s, %s
        WHERE %s IS NULL OR EXISTS (SELECT 1 FROM {user.db_table} WHERE {user.pk.column} = %s)
        ON CONFLICT DO NOTHING
    """
