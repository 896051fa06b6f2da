"""Who speaks, and the one table of who may do what."""

import functools
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from importlib import import_module
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Model, Q
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from .conf import option
from .errors import NotPermitted, UnknownStream, WirelogError
from .models import ApiKey, Audience, Membership, Stream

Role = Membership.Role
WRITING_ROLES = frozenset({Role.WRITER, Role.MODERATOR})
ACTIONS = ("read", "publish", "manage")


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


ANONYMOUS = Identity("", "anonymous")


# The table


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
        return _matching(scope.pattern for scope in identity.scopes if "read" in scope.actions)
    personal = Q(name__startswith="#")
    mine = Q(name=f"#{identity.user_id}") if identity.user_id is not None else Q(pk__in=[])
    return mine | (~personal & _shared_with(identity))


def _shared_with(identity: Identity) -> Q:
    if identity.superuser:
        return Q()
    readable = Q(readers=Audience.ANYONE)
    if identity.user_id is not None:
        mine = Membership.objects.filter(Q(user=identity.user_id) | Q(group__in=identity.group_ids))
        readable |= Q(readers=Audience.USERS) | Q(readers=Audience.MEMBERS, pk__in=mine.values("stream"))
    return readable


def _matching(patterns: Iterable[str]) -> Q:
    matching = Q(pk__in=[])
    for pattern in patterns:
        matching |= Q(name__regex=f"^{_pattern(pattern).pattern}$")
    return matching


_BY_NAME = f"SELECT * FROM {Stream._meta.db_table} WHERE name = %s"


def readable(identity: Identity, name: str) -> Stream:
    """The stream `name`. Raises UnknownStream when it is missing or may not be read: the two look the same."""
    # By name and judged here, and written out: a queryset takes Django ten times as long to build as SQLite to answer.
    stream = next(iter(Stream.objects.raw(_BY_NAME, [name])), None)
    if stream is None or not may_read(identity, stream, _role(identity, stream)):
        raise UnknownStream(name)
    return stream


def _role(identity: Identity, stream: Stream) -> str | None:
    """The role in a stream that only members read; nobody asks for it elsewhere."""
    if stream.readers != Audience.MEMBERS or identity.user_id is None:
        return None
    return roles([identity], [stream.pk], "default").get((identity.principal, stream.pk))


def roles(identities: Iterable[Identity], stream_ids: Iterable[int], using: str) -> Mapping[tuple[str, int], str]:
    """Roles by (principal, stream id), by one query. A user's own role goes before that of a group."""
    people = {identity.principal: identity for identity in identities if identity.user_id is not None}
    users = {identity.user_id for identity in people.values()}
    groups = {group for identity in people.values() for group in identity.group_ids}
    rows = Membership.objects.using(using).filter(Q(user__in=users) | Q(group__in=groups), stream__in=list(stream_ids))
    by_user: dict[tuple[str, int], str] = {}
    by_group: dict[tuple[str, int], str] = {}
    for stream_id, user_id, group_id, role in rows.values_list("stream_id", "user_id", "group_id", "role"):
        for principal, identity in people.items():
            if user_id == identity.user_id:
                by_user[principal, stream_id] = role
            elif group_id in identity.group_ids:
                by_group[principal, stream_id] = _stronger(by_group.get((principal, stream_id)), role)
    return by_group | by_user


def _stronger(one: str | None, other: str) -> str:
    ranks = list(Role.values)
    return other if one is None or ranks.index(other) > ranks.index(one) else one


def anonymous_may_read_something() -> bool:
    return Stream.objects.filter(readers=Audience.ANYONE).exists()


# Credentials


def identity_of_user(user: AbstractUser, expires: float | None = None) -> Identity:
    return _identity(user, frozenset(user.groups.values_list("pk", flat=True)), expires)


def _identity(user: AbstractUser, group_ids: frozenset[int], expires: float | None) -> Identity:
    label = user.get_full_name() or user.get_username()
    return Identity(str(user.pk), label, user.pk, user.is_superuser, group_ids, expires=expires)


def identity_of_session(session_key: str) -> Identity | None:
    """The active user of a valid session, or None. Reads only: nothing is flushed or renewed here."""
    return identities_of_sessions([session_key]).get(session_key)


