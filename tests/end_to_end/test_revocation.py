"""Access that is taken away beside a running server: real sockets are told, in every process, and a page says what happened."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from realtime.stream_events import HEARTBEAT_SECONDS

from ..waiting import SECONDS
from .browser import People, chromium, live
from .redis_server import Redis
from .servers import Fleet, RunningServer
from .wireclient import WireClient, end_of

DEACTIVATE = "from project.users.models import User; alice = User.objects.get(username='alice'); alice.is_active = False; alice.save()"
CLOSE = "from realtime.models import Stream; lobby = Stream.objects.get(name='lobby'); lobby.readers = 'members'; lobby.save()"
BULK = "from project.users.models import Session; Session.objects.all().delete()"


@pytest.fixture
def redis(tmp_path: object) -> Iterator[Redis]:
    redis = Redis(tmp_path)  # type: ignore[arg-type]
    yield redis
    redis.kill()


def run(server: RunningServer, code: str) -> None:
    """Beside the server, as an operator would."""
    done = server.manage("shell", "-c", code)
    assert done.returncode == 0, done.stderr


def test_sockets_end_when_a_command_takes_access_away(server: RunningServer) -> None:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(WireClient(server, session=name)) for name in ("alice", "bob"))
        device, reader = (stack.enter_context(WireClient(server, key)) for key in ("device", "reader"))
        for client in (alice, bob, device, reader):
            client.subscribe()
        prefix = server.cast.keys["device"].split("_")[1]
        assert server.manage("apikey", "revoke", prefix, "--noinput").returncode == 0
        assert end_of(device) == 4501
        run(server, DEACTIVATE)
        assert end_of(alice) == 4501
        run(server, CLOSE)
        assert bob.push() == {"channel": "lobby", "unsubscribe": {"code": 2403, "reason": "access revoked"}}
        assert bob.error("subscribe", {"channel": "lobby"}) == 102
        # A key reads what its scope says, and goes on.
        assert reader.call("history", {"channel": "lobby"})["history"]["publications"] == []


def test_who_reads_by_plain_http_is_told_well_before_the_next_heartbeat(server: RunningServer) -> None:
    key = server.cast.keys["reader"]
    lobby = f"{server.url}/api/streams/lobby/"
    with ExitStack() as stack:
        events, poll = (stack.enter_context(follower(lobby + path, key)) for path in ("events", "records?wait=30"))
        assert events.stdout is not None
        assert events.stdout.readline().startswith("retry: ")
        assert server.manage("apikey", "revoke", key.split("_")[1], "--noinput").returncode == 0
        told = time.monotonic()
        # Complete, not broken off: the client comes back, and is refused.
        assert events.wait(SECONDS) == 0
        assert "401" in poll.communicate(timeout=SECONDS)[0]
        assert time.monotonic() - told < HEARTBEAT_SECONDS


def follower(url: str, key: str) -> "subprocess.Popen[str]":
    command = ["curl", "-sSN", "-w", "%{http_code}", "-H", f"X-API-Key: {key}", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_sockets_of_every_process_end(make_server: Fleet, redis: Redis) -> None:
    first = make_server.new("uvicorn", REDIS_URL=redis.url)
    second = make_server.new("daphne", data=first.data, REDIS_URL=redis.url)
    first.start()
    second.start()
    # Nothing of this goes through Redis.
    redis.kill()
    with WireClient(first, session="alice") as here, WireClient(second, session="alice") as there:
        here.subscribe()
        there.subscribe()
        run(first, BULK)
        assert (end_of(here), end_of(there)) == (4501, 4501)


@pytest.fixture
def people() -> Iterator[People]:
    with chromium() as browser:
        people = People(browser)
        yield people
        people.close()


def test_who_changes_the_password_stays_here_and_is_signed_out_elsewhere(people: People, make_server: Fleet) -> None:
    server = make_server.new()
    server.start()
    watching = people.open(server, "alice")
    elsewhere = people.open(server, "alice")
    # A second tab of the same browser.
    tab = watching.context.new_page()
    tab.goto(f"{server.url}/")
    tab.click("#user-menu summary")
    tab.click("#user-menu a:has-text('Change your password')")
    tab.fill("#id_old_password", "alice")
    tab.fill("#id_new_password1", "correct horse 7")
    tab.fill("#id_new_password2", "correct horse 7")
    tab.click("button[type=submit]:has-text('Change the password')")
    tab.locator("text=Your password was changed").wait_for()
    elsewhere.locator("#notice:has-text('You were signed out')").wait_for()
    live(tab)
    live(watching)
    # It connected again, with the new session.
    watching.fill("#composer textarea", "still here")
    watching.press("#composer textarea", "Enter")
    watching.locator("#feed .wire-record:not(.wire-pending) >> text=still here").wait_for()
    assert watching.locator("#notice").is_hidden()
