"""Reads the environment for `settings.py`. Every mistake in it is one sentence (`ImproperlyConfigured`), never a traceback."""

import ipaddress
import os
import re
import secrets
import socket
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

from realtime import keyfile

ON = frozenset({"1", "true", "yes", "on"})
OFF = frozenset({"0", "false", "no", "off"})
WILDCARDS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104 compared with, never bound to
# Longer than any key of ours needs; Django asks for 50 characters.
SECRET_KEY_BYTES = 50
LAST_PORT = 65_535
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})


class Environment(environ.FileAwareEnv):  # type: ignore[misc]  # environ has no types
    # NAME, or the contents of the file that NAME_FILE names: read anew each time, and never kept.
    ENVIRON = FileAwareMapping(cache=False)


environment = Environment()


def load(path: Path) -> None:
    """Takes over what `path` says, unless the environment says it already."""
    if not path.exists():
        return
    try:
        environ.Env.read_env(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}.") from error


def text(name: str, default: str = "") -> str:
    """NAME, or the contents of the file that NAME_FILE names."""
    try:
        value: str = environment.str(name, default=default)
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {error}.") from error
    return value.strip()


def words(name: str) -> list[str]:
    return [word.strip() for word in text(name).split(",") if word.strip()]


def switch(name: str, default: bool = False) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value not in ON | OFF:
        raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")
    return value in ON


def number(name: str, default: int, least: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number, {least} or more, not {value!r}.")
    return int(value)


def port(name: str, default: int) -> int:
    value = number(name, default)
    if value > LAST_PORT:
        raise ImproperlyConfigured(f"{name} must be a port number, {LAST_PORT} or less, not {value}.")
    return value


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def origins(name: str) -> list[str]:
    """Of pages elsewhere that may open sockets here, as a browser writes them."""
    return [origin(name, word) for word in words(name)]


def origin(name: str, value: str) -> str:
    parts = split(value)
    if parts is None or not is_origin(parts):
        raise ImproperlyConfigured(f"{name} must hold origins like https://example.org, not {value!r}.")
    return value.lower().rstrip("/")


def networks(name: str) -> list[str]:
    """Addresses and networks of proxies."""
    for word in words(name):
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} must hold addresses or networks like 10.0.0.0/8, not {word!r}.") from error
    return words(name)


def redis_url(name: str) -> str:
    value = text(name)
    if value and value.partition("://")[0] not in REDIS_SCHEMES:
        raise ImproperlyConfigured(f"{name} must look like redis://localhost:6379/0, not {value!r}.")
    return value


def time_zone(name: str, default: str) -> str:
    value = text(name, default)
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise ImproperlyConfigured(f"{name} must be a name like Europe/Vienna, not {value!r}.") from error
    return value


def split(url: str) -> SplitResult | None:
    """The parts of a URL; None when a host or port in it cannot be one."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def is_origin(parts: SplitResult) -> bool:
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and parts.path in {"", "/"}
        and not (parts.query or parts.fragment or parts.username)
    )


def version(changelog: Path) -> str:
    """The newest version that the changelog tells of."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog.read_text(), re.MULTILINE) if changelog.exists() else None
    return found[1] if found else "unknown"


class PublicUrl(NamedTuple):
    """Where people reach this server, seen from outside."""

    host: str
    origin: str
    secure: bool


def public_url(name: str) -> PublicUrl | None:
    value = text(name)
    if not value:
        return None
    parts = split(value)
    if parts is None or not is_origin(parts):
        raise ImproperlyConfigured(f"{name} must look like https://wirelog.example.org, without a path, not {value!r}.")
    return PublicUrl(bracketed(parts.hostname or ""), f"{parts.scheme}://{parts.netloc.lower()}", parts.scheme == "https")


def allowed_hosts(listen: str, public: PublicUrl | None) -> list[str]:
    """The names by which a browser may ask for this server when ALLOWED_HOSTS is not given."""
    hosts = ["localhost", "127.0.0.1", "[::1]", socket.gethostname().lower()]
    if listen in WILDCARDS:
        hosts += own_addresses()
    elif listen:
        hosts.append(bracketed(listen))
    if public:
        hosts.append(public.host)
    return list(dict.fromkeys(hosts))


def local_url(listen: str, port: int) -> str:
    """Where somebody on this machine reaches the server."""
    host = "localhost" if listen in WILDCARDS else bracketed(listen)
    return f"http://{host}:{port}"


def bracketed(host: str) -> str:
    """An address as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()


def own_addresses() -> list[str]:
    """Every address of this machine: what a phone in the same network types when the server listens on all of them."""
    import psutil  # noqa: PLC0415 costs a quarter of a second, and few need it

    found: list[str] = []
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET:
                found.append(address.address)
            elif address.family == socket.AF_INET6:
                found.append(f"[{address.address.partition('%')[0]}]")
    return found


def data_folder(path: Path) -> Path:
    """The folder of the database and the keys: made when missing, and refused when nothing can be written there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {path} cannot be made: {error.strerror}. Make it writable, or name another by WIRELOG_DATA."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"The data folder {path} is not writable for this user. Make it writable, or name another by WIRELOG_DATA."
        )
    return path


def secret_key(path: Path) -> str:
    """The key of this installation, made on first use. Whoever reads it can sign in as anybody: only its owner may."""
    try:
        if not path.exists():
            keyfile.write_once(path, secrets.token_urlsafe(SECRET_KEY_BYTES))
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"The secret key in {path} cannot be read or made: {error}. Make it readable, or set SECRET_KEY."
        ) from error
    if not key:
        raise ImproperlyConfigured(f"The secret key in {path} is empty. Delete the file and a new one is made; everybody signs in again.")
    return key


def database(name: str, default: Path, base: Path) -> dict[str, Any]:
    """The database that DATABASE_URL names. SQLite only, so far."""
    url = text(name)
    if not url:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
    scheme = url.partition(":")[0].lower()
    if scheme != "sqlite":
        raise ImproperlyConfigured(
            f"{name} names a {scheme} database; this version of Wirelog stores in SQLite only. Use sqlite:////a/file, or leave it out."
        )
    path = environ.Env.db_url_config(url)["NAME"]
    if path == ":memory:":
        raise ImproperlyConfigured(
            f"{name} names a database in memory, where no record survives. Use sqlite:////path/to/file, or leave {name} out."
        )
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": base / path}
