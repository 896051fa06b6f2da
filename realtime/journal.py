"""The one door for writes.

`append_batch` is pure and synchronous: one short transaction on a connection of the caller's. Sockets and HTTP reach it through the
loop of `group_commit.py`; admin and commands through `append_now`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import access, disk, hints, namespaces, signals, times
from .access import Identity
from .errors import (
    BadRequest,
    Conflict,
    InternalError,
    PayloadTooLarge,
    StorageFull,
    StreamArchived,
    UnknownStream,
    WirelogError,
)
from .failpoints import failpoint
from .items import Item, blob_reference, bytes_of, check_item, digest_of, flaw_of, largest_payload, size_of
from .models import Audience, Record, Stream
from .protocol import Publication, publication


@dataclass(slots=True)
class Appended:
    """Where a record is: its stream, and its position. `publication` is None for a repeat, which nobody is told of again."""

    stream_id: int
    epoch: str
    # 0 in an ephemeral stream: the record is broadcast, and stored nowhere.
    offset: int
    publication: Publication | None = None

    @property
    def duplicate(self) -> bool:
        return self.publication is None


Outcome = Appended | WirelogError


class Rejected(Exception):
    """Of items that are appended together or not at all, the one at `index` is bad: nothing was stored."""

    def __init__(self, index: int, error: WirelogError) -> None:
        self.index = index
        self.error = error
        super().__init__(index, error)


# What one sender may say again: the same key from another publisher is another record.
RecordKey = tuple[int, str, str]


# The pure part


def append_batch(connection: BaseDatabaseWrapper, items: Sequence[Item]) -> list[Outcome]:
    """Append `items` in one transaction; the outcome of each, in order.

    A bad item fails alone, with an error that names what is wrong; offsets stay dense. Raises django.db.DatabaseError when the
    transaction as a whole failed: then nothing was appended, but for an I/O error, whose outcome is unknown.
    """
    with transaction.atomic(using=connection.alias):
        outcomes = _Batch(connection, items).append()
        failpoint("journal.before_commit")
    return outcomes


def append_together(connection: BaseDatabaseWrapper, items: Sequence[Item]) -> list[Appended]:
    """Append all of `items` in one transaction, or nothing: not even the stream that the first of them would have created.

    Raises Rejected for the first bad item; DatabaseError as `append_batch` does.
    """
    with transaction.atomic(using=connection.alias):
        return [_good(index, outcome) for index, outcome in enumerate(_Batch(connection, items).append())]


def _good(index: int, outcome: Outcome) -> Appended:
    if isinstance(outcome, WirelogError):
        raise Rejected(index, outcome)
    return outcome


@dataclass(slots=True)
class _Batch:
    connection: BaseDatabaseWrapper
    items: Sequence[Item]
    streams: dict[str, Stream] = field(default_factory=dict)
    roles: Any = field(default_factory=dict)
    known: dict[RecordKey, tuple[int, bytes]] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    full: set[str] = field(default_factory=set)
    room: bool = True
    now: int = 0

    def append(self) -> list[Outcome]:
        # Before any query: a text that no column can hold would fail the others with it.
        flaws = [flaw_of(item) for item in self.items]
        self.items = [item for item, flaw in zip(self.items, flaws, strict=True) if flaw is None]
        # BEGIN IMMEDIATE has locked every stream: nobody else moves a head until the commit.
        self.streams = access.streams_by_name({item.stream for item in self.items}, self.connection.alias)
        self.roles = self._load_roles()
        self.known = self._load_known()
        self.room = disk.has_room(self.connection.alias)
        self.now = times.now()
        appended = map(self._append, self.items)
        outcomes = [next(appended) if flaw is None else flaw for flaw in flaws]
        self._write()
        return outcomes

    def _load_roles(self) -> Any:
        """Those in streams of members. Missing ones are asked for too, as NO_STREAM: a refusal must not tell which it was."""
        names = {item.stream for item in self.items}
        ids = {name: stream.pk for name, stream in self.streams.items() if Audience.MEMBERS in (stream.readers, stream.writers)}
        ids |= dict.fromkeys(names - self.streams.keys(), access.NO_STREAM)
        people = {item.identity for item in self.items if item.identity is not None and item.stream in ids}
        return access.roles(people, set(ids.values()), self.connection.alias) if people else {}

    def _load_known(self) -> dict[RecordKey, tuple[int, bytes]]:
        """Offset and digest of the records that bear a key of this batch."""
        ids = {name: stream.pk for name, stream in self.streams.items()}
        keys = {
            (ids.get(item.stream, access.NO_STREAM), item.publisher, item.idempotency_key) for item in self.items if item.idempotency_key
        }
        if not keys:
            return {}
        with self.connection.cursor() as cursor:
            cursor.execute(_KNOWN.format(values=",".join(["(%s,%s,%s)"] * len(keys))), [part for key in keys for part in key])
            return {(row[0], row[1], row[2]): (row[3], bytes(row[4] or b"")) for row in cursor.fetchall()}

    def _append(self, item: Item) -> Outcome:
        try:
            stream = self.streams.get(item.stream) or self._create(item)
            self._check(item, stream)
            if not stream.durable:
                return _passed_on(item, stream, self.now)
            return self._repeat(item, stream) or self._add(item, stream)
        except WirelogError as error:
            return error

    def _create(self, item: Item) -> Stream:
        """The stream that the first publish to a namespace makes. A refusal costs the others of the batch nothing."""
        stream = namespaces.create(item.stream, item.identity, self.connection.alias, self.full, partial(_check_first, item))
        self.streams[stream.name] = stream
        return stream

    def _check(self, item: Item, stream: Stream) -> None:
        if item.identity is not None:
            role = self.roles.get((item.identity.principal, stream.pk))
            if not access.may_write(item.identity, stream, role):
                self._refuse(item.identity, stream, role)
        _check_for(item, stream)

    def _refuse(self, identity: Identity, stream: Stream, role: str | None) -> NoReturn:
        error = access.refusal(identity, stream, role)
        if isinstance(error, UnknownStream):
            # As for a stream that is not there: the two must take equally long.
            namespaces.draft(stream.name, identity, self.connection.alias)
        raise error

    def _repeat(self, item: Item, stream: Stream) -> Appended | None:
        """The record that bears this key already, if any."""
        known = self.known.get((stream.pk, item.publisher, item.idempotency_key)) if item.idempotency_key else None
        if known is None:
            return None
        offset, digest = known
        # A redacted record has lost its digest: the retry still gets its offset.
        if digest and digest != digest_of(item):
            raise BadRequest("idempotency_key", f"was used for another payload, at offset {offset}")
        return Appended(stream.pk, stream.epoch, offset)

    def _add(self, item: Item, stream: Stream) -> Appended:
        _check_head(item, stream)
        if not self.room:
            raise StorageFull
        stream.head += 1
        publication = _publication(item, stream, stream.head, self.now)
        stream.size += bytes_of(publication.data) + len(item.blob or b"")
        digest = digest_of(item) if item.idempotency_key else None
        self.rows.append(
            (
                *(stream.pk, stream.head, publication.data, item.blob, item.content_type, item.key, item.removed, publication.tags),
                *(item.publisher, item.client, item.idempotency_key, digest, self.now, item.device_time),
            )
        )
        if digest is not None:
            self.known[stream.pk, item.publisher, item.idempotency_key] = (stream.head, digest)
        return Appended(stream.pk, stream.epoch, stream.head, publication)

    def _write(self) -> None:
        if not self.rows:
            return
        grown = {row[0] for row in self.rows}
        heads = [(stream.head, stream.size, stream.pk) for stream in self.streams.values() if stream.pk in grown]
        with self.connection.cursor() as cursor:
            # One prepared statement: bulk_create(1000) would be 13 statements on SQLite, at ten times the cost per row.
            cursor.executemany(_INSERT, self.rows)
            cursor.executemany(_MOVE_HEAD, heads)


def _check_first(item: Item, stream: Stream) -> None:
    """Before `stream` is there: an item that it refuses must not be what it begins with."""
    _check_for(item, stream)
    _check_head(item, stream)


def _check_head(item: Item, stream: Stream) -> None:
    if item.expect_offset is not None and item.expect_offset != stream.head:
        raise Conflict(stream.name, item.expect_offset, stream.head)


def _check_for(item: Item, stream: Stream) -> None:
    if stream.archived is not None:
        raise StreamArchived(stream.name)
    largest = largest_payload(stream, item.blob is not None)
    if (size := size_of(item, largest)) > largest:
        raise PayloadTooLarge(stream.name, size, largest)
    if not stream.durable and (item.expect_offset is not None or item.blob is not None):
        raise BadRequest("data" if item.blob is not None else "expect_offset", "needs a durable stream, this one keeps nothing")


def pass_on(item: Item, stream: Stream) -> Appended:
    """What `append_batch` does with an item for an ephemeral stream, whose publisher was found to have the right. Raises WirelogError."""
    check_item(item)
    _check_for(item, stream)
    return _passed_on(item, stream, times.now())


def _passed_on(item: Item, stream: Stream, now: int) -> Appended:
    """No row, no offset, and nothing to write."""
    return Appended(stream.pk, stream.epoch, 0, _publication(item, stream, 0, now))


def _publication(item: Item, stream: Stream, offset: int, now: int) -> Publication:
    tags = json.dumps(item.tags, ensure_ascii=False, separators=(",", ":")) if item.tags else ""
    data = item.data if item.blob is None else blob_reference(item, stream.epoch, offset)
    return Publication(offset, data, now, item.publisher, item.client, item.key, item.removed, tags, item.device_time)


_COLUMNS = (
    *("stream_id", "offset", "data", "blob", "content_type", "key", "removed", "tags"),
    *("publisher", "client", "idempotency_key", "digest", "received", "device_time"),
)
_INSERT = "INSERT INTO {table} ({columns}) VALUES ({values})".format(
    table=Record._meta.db_table,
    columns=", ".join(f'"{column}"' for column in _COLUMNS),
    values=", ".join(["%s"] * len(_COLUMNS)),
)
# Of a lone publish, building the query would be a third of the work.
_MOVE_HEAD = f"UPDATE {Stream._meta.db_table} SET head = %s, size = %s WHERE id = %s"
# The last condition is that of the partial index, to the letter: without it SQLite scans.
_KNOWN = (
    f'SELECT stream_id, publisher, idempotency_key, "offset", digest FROM {Record._meta.db_table} '
    "WHERE (stream_id, publisher, idempotency_key) IN (VALUES {values}) AND NOT (idempotency_key = '')"
)


def explain(error: DatabaseError) -> WirelogError:
    """What a failed transaction means to each of its callers."""
    if "full" in str(error):
        return StorageFull()
    return InternalError()


def is_fatal(error: DatabaseError) -> bool:
    """After a failed fsync nobody knows what is on disk; only a new process, which recovers the WAL, can tell."""
    return "disk I/O error" in str(error)


def append_now(items: Sequence[Item]) -> list[Outcome]:
    """`append_batch` for a process that serves nothing, and the hint to the servers: with Redis at once, else their tick finds it."""
    outcomes = append_batch(connections["default"], items)
    tell_receivers(items, outcomes)
    hints.send_now(hint_of(outcomes))
    return outcomes


def append_one(item: Item) -> Appended:
    """`append_now` for a single item. Raises WirelogError."""
    (outcome,) = append_now([item])
    if isinstance(outcome, WirelogError):
        raise outcome
    return outcome


def tell_receivers(items: Iterable[Item], outcomes: Iterable[Outcome]) -> None:
    """Tell the receivers of the signal `published` what was committed."""
    pairs = ((item.stream, outcome) for item, outcome in zip(items, outcomes, strict=True))
    signals.tell_published((stream, outcome.epoch, outcome.publication) for stream, outcome in pairs if isinstance(outcome, Appended))


def hint_of(outcomes: Iterable[Outcome]) -> hints.Hint:
    """What the hubs are told of a batch: runs of new records, by stream."""
    runs: dict[int, hints.Run] = {}
    events: list[hints.Event] = []
    for outcome in outcomes:
        if not isinstance(outcome, Appended) or outcome.publication is None:
            continue
        if outcome.offset == 0:
            events.append(hints.Event(outcome.stream_id, "pub", publication(outcome.publication)))
        else:
            run = runs.setdefault(outcome.stream_id, hints.Run(outcome.stream_id, outcome.epoch, outcome.offset, 0, []))
            run.records.append(outcome.publication)
            run.head = outcome.offset
    return hints.Hint(list(runs.values()), events)
