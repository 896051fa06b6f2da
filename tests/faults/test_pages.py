"""A page that followed along shows what a page that was opened at the end shows, for every kind of record, also after a kill."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ..end_to_end.browser import People, chromium, live, poll
from ..end_to_end.servers import Fleet, RunningServer
from ..end_to_end.wireclient import WireClient

RECORDS: list[tuple[Any, dict[str, Any]]] = [
    ({"text": "plain words"}, {}),
    ("a bare string", {}),
    (12.5, {}),
    (None, {}),
    ([1, "two", None, {"three": []}], {}),
    ({"text": "<b>not bold</b>\nsecond line"}, {}),
    ({"cpu": 12.5, "memory": 3, "nested": {"deep": [1, 2]}}, {}),
    ({"text": "tagged"}, {"tags": {"colour": "red"}}),
    ({"v": 1}, {"key": "lamp"}),
    ({"v": 2}, {"key": "lamp"}),
    ({}, {"key": "lamp", "removed": True}),
    ({"text": "a & <i>"}, {}),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def people(browser: Browser) -> Iterator[People]:
    people = People(browser)
    yield people
    people.close()


def publish_everything(server: RunningServer) -> int:
    """Each kind of record, and one that is taken away; returns the head."""
    with WireClient(server, "device") as client:
        offsets = [client.publish(value, **more) for value, more in RECORDS]
    redacted = server.manage("redact", "lobby", str(offsets[0]), "--noinput")
    assert redacted.returncode == 0, redacted.stderr
    return offsets[-1] + 1


def shown(page: Page, rows: str) -> list[str]:
    return page.locator(rows).all_inner_texts()


@pytest.mark.parametrize("view, rows", [("", "#feed .wire-record"), ("?view=raw", "#raw > li")])
def test_following_and_opening_anew_show_the_same(people: People, make_server: Fleet, view: str, rows: str) -> None:
    server = make_server.new()
    server.start()
    path = f"/s/lobby/{view}"
    page = people.open(server, "alice", path)
    publish_everything(server)
    server.kill()
    server.start()
    head = publish_everything(server)
    page.locator(f"#o{head}").wait_for()
    live(page)
    # Of another reader: a page of hers has the line of what is new wherever the first one had last marked what she read.
    fresh = people.open(server, "bob", path)
    poll(page, lambda: shown(page, rows) == shown(fresh, rows), f"{shown(page, rows)} and {shown(fresh, rows)} are the same")
    assert len(shown(page, rows)) == head
