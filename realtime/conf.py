"""Every setting of Wirelog: name, default, one sentence. The only reader of `settings.WIRELOG`.

A limit NAME is set by the environment variable WIRELOG_NAME or by the key NAME of the dict `WIRELOG` in Django's settings. A project that
installs Wirelog as an app needs no such dict.
"""

from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class Setting(NamedTuple):
    name: str
    default: int
    help: str
    # The smallest value with which a server can work.
    least: int = 1


SETTINGS = (
    Setting("MESSAGE_BYTES", 1_048_576, "Largest message a client may send; a larger one closes its connection (1009).", 1_024),
    Setting("PAYLOAD_BYTES", 131_072, "Largest payload of a record in a stream that sets no limit of its own (413)."),
    Setting("STREAMS_PER_CONNECTION", 128, "Subscriptions that one connection may hold (106)."),
    Setting("STREAMS_PER_NAMESPACE", 10_000, "Streams of a namespace beyond which first use creates no more (106).", 0),
    Setting("CONNECTIONS", 10_000, "Connections that one process holds (3504; 429 for answers that last); 0 sets no limit.", 0),
    Setting(
        "CONNECTIONS_PER_USER", 20, "Connections that one person holds to one process (3504); 0 sets no limit. Keys have their own.", 0
    ),
    Setting("COMMANDS_PER_SECOND", 50, "Commands of one connection in a second, publishes aside (111); 0 sets no limit.", 0),
    Setting("COMMAND_BURST", 200, "Commands of one connection at once; so many refusals in 10 seconds close it (3013)."),
    Setting(
        "PUBLISHES_PER_SECOND", 20, "Publishes of one person in a second, by all doors (111); 0 sets no limit. Keys have their own.", 0
    ),
    Setting("PUBLISH_BURST", 100, "Publishes of one person at once."),
    Setting("BAD_MESSAGES_PER_MINUTE", 10, "Senseless commands of one connection (107); one more closes it (3509). 0 sets no limit.", 0),
    Setting("WRONG_KEYS_PER_MINUTE", 20, "Wrong API keys of one address (429, 3013); those that were right go on. 0 sets no limit.", 0),
    Setting("CONNECT_SECONDS", 10, "Time between opening a socket and its connect command (3502)."),
    Setting("IN_FLIGHT", 256, "Publishes of one connection that may wait for their commit; over it the socket is not read."),
    Setting("JOURNAL_QUEUE", 20_000, "Publishes of one process that may wait for their commit (111)."),
    Setting("BATCH_RECORDS", 1_000, "Records in one transaction, at most."),
    Setting("BATCH_BYTES", 4_194_304, "Payload bytes in one transaction, at most."),
    Setting("FREE_DISK_BYTES", 67_108_864, "Free space on the disk of the database below which nothing more is stored (507).", 0),
    Setting("PAGE_RECORDS", 300, "Records in one page of history or replay, at most."),
    Setting("PAGE_BYTES", 262_144, "Payload bytes in one page of history or replay, at most."),
    Setting(
        "OUTBOX_BYTES", 1_048_576, "Publications that wait for one connection; past it the cursor waits and the database paces.", 1_024
    ),
    Setting("FRAME_BYTES", 65_536, "Largest frame of joined messages; a larger message goes alone."),
    Setting("RING_BYTES", 33_554_432, "Latest records kept in memory, all streams of a process together.", 0),
    Setting("PING_SECONDS", 25, "Interval of pings; under the 60 s idle cut-off of common proxies."),
    Setting("PONG_SECONDS", 8, "Time for the answer to a ping on an otherwise idle connection (3012)."),
    Setting("PROGRESS_SECONDS", 30, "Time for the answer to a ping while data is on its way (3008)."),
    Setting("ABORT_SECONDS", 5, "Time for a closing handshake before the transport is aborted."),
    Setting("DRAIN_SECONDS", 10, "Time to stop: flush, close every connection, exit."),
    Setting("SIGNAL_QUEUE", 10_000, "Events that wait for the receivers of signals; over it they are dropped."),
    Setting("RECHECK_SECONDS", 55, "Time after which the rights of a connection are read again, in case nobody told of a change."),
    Setting("HEARTBEAT_SECONDS", 20, "Interval at which a process says that it lives."),
    Setting("FRESH_SECONDS", 60, "Age of a heartbeat at which a process and its presence count as gone."),
)

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
LEAST = {setting.name: setting.least for setting in SETTINGS}

# What is no limit, and what holds in a project that says nothing. The server's own project/settings.py says it all.
OPTIONS: dict[str, Any] = {
    # Origins besides the own one whose pages may connect with a cookie.
    "ORIGINS": (),
    # Addresses and networks whose X-Forwarded headers are believed.
    "TRUSTED_PROXIES": (),
    # Off: no rate and connection limits, for benchmarks.
    "RATE_LIMITS": True,
    # Where Redis is that joins several processes.
    "REDIS_URL": "",
    # What a client is told in the reply to connect.
    "VERSION": "wirelog",
    # What links begin with that are made outside of a request.
    "BASE_URL": "http://127.0.0.1:8000",
    # On: the server makes an operator when there is no superuser. Not for a project that has users of its own.
    "OPERATOR": False,
    # Where tests kill, delay or fail the server: see failpoints.py.
    "FAILPOINTS": "",
}


def option(name: str) -> Any:
    """The value of one option; an unknown name is a programming error (KeyError)."""
    default = OPTIONS[name]
    return _given().get(name, default)


def data_folder() -> Path:
    """Where a server keeps files of its own, such as its lock: the option DATA, or else the folder of the database."""
    given = _given().get("DATA")
    return Path(given or Path(settings.DATABASES["default"]["NAME"]).parent)


def _given() -> dict[str, Any]:
    given: dict[str, Any] = getattr(settings, "WIRELOG", {})
    return given


def limit(name: str) -> int:
    """The value of one setting; an unknown name is a programming error (KeyError)."""
    default = DEFAULTS[name]
    value: Any = _given().get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < LEAST[name]:
        raise ImproperlyConfigured(f"WIRELOG_{name} must be a whole number, {LEAST[name]} or more, not {value!r}.")
    return value


def rate(name: str) -> int:
    """As `limit`, for what RATE_LIMITS=off lifts: 0 then."""
    return limit(name) if option("RATE_LIMITS") else 0
