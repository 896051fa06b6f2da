"""System checks: a wrong set-up is told by a sentence and its cure, before it costs data.

realtime.E001  ATOMIC_REQUESTS is on
realtime.E002  another database than SQLite
realtime.E003  rate limits are off (deploy)
realtime.E004  several processes without Redis
realtime.E005  failpoints outside of tests
realtime.W001  SQLite with the WAL-reset bug
realtime.W002  the database is not in WAL mode
realtime.W003  static files are missing (project/staticfiles.py)
realtime.W004  an unknown WIRELOG_ name in the environment
realtime.W005  HTTPS outside, but no trusted proxy (deploy)
realtime.W006  transactions do not begin with the write lock
"""

import difflib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import OperationalError, connections

from .conf import DEFAULTS, option

# Names of the environment that are no limit.
OTHER_NAMES = frozenset({"DATA", "ORIGINS", "RATE_LIMITS", "ENV_FILE", "REQUIRE_ALL", "KEY"})
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_BACKPORTS = frozenset({(3, 44, 6), (3, 50, 7)})


def sqlite_aliases(databases: Sequence[str] | None) -> list[str]:
    return [alias for alias in databases or () if connections[alias].vendor == "sqlite"]


@register(Tags.compatibility)
def check_settings(**kwargs: Any) -> Iterator[CheckMessage]:
    for alias, database in settings.DATABASES.items():
        if database.get("ATOMIC_REQUESTS"):
            yield Error(
                f"ATOMIC_REQUESTS is on for database {alias!r}: every page would hold the write lock for as long as it takes.",
                hint="Turn it off, and wrap what belongs together in transaction.atomic().",
                id="realtime.E001",
            )
    default = settings.DATABASES["default"]
    engine = default["ENGINE"]
    if "sqlite" not in engine:
        yield Error(
            f"The database engine is {engine}; this version of Wirelog stores in SQLite only.",
            hint="Use django.db.backends.sqlite3, or leave DATABASE_URL out.",
            id="realtime.E002",
        )
    if default.get("OPTIONS", {}).get("transaction_mode", "DEFERRED").upper() == "DEFERRED":
        yield checks.Warning(
            "Transactions do not begin with the write lock: one that reads first fails at once when another has written meanwhile.",
            hint='Set OPTIONS of the default database to {"transaction_mode": "IMMEDIATE", "timeout": 20}.',
            id="realtime.W006",
        )


@register(Tags.compatibility)
def check_processes(**kwargs: Any) -> Iterator[CheckMessage]:
    workers = os.environ.get("WEB_CONCURRENCY", "1")
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {"BACKEND": IN_MEMORY})
    if layer["BACKEND"] == IN_MEMORY and workers.isdigit() and int(workers) > 1:
        yield Error(
            f"WEB_CONCURRENCY asks for {workers} processes, but without Redis they cannot tell each other of new records.",
            hint="Set REDIS_URL, or serve with one process.",
            id="realtime.E004",
        )


@register(Tags.compatibility)
def check_failpoints(**kwargs: Any) -> Iterator[CheckMessage]:
    if option("FAILPOINTS") and not (settings.DEBUG or getattr(settings, "TESTING", False)):
        yield Error(
            "The settings key FAILPOINTS is set: the server would die, wait or fail where a test wants it to.",
            hint="Take FAILPOINTS out of WIRELOG in the settings; only tests need it.",
            id="realtime.E005",
        )


@register(Tags.compatibility)
def check_sqlite_version(**kwargs: Any) -> Iterator[CheckMessage]:
    version = sqlite3.sqlite_version_info
    if version < WAL_RESET_FIXED and version not in WAL_RESET_BACKPORTS:
        yield checks.Warning(
            f"SQLite {sqlite3.sqlite_version} can, rarely, corrupt a database in WAL mode when two connections write at once.",
            hint="Install pysqlite3>=0.6.1 (wheels for Linux x86_64 and macOS arm64), in a project of your own named in its settings "
            "(docs/django.md), or a Python with SQLite 3.51.3, 3.50.7 or 3.44.6.",
            id="realtime.W001",
        )


@register(Tags.database)
def check_wal(databases: Sequence[str] | None = None, **kwargs: Any) -> Iterator[CheckMessage]:
    for alias in sqlite_aliases(databases):
        mode = journal_mode(alias)
        if mode not in {"", "wal"}:
            yield checks.Warning(
                f"Database {alias!r} is in journal mode {mode!r}, not in WAL: readers and the writer wait for each other.",
                hint="Run manage.py migrate, which sets it. A network file system cannot have it: keep the database on a local disk.",
                id="realtime.W002",
            )


def journal_mode(alias: str) -> str:
    """Empty for a database that has no tables yet: the first `migrate` is about to set the mode."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sqlite_master")
            if cursor.fetchone()[0] == 0:
                return ""
            cursor.execute("PRAGMA journal_mode")
            return str(cursor.fetchone()[0])
    except OperationalError:
        # `migrate` and `serve` say what is wrong with the file, in their own words.
        return ""


@register(Tags.compatibility)
def check_names(**kwargs: Any) -> Iterator[CheckMessage]:
    known = {f"WIRELOG_{name}" for name in (*DEFAULTS, *OTHER_NAMES)}
    for name in sorted(os.environ):
        if name.startswith("WIRELOG_") and not known & {name, name.removesuffix("_FILE")}:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            yield checks.Warning(
                f"{name} in the environment is not a setting of Wirelog, and does nothing.",
                hint=f"Did you mean {close[0]}?" if close else "docs/configuration.md lists the settings.",
                id="realtime.W004",
            )


@register(Tags.security, deploy=True)
def check_production(**kwargs: Any) -> Iterator[CheckMessage]:
    if not option("RATE_LIMITS"):
        yield Error(
            "WIRELOG_RATE_LIMITS is off: one client can take the whole server.",
            hint="Leave it out. It is for benchmarks only.",
            id="realtime.E003",
        )
    if settings.SESSION_COOKIE_SECURE and not option("TRUSTED_PROXIES"):
        yield checks.Warning(
            "PUBLIC_URL is https, but no proxy is trusted to say so: nobody is redirected to https, and all clients have one address.",
            hint="Set TRUSTED_PROXIES to the address of the proxy that ends TLS, for example 127.0.0.1.",
            id="realtime.W005",
        )
