"""What a key may do, as people write it (`iot:*=read,publish`) and as it is stored."""

import re
from collections.abc import Iterable, Mapping
from typing import TypedDict

from .access import ACTIONS

# Of stream names, also of the personal ones (#<user id>).
PATTERN = re.compile(r"([A-Za-z0-9_*][A-Za-z0-9_.:*-]{0,127}|#[0-9*]{1,18})\Z")


class StoredScope(TypedDict):
    pattern: str
    actions: list[str]


def parse(text: str) -> StoredScope:
    """One scope. Raises ValueError with a sentence for people."""
    pattern, equals, listed = text.strip().partition("=")
    if not equals:
        raise ValueError(f"{text.strip()!r} is not a scope: write PATTERN=ACTIONS, for example iot:*=read,publish.")
    if not PATTERN.match(pattern):
        raise ValueError(f"{pattern!r} is not a pattern of stream names: use letters, digits, _ . : - and * for any text.")
    actions = [action.strip() for action in listed.split(",") if action.strip()]
    unknown = [action for action in actions if action not in ACTIONS]
    if unknown or not actions:
        wrong = repr(unknown[0]) if unknown else "nothing"
        raise ValueError(f"{wrong} is not an action of {text.strip()!r}: use {', '.join(ACTIONS)}.")
    return {"pattern": pattern, "actions": [action for action in ACTIONS if action in actions]}


def parse_all(lines: Iterable[str]) -> list[StoredScope]:
    """One scope from each line that is not empty. Raises ValueError, also when there is none."""
    scopes = [parse(line) for line in lines if line.strip()]
    if not scopes:
        raise ValueError("A key without a scope may do nothing: give at least one, for example iot:*=read,publish.")
    return scopes


def text(scope: Mapping[str, object]) -> str:
    actions = scope["actions"]
    assert isinstance(actions, list)
    return f"{scope['pattern']}={','.join(actions)}"
