"""The pages in a real browser, on a real server."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute

from .browser import People, chromium, live, offsets, poll, record, say, texts, wait
from .servers import Fleet, RunningServer, Template


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def people(browser: Browser) -> Iterator[People]:
    people = People(browser)
    yield people
    people.close()


@pytest.fixture
def server(make_server: Fleet) -> RunningServer:
    """One of the test's own, to be stopped and killed."""
    server = make_server.new()
    server.start()
    return server


ROOMS = 30


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[RunningServer]:
    """One for all tests that leave it alone, with an empty stream for each."""
    with Fleet(tmp_path_factory.mktemp("house"), template) as fleet:
        server = fleet.new()
        server.start()
        code = f"from realtime.models import Stream; [Stream.objects.create(name=f'room:{{n}}') for n in range({ROOMS})]"
        assert server.manage("shell", "-c", code).returncode == 0
        yield server


@dataclass
class Room:
    """A feed of the test's own."""

    server: RunningServer
    name: str

    @property
    def path(self) -> str:
        return f"/s/{self.name}/"

    @property
    def url(self) -> str:
        return self.server.url + self.path

    def publish(self, data: object, times: int = 1) -> None:
        publish(self.server, data, self.name, times)

    def fill(self, count: int) -> None:
        """Numbered records."""
        for number in range(1, count + 1):
            self.publish({"text": f"record {number}"})

    def set(self, **fields: object) -> None:
        code = f"from realtime.models import Stream; Stream.objects.filter(name={self.name!r}).update(**{fields!r})"
        assert self.server.manage("shell", "-c", code).returncode == 0

    def append(self, lines: list[str]) -> None:
        """Many records at once, by a process beside the server."""
        code = f"from realtime import items, journal; journal.append_now([items.Item({self.name!r}, line) for line in {lines!r}])"
        assert self.server.manage("shell", "-c", code).returncode == 0


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"room:{number}" for number in range(ROOMS))


@pytest.fixture
def room(house: RunningServer, names: Iterator[str]) -> Room:
    return Room(house, next(names))


def publish(server: RunningServer, data: object, stream: str = "lobby", times: int = 1) -> None:
    for _ in range(times):
        answer = server.post("/api/publish", {"channel": stream, "data": data}, key="device")
        assert "result" in answer.json(), answer.body


# Signing in


def test_a_wrong_password_gets_a_sentence_and_a_right_one_leads_on(people: People, server: RunningServer) -> None:
    page = people.open(server, path="/s/lobby/")
    assert page.url.endswith("/accounts/login/?next=/s/lobby/")
    page.fill("[name=username]", "alice")
    page.fill("[name=password]", "wrong")
    page.click("text=show")
    assert page.get_attribute("[name=password]", "type") == "text"
    page.click("button[type=submit]")
    assert "Name and password do not match an active account." in page.inner_text("[role=alert]")
    page.fill("[name=password]", "alice")
    page.click("button[type=submit]")
    live(page)
    assert page.url == f"{server.url}/s/lobby/"
    page.click("#user-menu summary")
    page.click("text=Sign out")
    page.wait_for_url("**/accounts/login/**")


# The feed


def test_two_people_see_each_other_at_once(people: People, room: Room) -> None:
    alice, bob = people.open(room.server, "alice", room.path), people.open(room.server, "bob", room.path)
    say(alice, "Is anybody there?")
    record(bob, "Is anybody there?").wait_for()
    assert bob.inner_text("#feed .wire-name") == "alice"
    say(bob, "Yes. All of us.")
    for page in (alice, bob):
        record(page, "Yes. All of us.").wait_for()
    assert offsets(alice) == offsets(bob) == [1, 2]
    alice.locator("#presence-count:has-text('2')").wait_for()
    assert alice.locator("#people .person").all_inner_texts() == ["alice\nyou", "bob"]


