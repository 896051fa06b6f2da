"""`serve.lock` in the data folder: one server on one SQLite file, or several when Redis joins them."""

import fcntl
from pathlib import Path
from typing import IO


class AlreadyServing(Exception):
    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)

    def __str__(self) -> str:
        return (
            f"Another Wirelog server already uses {self.path.parent} (it holds {self.path.name}). "
            "Stop it first, or give both the same REDIS_URL so that they share every stream."
        )


class ServeLock:
    """Exclusive, or shared among servers that Redis joins. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path, shared: bool) -> None:
        self.path = folder / "serve.lock"
        self.shared = shared
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Raises AlreadyServing when another server holds it in a way that excludes this one."""
        file = self.path.open("ab")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise AlreadyServing(self.path) from None
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
