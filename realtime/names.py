"""Principals as people know them."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import IntegerField

from .models import ApiKey


def label_of(user: Any) -> str:
    """How people call a user. Those of a foreign project need not have a full name."""
    full_name = user.get_full_name() if hasattr(user, "get_full_name") else ""
    return str(full_name or user.get_username())


def display_names(principals: Iterable[str]) -> dict[str, str]:
    """The name of each principal, by two queries at most. One that is gone keeps its principal for a name."""
    wanted = set(principals)
    names = {principal: principal.removeprefix("cli:") or "anonymous" for principal in wanted}
    users = {key for principal in wanted if (key := _user_key(principal)) is not None}
    if users:
        for user in get_user_model()._default_manager.filter(pk__in=users):
            names[str(user.pk)] = label_of(user)
    prefixes = {principal.removeprefix("key:") for principal in wanted if principal.startswith("key:")}
    if prefixes:
        for prefix, name in ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", "name"):
            names[f"key:{prefix}"] = name
    return names


def _user_key(principal: str) -> Any:
    """The primary key of the user that `principal` may be; None when it is nobody's."""
    field: Any = get_user_model()._meta.pk
    if isinstance(field, IntegerField):
        return int(principal) if principal.isascii() and principal.isdecimal() and len(principal) < 19 else None
    try:
        return field.to_python(principal)
    except ValidationError:
        return None
