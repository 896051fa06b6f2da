"""What is kept. Rules of who may do what are in `access.py`, writes of records in `journal.py`."""

import hashlib
import re
import secrets
import string
import uuid
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

# Anchored at both ends: the validator of the field searches.
STREAM_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}\Z")


def new_epoch() -> str:
    """Eight random letters. A position is only good within its epoch."""
    return "".join(secrets.choice(string.ascii_letters) for _ in range(8))


class Audience(models.TextChoices):
    ANYONE = "anyone", "anyone"
    USERS = "users", "everyone signed in"
    MEMBERS = "members", "members"


class Kind(models.TextChoices):
    FEED = "feed", "feed"
    CHART = "chart", "chart"
    LATEST = "latest", "latest values"
    IMAGE = "image", "image"
    GAME = "game", "game"
    RAW = "raw", "raw"


class Delivery(models.TextChoices):
    EVERY = "every", "every record"
    NEWEST = "newest", "the newest record of each key"


class Template(models.Model):
    """What a stream and the namespace that creates streams have in common."""

    kind = models.CharField(max_length=8, choices=Kind, default=Kind.FEED)
    readers = models.CharField(max_length=8, choices=Audience, default=Audience.USERS)
    writers = models.CharField(max_length=8, choices=Audience, default=Audience.USERS)
    presence = models.BooleanField(default=True, help_text="Readers may see who is subscribed.")
    join_leave = models.BooleanField(default=True, help_text="Subscribers may be told who comes and goes.")
    delivery = models.CharField(max_length=8, choices=Delivery, default=Delivery.EVERY)
    durable = models.BooleanField(default=True, help_text="Off: records are broadcast only, never stored.")
    max_payload = models.PositiveIntegerField("largest payload", default=0, help_text="Bytes; 0 takes the default of the server.")
    keep_records = models.PositiveBigIntegerField(default=0, help_text="Newest records to keep; 0 keeps all.")
    keep_days = models.PositiveIntegerField(default=30, help_text="Days to keep a record; 0 keeps it for ever.")
    keep_bytes = models.PositiveBigIntegerField(default=0, help_text="Payload bytes to keep; 0 keeps all.")
    keep_latest = models.BooleanField(default=False, help_text="The newest record of each key stays, however old it is.")

    class Meta:
        abstract = True


class Namespace(Template):
    """The template of the streams `<name>:*`. The one with an empty name is for names without a namespace."""

    name = models.CharField(max_length=64, unique=True, blank=True, validators=[RegexValidator(r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?\Z")])
    create_on_use = models.BooleanField(default=True, help_text="The first publish to a missing stream creates it.")

    def __str__(self) -> str:
        return f"{self.name}:*" if self.name else "*"


class Stream(Template):
    """One ordered log. Offsets of its records are dense: tail, tail + 1, … head."""

    name = models.CharField(max_length=128, unique=True, validators=[RegexValidator(STREAM_NAME)])
    title = models.CharField(max_length=128, blank=True)
    # Changes when records were lost, so that no client resumes into other records under the same offsets.
    epoch = models.CharField(max_length=8, default=new_epoch, editable=False)
    # Offset of the newest record ever appended; 0 for a stream that never had one.
    head = models.PositiveBigIntegerField(default=0, editable=False)
    # Offset of the oldest record kept; head + 1 when none is kept.
    tail = models.PositiveBigIntegerField(default=1, editable=False)
    # Payload bytes from tail to head.
    size = models.PositiveBigIntegerField(default=0, editable=False)
    # Offset up to which the rollups go.
    rolled = models.PositiveBigIntegerField(default=0, editable=False)
    archived = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        return self.title or self.name

    @property
    def personal(self) -> bool:
        """Whether it is `#<user id>`, which its user alone reads."""
        return self.name.startswith("#")


class Record(models.Model):
    """Append-only. Times are whole milliseconds since 1970, UTC."""

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="records", db_index=False)
    offset = models.PositiveBigIntegerField()
    # The JSON text as it was sent, never re-encoded; empty for a blob and after a redaction.
    data = models.TextField(blank=True)
    blob = models.BinaryField(null=True)
    content_type = models.CharField(max_length=100, blank=True)
    # Subject of the record, for "latest per key"; `removed` ends that key.
    key = models.CharField(max_length=200, blank=True)
    removed = models.BooleanField(default=False)
    # A JSON object of strings, or empty.
    tags = models.TextField(blank=True)
    # The principal that published (`access.Identity.principal`).
    publisher = models.CharField(max_length=200, blank=True)
    # The connection it came through, so that a replay tells the same as the live push; empty for other doors.
    client = models.CharField(max_length=36, blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    # Tells a repeat from another payload under a used key.
    digest = models.BinaryField(max_length=16, null=True)
    received = models.BigIntegerField()
    device_time = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            # Also the index of every page: stream, position < offset.
            models.UniqueConstraint(fields=["stream", "offset"], name="record_stream_offset"),
            models.UniqueConstraint(
                fields=["stream", "publisher", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="record_idempotency",
            ),
        ]
        indexes = [
            # Latest per key.
            models.Index(fields=["stream", "key", "offset"], condition=~models.Q(key=""), name="record_latest"),
        ]
        permissions = [("redact_record", "Can redact record")]

    def __str__(self) -> str:
        return f"{self.stream_id}@{self.offset}"


class Rollup(models.Model):
    """What the records of one block say of one field: what `series` adds up in place of a million payloads.

    Block n of a size has the offsets n · size + 1 to (n + 1) · size. A row stands in its primary key (WITHOUT ROWID), by which alone it
    is read: measured, a third of the time and half of the space of a row beside an index.
    """

    pk = models.CompositePrimaryKey("stream", "size", "block", "field")
    stream = models.ForeignKey(Stream, models.CASCADE, related_name="rollups", db_index=False)
    size = models.PositiveIntegerField()
    block = models.PositiveBigIntegerField()
    field = models.CharField(max_length=64)
    # When its first and last value was received.
    first_time = models.BigIntegerField()
    last_time = models.BigIntegerField()
    minimum = models.FloatField()
    maximum = models.FloatField()
    total = models.FloatField()
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.field} of block {self.block} of {self.size} in {self.stream_id}"


class Membership(models.Model):
    class Role(models.TextChoices):
        READER = "reader", "reader"
        WRITER = "writer", "writer"
        MODERATOR = "moderator", "moderator"

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="memberships")
    group = models.ForeignKey("auth.Group", models.CASCADE, null=True, blank=True, related_name="memberships")
    role = models.CharField(max_length=9, choices=Role, default=Role.WRITER)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True, group__isnull=False) | models.Q(user__isnull=False, group__isnull=True),
                name="membership_user_or_group",
                violation_error_message="Give either a user or a group.",
            ),
            models.UniqueConstraint(fields=["stream", "user"], name="membership_user"),
            models.UniqueConstraint(fields=["stream", "group"], name="membership_group"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group} is {self.role} of {self.stream}"


