"""A real browser for tests: headless Chromium, driven by Playwright, that complains of whatever a page does wrong."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

from tests.machine import require

from ..waiting import SECONDS
from .servers import RunningServer

# No sandbox: tests run as root in containers.
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
MS = 1_000 * SECONDS
# What a browser itself says of a server that is away.
EXPECTED = re.compile(r"WebSocket connection to|net::ERR_|Failed to load resource")
LISTEN = "addEventListener('securitypolicyviolation', (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`))"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=ARGS)
        yield browser
        browser.close()


class People:
    """Browsers of people, each with cookies and storage of its own. At the end nobody must have had a complaint."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def open(self, server: RunningServer, who: str = "", path: str = "/s/lobby/", **options: Any) -> Page:
        """A page, as `who` of the cast sees it; waits until it is live."""
        page = self.context(server, who, **options).new_page()
        page.goto(server.url + path)
        if page.locator("#indicator").count() and options.get("java_script_enabled", True):
            live(page)
        return page

    def context(self, server: RunningServer, who: str = "", **options: Any) -> BrowserContext:
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 740}} | options)
        context.set_default_timeout(MS)
        context.add_init_script(LISTEN)
        if who:
            context.add_cookies([{"name": "sessionid", "value": server.cast.sessions[who], "url": server.url}])
        context.on("page", self._listen)
        self.contexts.append(context)
        return context

    def _listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not EXPECTED.search(text):
            self.complaints.append(text)

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        assert self.complaints == []


def live(page: Page) -> None:
    """Waits until the page says that it is live."""
    page.locator("#indicator[data-state=live]").wait_for()


def wait(page: Page, condition: str) -> None:
    """Waits until the JavaScript expression `condition` is true in the page. Playwright's own way evaluates text, which pages forbid."""
    poll(page, lambda: bool(page.evaluate(condition)), condition)


def offsets(page: Page) -> list[int]:
    """The offsets on the wire, from top to bottom; 0 for what waits to be sent."""
    found: list[int] = page.locator("#feed .wire-record").evaluate_all("rows => rows.map(row => Number(row.id.slice(1)))")
    return found


def texts(page: Page) -> list[str]:
    return page.locator("#feed .wire-text").all_inner_texts()


def say(page: Page, text: str) -> None:
    page.fill("#composer textarea", text)
    page.press("#composer textarea", "Enter")


def record(page: Page, text: str) -> Locator:
    """The record with exactly this text, once it is stored."""
    return page.locator("#feed .wire-record:not(.wire-pending)").filter(has=page.get_by_text(text, exact=True))


def poll(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Waits for what only Python can tell, while the page goes on."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s"
        page.wait_for_timeout(50)
