"""What somebody else wrote is text, wherever a browser shows it: no script of theirs runs, and the policy has nothing to report."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from .browser import People, chromium, live
from .servers import Fleet

EVIL = "</script><script>window.ran=1</script>\"'><img src=x onerror='window.ran=1'>"
EVIL += "<svg onload=window.ran=1> javascript:window.ran=1 \u2028\u2029"
MAKE = f"""
from project.users.models import User
from realtime import audit, items, journal
from realtime.models import ApiKey, Stream
evil = {EVIL!r}
stream = Stream.objects.create(name="evil", title=evil[:128])
User.objects.filter(username="alice").update(first_name=evil[:150], last_name=evil[:150])
alice = str(User.objects.get(username="alice").pk)
ApiKey.generate(name=evil[:100], scopes=[])
data = __import__("json").dumps({{"text": evil, evil: evil, "cpu": 1, "n": {{evil: [evil]}}}})
journal.append_now([items.Item("evil", data, publisher=alice, key=evil[:200], tags='{{"a": "<b>"}}') for _ in range(3)])
audit.note(audit.Actor(alice), "stream.create", evil, name=evil)
"""
PLACES = [
    "/",
    "/?q=" + "%3Cscript%3Ewindow.ran=1%3C/script%3E",
    "/s/evil/?view=feed",
    "/s/evil/?view=chart",
    "/s/evil/?view=raw",
    "/s/%3Cscript%3Ewindow.ran=1%3C%2Fscript%3E/",
    "/accounts/login/?next=javascript:window.ran=1",
    "/admin/",
    "/admin/realtime/stream/",
    "/admin/realtime/record/",
    "/admin/realtime/record/1/change/",
    "/admin/realtime/apikey/",
    "/admin/realtime/auditentry/",
    "/admin/users/user/",
]


@pytest.fixture
def people() -> Iterator[People]:
    with chromium() as browser:
        people = People(browser)
        yield people
        people.close()


def inert(page: Page) -> None:
    assert page.evaluate("window.ran") is None, page.url
    assert page.locator("a[href^='javascript:' i]").count() == 0, page.url
    assert page.locator("main svg[onload], #content img[onerror], #content script").count() == 0, page.url


def test_what_others_write_is_inert_in_every_page(people: People, make_server: Fleet) -> None:
    server = make_server.new()
    server.start()
    made = server.manage("shell", "-c", MAKE)
    assert made.returncode == 0, made.stderr
    page = people.context(server, "operator").new_page()
    for place in PLACES:
        page.goto(server.url + place)
        inert(page)
    # The same from the wire, by the scripts of the page.
    for view in ("feed", "chart", "raw"):
        page.goto(f"{server.url}/s/evil/?view={view}")
        live(page)
        before = json.loads(server.post("/api/publish", {"channel": "evil", "data": {"text": EVIL, EVIL: 1.5}}, key="device").body)
        offset = before["result"]["offset"]
        page.locator(f"text={offset}").first.wait_for(state="attached")
        inert(page)
        # It is shown, as it is.
        assert view == "chart" or "<script>window.ran=1</script>" in page.inner_text("#content")
