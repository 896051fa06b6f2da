"""Places at which a test lets the process die, wait or fail. Outside of tests nothing is armed, and passing one costs a look at a dict.

The settings key FAILPOINTS arms them, which realtime.E005 refuses wherever DEBUG or TESTING is not on. It is a text like

    journal.before_commit=kill:37; reads.page=sleep:0.05; journal.committed=raise:disk I/O error

where `kill` ends the process as a power cut would, the given time that the place is passed; `sleep` waits so many seconds, each time;
`raise` is an error of the database with these words, each time.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

NAMES = (
    # In the write thread: all is written and nothing committed; and committed, but nobody knows.
    "journal.before_commit",
    "journal.committed",
    # On the loop: replies and hint are queued, and nothing is sent.
    "journal.announced",
    # On the loop: a frame is about to go out to one socket.
    "socket.before_send",
    # In a reader thread: the state of a stream, or a page, was read and is getting old.
    "subscribe.state",
    "reads.page",
)

Act = Callable[[], None]

_armed: dict[str, Act] = {}


def failpoint(name: str) -> None:
    if name in _armed:
        _armed[name]()


def arm(text: str) -> None:
    """Arm what `text` says, instead of what was armed before. Raises ImproperlyConfigured."""
    armed = dict(_parse(part) for part in text.split(";") if part.strip())
    _armed.clear()
    _armed.update(armed)


def _parse(part: str) -> tuple[str, Act]:
    name, _, action = part.strip().partition("=")
    verb, _, value = action.partition(":")
    if name not in NAMES or verb not in _ACTIONS:
        raise ImproperlyConfigured(f"FAILPOINTS: {part.strip()!r} must be name=action:value, with a name of realtime/failpoints.py.")
    try:
        return name, _ACTIONS[verb](value)
    except ValueError:
        raise ImproperlyConfigured(f"FAILPOINTS: {part.strip()!r} needs a number.") from None


def _kill(value: str) -> Act:
    last = int(value)
    passes = itertools.count(1)

    def act() -> None:
        if next(passes) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def _sleep(value: str) -> Act:
    seconds = float(value)
    return lambda: time.sleep(seconds)


def _raise(value: str) -> Act:
    def act() -> None:
        raise OperationalError(value)

    return act


_ACTIONS: dict[str, Callable[[str], Act]] = {"kill": _kill, "sleep": _sleep, "raise": _raise}
