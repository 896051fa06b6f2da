"""The documentation page of the HTTP API in a real browser."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from .browser import People, chromium
from .servers import RunningServer


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with chromium() as browser:
        people = People(browser)
        yield people
        people.close()


def try_it(page: Page, call: str) -> tuple[str, str]:
    """Status line and body of the answer."""
    form = page.locator(f"#{call} .call-try")
    form.locator("button").click()
    form.locator(".call-answer:not([hidden])").wait_for()
    form.locator("button:enabled").wait_for()
    return form.locator(".call-status").inner_text(), form.locator(".call-content").inner_text()


def test_a_call_is_tried_with_a_key_that_only_the_page_knows(shared_server: RunningServer, people: People) -> None:
    page = people.open(shared_server, path="/api/docs#publish")
    status, body = try_it(page, "publish")
    assert status.startswith("401 ")
    assert json.loads(body)["error"]["code"] == 101
    key = shared_server.cast.keys["backend"]
    page.fill("#api-key", key)
    status, body = try_it(page, "publish")
    assert status.startswith("200 ")
    offset = json.loads(body)["result"]["offset"]
    assert "content-type: application/json" in page.locator("#publish .call-headers").inner_text()
    page.goto(f"{shared_server.url}/api/docs#history")
    page.reload()
    assert page.locator("#history").get_attribute("open") is not None
    assert page.locator("#api-key").input_value() == ""
    assert key not in json.dumps(page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie, location.href]"))
    page.fill("#api-key", key)
    newest = json.loads(try_it(page, "history")[1])["result"]["publications"][0]
    assert (newest["offset"], newest["data"]) == (offset, {"text": "hello"})


def test_a_mistyped_address_gets_no_key(shared_server: RunningServer, people: People) -> None:
    page = people.open(shared_server, path="/api/docs#info")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.fill("#api-key", shared_server.cast.keys["backend"])
    page.fill("#info [name=url]", "//evil.example/api/info")
    page.locator("#info .call-try button").click()
    page.get_by_text("No answer: the address must begin with /").wait_for()
    assert not [url for url in asked if "evil.example" in url]


def test_the_page_reads_without_a_script(shared_server: RunningServer, people: People) -> None:
    page = people.open(shared_server, path="/api/docs", java_script_enabled=False)
    page.locator("#publish summary").click()
    page.locator("#publish").get_by_text("curl http").wait_for()
    assert not page.locator("#publish .call-try").is_visible()
    assert not page.locator("#api-key").is_visible()
