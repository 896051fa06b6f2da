"""Who did what. Written in the transaction of the deed itself, so that neither is there without the other."""

import getpass
import os
from dataclasses import dataclass
from typing import Any

from .models import AuditEntry

MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose deed it is: a principal, and where from."""

    principal: str
    address: str | None = None


def commander() -> Actor:
    """Who runs this command."""
    return Actor(command_principal())


def command_principal() -> str:
    """As the actor of an entry and the publisher of a record."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # The user of a container may have a number and no name.
        login = str(os.getuid())
    printable = "".join(character if character.isprintable() else "?" for character in login)
    return f"cli:{printable}"[:MAX_TEXT]


def note(actor: Actor, action: str, subject: str, /, **detail: Any) -> AuditEntry:
    """Note that `actor` did `action` (noun.verb) to `subject`. Never put a secret in `detail`."""
    return AuditEntry.objects.create(
        actor=actor.principal[:MAX_TEXT], action=action, subject=subject[:MAX_TEXT], detail=detail, address=actor.address
    )
