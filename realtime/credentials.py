"""Who shows a session or an API key. Read when somebody connects, and again whenever that may have changed."""

import functools
import hashlib
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC
from importlib import import_module
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Model
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from .access import Identity, Scope
from .models import ApiKey
from .names import label_of


class Credential(NamedTuple):
    """What was shown, as it is kept while a connection lasts: never the secret of a key."""

    kind: Literal["session", "key"]
    # The key of the session, or the prefix of the API key.
    name: str
    # SHA-256 of what was shown. A notice names the credential by it.
    digest: str


def of_session(session_key: str) -> Credential:
    return Credential("session", session_key, hashlib.sha256(session_key.encode()).hexdigest())


def of_key(secret: str) -> Credential | None:
    """None for what has not the form of a key, `wl_<prefix>_<secret>`."""
    parts = secret.split("_", 2)
    return Credential("key", parts[1], ApiKey.hash(secret)) if len(parts) == 3 and parts[0] == "wl" else None


def identities(shown: Collection[Credential]) -> dict[Credential, Identity]:
    """Who shows each of these; without those that are not valid. One query for all sessions, one for all keys; nothing is written."""
    sessions = {credential.name: credential for credential in shown if credential.kind == "session"}
    keys = [credential for credential in shown if credential.kind == "key"]
    people = identities_of_sessions(sessions) if sessions else {}
    return {sessions[name]: identity for name, identity in people.items()} | (_of_keys(keys) if keys else {})


def identity_of_each(shown: Sequence[Credential]) -> list[Identity | None]:
    found = identities(shown)
    return [found.get(credential) for credential in shown]


def identity_of(credential: Credential | None) -> Identity | None:
    return identities([credential]).get(credential) if credential is not None else None


def identity_of_user(user: AbstractUser, expires: float | None = None) -> Identity:
    return _identity(user, frozenset(user.groups.values_list("pk", flat=True)), expires)


def _identity(user: AbstractUser, group_ids: frozenset[int], expires: float | None) -> Identity:
    return Identity(str(user.pk), label_of(user), user.pk, user.is_superuser, group_ids, expires=expires)


def identities_of_sessions(session_keys: Collection[str]) -> dict[str, Identity]:
    """Who speaks, by session key, where the session is valid and the user active.

    By one query for all of them where the session model has a `user` (project/users); any other engine by its own loads.
    """
    store = session_store(settings.SESSION_ENGINE)
    if store is None:
        return {}
    if hasattr(store, "get_model_class") and hasattr(store.get_model_class(), "user"):
        rows = _user_rows(store, session_keys)
        return {row.session_key: _identity(row, _ids(row.group_list), row.ends) for row in rows}
    users = {session_key: _user_by_load(store, session_key) for session_key in session_keys}
    return {session_key: identity_of_user(user) for session_key, user in users.items() if user is not None and user.is_active}


@functools.cache
def session_store(engine: str) -> Any:
    """The store of sessions; None in a project that has none, whose engine is then the one that Django takes for granted."""
    store = import_module(engine).SessionStore
    try:
        getattr(store, "get_model_class", bool)()
    except RuntimeError:
        # Its app is not installed.
        return None
    return store


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


# Written out as well: building it was two fifths of what a publish by HTTP cost.
_BY_PREFIX = f"SELECT * FROM {ApiKey._meta.db_table} WHERE prefix IN ({{places}})"


def _of_keys(shown: Collection[Credential]) -> dict[Credential, Identity]:
    prefixes = {credential.name for credential in shown}
    rows = ApiKey.objects.raw(_BY_PREFIX.format(places=", ".join(["%s"] * len(prefixes))), [*prefixes])
    keys = {key.prefix: key for key in rows}
    found = {credential: _identity_of_key(keys.get(credential.name), credential.digest) for credential in shown}
    return {credential: identity for credential, identity in found.items() if identity is not None}


def _identity_of_key(key: ApiKey | None, digest: str) -> Identity | None:
    """None when the secret is wrong, expired, revoked or rotated away."""
    # Both are compared, and a wrong prefix costs the same as a wrong secret.
    stored = (key.digest, key.previous_digest) if key else (secrets.token_hex(32), "")
    current, previous = (constant_time_compare(known, digest) for known in stored)
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
