"""The pages. Each asks for what its first paint needs, by a fixed number of queries; the rest is live."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from . import access, api_guide, callers, credentials, engine, feed_rows, protocol, rpc_methods, stream_list, words
from .access import ANONYMOUS, Identity
from .errors import UnknownStream, WirelogError
from .forms import WriteForm, new_key
from .items import Item, largest_payload
from .journal import append_one
from .models import Audience, Kind, ReadMarker, Stream
from .names import display_names, label_of
from .protocol import Publication
from .reads import page_before

FIRST_PAGE = 100
# A chart starts with a few minutes of a feed that measures every second.
CHART_PAGE = 300
TABLE_ROWS = 30
TABLE_FIELDS = 10
VIEWS = {"feed": "Feed", "chart": "Chart", "raw": "Raw"}
DEFAULT_VIEWS = {Kind.FEED: "feed", Kind.CHART: "chart", Kind.LATEST: "chart"}
AUDIENCES = {Audience.ANYONE: "anyone", Audience.USERS: "everyone signed in", Audience.MEMBERS: "members"}


def identity_of(request: HttpRequest) -> Identity:
    return credentials.identity_of_user(request.user) if request.user.is_authenticated else ANONYMOUS


# The list of streams


@never_cache
@require_safe
def streams(request: HttpRequest) -> HttpResponse:
    identity = identity_of(request)
    query, chosen = request.GET.get("q", "").strip()[:128], request.GET.get("show", "")
    listed = stream_list.listed(identity, rpc_methods.stream_list(identity))
    shown = [row for row in stream_list.matching(listed, query) if stream_list.belongs(row, chosen)]
    context = {
        "live": True,
        "principal": identity.principal,
        "query": query,
        "filter": chosen,
        "count": len(shown),
        "tabs": stream_list.tabs(listed, chosen),
        "sections": stream_list.sections(shown),
        "blank_row": stream_list.BLANK,
        "sparks": {row.name: row.points for row in shown if row.points},
    }
    return render(request, "realtime/streams.html", context)


# One stream


@never_cache
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def stream(request: HttpRequest, name: str) -> HttpResponse:
    identity = identity_of(request)
    try:
        found = access.readable(identity, name)
    except UnknownStream as error:
        if identity is ANONYMOUS:
            return redirect_to_login(request.get_full_path())
        raise Http404(str(error)) from None
    if request.method == "POST":
        return _write(request, identity, found)
    return _show(request, identity, found)


def _write(request: HttpRequest, identity: Identity, found: Stream) -> HttpResponse:
    """The composer without JavaScript."""
    form = WriteForm(request.POST)
    try:
        if not form.is_valid():
            messages.error(request, str(form.errors.get("text", ["The form is not complete."])[0]))
            return _show(request, identity, found, text=form.data.get("text", ""), status=400)
        item = Item(found.name, form.payload(), identity, identity.principal, idempotency_key=form.idempotency_key())
        # In a thread beside the loop that uses it too: a lost update is one record too many.
        if (running := engine.running()) is not None:
            running.rates.publish(identity, 1, callers.address_of(request))
        append_one(item)
    except WirelogError as error:
        messages.error(request, f"Not sent: {error}.")
        return _show(request, identity, found, text=form.data.get("text", ""), status=error.http_status)
    return redirect(f"{reverse('stream', args=[found.name])}?view=feed")


def _show(request: HttpRequest, identity: Identity, found: Stream, text: str = "", status: int = 200) -> HttpResponse:
    view = request.GET.get("view", "")
    if view not in VIEWS:
        view = DEFAULT_VIEWS.get(Kind(found.kind), "raw")
    before = _before(request, found)
    page = page_before(connections["default"], found.pk, found.tail, before, CHART_PAGE if view == "chart" else FIRST_PAGE)
    page.reverse()
    names = display_names({record.publisher for record in page})
    context = _common(request, identity, found, view) | {
        "records": "[" + ",".join(map(protocol.publication, page)) + "]",
        "any_records": bool(page),
        "names": names,
        "older_url": f"?view={view}&before={page[0].offset}" if page and page[0].offset > found.tail else "",
    }
    context |= _of_view(view, page, names, identity, found, text)
    return render(request, f"realtime/{view}.html", context, status=status)


def _before(request: HttpRequest, found: Stream) -> int:
    """The page asked for: records below this offset. Whatever makes no sense is the newest page."""
    asked = request.GET.get("before", "")
    newest = found.head + 1
    return min(int(asked), newest) if asked.isascii() and asked.isdigit() and len(asked) < 19 else newest


def _common(request: HttpRequest, identity: Identity, found: Stream, view: str) -> dict[str, Any]:
    role = access.roles([identity], [found.pk], "default").get((identity.principal, found.pk))
    may_write = access.may_write(identity, found, role)
    return {
        "live": True,
        "identity": identity,
        "stream": found,
        "view": view,
        "tabs": [{"label": label, "url": f"?view={name}", "current": name == view} for name, label in VIEWS.items()],
        "about": _about(found),
        "writable": may_write and found.archived is None,
        "closed": "This stream is archived: it can be read, not written." if may_write else "You may read this stream, not write to it.",
        "edit_url": reverse("admin:realtime_stream_change", args=[found.pk]) if request.user.has_perm("realtime.change_stream") else "",
        "streams_url": request.build_absolute_uri("/api/streams/"),
    }


def _of_view(view: str, page: list[Publication], names: dict[str, str], identity: Identity, found: Stream, text: str) -> dict[str, Any]:
    if view == "chart":
        return {"table": _table(page[-TABLE_ROWS:])}
    if view == "raw":
        return {"rows": [_raw_row(record, names) for record in reversed(page)], "newest": not page or page[-1].offset == found.head}
    marker = ReadMarker.objects.filter(user=identity.user_id, stream=found).values_list("offset", flat=True).first() or 0
    return {
        "marker": marker,
        "rows": list(feed_rows.rows(page, names, identity, marker)),
        "form_key": new_key(),
        "largest": largest_payload(found),
        "form_url": f"{reverse('stream', args=[found.name])}?view=feed",
        "text": text,
    }


def _about(found: Stream) -> str:
    readers, writers = AUDIENCES[Audience(found.readers)], AUDIENCES[Audience(found.writers)]
    plural = "" if found.readers == Audience.MEMBERS else "s"
    who = f"{readers} read{plural} and write{plural}" if readers == writers else f"{readers} read{plural}, {writers} write"
    if found.archived:
        who = f"archived, {readers} read{plural}"
    kept = f" · kept for {found.keep_days} days" if found.keep_days and found.kind != Kind.FEED else ""
    return who + (kept if found.durable else " · not stored")


def _table(page: list[Publication]) -> dict[str, Any]:
    """The numbers of the newest records: what a chart shows, for who cannot see one."""
    payloads = [(record.time, feed_rows.payload_of(record.data)) for record in reversed(page)]
    numbers = [(moment, data) for moment, data in payloads if isinstance(data, dict) and any(map(words.is_number, data.values()))]
    fields = list(dict.fromkeys(name for _, data in numbers for name, value in data.items() if words.is_number(value)))[:TABLE_FIELDS]
    return {"fields": fields, "rows": [{"time": moment, "values": _cells(data, fields)} for moment, data in numbers]}


def _cells(data: dict[str, Any], fields: Iterable[str]) -> list[str]:
    return [words.exact(data[name]) if words.is_number(data.get(name)) else "" for name in fields]


def _raw_row(record: Publication, names: dict[str, str]) -> dict[str, Any]:
    details = [f"key {record.key}" if record.key else "", "removed" if record.removed else "", record.tags]
    return {
        "offset": record.offset,
        "time": record.time,
        "name": names.get(record.publisher, record.publisher),
        "details": " · ".join(filter(None, details)),
        "pretty": feed_rows.pretty(record.data),
    }


# Who am I


@never_cache
@login_not_required
@require_safe
def whoami(request: HttpRequest) -> JsonResponse:
    """What a page asks after its socket was closed with 4501: still the same person, or signed out?"""
    if not request.user.is_authenticated:
        return JsonResponse({"principal": ""}, status=401)
    return JsonResponse({"principal": str(request.user.pk), "name": label_of(request.user)})


# The documentation of the HTTP API


@login_not_required
@require_safe
def api(request: HttpRequest) -> HttpResponse:
    parts = api_guide.parts(request.build_absolute_uri("/").rstrip("/"))
    return render(request, "realtime/api.html", {"parts": parts, "errors": api_guide.error_rows()})


# Every component once

GUIDE_STYLES = [f"css/{name}.css" for name in ["row", "wire", "feed", "composer", "panel", "chart", "table", "raw", "call", "styleguide"]]
GUIDE_COLOURS = ["bg", "surface", "sunken", "line", "text", "muted", "accent", "good", "warn", "bad", "wire", "series-2", "series-4"]


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    samples = {"rows": stream_list.samples(), "calls": api_guide.parts("")[0].calls[:1]}
    return render(request, "styleguide.html", {"styles": GUIDE_STYLES, "colours": GUIDE_COLOURS, **samples})
