"""When a key was used last."""

import pytest

from realtime import presence
from realtime.models import ApiKey

from .core import elsewhere, running

pytestmark = pytest.mark.django_db(transaction=True)


async def last_used(prefix: str) -> object:
    return (await elsewhere(ApiKey.objects.get, prefix=prefix)).last_used


async def test_the_use_of_a_key_is_noted_behind_and_not_for_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = await elsewhere(ApiKey.generate, name="sensor")
    async with running() as engine:
        engine.presence.key_used(f"key:{key.prefix}")
        await engine.presence.write()
        first = await last_used(key.prefix)
        assert first is not None
        engine.presence.key_used(f"key:{key.prefix}")
        await engine.presence.write()
        assert await last_used(key.prefix) == first
        monkeypatch.setattr(presence, "USED_SECONDS", 0.0)
        engine.presence.key_used(f"key:{key.prefix}")
        await engine.presence.write()
        assert await last_used(key.prefix) != first


async def test_people_are_no_keys() -> None:
    key, _ = await elsewhere(ApiKey.generate, name="sensor")
    async with running() as engine:
        engine.presence.key_used(key.prefix)
        await engine.presence.write()
        assert await last_used(key.prefix) is None
