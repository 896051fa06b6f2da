"""What operators do to streams and keys, from admin and from commands. Each is one transaction with its line in the audit log."""

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from . import notices, scopes
from .audit import Actor, note
from .errors import BadRequest
from .items import Item, bytes_of
from .models import ApiKey, Namespace, Record, Stream
from .protocol import REDACTS, redacted_offset
from .publishing import publish_within
from .rollups import roll_again
from .scopes import StoredScope

# How long a secret works on after its rotation: a day to bring the new one to every device.
OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=365)


def create_stream(actor: Actor, name: str, **fields: Any) -> Stream:
    """A new stream. Raises ValidationError when the name is taken or a field makes no sense."""
    stream = Stream(name=name, **fields)
    with transaction.atomic():
        stream.full_clean()
        stream.save()
        note(actor, "stream.create", name, **fields)
    return stream


def archive(actor: Actor, stream: Stream) -> bool:
    """End writing. False when it was archived already."""
    return _set_archived(actor, stream, timezone.now())


def unarchive(actor: Actor, stream: Stream) -> bool:
    """Allow writing again. False when it was not archived."""
    return _set_archived(actor, stream, None)


def _set_archived(actor: Actor, stream: Stream, archived: datetime | None) -> bool:
    with transaction.atomic():
        stream.refresh_from_db()
        if (stream.archived is None) == (archived is None):
            return False
        stream.archived = archived
        # Only this column: the journal moves `head` meanwhile. And by save(), since the signals on it tell the servers.
        stream.save(update_fields=["archived"])
        note(actor, "stream.archive" if archived else "stream.unarchive", stream.name)
    return True


def set_namespace(actor: Actor, name: str, fields: dict[str, Any]) -> tuple[Namespace, bool]:
    """The template of `name`:*, made if it is missing, with these fields; and whether anything changed. Raises ValidationError."""
    with transaction.atomic():
        namespace = Namespace.objects.filter(name=name).first() or Namespace(name=name)
        made = namespace.pk is None
        before = {field: getattr(namespace, field) for field in fields}
        changes = {field: value if made else [before[field], value] for field, value in fields.items() if made or before[field] != value}
        if not made and not changes:
            return namespace, False
        for field, value in fields.items():
            setattr(namespace, field, value)
        namespace.full_clean()
        namespace.save()
        note(actor, "namespace.create" if made else "namespace.change", str(namespace), **changes)
    return namespace, True


def remove_namespace(actor: Actor, namespace: Namespace) -> None:
    """Its streams stay; missing ones are unknown from now on."""
    with transaction.atomic():
        note(actor, "namespace.delete", str(namespace))
        namespace.delete()


def create_key(actor: Actor, name: str, granted: list[StoredScope], expires: datetime | None, **limits: int) -> tuple[ApiKey, str]:
    """A new key and its secret, which is kept nowhere. `limits` are publish_rate and max_connections; 0 is none."""
    if not name.strip() or len(name) > 100:
        raise ValidationError("The name of a key has 1 to 100 characters.")
    fields: dict[str, Any] = {"name": name, "scopes": granted, "expires": expires, **limits}
    ApiKey(**fields).clean_fields(exclude=("prefix", "digest"))
    with transaction.atomic():
        key, secret = ApiKey.generate(**fields)
        note(actor, "apikey.create", str(key), scopes=[scopes.text(scope) for scope in granted])
    return key, secret


def rotate(actor: Actor, key: ApiKey, overlap: timedelta) -> str:
    """A new secret for `key`, which stays the same key; the one before it works on for `overlap` (0: not at all).

    Of two rotations within an overlap only the last secret before the new one works on. Raises ValidationError for a key that has ended.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise ValidationError(f"The overlap is 0 to {MAX_OVERLAP.days} days.")
    with transaction.atomic():
        key.refresh_from_db()
        if not key.usable:
            raise ValidationError(f"{key} is {key.state}: make a new key instead.")
        key.previous_digest = key.digest if overlap else ""
        key.previous_until = timezone.now() + overlap if overlap else None
        secret = key.new_secret()
        key.save(update_fields=["digest", "previous_digest", "previous_until"])
        note(actor, "apikey.rotate", str(key), overlap_seconds=int(overlap.total_seconds()))
    return secret


def revoke(actor: Actor, key: ApiKey) -> bool:
    """End a key for good. False when it was revoked already."""
    with transaction.atomic():
        key.refresh_from_db()
        if key.revoked is not None:
            return False
        key.revoked = timezone.now()
        key.save(update_fields=["revoked"])
        note(actor, "apikey.revoke", str(key))
    return True


# Connections


def disconnect(actor: Actor, user: str, **subject: Any) -> None:
    """Close the connections of `user` (a principal) in every process; `subject` is that of the notice."""
    with transaction.atomic():
        notices.post("disconnect", user=user, **subject)
        note(actor, "connection.disconnect", user, **subject)


def unsubscribe(actor: Actor, stream: Stream, user: str, **subject: Any) -> None:
    """End the subscriptions of `user` (a principal) to `stream` in every process; `subject` is that of the notice."""
    with transaction.atomic():
        notices.post("unsubscribe", user=user, channel=stream.name, **subject)
        note(actor, "connection.unsubscribe", user, stream=stream.name, **subject)


# Records


def redact(actor: Actor, stream: Stream, offset: int, reason: str = "") -> bool:
    """Take the payload of one record away, with its key and tags; its place stays. False when that was done already.

    It is itself a record, by which every reader and every server learns of it. Raises BadRequest for a record that is not there or is a
    redaction; StreamArchived, StorageFull.
    """
    with transaction.atomic():
        stream.refresh_from_db()
        record = Record.objects.filter(stream=stream, offset=offset).first()
        if record is None:
            raise BadRequest("offset", f"{offset} is not kept in {stream.name!r}")
        if redacted_offset(record.tags):
            raise BadRequest("offset", f"{offset} of {stream.name!r} is a redaction")
        if not record.data:
            return False
        _take_away(stream, record)
        # Words, for whoever shows records. A number would be drawn in a chart.
        told = f'{{"text":"Redacted record {offset}."}}'
        publish_within(Item(stream.name, told, publisher=actor.principal, tags={REDACTS: str(offset)}))
        note(actor, "record.redact", f"{stream.name}@{offset}", reason=reason)
    return True


def _take_away(stream: Stream, record: Record) -> None:
    if record.offset < stream.tail:
        # It had stayed for `latest` alone.
        record.delete()
        return
    gone = bytes_of(record.data) + len(record.blob or b"")
    Stream.objects.filter(pk=stream.pk).update(size=Greatest(F("size") - gone, 0))
    Record.objects.filter(pk=record.pk).update(data="", blob=None, content_type="", key="", removed=False, tags="", digest=None)
    roll_again(connection, stream, record.offset)