def test_what_one_writes_keeps_its_element_and_stands_once(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    page.evaluate(
        """() => {
        window.added = [];
        new MutationObserver((all) => all.forEach((one) => one.addedNodes.forEach((node) => window.added.push(node))))
          .observe(document.getElementById("feed"), { childList: true });
      }"""
    )
    for number in range(5):
        say(page, f"number {number}")
    record(page, "number 4").wait_for()
    assert texts(page) == [f"number {number}" for number in range(5)]
    assert offsets(page) == [1, 2, 3, 4, 5]
    added = page.evaluate("window.added.filter((node) => node.classList.contains('wire-record')).length")
    assert added == 5


def test_a_reload_keeps_everything(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    for number in range(3):
        say(page, f"number {number}")
    record(page, "number 2").wait_for()
    page.fill("#composer textarea", "half a sen")
    page.reload()
    live(page)
    assert texts(page) == ["number 0", "number 1", "number 2"]
    assert page.input_value("#composer textarea") == "half a sen"


def test_history_is_there_to_the_beginning_and_nothing_jumps(people: People, room: Room) -> None:
    room.fill(200)
    page = people.open(room.server, "alice", room.path)
    assert offsets(page)[-1] == 200
    while offsets(page)[0] > 1:
        first = offsets(page)[0]
        place = f"document.getElementById('o{first}').getBoundingClientRect().top"
        page.locator(f"#o{first}").evaluate("row => row.scrollIntoView()")
        before = page.evaluate(place)
        wait(page, f"Number(document.querySelector('#feed .wire-record').id.slice(1)) < {first}")
        assert abs(page.evaluate(place) - before) <= 1
    assert offsets(page) == list(range(1, 201))
    assert page.locator("#feed .wire-gap").count() == 0
    page.keyboard.press("End")
    wait(page, "document.getElementById('feed-scroll').scrollTop === 0")


def test_who_reads_further_up_is_told_of_what_is_new_and_not_moved(people: People, room: Room) -> None:
    room.fill(60)
    page = people.open(room.server, "alice", room.path)
    page.locator("#o30").evaluate("row => row.scrollIntoView()")
    before = page.evaluate("document.getElementById('o30').getBoundingClientRect().top")
    room.publish({"text": "news"}, times=3)
    page.locator("#newest:has-text('3 new')").wait_for()
    assert page.title().startswith("(3) ")
    assert abs(page.evaluate("document.getElementById('o30').getBoundingClientRect().top") - before) <= 1
    page.click("#newest")
    page.locator("#newest").wait_for(state="hidden")
    assert not page.title().startswith("(")


def test_a_phone_on_its_side_begins_with_the_newest(people: People, room: Room) -> None:
    room.append([json.dumps({"text": f"record {number}"}) for number in range(1, 301)])
    page = people.open(room.server, "alice", room.path, viewport={"width": 844, "height": 390})
    room.publish({"text": "news"})
    record(page, "news").wait_for()
    assert page.evaluate("document.getElementById('feed-scroll').clientHeight") < 390
    assert offsets(page) == list(range(201, 302))


def test_the_page_keeps_at_most_five_hundred_records_and_finds_the_way_back(people: People, room: Room) -> None:
    room.append([json.dumps({"text": f"record {number}"}) for number in range(1, 801)])
    page = people.open(room.server, "alice", room.path)
    poll(page, lambda: offsets(page)[-1] == 800, "the newest record is there")
    while offsets(page)[0] > 1:
        first = offsets(page)[0]
        page.locator(f"#o{first}").evaluate("row => row.scrollIntoView()")
        wait(page, f"Number(document.querySelector('#feed .wire-record').id.slice(1)) < {first}")
        assert len(offsets(page)) <= 500
    assert offsets(page) == list(range(1, 501))
    room.publish({"text": "while far up"})
    page.locator("#newest:has-text('1 new')").wait_for()
    assert offsets(page)[-1] == 500
    page.click("#newest")
    record(page, "while far up").wait_for()
    assert offsets(page)[-1] == 801


def test_the_line_before_what_is_new_stays_until_it_is_cleared(people: People, server: RunningServer) -> None:
    page = people.open(server, "alice")
    say(page, "I go for lunch")
    record(page, "I go for lunch").wait_for()
    wait(page, "document.title === 'Lobby · Wirelog'")
    poll(page, lambda: marker(server, "alice") == 1, "the server knows that it is read")
    page.goto("about:blank")
    publish(server, {"text": "meanwhile"}, times=2)
    page.goto(f"{server.url}/s/lobby/")
    live(page)
    rows = page.locator("#feed > li").evaluate_all("rows => rows.map(row => row.dataset.key)")
    assert rows[-3:] == ["new", "2", "3"]
    poll(page, lambda: marker(server, "alice") == 3, "looking at it reads it")
    assert page.locator("#feed .wire-new").count() == 1
    page.keyboard.press("Escape")
    page.locator("#feed .wire-new").wait_for(state="detached")


def marker(server: RunningServer, who: str, stream: str = "lobby") -> int:
    found = f"R.objects.filter(user__username={who!r}, stream__name={stream!r}).values_list('offset', flat=True)"
    code = f"from realtime.models import ReadMarker as R; print(*{found})"
    lines = server.manage("shell", "-v", "0", "-c", code).stdout.split()
    return int(lines[-1]) if lines else 0


# Faults


def test_a_server_killed_and_started_again_loses_and_doubles_nothing(people: People, make_server: Fleet, kind: str) -> None:
    server = make_server.new(kind)
    server.start()
    alice, bob = people.open(server, "alice"), people.open(server, "bob")
    say(alice, "before")
    record(bob, "before").wait_for()
    server.kill()
    alice.locator("#indicator[data-state=reconnecting]").wait_for()
    assert re.search(r"Connection lost\. Trying (again in \d+ s|now)…", alice.inner_text("#banner"))
    say(alice, "while away")
    say(alice, "and more")
    assert alice.locator("#feed .wire-pending").count() == 2
    assert alice.get_attribute("#wire-end", "data-tone") != "good"
    server.start()
    publish(server, {"text": "from a device"})
    record(alice, "and more").wait_for()
    live(alice)
    live(bob)
    record(bob, "and more").wait_for()
    for page in (alice, bob):
        poll(page, lambda page=page: offsets(page) == [1, 2, 3, 4], "everything is there once")  # type: ignore[misc]
        assert sorted(texts(page)) == ["and more", "before", "from a device", "while away"]
        assert texts(page).index("while away") < texts(page).index("and more")
    alice.locator("#wire-end[data-tone=good]").wait_for()


def test_what_waits_survives_a_reload_and_is_sent_once(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    page.context.set_offline(True)
    page.locator("#indicator[data-state=offline]").wait_for()
    assert "You are offline. Showing data up to" in page.inner_text("#banner")
    say(page, "written in a tunnel")
    page.locator("#feed .wire-pending").wait_for()
    page.context.set_offline(False)
    page.reload()
    # Stored, but not answered before the reload, it is in the page and waits beside it until it is answered again.
    for reload in (lambda: None, page.reload):
        reload()
        record(page, "written in a tunnel").wait_for()
        live(page)
        poll(page, lambda: texts(page) == ["written in a tunnel"], "it stands there once")


def test_an_answer_that_was_lost_does_not_double_what_was_stored(people: People, room: Room) -> None:
    """The server has stored the record, but the connection ends before its reply: the page asks again with the same key."""
    context = people.context(room.server, "alice")
    swallow = {"on": True}
    connections: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        connections.append(route)
        upstream = route.connect_to_server()

        def from_server(message: str | bytes) -> None:
            if swallow["on"] and '"offset":1' in str(message) and '"rpc"' in str(message):
                swallow["on"] = False
                route.close(code=3001, reason="shutdown")
                upstream.close()
            else:
                route.send(message)

        upstream.on_message(from_server)

    context.route_web_socket(re.compile("/connection/websocket"), between)
    page = context.new_page()
    page.goto(room.url)
    live(page)
    say(page, "once")
    # The record itself may come before its answer.
    poll(page, lambda: len(connections) == 2, "it connects again")
    assert not swallow["on"]
    page.locator("#feed .wire-pending").wait_for(state="detached")
    live(page)
    assert texts(page) == ["once"]
    assert offsets(page) == [1]


def test_a_refused_record_says_why_and_can_be_deleted(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    room.set(max_payload=20)
    say(page, "more than twenty bytes")
    failed = page.locator("#feed .wire-failed")
    failed.wait_for()
    assert "Payload too large" in failed.locator(".wire-note").inner_text()
    say(page, "small")
    record(page, "small").wait_for()
    failed.locator("text=Delete").click()
    failed.wait_for(state="detached")
    assert texts(page) == ["small"]


def test_what_is_too_large_is_told_before_it_is_sent(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    say(page, "x" * 131_072)
    assert page.inner_text("#composer-note") == "Too large to send: 131\u202f083 bytes, at most 131\u202f072."
    assert page.locator("#composer button").is_disabled()
    say(page, "x" * 131_000)
    record(page, "x" * 131_000).wait_for()
    assert page.inner_text("#composer-note") == ""
    assert page.locator("#o1 .wire-text").evaluate("text => text.clientHeight") <= 420


SLEEP_WHEN_TOLD = """
const { setTimeout } = window;
window.setTimeout = (act, ms, ...more) => (ms === 300_000 ? (window.sleep = act) : setTimeout(act, ms, ...more));
"""
LOOK_AWAY = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_tab_that_nobody_looks_at_gives_its_connection_back(people: People, room: Room) -> None:
    context = people.context(room.server, "alice")
    context.add_init_script(SLEEP_WHEN_TOLD)
    page = context.new_page()
    with page.expect_websocket() as first:
        page.goto(f"{room.url}?view=raw")
    live(page)
    page.evaluate(LOOK_AWAY, True)
    with first.value.expect_event("close"):
        page.evaluate("window.sleep()")
    room.publish({"text": "meanwhile"})
    page.evaluate(LOOK_AWAY, False)
    page.locator("#o1:has-text('meanwhile')").wait_for()
    live(page)


def test_who_is_signed_out_elsewhere_is_told_and_not_retried(people: People, server: RunningServer) -> None:
    context = people.context(server, "alice")
    connections: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        connections.append(route)
        route.connect_to_server()

    context.route_web_socket(re.compile("/connection/websocket"), between)
    page = context.new_page()
    page.goto(f"{server.url}/s/lobby/")
    live(page)
    # Still the same person: an own password change closes the socket, and nothing else.
    connections[-1].close(code=4501, reason="signed out")
    poll(page, lambda: len(connections) == 2, "it connects again")
    live(page)
    page.reload()
    live(page)
    count = len(connections)
    context.clear_cookies()
    connections[-1].close(code=4501, reason="signed out")
    page.locator("#notice:has-text('You were signed out')").wait_for()
    assert page.get_attribute("#notice a", "href") == "/accounts/login/?next=%2Fs%2Flobby%2F"
    assert page.inner_text("#indicator").split("\n")[0] == "Not connected"
    assert len(connections) == count


def test_another_account_in_another_tab_is_told(people: People, server: RunningServer) -> None:
    page = people.open(server, "alice")
    page.context.add_cookies([{"name": "sessionid", "value": server.cast.sessions["bob"], "url": server.url}])
    server.kill()
    server.start()
    page.locator("#notice:has-text('You are signed in as somebody else now')").wait_for()
    assert page.inner_text("#indicator") == "Not connected"


def test_a_session_that_ended_while_away_asks_to_sign_in(people: People, server: RunningServer) -> None:
    page = people.open(server, "alice")
    server.kill()
    page.context.clear_cookies()
    server.start()
    page.locator("#notice:has-text('You were signed out')").wait_for()


def test_a_stream_that_is_gone_is_told_plainly(people: People, server: RunningServer) -> None:
    page = people.open(server, "alice")
    server.kill()
    code = "from realtime.models import Stream; Stream.objects.filter(name='lobby').delete()"
    assert server.manage("shell", "-c", code).returncode == 0
    server.start()
    page.locator("#notice:has-text('This stream is not there')").wait_for()


def test_another_epoch_starts_the_feed_again(people: People, server: RunningServer) -> None:
    publish(server, {"text": "before"}, times=3)
    page = people.open(server, "alice")
    server.kill()
    code = """
from realtime.models import Record, Stream
Record.objects.filter(offset__gt=1).delete()
Stream.objects.filter(name="lobby").update(epoch="restored", head=1)
"""
    assert server.manage("shell", "-c", code).returncode == 0
    server.start()
    poll(page, lambda: offsets(page) == [1], "what is lost is gone")
    live(page)
    assert page.inner_text("#position-epoch") == "restored"
    publish(server, {"text": "after"})
    record(page, "after").wait_for()
    assert offsets(page) == [1, 2]


# Pause, keys, theme


def test_pause_stops_the_feed_and_resume_brings_everything(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path)
    page.keyboard.press(".")
    page.locator("#indicator[data-state=paused]").wait_for()
    room.publish({"text": "meanwhile"}, times=4)
    page.locator("#banner:has-text('4 new')").wait_for()
    assert texts(page) == []
    page.click("#banner >> text=Resume")
    poll(page, lambda: offsets(page) == [1, 2, 3, 4], "all are there")
    live(page)


def test_a_long_pause_leaves_a_gap_that_can_be_loaded(people: People, room: Room) -> None:
    room.fill(2)
    page = people.open(room.server, "alice", room.path)
    page.click("#pause")
    room.append([json.dumps({"text": str(number)}) for number in range(400)])
    page.locator("#banner:has-text('400 new')").wait_for()
    page.click("#pause")
    gap = page.locator("#feed .wire-gap")
    gap.wait_for()
    assert gap.inner_text().startswith("— 350 records not loaded.")
    gap.locator("button").click()
    page.locator("#feed .wire-gap:has-text('— 50 records')").wait_for()
    page.locator("#feed .wire-gap button").click()
    poll(page, lambda: offsets(page) == list(range(1, 403)), "the gap is closed")


def test_the_keyboard_finds_a_stream_and_lists_its_keys(people: People, room: Room) -> None:
    assert room.server.manage("streams", "create", "iot:greenhouse", "--kind", "chart").returncode == 0
    page = people.open(room.server, "alice", room.path)
    page.keyboard.press("?")
    page.locator("dialog[open]:has-text('Keyboard shortcuts')").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("green")
    page.locator("#switcher-list [aria-selected=true]:has-text('iot:greenhouse')").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/iot:greenhouse/")


def test_the_keyboard_goes_through_the_page_and_the_unread_streams(people: People, server: RunningServer) -> None:
    assert server.manage("streams", "create", "news", "--title", "News").returncode == 0
    publish(server, {"text": "unread"}, "news")
    page = people.open(server, "alice")
    where = "document.activeElement.id || document.activeElement.className || document.activeElement.name"
    page.focus("#composer textarea")
    for part in ["button-text", "logo", "pause", "tab", "feed-scroll", "composer-text"]:
        page.keyboard.press("F6")
        assert page.evaluate(where) == part
    page.keyboard.press("Shift+F6")
    assert page.evaluate(where) == "feed-scroll"
    page.keyboard.press("?")
    page.click("[data-single-keys=off]")
    page.keyboard.press("Escape")
    page.keyboard.press(".")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 0
    assert page.get_attribute("#pause", "aria-pressed") == "false"
    page.click("#user-menu summary")
    page.click("text=Keyboard shortcuts")
    page.click("[data-single-keys=on]")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/s/news/")
    live(page)
    poll(page, lambda: marker(server, "alice", "news") == 1, "it is read")
    page.keyboard.press("p")
    page.wait_for_url("**/?show=unread")


def test_every_stream_is_marked_read_at_once(people: People, server: RunningServer) -> None:
    publish(server, {"text": "unread"})
    page = people.open(server, "alice", "/")
    page.locator(".row[data-stream=lobby] .badge:has-text('1')").wait_for()
    page.keyboard.press("Shift+Escape")
    page.locator(".row[data-stream=lobby] .badge").wait_for(state="hidden")
    assert marker(server, "alice") == 1


def test_a_theme_is_kept_and_applied_before_the_page_is_drawn(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(250, 250, 248)"
    page.click("#user-menu summary")
    page.click("[data-theme-choice=dark]")
    assert page.evaluate(background) == "rgb(19, 20, 18)"
    page.reload(wait_until="commit")
    wait(page, f"document.body && {background} === 'rgb(19, 20, 18)'")
    live(page)
    page.click("#user-menu summary")
    page.click("[data-theme-choice=auto]")
    assert page.evaluate(background) == "rgb(250, 250, 248)"


# The other views


def test_the_chart_moves(people: People, make_server: Fleet) -> None:
    server = make_server.new(options=["--demo"])
    server.start()
    page = people.open(server, "alice", path="/")
    page.locator(".row[data-stream^='host:'] .row-last:has-text('CPU')").wait_for()
    page.click(".row[data-stream^='host:'] a")
    live(page)
    titles = page.locator(".chart-title")
    page.locator(".chart-title:has-text('Memory')").wait_for()
    assert titles.all_inner_texts()[:3] == ["CPU", "Memory", "Network"]
    picture = "document.querySelector('.chart-plot canvas').toDataURL()"
    first, where = page.evaluate(picture), page.inner_text("#chart-where")
    wait(page, f"document.querySelector('#chart-where').textContent !== {json.dumps(where)}")
    wait(page, f"{picture} !== {json.dumps(first)}")
    page.keyboard.press("t")
    assert page.locator("#table thead th").all_inner_texts()[:2] == ["Time", "cpu"]
    newest = page.inner_text("#table tbody tr:first-child td:first-child")
    wait(page, f"document.querySelector('#table tbody td').textContent !== {json.dumps(newest)}")


def test_a_chart_starts_with_what_came_before(people: People, room: Room) -> None:
    assert room.server.manage("streams", "create", "iot:pi", "--kind", "chart").returncode == 0
    code = """
import time
from realtime.items import Item
from realtime.journal import append_now
from realtime.models import Record
append_now([Item("iot:pi", '{"t":%d}' % number) for number in range(1, 801)])
now = int(time.time() * 1000)
records = list(Record.objects.filter(stream__name="iot:pi"))
for record in records:
    record.received = now - (800 - record.offset) * 1000
Record.objects.bulk_update(records, ["received"], batch_size=100)
"""
    assert room.server.manage("shell", "-c", code).returncode == 0
    page = people.open(room.server, "alice", "/s/iot:pi/")
    page.click("[data-minutes='60']")
    page.locator("#chart-note:has-text('1 point = 10 s')").wait_for()
    page.click("[data-minutes='15']")
    page.locator("#chart-note:has-text('1 point')").wait_for(state="hidden")
    page.click("#table-toggle")
    page.locator("#table tbody tr").first.wait_for()
    assert page.locator("#table tbody tr:first-child td").all_inner_texts()[1] == "800"
    publish(room.server, {"t": 1234}, "iot:pi")
    page.locator("#table tbody tr:first-child td:has-text('1 234')").wait_for()
    page.keyboard.press(".")
    publish(room.server, {"t": 5678}, "iot:pi")
    page.locator("#banner:has-text('1 new')").wait_for()
    assert page.locator("#table tbody tr:first-child td").all_inner_texts()[1] == "1\u202f234"
    page.keyboard.press(".")
    page.locator("#table tbody tr:first-child td:has-text('5 678')").wait_for()


def test_raw_shows_what_comes_newest_first(people: People, room: Room) -> None:
    room.publish({"v": 1})
    page = people.open(room.server, "alice", f"{room.path}?view=raw")
    room.publish({"v": [1, None, "<b>"]})
    page.locator("#o2").wait_for()
    assert page.locator("#raw > li").evaluate_all("rows => rows.map(row => row.id)") == ["o2", "o1"]
    assert json.loads(page.inner_text("#o2 .raw-json")) == {"v": [1, None, "<b>"]}
    assert "device" in page.inner_text("#o2 .raw-head")


def test_the_list_of_streams_is_live(people: People, server: RunningServer) -> None:
    page = people.open(server, "alice", "/")
    bob = people.open(server, "bob")
    say(bob, "look here")
    row = page.locator(".row[data-stream=lobby]")
    row.locator(".row-last:has-text('bob look here')").wait_for()
    row.locator(".badge:text-is('1')").wait_for()
    row.locator(".row-here:has-text('1 here')").wait_for()
    assert server.manage("streams", "create", "brand:new", "--kind", "chart").returncode == 0
    page.locator(".row[data-stream='brand:new']:has-text('no records yet')").wait_for()


def test_a_phone_finds_a_stream_in_the_list(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", "/", viewport={"width": 390, "height": 844})
    page.fill(".rows-find input", room.name)
    page.press(".rows-find input", "Enter")
    page.wait_for_url("**/?q=*")
    page.locator(f".row[data-stream='{room.name}']").wait_for()
    assert page.locator(".row[data-stream=lobby]").count() == 0


def test_a_link_to_an_old_record_leads_there(people: People, room: Room) -> None:
    room.fill(120)
    page = people.open(room.server, "alice", f"{room.path}#o12")
    page.locator("#o12.wire-found").wait_for()
    wait(page, "document.getElementById('o12').getBoundingClientRect().top > 100")
    assert 12 in offsets(page)
    page.click("#newest")
    poll(page, lambda: offsets(page)[-1] == 120, "and back to the newest")


def test_without_javascript_one_reads_and_writes(people: People, room: Room) -> None:
    page = people.open(room.server, "alice", room.path, java_script_enabled=False)
    page.fill("textarea", "by form")
    page.click("#composer button")
    assert page.inner_text("#feed .wire-text") == "by form"
    room.fill(110)
    page.reload()
    page.click("text=Older records")
    page.locator("#feed .wire-text:text-is('by form')").wait_for()


@pytest.mark.parametrize("path", ["/", "/s/lobby/", "/s/lobby/?view=chart", "/s/lobby/?view=raw", "/styleguide/", "/s/nothing/"])
def test_no_page_offends_the_content_security_policy(people: People, house: RunningServer, path: str) -> None:
    publish(house, {"text": "<img src=x onerror=alert(1)>", "v": 1})
    page = people.open(house, "operator", path)
    page.wait_for_load_state("load")
    assert page.evaluate("document.styleSheets.length") > 10


@pytest.mark.parametrize("path", ["/", "/s/lobby/", "/s/lobby/?view=chart", "/s/lobby/?view=raw", "/styleguide/", "/accounts/login/"])
def test_no_page_is_wider_than_a_phone(people: People, house: RunningServer, path: str) -> None:
    publish(house, {"text": "w" * 300, "a_field_with_a_long_name": 1})
    page = people.open(house, "" if "login" in path else "operator", path, viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_first_paint_is_quick(people: People, room: Room) -> None:
    room.fill(100)
    page = people.open(room.server, "alice", room.path)
    # Again on a machine that is busy with something else.
    poll(page, lambda: took(page, room.url) <= 150, "a page within 150 ms")


def took(page: Page, url: str) -> float:
    """Milliseconds until the first byte of a page."""
    page.goto(url)
    milliseconds: float = page.evaluate("(([t]) => t.responseStart - t.requestStart)(performance.getEntriesByType('navigation'))")
    return milliseconds
