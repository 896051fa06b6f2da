from collections.abc import AsyncIterator

import pytest
from django.contrib.auth.models import Group

from project.users.models import User
from realtime import tick
from realtime.engine import Engine
from realtime.models import Audience, Membership, Stream

from ..core import api_key, append, cookie, running


@pytest.fixture
def cookies(transactional_db: None) -> dict[str, str]:
    """alice reads `club` as a member, carol by her group, root as operator; all three, and the key, read `open`."""
    Stream.objects.create(name="open", readers=Audience.USERS)
    club = Stream.objects.create(name="club", readers=Audience.MEMBERS, writers=Audience.MEMBERS)
    crew = Group.objects.create(name="crew")
    alice, carol, _bob = (User.objects.create_user(name, password="old") for name in ("alice", "carol", "bob"))
    User.objects.create_superuser("root")
    carol.groups.add(crew)
    Membership.objects.create(stream=club, user=alice)
    Membership.objects.create(stream=club, group=crew)
    append("open", "1")
    append("club", "1")
    return {name: cookie(name) for name in ("alice", "carol", "bob", "root")} | {"key": api_key("*", "read", "publish")}


@pytest.fixture
async def engine(cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(tick, "TICK_SECONDS", 0.01)
    async with running() as found:
        yield found
