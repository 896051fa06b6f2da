from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from . import failpoints
from .conf import option


class RealtimeConfig(AppConfig):
    name = "realtime"
    # That of the project around it may be another.
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Wirelog"

    def ready(self) -> None:
        from . import checks, revocation  # noqa: F401, PLC0415 registers them; models are loaded only now

        revocation.connect()
        failpoints.arm(option("FAILPOINTS"))
        autodiscover_modules("rpc")
        post_migrate.connect(use_wal, sender=self)


def use_wal(using: str, **kwargs: Any) -> None:
    """WAL is kept in the database file: set once here, and not by every connection, where it would wait for the write lock."""
    if connections[using].vendor == "sqlite":
        with connections[using].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
