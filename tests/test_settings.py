import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.exceptions import ImproperlyConfigured

from project import environment

from .machine import ROOT

Read = Callable[..., dict[str, Any]]
Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def read(data: Path) -> Read:
    """The settings under some environment."""

    def run(**names: str) -> dict[str, Any]:
        with patch.dict(os.environ, {"WIRELOG_ENV_FILE": os.devnull, "WIRELOG_DATA": str(data)} | names, clear=True):
            spec = spec_from_file_location("project.settings_once_more", ROOT / "project" / "settings.py")
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return vars(module)

    return run


@pytest.fixture
def manage(data: Path) -> Manage:
    def run(*arguments: str, **names: str) -> subprocess.CompletedProcess[str]:
        names = {"PATH": os.environ["PATH"], "WIRELOG_ENV_FILE": os.devnull, "WIRELOG_DATA": str(data)} | names
        return subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=names, capture_output=True, text=True, check=False)

    return run


def test_it_works_with_an_empty_environment(manage: Manage, data: Path) -> None:
    done = manage("check", "--tag", "security", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_the_defaults_are_careful(read: Read) -> None:
    defaults = {
        "DEBUG": False,
        "HOST": "127.0.0.1",
        "PORT": 8000,
        "ALLOWED_HOSTS": list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", socket.gethostname().lower()])),
        "SESSION_COOKIE_SECURE": False,
        "SECURE_HSTS_SECONDS": 0,
    }
    settings = read()
    assert {name: settings[name] for name in defaults} == defaults


def test_the_public_url_says_who_may_ask_and_that_cookies_are_secure(read: Read) -> None:
    values = read(PUBLIC_URL="https://Wire.example.org:8443/")
    assert "wire.example.org" in values["ALLOWED_HOSTS"]
    assert values["CSRF_TRUSTED_ORIGINS"] == ["https://wire.example.org:8443"]
    assert values["SESSION_COOKIE_SECURE"] is True
    assert values["CSRF_COOKIE_SECURE"] is True
    assert values["SECURE_HSTS_SECONDS"] > 0
    assert values["WIRELOG"]["ORIGINS"] == ["https://wire.example.org:8443"]
    assert values["WIRELOG"]["BASE_URL"] == "https://wire.example.org:8443"


def test_pages_are_redirected_to_https_only_where_a_proxy_can_say_that_they_are(read: Read) -> None:
    assert read(PUBLIC_URL="https://w.example.org")["SECURE_SSL_REDIRECT"] is False
    proxied = read(PUBLIC_URL="https://w.example.org", TRUSTED_PROXIES="127.0.0.1")["SECURE_SSL_REDIRECT"]
    assert proxied is True


def test_given_hosts_replace_the_default(read: Read) -> None:
    assert read(ALLOWED_HOSTS="a.example.org, b.example.org")["ALLOWED_HOSTS"] == ["a.example.org", "b.example.org"]


@pytest.mark.parametrize("host, allowed", [("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "[2001:db8::1]"), ("Pi.local", "pi.local")])
def test_the_address_it_listens_on_is_allowed(host: str, allowed: str) -> None:
    assert allowed in environment.allowed_hosts(host, None)


@pytest.mark.parametrize("host", sorted(environment.WILDCARDS))
def test_listening_everywhere_allows_every_address_of_the_machine_and_no_other(host: str) -> None:
    allowed = environment.allowed_hosts(host, None)
    assert "127.0.0.1" in allowed
    assert set(environment.own_addresses()) <= set(allowed)
    assert not {"*", "", host} & set(allowed)


@pytest.mark.parametrize(
    "listen, port, url",
    [("127.0.0.1", 8000, "http://127.0.0.1:8000"), ("0.0.0.0", 80, "http://localhost:80"), ("::1", 8000, "http://[::1]:8000")],
)
def test_it_knows_where_it_is_reached_from_here(listen: str, port: int, url: str) -> None:
    assert environment.local_url(listen, port) == url


# The secret key


def test_a_secret_key_is_made_once_and_only_its_owner_may_read_it(read: Read, data: Path) -> None:
    first = read()["SECRET_KEY"]
    assert len(first) >= 50
    assert stat.S_IMODE((data / "secret_key").stat().st_mode) == 0o600
    assert read()["SECRET_KEY"] == first


def test_a_given_secret_key_is_not_written_down(read: Read, data: Path) -> None:
    assert read(SECRET_KEY="from the environment")["SECRET_KEY"] == "from the environment"
    assert not (data / "secret_key").exists()


def test_a_secret_may_come_from_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    assert read(SECRET_KEY_FILE=str(tmp_path / "key"))["SECRET_KEY"] == "from a file"


def test_the_env_file_is_read_and_the_environment_wins(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\nPORT=8123\nHOST='0.0.0.0'\nWIRELOG_PING_SECONDS=7\n")
    values = read(WIRELOG_ENV_FILE=str(file), PORT="9000")
    assert (values["PORT"], values["HOST"], values["WIRELOG"]["PING_SECONDS"]) == (9000, "0.0.0.0", 7)


def test_redis_takes_the_place_of_the_layer_in_memory(read: Read) -> None:
    assert read()["CHANNEL_LAYERS"] == {}
    values = read(REDIS_URL="redis://localhost:6379/1")["CHANNEL_LAYERS"]["default"]
    assert values == {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://localhost:6379/1"]}}


def test_a_relative_database_is_relative_to_the_checkout(read: Read) -> None:
    values = read(DATABASE_URL="sqlite:///data/other.sqlite3")
    assert values["DATABASES"]["default"]["NAME"] == (ROOT / "data" / "other.sqlite3")


# Mistakes


@pytest.mark.parametrize(
    "names, sentence",
    [
        ({"PORT": "http"}, "PORT must be a whole number, 0 or more, not 'http'."),
        ({"PORT": "-1"}, "PORT must be a whole number, 0 or more, not '-1'."),
        ({"PORT": "65536"}, "PORT must be a port number, 65535 or less, not 65536."),
        ({"DEBUG": "maybe"}, "DEBUG must be on or off, not 'maybe'."),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of text, json, not 'xml'."),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'loud'."),
        ({"WIRELOG_PING_SECONDS": "often"}, "WIRELOG_PING_SECONDS must be a whole number, 1 or more, not 'often'."),
        ({"WIRELOG_PAGE_RECORDS": "0"}, "WIRELOG_PAGE_RECORDS must be a whole number, 1 or more, not '0'."),
        ({"WIRELOG_OUTBOX_BYTES": "1023"}, "WIRELOG_OUTBOX_BYTES must be a whole number, 1024 or more, not '1023'."),
        ({"PUBLIC_URL": "wirelog.example.org"}, "PUBLIC_URL must look like https://wirelog.example.org"),
        ({"PUBLIC_URL": "https://example.org/wirelog"}, "PUBLIC_URL must look like https://wirelog.example.org, without a path"),
        ({"PUBLIC_URL": "https://[::1"}, "PUBLIC_URL must look like https://wirelog.example.org"),
        ({"PUBLIC_URL": "https://example.org:port"}, "PUBLIC_URL must look like https://wirelog.example.org"),
        (
            {"DATABASE_URL": "postgres://localhost/wirelog"},
            "DATABASE_URL names a postgres database; this version of Wirelog stores in SQLite only.",
        ),
        ({"DATABASE_URL": "sqlite://:memory:"}, "DATABASE_URL names a database in memory"),
        ({"SECRET_KEY_FILE": "/nowhere/key"}, "SECRET_KEY_FILE names a file that cannot be read"),
        ({"TIME_ZONE": "Mars/Olympus"}, "TIME_ZONE must be a name like Europe/Vienna, not 'Mars/Olympus'."),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL must look like redis://localhost:6379/0, not 'localhost:6379'."),
        ({"WIRELOG_ORIGINS": "example.org"}, "WIRELOG_ORIGINS must hold origins like https://example.org, not 'example.org'."),
        ({"TRUSTED_PROXIES": "proxy"}, "TRUSTED_PROXIES must hold addresses or networks like 10.0.0.0/8, not 'proxy'."),
    ],
    ids=lambda value: "=".join(*value.items()) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_sentence(read: Read, names: dict[str, str], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        read(**names)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("command", ["check", "migrate", "serve"])
def test_every_command_says_it_without_a_traceback(manage: Manage, command: str) -> None:
    done = manage(command, PORT="http")
    assert done.returncode == 1
    assert done.stderr == "Error: PORT must be a whole number, 0 or more, not 'http'.\n"


def test_a_data_folder_that_cannot_be_made_is_one_sentence(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = manage("check", WIRELOG_DATA=str(tmp_path / "file" / "data"))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: The data folder {tmp_path}/file/data cannot be made: Not a directory. Make it writable, or name another by WIRELOG_DATA.\n"
    )


def test_a_data_folder_without_write_permission_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The permission itself stops everybody but root, and tests run as root in containers.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ImproperlyConfigured, match="is not writable for this user"):
        environment.data_folder(data)


def test_an_empty_secret_key_file_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "secret_key").touch()
    with pytest.raises(ImproperlyConfigured, match="is empty"):
        environment.secret_key(data / "secret_key")


def test_a_database_that_cannot_be_opened_is_one_sentence(manage: Manage, tmp_path: Path) -> None:
    done = manage("migrate", DATABASE_URL=f"sqlite:///{tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The database cannot be used (unable to open database file)")
    assert done.stderr.count("\n") == 1


def test_a_python_without_django_says_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-S", "manage.py", "check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: django is not installed for {sys.executable}. Run `make setup`, then use .venv/bin/python manage.py.\n"
