"""Who there is for the access matrix, and what each may do in a stream of their own, in one that is none of their business, and in none."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.backends.utils import CursorWrapper
from django.test import Client as Browser

from project.users.models import User
from realtime.access import RIGHTS, Right
from realtime.models import ApiKey, Audience, Membership, Stream

from .core import append

NOTHING, READS, WRITES = Right.ANYONE, Right.READ, Right.READ | Right.PUBLISH
# In their own stream.
MAY: dict[str, Right] = {
    "anonymous": NOTHING,
    "stranger": NOTHING,
    "reader": READS,
    "writer": WRITES,
    "moderator": WRITES,
    "of the crew": WRITES,
    "key in scope": WRITES | Right.MANAGE,
    "key out of scope": NOTHING,
    "operator": WRITES,
}
KEYS = {"key in scope": "club", "key out of scope": "other:*"}
PEOPLE = MAY.keys() - KEYS.keys() - {"anonymous"}
OWN, FOREIGN, MISSING = "club", "vault", "nowhere"
everybody = pytest.mark.parametrize("kind", MAY)


def may(kind: str, stream: str) -> Right:
    """The operator reads all that exists; nobody else has anything to do with the foreign stream."""
    signed_in = Right.SIGNED_IN if kind in PEOPLE else NOTHING
    return signed_in | (MAY[kind] if stream == OWN or (stream == FOREIGN and kind == "operator") else NOTHING)


def rows(door: str) -> dict[str, Right]:
    """Those of RIGHTS for one door, without its name."""
    return {asked.removeprefix(f"{door} "): right for asked, right in RIGHTS.items() if asked.startswith(f"{door} ")}


def verdict(kind: str, stream: str, needs: Right) -> int:
    """0, or the code of the error."""
    rights = may(kind, stream)
    if needs in rights:
        return 0
    # That one must be a person, or manage everything, is no secret of a stream.
    return 103 if Right.READ in rights or Right.EVERYTHING in needs or Right.SIGNED_IN in needs & ~rights else 102


@dataclass
class Cast:
    sessions: dict[str, str]
    secrets: dict[str, str]


def everyone() -> Cast:
    for name in (OWN, FOREIGN):
        stream = Stream.objects.create(name=name, readers=Audience.MEMBERS, writers=Audience.MEMBERS)
        append(name, '{"a":1}', key="k")
    # Without it nobody is let in who is anonymous.
    Stream.objects.create(name="square", readers=Audience.ANYONE)
    crew = Group.objects.create(name="crew")
    club = Stream.objects.get(name=OWN)
    Membership.objects.create(stream=club, group=crew)
    Membership.objects.create(stream=stream, user=User.objects.create_user("somebody else"))
    sessions = {}
    for kind in PEOPLE:
        user = User.objects.create_user(kind, is_superuser=kind == "operator", is_staff=kind == "operator")
        if kind in Membership.Role.values:
            Membership.objects.create(stream=club, user=user, role=kind)
        if kind == "of the crew":
            user.groups.add(crew)
        browser = Browser()
        browser.force_login(user)
        sessions[kind] = browser.cookies["sessionid"].value
    everything = ["read", "publish", "manage"]
    secrets = {kind: ApiKey.generate(name=kind, scopes=[{"pattern": pattern, "actions": everything}])[1] for kind, pattern in KEYS.items()}
    return Cast(sessions, secrets)


class Queries:
    """The statements of readers, of the write thread and of pages, without their parameters."""

    # Written behind at any time.
    NOISE = re.compile(r'"realtime_(connection|presence|serverprocess|notice)"|realtime_apikey" SET|users_session|SAVEPOINT|PRAGMA')

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        execute = CursorWrapper.execute

        def record(cursor: Any, sql: Any, params: Any = None) -> Any:
            thread = threading.current_thread()
            asks = thread is threading.main_thread() or thread.name.startswith(("wirelog-reads", "wirelog-journal"))
            if asks and not self.NOISE.search(str(sql)):
                self.statements.append(re.sub(r"\d+", "0", str(sql)))
            return execute(cursor, sql, params)

        monkeypatch.setattr(CursorWrapper, "execute", record)

    def during(self, work: Callable[[], Any]) -> tuple[Any, list[str]]:
        self.statements.clear()
        result = work()
        return result, list(self.statements)


def hide(text: str) -> str:
    """Without what differs anyway: the name of the stream, the number of the command, the token of a form."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)
    return re.sub(r'"id": ?\d+', '"id":0', text.replace(FOREIGN, "*").replace(MISSING, "*"))
