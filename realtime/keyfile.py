"""Small files that hold a secret: readable for their owner only."""

import os
from pathlib import Path


def write(path: Path, value: str) -> None:
    """Replaces `path` whole: nobody ever reads half a secret."""
    draft = draft_of(path, value)
    draft.replace(path)


def write_once(path: Path, value: str) -> None:
    """As `write`, but the first one stays: two processes that start at once agree."""
    draft = draft_of(path, value)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def draft_of(path: Path, value: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{value}\n")
    return draft
