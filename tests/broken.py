"""`python -m tests.broken …`: `manage.py …` that breaks each of its promises once, in the stream named for it: `bench:lost` loses a record.

The benchmark must find it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from unittest.mock import patch

import django
from django.core.management import execute_from_command_line
from django.db.backends.base.base import BaseDatabaseWrapper

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from realtime import group_commit  # noqa: E402 it needs the settings
from realtime.items import Item  # noqa: E402
from realtime.journal import Outcome, append_batch  # noqa: E402
from realtime.outbox import Frame, Outbox  # noqa: E402

# What becomes of the lines of one frame.
FAULTS: dict[bytes, Callable[[list[bytes]], list[bytes]]] = {
    b"bench:lost": lambda lines: lines[1:],
    b"bench:doubled": lambda lines: [lines[0], *lines],
    b"bench:changed": lambda lines: [line.replace(b"xxx", b"xyx", 1) for line in lines],
}
STORED_TWICE = "bench:stored"

take_parts = Outbox._take_parts
broken: set[bytes | str] = set()


def take_broken_parts(outbox: Outbox) -> Frame:
    return [spoiled for part in take_parts(outbox) if (spoiled := spoil(part))]


def spoil(part: bytes) -> bytes:
    for name, fault in FAULTS.items():
        if name in part and b'"pub"' in part and name not in broken:
            broken.add(name)
            return b"\n".join(fault(part.split(b"\n")))
    return part


def append_one_twice(connection: BaseDatabaseWrapper, items: Sequence[Item]) -> list[Outcome]:
    again = [item for item in items if item.stream.startswith(STORED_TWICE) and STORED_TWICE not in broken][:1]
    if again:
        broken.add(STORED_TWICE)
    return append_batch(connection, [*again, *items])[len(again) :]


with patch.object(Outbox, "_take_parts", take_broken_parts), patch.object(group_commit, "append_batch", append_one_twice):
    execute_from_command_line(["manage.py", *sys.argv[1:]])
