"""Access that may have changed: the only model signals.

Each says by a notice whom to look at again, in the transaction of the change, and never what they may do now: every process reads that
itself (control.py), by the same functions that let somebody in. What is written behind the ORM's back is found by the look that each
connection gets once a minute.
"""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, user_logged_out
from django.contrib.auth.models import Group
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.utils import timezone

from . import credentials
from .models import ApiKey, Membership, Stream
from .notices import post

# What decides of access; another column of the same table does not.
USER_FIELDS = frozenset({"password", "is_active", "is_superuser"})
KEY_FIELDS = frozenset({"revoked", "expires", "scopes", "digest", "previous_digest", "previous_until", "publish_rate", "max_connections"})
STREAM_FIELDS = frozenset({"name", "readers", "writers", "archived", "durable", "max_payload"})


def connect() -> None:
    """Once, when the models are loaded."""
    user: Any = get_user_model()
    for signal, sender, receiver in (
        (post_save, user, user_saved),
        (post_delete, user, user_deleted),
        (m2m_changed, user.groups.through, groups_changed),
        (post_delete, Group, group_deleted),
        (post_save, ApiKey, key_saved),
        (post_delete, ApiKey, key_deleted),
        (pre_save, Membership, membership_saving),
        (post_save, Membership, membership_saved),
        (post_delete, Membership, membership_deleted),
        (post_save, Stream, stream_saved),
        (post_delete, Stream, stream_deleted),
    ):
        signal.connect(receiver, sender=sender)
    store = credentials.session_store(settings.SESSION_ENGINE)
    if hasattr(store, "get_model_class"):
        post_delete.connect(session_deleted, sender=store.get_model_class())
    else:
        user_logged_out.connect(logged_out)


def decides(fields: Collection[str], created: bool, update_fields: Collection[str] | None) -> bool:
    """Whether a save may have taken something away: what is new was shown by nobody yet."""
    return not created and (update_fields is None or not set(fields).isdisjoint(update_fields))


# People


def user_saved(instance: Any, created: bool, update_fields: Collection[str] | None, **kwargs: Any) -> None:
    if decides(USER_FIELDS, created, update_fields):
        post("access", user=str(instance.pk))


def user_deleted(instance: Any, **kwargs: Any) -> None:
    post("access", user=str(instance.pk))
    # Nobody is left who could read it: programs that go on writing are told so.
    for stream in Stream.objects.filter(name=f"#{instance.pk}", archived=None):
        stream.archived = timezone.now()
        stream.save(update_fields=["archived"])


def groups_changed(instance: Any, action: str, reverse: bool, pk_set: Collection[Any] | None, **kwargs: Any) -> None:
    """`user.groups` and, in reverse, `group.user_set`, which when it is cleared names nobody: those who had the group are known by it."""
    if not action.startswith("post_"):
        return
    if reverse and pk_set is None:
        post("access", group=instance.pk)
    for pk in (pk_set or ()) if reverse else (instance.pk,):
        post("access", user=str(pk))


def group_deleted(instance: Group, **kwargs: Any) -> None:
    post("access", group=instance.pk)


def session_deleted(instance: Any, **kwargs: Any) -> None:
    # Those that had ended by themselves are removed by the thousand, and concern nobody; nor do those of visitors.
    if instance.expire_date > timezone.now() and getattr(instance, "user_id", "unknown") is not None:
        post("access", credential=credentials.of_session(instance.session_key).digest)


def logged_out(request: Any, **kwargs: Any) -> None:
    """For an engine of sessions without a model."""
    if request.session.session_key:
        post("access", credential=credentials.of_session(request.session.session_key).digest)


# Keys


def key_saved(instance: ApiKey, created: bool, update_fields: Collection[str] | None, **kwargs: Any) -> None:
    if decides(KEY_FIELDS, created, update_fields):
        key_deleted(instance)


def key_deleted(instance: ApiKey, **kwargs: Any) -> None:
    post("access", user=f"key:{instance.prefix}")


# Streams


def membership_saving(instance: Any, **kwargs: Any) -> None:
    # Only the row still knows whose it was; to tell now would be before the change.
    instance.replaced = list(Membership.objects.filter(pk=instance.pk)) if instance.pk is not None else []


def membership_saved(instance: Any, created: bool, **kwargs: Any) -> None:
    if not created:
        membership_deleted(instance)
        for was in instance.replaced:
            if (was.user_id, was.group_id) != (instance.user_id, instance.group_id):
                membership_deleted(was)


def membership_deleted(instance: Membership, **kwargs: Any) -> None:
    if instance.user_id is not None:
        post("access", user=str(instance.user_id))
    else:
        post("access", group=instance.group_id)


def stream_saved(instance: Stream, created: bool, update_fields: Collection[str] | None, **kwargs: Any) -> None:
    if decides(STREAM_FIELDS, created, update_fields):
        stream_deleted(instance)


def stream_deleted(instance: Stream, **kwargs: Any) -> None:
    post("access", stream=instance.pk)
