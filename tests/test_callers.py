"""Where a connection comes from, and what of it is to be believed."""

from typing import Any

import pytest

from realtime import callers

PROXY, STRANGER = "10.0.0.1", "203.0.113.9"


def scope(client: str | None = STRANGER, scheme: str = "ws", **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"client": (client, 5) if client else None, "scheme": scheme, "headers": named}


@pytest.fixture
def trusting(settings: Any) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "TRUSTED_PROXIES": ["10.0.0.0/8", "fd00::/8"]}


@pytest.mark.parametrize(
    "client, scheme, forwarded, found",
    [
        (STRANGER, "ws", None, "http"),
        (STRANGER, "wss", None, "https"),
        (STRANGER, "https", None, "https"),
        (STRANGER, "ws", "https", "http"),
        (PROXY, "ws", "https", "https"),
        (PROXY, "ws", " HTTPS ", "https"),
        (PROXY, "wss", "http", "http"),
        (PROXY, "ws", "gopher", "http"),
        (PROXY, "ws", "https,http", "http"),
        (PROXY, "ws", "http,https", "https"),
        (None, "ws", "https", "http"),
    ],
)
@pytest.mark.usefixtures("trusting")
def test_the_scheme_is_what_a_trusted_proxy_says(client: str | None, scheme: str, forwarded: str | None, found: str) -> None:
    headers = {} if forwarded is None else {"x_forwarded_proto": forwarded}
    assert callers.scheme(scope(client, scheme, **headers)) == found


@pytest.mark.parametrize(
    "client, forwarded, found",
    [
        (STRANGER, None, STRANGER),
        (STRANGER, "198.51.100.1", STRANGER),
        (PROXY, None, PROXY),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        # What the client itself has sent stands before what the proxy added.
        (PROXY, "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        (PROXY, "198.51.100.1, rubbish", PROXY),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", "198.51.100.1", STRANGER),
        ("rubbish", "198.51.100.1", None),
        (None, "198.51.100.1", None),
    ],
)
@pytest.mark.usefixtures("trusting")
def test_the_address_is_what_a_trusted_proxy_says(client: str | None, forwarded: str | None, found: str | None) -> None:
    headers = {} if forwarded is None else {"x_forwarded_for": forwarded}
    assert callers.client_address(scope(client, **headers)) == found


@pytest.mark.usefixtures("trusting")
def test_a_line_that_a_proxy_adds_counts_for_more_than_one_of_the_client() -> None:
    asked = scope(PROXY)
    asked["headers"] = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"198.51.100.1")]
    asked["headers"] += [(b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https")]
    assert (callers.client_address(asked), callers.scheme(asked)) == ("198.51.100.1", "https")


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "two words=1", "lang=français", "a[b]=1", "path=/", "seen"])
def test_a_session_is_found_behind_any_cookie_of_a_neighbour(other: str) -> None:
    assert callers.session_cookie({"headers": [(b"cookie", f"{other}; sessionid=abc".encode())]}) == "abc"


def test_cookies_may_come_one_by_one() -> None:
    asked = {"headers": [(b"cookie", b"sessionid=abc"), (b"cookie", b"theme=dark")]}
    assert callers.session_cookie(asked) == "abc"


@pytest.mark.parametrize("name", ["host", "origin"])
def test_what_is_said_twice_is_not_believed(settings: Any, name: str) -> None:
    settings.ALLOWED_HOSTS = ["wirelog.example"]
    asked = scope(host="wirelog.example", origin="http://wirelog.example")
    assert believed(asked)
    asked["headers"].append((name.encode(), b"evil.example"))
    assert not believed(asked)


def believed(asked: dict[str, Any]) -> bool:
    return callers.host_allowed(asked) and callers.origin_allowed(asked)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    claimed = scope(PROXY, x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
    assert (callers.client_address(claimed), callers.scheme(claimed)) == (PROXY, "http")


@pytest.mark.parametrize(
    "host, allowed",
    [
        ("wirelog.example.org", True),
        ("wirelog.example.org:8000", True),
        ("WIRELOG.example.org", True),
        ("[::1]:8000", True),
        ("sub.example.net", True),
        ("example.net", True),
        ("badexample.net", False),
        ("wirelog.example.org.evil.test", False),
        ("evil.test", False),
        ("wirelog.example.org@evil.test", False),
        ("", False),
    ],
)
def test_the_host_must_be_one_of_the_allowed(settings: Any, host: str, allowed: bool) -> None:
    settings.ALLOWED_HOSTS = ["wirelog.example.org", "[::1]", ".example.net"]
    assert callers.host_allowed(scope(host=host)) == allowed


def test_without_a_host_header_no_host_is_allowed(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert not callers.host_allowed(scope())


@pytest.mark.parametrize("debug, allowed", [(True, True), (False, False)])
def test_while_debugging_the_own_machine_is_allowed(settings: Any, debug: bool, allowed: bool) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = [], debug
    assert callers.host_allowed(scope(host="127.0.0.1:8000")) == allowed


@pytest.mark.parametrize(
    "origin, allowed",
    [
        ("http://example.org:8000", True),
        ("HTTP://EXAMPLE.org:8000", True),
        ("https://named.test", True),
        ("https://example.org:8000", False),
        ("http://example.org", False),
        ("http://example.org:80", False),
        ("http://example.org:8001", False),
        ("http://example.org:8000.evil.test", False),
        ("http://evil.example.org:8000", False),
        ("http://example.org:8000/", False),
        ("http://user@example.org:8000", False),
        ("https://named.test.evil.test", False),
        ("https://named.test:8443", False),
        ("http://named.test", False),
        ("xhttps://named.test", False),
        ("null", False),
        ("file://", False),
        ("", False),
    ],
)
def test_the_origin_must_be_this_very_scheme_and_host_or_a_named_one(settings: Any, origin: str, allowed: bool) -> None:
    settings.WIRELOG = {**settings.WIRELOG, "ORIGINS": ["https://named.test"]}
    assert callers.origin_allowed(scope(host="example.org:8000", origin=origin)) == allowed


def test_no_origin_is_no_good_one() -> None:
    assert not callers.origin_allowed(scope(host="example.org"))


@pytest.mark.usefixtures("trusting")
def test_behind_a_proxy_the_origin_has_the_scheme_of_the_browser() -> None:
    page = {"host": "example.org", "origin": "https://example.org"}
    assert callers.origin_allowed(scope(PROXY, x_forwarded_proto="https", **page))
    assert not callers.origin_allowed(scope(STRANGER, x_forwarded_proto="https", **page))
