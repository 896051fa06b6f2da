import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import checks as django_checks
from django.core.checks import CheckMessage
from django.db import connection

from project import staticfiles
from realtime import checks

Settings = Any


def ids(messages: Iterator[CheckMessage] | list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_a_good_set_up_has_nothing_to_say() -> None:
    assert [
        message for message in django_checks.run_checks() if message.level >= django_checks.WARNING and message.id != "realtime.W003"
    ] == []


def test_every_message_names_a_cure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {})
    settings.WIRELOG = {"RATE_LIMITS": False, "FAILPOINTS": "reads.page=sleep:1"}
    settings.SESSION_COOKIE_SECURE = True
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setenv("WIRELOG_NONSENSE", "1")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    found = [
        *checks.check_settings(),
        *checks.check_processes(),
        *checks.check_failpoints(),
        *checks.check_sqlite_version(),
        *checks.check_names(),
        *checks.check_production(),
    ]
    assert ids(found) == [f"realtime.{number}" for number in ("E001", "E002", "W006", "E004", "E005", "W001", "W004", "E003", "W005")]
    assert all(message.hint for message in found)


@pytest.mark.parametrize(
    "version, warned",
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
    ],
)
def test_a_sqlite_with_the_wal_reset_bug_is_named(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], warned: bool) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert ids(checks.check_sqlite_version()) == (["realtime.W001"] if warned else [])


def test_the_check_looks_at_the_sqlite_that_django_uses() -> None:
    from django.db.backends.sqlite3 import base

    assert base.Database.sqlite_version_info == sqlite3.sqlite_version_info  # type: ignore[attr-defined]


# The journal mode


@pytest.mark.django_db(transaction=True)
def test_migrate_has_set_wal() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone() == (2,), "FULL"
    assert ids(checks.check_wal(databases=["default"])) == []


@pytest.fixture
def other_database(tmp_path: Path) -> Iterator[Path]:
    """The default connection, on another file for once."""
    path = tmp_path / "other.sqlite3"
    connection.close()
    name = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = path
    yield path
    connection.close()
    connection.settings_dict["NAME"] = name


@pytest.mark.django_db(transaction=True)
def test_a_copied_database_that_lost_wal_is_named(other_database: Path) -> None:
    sqlite3.connect(other_database).execute("CREATE TABLE something (id)").connection.close()
    assert ids(checks.check_wal(databases=["default"])) == ["realtime.W002"]


@pytest.mark.django_db(transaction=True)
def test_a_database_before_its_first_migrate_is_not_blamed(other_database: Path) -> None:
    assert ids(checks.check_wal(databases=["default"])) == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_cannot_be_opened_is_left_to_others(other_database: Path) -> None:
    other_database.mkdir()
    assert ids(checks.check_wal(databases=["default"])) == []


def test_without_a_database_to_look_at_nothing_is_opened() -> None:
    assert ids(checks.check_wal(databases=None)) == []


# Processes


@pytest.mark.parametrize("workers, refused", [("1", False), ("2", True), ("auto", False)])
def test_several_processes_need_redis(monkeypatch: pytest.MonkeyPatch, settings: Settings, workers: str, refused: bool) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    assert ids(checks.check_processes()) == (["realtime.E004"] if refused else [])
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    assert ids(checks.check_processes()) == []


# The environment


@pytest.mark.parametrize("debug, testing, refused", [(False, False, True), (True, False, False), (False, True, False)])
def test_failpoints_are_for_tests_only(settings: Settings, debug: bool, testing: bool, refused: bool) -> None:
    settings.DEBUG = debug
    settings.TESTING = testing
    assert ids(checks.check_failpoints()) == []
    settings.WIRELOG = settings.WIRELOG | {"FAILPOINTS": "journal.before_commit=kill:1"}
    assert ids(checks.check_failpoints()) == (["realtime.E005"] if refused else [])


def test_a_misspelt_setting_is_named_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRELOG_PING_SECOND", "5")
    (found,) = checks.check_names()
    assert "WIRELOG_PING_SECOND " in found.msg
    assert found.hint == "Did you mean WIRELOG_PING_SECONDS?"


def test_known_settings_and_their_files_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WIRELOG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WIRELOG_PING_SECONDS", "5")
    monkeypatch.setenv("WIRELOG_ORIGINS_FILE", "/run/secrets/origins")
    monkeypatch.setenv("WIRELOG_DATA", "/srv/wirelog")
    assert ids(checks.check_names()) == []


# Static files


def test_missing_browser_packages_are_named(settings: Settings, tmp_path: Path) -> None:
    settings.PACKAGES = {"centrifuge": tmp_path / "missing", "uplot": tmp_path}
    (found,) = staticfiles.check_assets()
    assert found.id == "realtime.W003"
    assert found.msg == "The browser package centrifuge is not installed, so live views cannot work."
    assert found.hint == "Run `make setup`."


def test_static_files_that_were_not_collected_are_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PACKAGES = {"centrifuge": tmp_path, "uplot": tmp_path}
    monkeypatch.setattr(staticfiles, "staticfiles_storage", staticfiles.AssetsStorage(location=tmp_path, base_url="/static/"))
    assert "are not collected" in staticfiles.problem()


@pytest.mark.django_db
def test_a_page_says_that_static_files_are_missing(client: Any, settings: Settings, tmp_path: Path) -> None:
    settings.PACKAGES = {"centrifuge": tmp_path / "missing", "uplot": tmp_path / "missing"}
    page = client.get("/accounts/login/").content.decode()
    assert "The browser packages centrifuge and uplot are not installed, so live views cannot work. Run `make setup`." in page


def test_the_production_checks_are_silent_about_production() -> None:
    assert "realtime.W005" not in settings.SILENCED_SYSTEM_CHECKS
    assert ids(checks.check_production()) == []
