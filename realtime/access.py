"""Who speaks, and the one table of who may do what."""

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from itertools import islice
from typing import TypeVar

from django.db.models import Q, QuerySet

from .errors import ACCESS_REVOKED, STREAM_REMOVED, NotPermitted, UnknownStream, Unsubscribe, WirelogError
from .models import Audience, Membership, Stream

T = TypeVar("T")

Role = Membership.Role
WRITING_ROLES = frozenset({Role.WRITER, Role.MODERATOR})
ACTIONS = ("read", "publish", "manage")
# The id of none.
NO_STREAM = 0
# Parameters of one statement.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key may do: `pattern` is a stream name in which `*` stands for any text. Personal streams must be named: `#*` or `#7`."""

    pattern: str
    actions: frozenset[str]

    def covers(self, stream: str, action: str) -> bool:
        return action in self.actions and _pattern(self.pattern).fullmatch(stream) is not None


@functools.lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    text = ".*".join(re.escape(part) for part in pattern.split("*"))
    # "Everything" was never meant to be everybody's own stream.
    return re.compile(text if pattern.startswith("#") else f"(?!#){text}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks."""

    # "<user pk>", "key:<prefix>", "cli:<login>", or "" for anonymous. What records, limits and presence name.
    principal: str
    # How people see it.
    label: str
    user_id: int | None = None
    superuser: bool = False
    group_ids: frozenset[int] = frozenset()
    # Only for keys; they decide alone.
    scopes: tuple[Scope, ...] | None = None
    # When the credential ends, in seconds since 1970; None for one that does not by itself.
    expires: float | None = None
    # Limits of a key, 0 for none; those of people are settings.
    publish_rate: int = 0
    max_connections: int = 0
    # Where a call of the server API comes from, for the audit log.
    address: str | None = None


ANONYMOUS = Identity("", "anonymous")


# The table: what is needed for all that can be asked of the server


class Right(Flag):
    # Nothing: it tells and changes only what is the caller's own or may be read.
    ANYONE = 0
    # Being a person.
    SIGNED_IN = auto()
    # On the stream that is named.
    READ = auto()
    PUBLISH = auto()
    MANAGE = auto()
    # Managing everything, which is the pattern `*`.
    EVERYTHING = auto()
    # Pages of the staff; views of the admin ask for Django's permissions besides.
    STAFF = auto()


RIGHTS: Mapping[str, Right] = {
    # Commands of a WebSocket, once it is let in. To end what one has needs no right.
    "command connect": Right.ANYONE,
    "command subscribe": Right.READ,
    "command unsubscribe": Right.ANYONE,
    "command publish": Right.PUBLISH,
    "command presence": Right.READ,
    "command presence_stats": Right.READ,
    "command history": Right.READ,
    "command rpc": Right.ANYONE,
    "command send": Right.ANYONE,
    "command refresh": Right.ANYONE,
    "command sub_refresh": Right.ANYONE,
    # Methods of rpc. Those of other apps judge for themselves.
    "rpc publish": Right.PUBLISH,
    "rpc latest": Right.READ,
    "rpc series": Right.READ,
    "rpc mark_read": Right.SIGNED_IN | Right.READ,
    "rpc names": Right.SIGNED_IN,
    "rpc streams": Right.ANYONE,
    # Methods of the server API, which is for keys. What `batch` and `rpc` call is judged as if it were called alone.
    "api publish": Right.PUBLISH,
    "api broadcast": Right.PUBLISH,
    "api presence": Right.READ,
    "api presence_stats": Right.READ,
    "api history": Right.READ,
    "api history_remove": Right.MANAGE,
    "api unsubscribe": Right.MANAGE,
    "api subscribe": Right.EVERYTHING,
    "api disconnect": Right.EVERYTHING,
    "api refresh": Right.EVERYTHING,
    "api info": Right.EVERYTHING,
    "api channels": Right.ANYONE,
    "api rpc": Right.ANYONE,
    "api batch": Right.ANYONE,
    # Plain HTTP, below `/api/streams/<stream>/`.
    "POST records": Right.PUBLISH,
    "GET records": Right.READ,
    "GET latest": Right.READ,
    "GET download": Right.READ,
    "GET events": Right.READ,
    "GET blobs/": Right.READ,
    # Pages, by the name of their URL.
    "page login": Right.ANYONE,
    "page logout": Right.SIGNED_IN,
    "page password_change": Right.SIGNED_IN,
    # Its token is the credential.
    "page signin_link": Right.ANYONE,
    "page streams": Right.SIGNED_IN,
    "page stream": Right.READ,
    "page whoami": Right.SIGNED_IN,
    "page api": Right.ANYONE,
    "page styleguide": Right.STAFF,
    # The admin: the rest is every other view of it.
    "admin login": Right.ANYONE,
    "admin logout": Right.ANYONE,
    "admin": Right.STAFF,
}


def demand(asked: str, identity: Identity) -> None:
    """Raises NotPermitted when `asked` needs more of `identity` than a right on a stream, which is judged where that is read."""
    right = RIGHTS[asked]
    if Right.SIGNED_IN in right and identity.user_id is None:
        raise NotPermitted("ask for", asked)
    if Right.EVERYTHING in right and not any(scope.pattern == "*" and "manage" in scope.actions for scope in identity.scopes or ()):
        raise NotPermitted("manage", "*")


# Rights on a stream


def may_read(identity: Identity, stream: Stream, role: str | None) -> bool:
    if identity.scopes is not None:
        return _in_scope(identity, stream, "read")
    if stream.personal:
        return _owns(identity, stream)
    return identity.superuser or _in_audience(identity, stream.readers, role is not None)


def may_write(identity: Identity, stream: Stream, role: str | None) -> bool:
    if identity.scopes is not None:
        return _in_scope(identity, stream, "publish")
    if stream.personal:
        return _owns(identity, stream)
    return identity.superuser or _in_audience(identity, stream.writers, role in WRITING_ROLES)


def may_manage(identity: Identity, stream: Stream) -> bool:
    return _in_scope(identity, stream, "manage") if identity.scopes is not None else identity.superuser


def _owns(identity: Identity, stream: Stream) -> bool:
    return identity.user_id is not None and stream.name == f"#{identity.user_id}"


def _in_scope(identity: Identity, stream: Stream, action: str) -> bool:
    return any(scope.covers(stream.name, action) for scope in identity.scopes or ())


def _in_audience(identity: Identity, audience: str, member: bool) -> bool:
    if audience == Audience.ANYONE:
        return True
    if audience == Audience.USERS:
        return identity.user_id is not None
    return member


def refusal(identity: Identity, stream: Stream, role: str | None) -> WirelogError:
    """Why a write was refused. A stream that may not be read looks like a missing one."""
    if may_read(identity, stream, role):
        return NotPermitted("publish to", stream.name)
    return UnknownStream(stream.name)


def readable_by(identity: Identity) -> Q:
    """The streams that `identity` may read, as a filter for Stream."""
    if identity.scopes is not None:
        return _covered(identity.scopes, "read")
    personal = Q(name__startswith="#")
    mine = Q(name=f"#{identity.user_id}") if identity.user_id is not None else Q(pk__in=[])
    return mine | (~personal & _shared_with(identity))


def _shared_with(identity: Identity) -> Q:
    if identity.superuser:
        return Q()
    readable = Q(readers=Audience.ANYONE)
    if identity.user_id is not None:
        readable |= Q(readers=Audience.USERS) | Q(readers=Audience.MEMBERS, pk__in=memberships(identity).values("stream"))
    return readable


def memberships(identity: Identity) -> QuerySet[Membership]:
    """Their own, and those of their groups; none of somebody who is no person."""
    if identity.user_id is None:
        return Membership.objects.none()
    return Membership.objects.filter(Q(user=identity.user_id) | Q(group__in=identity.group_ids))


def listed_for(identity: Identity) -> Q:
    """The streams whose names `identity` may know: those that it may read, and a key also those that it may manage."""
    return readable_by(identity) | _covered(identity.scopes or (), "manage")


def _covered(scopes: Iterable[Scope], action: str) -> Q:
    covered = Q(pk__in=[])
    for scope in scopes:
        if action in scope.actions:
            covered |= Q(name__regex=f"^{_pattern(scope.pattern).pattern}$")
    return covered


def readable(identity: Identity, name: str) -> Stream:
    """The stream `name`. Raises UnknownStream when it is missing or may not be read: the two look the same."""
    (verdict,) = judge([(identity, name)])
    if isinstance(verdict, Unsubscribe):
        raise UnknownStream(name)
    return verdict


def writable(identity: Identity, name: str) -> Stream:
    """The stream `name`. Raises UnknownStream, or NotPermitted when it may be read but not written to."""
    stream = streams_by_name([name], "default").get(name)
    role = _role(identity, stream)
    if stream is None:
        raise UnknownStream(name)
    if not may_write(identity, stream, role):
        raise refusal(identity, stream, role)
    return stream


def manageable(identity: Identity, name: str) -> Stream:
    """The stream `name`. Raises UnknownStream, or NotPermitted when it may be read but not managed."""
    stream = Stream.objects.filter(name=name).first()
    if stream is not None and may_manage(identity, stream):
        return stream
    raise NotPermitted("manage", readable(identity, name).name)


def _role(identity: Identity, stream: Stream | None) -> str | None:
    """The role in a stream that only members read; nobody asks for it elsewhere. In a missing one too, so that it takes as long."""
    if identity.user_id is None or (stream is not None and not _for_members(stream)):
        return None
    stream_id = stream.pk if stream is not None else NO_STREAM
    return roles([identity], [stream_id], "default").get((identity.principal, stream_id))


def _for_members(stream: Stream) -> bool:
    return stream.readers == Audience.MEMBERS or stream.personal


def judge(asked: Sequence[tuple[Identity, str]]) -> list[Stream | Unsubscribe]:
    """For each reader and name the stream, or why a subscription to it ends. By two queries for some hundred names."""
    names = {name for _, name in asked}
    streams = streams_by_name(names, "default")
    people = {identity for identity, _ in asked if identity.user_id is not None}
    # Of missing ones too, so that a refusal takes as long whether there is a stream or not.
    ids = {stream.pk for stream in streams.values() if _for_members(stream)} | {NO_STREAM for name in names if name not in streams}
    known: dict[tuple[str, int], str] = {}
    for stream_ids in _chunks(ids if people else ()):
        known |= roles(people, stream_ids, "default")
    return [_verdict(identity, streams.get(name), known) for identity, name in asked]


def streams_by_name(names: Iterable[str], using: str) -> dict[str, Stream]:
    found: dict[str, Stream] = {}
    for chunk in _chunks(names):
        # Written out: a queryset takes Django ten times as long to build as SQLite to answer.
        rows = Stream.objects.using(using).raw(_BY_NAME.format(names=", ".join(["%s"] * len(chunk))), chunk)
        found |= {stream.name: stream for stream in rows}
    return found


_BY_NAME = f"SELECT * FROM {Stream._meta.db_table} WHERE name IN ({{names}})"


def _verdict(identity: Identity, stream: Stream | None, known: Mapping[tuple[str, int], str]) -> Stream | Unsubscribe:
    if stream is None:
        return STREAM_REMOVED
    return stream if may_read(identity, stream, known.get((identity.principal, stream.pk))) else ACCESS_REVOKED


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """In lists that one statement takes as its parameters."""
    waiting = iter(values)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk


def roles(identities: Collection[Identity], stream_ids: Iterable[int], using: str) -> dict[tuple[str, int], str]:
    """Roles by (principal, stream id), by one query. A user's own role goes before that of a group."""
    people = {identity.user_id: identity.principal for identity in identities if identity.user_id is not None}
    holders: dict[int, set[str]] = {}
    for identity in identities:
        for group_id in identity.group_ids:
            holders.setdefault(group_id, set()).add(identity.principal)
    rows = Membership.objects.using(using).filter(Q(user__in=people) | Q(group__in=holders), stream__in=list(stream_ids))
    by_user: dict[tuple[str, int], str] = {}
    by_group: dict[tuple[str, int], str] = {}
    for stream_id, user_id, group_id, role in rows.values_list("stream_id", "user_id", "group_id", "role"):
        if user_id in people:
            by_user[people[user_id], stream_id] = role
        for principal in holders.get(group_id, ()):
            by_group[principal, stream_id] = _stronger(by_group.get((principal, stream_id)), role)
    return by_group | by_user


def _stronger(one: str | None, other: str) -> str:
    ranks = list(Role.values)
    return other if one is None or ranks.index(other) > ranks.index(one) else one


def anonymous_may_read_something() -> bool:
    return Stream.objects.filter(readers=Audience.ANYONE).exists()
