"""Principals as people know them."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model

from .models import ApiKey


def display_names(principals: Iterable[str]) -> dict[str, str]:
    """The name of each principal, by two queries at most. One that is gone keeps its principal for a name."""
    wanted = set(principals)
    names = {principal: principal.removeprefix("cli:") or "anonymous" for principal in wanted}
    users = {int(principal) for principal in wanted if principal.isascii() and principal.isdecimal() and len(principal) < 19}
    if users:
        for user in get_user_model()._default_manager.filter(pk__in=users):
            names[str(user.pk)] = user.get_full_name() or user.get_username()
    prefixes = {principal.removeprefix("key:") for principal in wanted if principal.startswith("key:")}
    if prefixes:
        for prefix, name in ApiKey.objects.filter(prefix__in=prefixes).values_list("prefix", "name"):
            names[f"key:{prefix}"] = name
    return names
