"""The file of the database: whether there is room for more, and whether it is still in its place.

SQLite and the host suffer before a disk is quite full: while too little is free nothing more is stored.
"""

import os

from django.db import connections

from .conf import limit
from .errors import StorageFull


def has_room(using: str) -> bool:
    """Whether FREE_DISK_BYTES are free. 3 µs, beside a commit: so it is never remembered, and freed space counts at once."""
    folder = os.path.dirname(os.path.abspath(connections[using].settings_dict["NAME"]))
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize >= limit("FREE_DISK_BYTES")


def file_id(using: str) -> tuple[int, int] | None:
    """Which file is at the path of the database; None when it cannot be found. SQLite goes on writing to one that was moved or replaced."""
    try:
        found = os.stat(connections[using].settings_dict["NAME"])
    except OSError:
        return None
    return found.st_dev, found.st_ino


def require_room(using: str) -> None:
    """Raises StorageFull."""
    if not has_room(using):
        raise StorageFull
