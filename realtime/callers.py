"""Where a connection or a request comes from, and what of it is to be believed. `scope` is that of ASGI."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import parse_cookie
from django.http.request import HttpRequest, split_domain_port, validate_host

from .conf import option


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a connection before it has said anything."""

    # The session cookie, when the Origin is good; else "".
    session_key: str = ""
    origin_allowed: bool = False
    address: str | None = None
    agent: str = ""


def header(scope: Mapping[str, Any], name: bytes) -> str:
    """The header `name` (lower case), or "". Several are one list, as HTTP has it: what must be one value is then none that is right."""
    values = [value for key, value in scope.get("headers", ()) if key == name]
    # Cookies are the exception: HTTP/2 may send each by itself.
    return (b"; " if name == b"cookie" else b", ").join(values).decode("latin-1")


def session_cookie(scope: Mapping[str, Any]) -> str:
    # As Django reads it: the parser of Python drops all cookies for one that it does not understand, such as JSON of a neighbour.
    return parse_cookie(header(scope, b"cookie")).get(settings.SESSION_COOKIE_NAME, "")


def _trusts_peer(scope: Mapping[str, Any]) -> bool:
    """Whether the peer is one of TRUSTED_PROXIES, so that its X-Forwarded headers are believed."""
    client = scope.get("client")
    trusted = option("TRUSTED_PROXIES")
    if not client or not trusted:
        return False
    address = _address(client[0])
    return address is not None and any(ip_address(address) in ip_network(network, strict=False) for network in trusted)


def _address(text: str) -> str | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    # A socket of both families names an IPv4 client in the manner of IPv6.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _last(listed: str) -> str:
    """What the nearest proxy has added, in its line or in one of its own; before it stands what the client may have made up."""
    return listed.rpartition(",")[2].strip()


def scheme(scope: Mapping[str, Any]) -> str:
    """http or https, as the browser sees it."""
    if _trusts_peer(scope):
        forwarded = _last(header(scope, b"x-forwarded-proto")).lower()
        if forwarded in ("http", "https"):
            return forwarded
    return "https" if scope.get("scheme") in ("https", "wss") else "http"


def client_address(scope: Mapping[str, Any]) -> str | None:
    """The address of the client: behind a trusted proxy the one that it added."""
    if _trusts_peer(scope):
        forwarded = _address(_last(header(scope, b"x-forwarded-for")))
        if forwarded is not None:
            return forwarded
    client = scope.get("client")
    return _address(client[0]) if client else None


def address_of(request: HttpRequest) -> str | None:
    """The same for a request that Django answers; outside of ASGI (the test client) it has no scope."""
    scope = getattr(request, "scope", None)
    return client_address(scope) if scope is not None else request.META.get("REMOTE_ADDR")


def host_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the Host header is allowed, by the rule that Django's pages follow."""
    domain, _port = split_domain_port(header(scope, b"host"))
    allowed = settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    return bool(domain) and validate_host(domain, allowed)


def origin_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the Origin is this very scheme and host, or one that the operator named."""
    origin = header(scope, b"origin")
    own = f"{scheme(scope)}://{header(scope, b'host')}"
    return origin != "" and (origin.lower() == own.lower() or origin in option("ORIGINS"))
