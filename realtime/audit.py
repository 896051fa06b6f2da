"""Who did what. Written in the transaction of the deed itself, so that neither is there without the other."""

import getpass
import os
from collections.abc import Mapping
from typing import Any

from .models import AuditEntry

MAX_TEXT = 200


def audit(actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None, address: str | None = None) -> AuditEntry:
    """Note that `actor` (a principal) did `action` (noun.verb) to `subject`. Never put a secret in `detail`."""
    return AuditEntry.objects.create(
        actor=actor[:MAX_TEXT], action=action, subject=subject[:MAX_TEXT], detail=dict(detail or {}), address=address
    )


def command_principal() -> str:
    """Who runs this command, as the actor of an entry and the publisher of a record."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # The user of a container may have a number and no name.
        login = str(os.getuid())
    printable = "".join(character if character.isprintable() else "?" for character in login)
    return f"cli:{printable}"[:MAX_TEXT]
