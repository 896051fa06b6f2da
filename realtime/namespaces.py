"""Streams that come into being on first use: of a namespace by its template, and the personal stream of each user."""

import re
from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q, QuerySet

from . import access, disk
from .access import Identity
from .conf import limit
from .errors import BadRequest, LimitExceeded, UnknownStream
from .models import STREAM_NAME, Audience, Kind, Namespace, Stream, Template

PERSONAL = re.compile(r"#[1-9][0-9]{0,17}\Z")
# Not `get_fields`, which needs all models: `from realtime import publish` may stand in a models.py.
TEMPLATE_FIELDS = tuple(field.name for field in Template._meta.local_fields)


def is_stream_name(name: str) -> bool:
    return STREAM_NAME.match(name) is not None or PERSONAL.match(name) is not None


def check_name(field: str, name: str) -> None:
    """Raises BadRequest for what cannot name a stream; an empty name is a matter of the method."""
    if name and not is_stream_name(name):
        raise BadRequest(field, "is not a stream name")


def namespace_of(name: str) -> str:
    """The part before the first colon; empty for a name without one."""
    return name.partition(":")[0] if ":" in name else ""


def create(name: str, identity: Identity | None, using: str, full: set[str], check: Callable[[Stream], None] = lambda _: None) -> Stream:
    """Create the stream `name` on its first use by `identity` (None: trusted). Runs in the caller's transaction.

    What `check` raises keeps the stream from coming into being. `full` keeps the namespaces that were found full: to count ten thousand
    streams takes a millisecond or more, once a transaction will do.

    Raises UnknownStream when no template allows it, or it does not let `identity` write; LimitExceeded for a full namespace; StorageFull.
    """
    stream = draft(name, identity, using)
    if stream is None:
        raise UnknownStream(name)
    check(stream)
    if not stream.personal:
        _require_place(name, using, full)
    disk.require_room(using)
    stream.save(using=using)
    return stream


def draft(name: str, identity: Identity | None, using: str) -> Stream | None:
    """The stream that a first use of `name` by `identity` would create; None when there is no template, or it does not let them write."""
    stream = _personal(name, using) if name.startswith("#") else _by_template(name, using)
    return stream if stream is not None and (identity is None or access.may_write(identity, stream, None)) else None


def _require_place(name: str, using: str, full: set[str]) -> None:
    namespace, most = namespace_of(name), limit("STREAMS_PER_NAMESPACE")
    if namespace in full or siblings(name, using).count() >= most:
        full.add(namespace)
        raise LimitExceeded(f"streams in the namespace {namespace!r}", most)


def _by_template(name: str, using: str) -> Stream | None:
    if not STREAM_NAME.match(name):
        return None
    template = Namespace.objects.using(using).filter(name=namespace_of(name), create_on_use=True).first()
    if template is None:
        return None
    return Stream(name=name, **{field: getattr(template, field) for field in TEMPLATE_FIELDS})


def _personal(name: str, using: str) -> Stream | None:
    """What programs tell one user. Nobody else reads it, whatever its row says: access.py knows its name."""
    if not PERSONAL.match(name) or not get_user_model()._default_manager.using(using).filter(pk=int(name[1:])).exists():
        return None
    closed = {"readers": Audience.MEMBERS, "writers": Audience.MEMBERS, "presence": False, "join_leave": False}
    return Stream(name=name, title="Personal", kind=Kind.FEED, **closed)


def siblings(name: str, using: str) -> QuerySet[Stream]:
    """The streams of the namespace of `name`."""
    streams = Stream.objects.using(using)
    namespace = namespace_of(name)
    if not namespace:
        return streams.exclude(name__contains=":").exclude(name__startswith="#")
    # A range, which the index of names answers: ";" is the character after ":".
    return streams.filter(Q(name__gte=f"{namespace}:") & Q(name__lt=f"{namespace};"))


def open_or_create(identity: Identity, name: str) -> Stream:
    """For a subscriber: the readable stream `name`, created if it is missing and `identity` may write to it. Writes."""
    with transaction.atomic():
        if not Stream.objects.filter(name=name).exists():
            create(name, identity, "default", set())
        return access.readable(identity, name)


def may_create(identity: Identity, name: str) -> bool:
    """Whether a first use of `name` by `identity` would create it: asked by a reader, before the write thread is."""
    return draft(name, identity, "default") is not None