class ReadMarker(models.Model):
    """How far a user has read a stream."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="read_markers")
    stream = models.ForeignKey(Stream, models.CASCADE, related_name="read_markers")
    offset = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "stream"], name="readmarker_user_stream")]

    def __str__(self) -> str:
        return f"{self.user} read {self.stream} up to {self.offset}"


class ApiKey(models.Model):
    """The key of a device or program. The secret is shown once; only its hash is kept.

    A key is `wl_<prefix>_<secret>`; SHA-256 suffices for the hash, since the secret is 256 random bits.
    """

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    # [{"pattern": "iot:*", "actions": ["read", "publish"]}, …]
    scopes = models.JSONField(default=list)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False)
    created = models.DateTimeField(default=timezone.now, editable=False)
    # After a rotation the secret before it works on until then. It is the same key: what it published stays its own.
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    publish_rate = models.PositiveIntegerField("publishes a second", default=0, help_text="0 sets no limit.")
    max_connections = models.PositiveIntegerField("connections", default=0, help_text="At the same time, in one process; 0 sets no limit.")
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True, editable=False)
    last_used = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} (wl_{self.prefix})"

    @classmethod
    def generate(cls, **fields: Any) -> tuple["ApiKey", str]:
        """A new, saved key and its secret, which cannot be had again."""
        key = cls(prefix=secrets.token_hex(4), **fields)
        secret = key.new_secret()
        key.save(force_insert=True)
        return key, secret

    def new_secret(self) -> str:
        """Another secret from now on; not saved here."""
        secret = f"wl_{self.prefix}_{secrets.token_urlsafe(32)}"
        self.digest = self.hash(secret)
        return secret

    @staticmethod
    def hash(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    @property
    def previous_ends(self) -> datetime | None:
        """When the secret before the last rotation ends, which is never after the key itself."""
        return min(filter(None, (self.previous_until, self.expires)), default=None)

    @property
    def state(self) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= timezone.now() else "usable"

    @property
    def usable(self) -> bool:
        return self.state == "usable"


class ServerProcess(models.Model):
    """A running server. Its heartbeat is the only one: connections and presence die with it."""

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started = models.DateTimeField(default=timezone.now)
    heartbeat = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name_plural = "server processes"

    def __str__(self) -> str:
        return f"{self.host} pid {self.pid}"


class Connection(models.Model):
    # The client id of the protocol.
    id = models.UUIDField(primary_key=True)
    process = models.ForeignKey(ServerProcess, models.CASCADE, related_name="connections")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="connections")
    principal = models.CharField(max_length=200, blank=True, db_index=True)
    label = models.CharField(max_length=200, blank=True)
    address = models.GenericIPAddressField(null=True)
    agent = models.CharField(max_length=200, blank=True)
    since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.label or 'anonymous'} from {self.address}"


class Presence(models.Model):
    """One connection subscribed to one stream that has presence on."""

    stream = models.ForeignKey(Stream, models.CASCADE, related_name="present")
    connection = models.ForeignKey(Connection, models.CASCADE, related_name="present")

    class Meta:
        verbose_name_plural = "presence"
        constraints = [models.UniqueConstraint(fields=["stream", "connection"], name="presence_stream_connection")]

    def __str__(self) -> str:
        return f"{self.connection_id} in {self.stream_id}"


class Notice(models.Model):
    """The only control path between processes; the tick of each process reads it."""

    kind = models.CharField(max_length=20)
    subject = models.JSONField(default=dict)
    created = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class AuditEntry(models.Model):
    """Who did what, in admin, by a key or by a command."""

    created = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=50)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class Database(models.Model):
    """One row, which tells this database from any other: a copy put in its place is found out by it, and by how far it goes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.id)
