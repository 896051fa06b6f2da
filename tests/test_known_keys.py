"""What was read of a key counts for a moment, and never past what ends the key."""

import time

import pytest

from realtime import known_keys
from realtime.access import Identity
from realtime.credentials import Credential
from realtime.known_keys import KNOWN_SECONDS, KnownKeys

SHOWN = Credential("key", "ab", "digest")
WHO = Identity("key:ab", "device", scopes=())


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.turn = 7
        self.keys = KnownKeys(lambda: self.now, lambda: self.turn)


@pytest.fixture
def world() -> World:
    return World()


def test_a_key_is_known_for_a_moment(world: World) -> None:
    assert world.keys.get(SHOWN) is None
    world.keys.keep(SHOWN, WHO, world.turn)
    world.now += KNOWN_SECONDS - 0.1
    assert world.keys.get(SHOWN) is WHO
    world.now += 0.1
    assert world.keys.get(SHOWN) is None


def test_the_moment_fits_the_two_seconds_of_a_revocation(world: World) -> None:
    # The other second is for the tick of a process that hears of notices by Redis.
    assert KNOWN_SECONDS <= 1


def test_another_secret_of_the_same_key_is_not_known(world: World) -> None:
    world.keys.keep(SHOWN, WHO, world.turn)
    assert world.keys.get(SHOWN._replace(digest="other")) is None


def test_a_notice_about_access_ends_what_is_known(world: World) -> None:
    world.keys.keep(SHOWN, WHO, world.turn)
    world.turn += 1
    assert world.keys.get(SHOWN) is None


def test_what_was_read_while_access_changed_is_read_again(world: World) -> None:
    turn = world.turn
    world.turn += 1
    world.keys.keep(SHOWN, WHO, turn)
    assert world.keys.get(SHOWN) is None


def test_a_key_that_expires_meanwhile_is_not_known(world: World) -> None:
    world.keys.keep(SHOWN, Identity("key:ab", "device", scopes=(), expires=time.time() - 0.001), world.turn)
    assert world.keys.get(SHOWN) is None


def test_what_is_known_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_keys, "MAX_KEYS", 2)
    for number in range(5):
        world.keys.keep(SHOWN._replace(name=str(number)), WHO, world.turn)
    assert len(world.keys._known) <= 2
    assert world.keys.get(SHOWN._replace(name="4")) is WHO