def identities_of_sessions(session_keys: Collection[str]) -> dict[str, Identity]:
    """Who speaks, by session key, where the session is valid and the user active.

    By one query for all of them where the session model has a `user` (project/users); any other engine by its own loads.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if hasattr(store, "get_model_class") and hasattr(store.get_model_class(), "user"):
        rows = _user_rows(store, session_keys)
        return {row.session_key: _identity(row, _ids(row.group_list), row.ends) for row in rows}
    users = {session_key: _user_by_load(store, session_key) for session_key in session_keys}
    return {session_key: identity_of_user(user) for session_key, user in users.items() if user is not None and user.is_active}


def _user_rows(store: Any, session_keys: Collection[str]) -> Iterator[Any]:
    """The users of these sessions, each with what the session and its groups say of them."""
    places = ", ".join(["%s"] * len(session_keys))
    rows: Any = get_user_model()._default_manager.raw(_of_sessions(store.get_model_class()).format(places=places), [*session_keys])
    now, codec = time.time(), store()
    for row in rows:
        # As the database has it: UTC, without saying so.
        row.ends = row.expire_date.replace(tzinfo=UTC).timestamp()
        if row.is_active and row.ends > now and _session_is_of(codec.decode(row.session_data), row):
            yield row


def _ids(listed: str | None) -> frozenset[int]:
    return frozenset(map(int, listed.split(","))) if listed else frozenset()


@functools.cache
def _of_sessions(session: type[Model]) -> str:
    """Written out: it takes Django four times as long to build this and the query of the groups as SQLite to answer it."""
    user = get_user_model()
    table, key = user._meta.db_table, user._meta.pk.column
    groups: Any = user._meta.get_field("groups")
    listed = f"SELECT group_concat({groups.m2m_reverse_name()}) FROM {groups.m2m_db_table()} WHERE {groups.m2m_column_name()} = u.{key}"
    return (
        f"SELECT u.*, s.session_key, s.session_data, s.expire_date, ({listed}) AS group_list "
        f"FROM {session._meta.db_table} s JOIN {table} u ON u.{key} = s.user_id "
        "WHERE s.session_key IN ({places})"
    )


def _user_by_load(store: type[SessionBase], session_key: str) -> Any:
    data = store(session_key).load()
    user = get_user_model()._default_manager.filter(pk=data[SESSION_KEY]).first() if SESSION_KEY in data else None
    return user if user is not None and _session_is_of(data, user) else None


def _session_is_of(data: Mapping[str, Any], user: Any) -> bool:
    """Whether the session was made with the user's present password, under the present or a fallback key."""
    known = data.get(HASH_SESSION_KEY, "")
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return data.get(SESSION_KEY) == str(user.pk) and any(constant_time_compare(known, current) for current in hashes)


def identity_of_key(secret: str) -> Identity | None:
    """The identity of an API key; None when it is wrong, expired, revoked or rotated away."""
    parts = secret.split("_", 2)
    if len(parts) != 3 or parts[0] != "wl":
        return None
    key = ApiKey.objects.filter(prefix=parts[1]).first()
    # Both are compared, and a wrong prefix costs the same as a wrong secret.
    stored = (key.digest, key.previous_digest) if key else (secrets.token_hex(32), "")
    current, previous = (constant_time_compare(digest, ApiKey.hash(secret)) for digest in stored)
    if key is None or not (current or previous):
        return None
    expires = key.expires if current else key.previous_ends
    if key.revoked is not None or (expires is not None and expires <= timezone.now()):
        return None
    return Identity(
        f"key:{key.prefix}",
        key.name,
        scopes=tuple(Scope(scope["pattern"], frozenset(scope["actions"])) for scope in key.scopes),
        expires=expires.timestamp() if expires else None,
        publish_rate=key.publish_rate,
        max_connections=key.max_connections,
    )


# Where a connection comes from. `scope` is that of ASGI.


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a connection before it has said anything."""

    # The session cookie, when the Origin is good; else "".
    session_key: str = ""
    origin_allowed: bool = False
    address: str | None = None
    agent: str = ""


def header(scope: Mapping[str, Any], name: bytes) -> str:
    """The first header `name` (lower case), or ""."""
    for key, value in scope.get("headers", ()):
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _trusts_peer(scope: Mapping[str, Any]) -> bool:
    """Whether the peer is one of TRUSTED_PROXIES, so that its X-Forwarded headers are believed."""
    client = scope.get("client")
    trusted = option("TRUSTED_PROXIES")
    if not client or not trusted:
        return False
    address = _address(client[0])
    return address is not None and any(ip_address(address) in ip_network(network, strict=False) for network in trusted)


def _address(text: str) -> str | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    # A socket of both families names an IPv4 client in the manner of IPv6.
    return str(getattr(address, "ipv4_mapped", None) or address)


def scheme(scope: Mapping[str, Any]) -> str:
    """http or https, as the browser sees it."""
    if _trusts_peer(scope):
        forwarded = header(scope, b"x-forwarded-proto").strip().lower()
        if forwarded in ("http", "https"):
            return forwarded
    return "https" if scope.get("scheme") in ("https", "wss") else "http"


def client_address(scope: Mapping[str, Any]) -> str | None:
    """The address of the client: behind a trusted proxy the last one that it added."""
    if _trusts_peer(scope):
        forwarded = _address(header(scope, b"x-forwarded-for").rpartition(",")[2])
        if forwarded is not None:
            return forwarded
    client = scope.get("client")
    return _address(client[0]) if client else None


def host_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the Host header is allowed, by the rule that Django's pages follow."""
    domain, _port = split_domain_port(header(scope, b"host"))
    allowed = settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    return bool(domain) and validate_host(domain, allowed)


def origin_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the Origin is this very scheme and host, or one that the operator named."""
    origin = header(scope, b"origin")
    own = f"{scheme(scope)}://{header(scope, b'host')}"
    return origin != "" and (origin.lower() == own.lower() or origin in option("ORIGINS"))
