from typing import Any

import msgspec
from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ShowFacets, SimpleListFilter
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.db.models import BinaryField, QuerySet
from django.db.models.functions import Cast, Left, Length
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from realtime import operations
from realtime.errors import WirelogError
from realtime.models import Record, Stream
from realtime.reads import first_since
from realtime.times import now, stamp

from .base import KeysetChangeList, MachineAdmin, actor_of, link, named, who

PREVIEW = 120
# Text is looked for in so many records at most: no index helps, and a page must not read a whole database.
SEARCHED = 20_000
# A longer number is no offset: the column has 63 bits.
MAX_DIGITS = 19


class Received(SimpleListFilter):
    title = "received"
    parameter_name = "received"
    HOURS = {"1": "Past hour", "24": "Past day", "168": "Past 7 days", "720": "Past 30 days"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.HOURS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Record]) -> QuerySet[Record] | None:
        if self.value() not in self.HOURS:
            return None
        since = now() - int(self.value() or 0) * 3_600_000
        stream = searched_stream(request.GET.get(SEARCH_VAR, ""))
        if stream is None:
            return queryset.filter(id__gte=first_since(connections["default"], since))
        return queryset.filter(stream=stream, offset__gte=first_since(connections["default"], since, stream.pk))


def searched_stream(term: str) -> Stream | None:
    """A search may begin with the name of a stream."""
    first = term.strip().partition(" ")[0]
    return Stream.objects.filter(name=first).first() if first else None


class RedactForm(forms.Form):
    reason = forms.CharField(required=False, max_length=500, help_text="For the audit log; readers are not told.")


class RecordChangeList(KeysetChangeList):
    def key(self) -> str:
        # Within one stream by offset, the index of its pages; across all by id, the order of arrival.
        return "offset" if "-offset" in self.queryset.query.order_by else "id"

    def prepare(self, rows: list[Any]) -> None:
        named(rows, "publisher", "publisher_name")


@admin.register(Record)
class RecordAdmin(MachineAdmin[Record]):
    list_display = ["position", "received_at", "publisher_shown", "key", "preview", "size"]
    list_filter = [Received]
    # It would count.
    show_facets = ShowFacets.NEVER
    list_per_page = 100
    list_select_related = ["stream"]
    ordering = ["-id"]
    sortable_by = ()
    # What it means is in get_search_results.
    search_fields = ["stream__name"]
    search_help_text = f"A stream, then words of the payload (in the newest {SEARCHED:,} records), or STREAM@OFFSET."
    fields = [
        "stream_shown",
        "offset",
        "received_at",
        "device_time_at",
        "publisher_shown",
        "client",
        "key",
        "removed_shown",
        "tags",
        "idempotency_key",
        "content_type",
        "size",
        "payload",
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RecordChangeList]:
        return RecordChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        # A page of the list must not load a hundred payloads.
        return (
            super()
            .get_queryset(request)
            .select_related("stream")
            .defer("data", "blob")
            .annotate(start=Left("data", PREVIEW + 1), text_bytes=Length(Cast("data", BinaryField())), blob_bytes=Length("blob"))
        )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Record], search_term: str) -> tuple[QuerySet[Record], bool]:
        name, at, offset = search_term.strip().rpartition("@")
        if at and offset.isdecimal() and len(offset) < MAX_DIGITS:
            return queryset.filter(stream__name=name, offset=int(offset)), False
        words = search_term.split()
        if stream := searched_stream(search_term):
            queryset = queryset.filter(stream=stream).order_by("-offset")
            words = words[1:]
        if words:
            queryset = queryset.filter(**_newest(stream))
        for word in words:
            queryset = queryset.filter(data__icontains=word)
        return queryset, False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        record = self.get_object(request, object_id)
        may_redact = record is not None and record.data != "" and request.user.has_perm("realtime.redact_record")
        context = {"subtitle": self.position(record), "may_redact": may_redact} if record else {}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.redact_view)
        return [path("<int:pk>/redact/", view, name="realtime_record_redact"), *super().get_urls()]

    def redact_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        record = self.get_object(request, str(pk))
        if record is None or not request.user.has_perm("realtime.redact_record"):
            raise PermissionDenied
        form = RedactForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                done = operations.redact(actor_of(request), record.stream, record.offset, form.cleaned_data["reason"])
            except WirelogError as error:
                form.add_error(None, str(error))
            else:
                told = "Redacted {}." if done else "Nothing was changed: {} was redacted already."
                self.message_user(request, told.format(self.position(record)), messages.SUCCESS if done else messages.WARNING)
                return HttpResponseRedirect(reverse("admin:realtime_record_change", args=[pk]))
        context = self.admin_site.each_context(request) | {"title": "Redact a record", "opts": self.opts, "form": form}
        context |= {"object": record, "about": self.position(record)}
        return TemplateResponse(request, "admin/realtime/record/redact.html", context)

    @admin.display(description="record")
    def position(self, record: Record) -> str:
        return f"{record.stream.name}@{record.offset}"

    @admin.display(description="stream")
    def stream_shown(self, record: Record) -> SafeString:
        return link(reverse("admin:realtime_stream_change", args=[record.stream_id]), record.stream.name)

    @admin.display(description="removes its key")
    def removed_shown(self, record: Record) -> str:
        return "yes" if record.removed else "no"

    @admin.display(description="received")
    def received_at(self, record: Record) -> str:
        return stamp(record.received)

    @admin.display(description="device time")
    def device_time_at(self, record: Record) -> str:
        return stamp(record.device_time) if record.device_time is not None else "-"

    @admin.display(description="publisher")
    def publisher_shown(self, record: Record) -> str:
        return getattr(record, "publisher_name", None) or who(record.publisher)

    @admin.display(description="payload")
    def preview(self, record: Record) -> SafeString:
        start: str = getattr(record, "start", "")
        text = start[:PREVIEW] + ("…" if len(start) > PREVIEW else "")
        return format_html('<code class="payload">{}</code>', text or record.content_type)

    @admin.display(description="bytes")
    def size(self, record: Record) -> str:
        blob_bytes = getattr(record, "blob_bytes", None)
        return f"{blob_bytes if blob_bytes is not None else getattr(record, 'text_bytes', 0):,}"

    @admin.display(description="payload")
    def payload(self, record: Record) -> SafeString:
        # Not decoded and encoded: 1.10 stays 1.10.
        text = msgspec.json.format(record.data, indent=2) if record.data else "none: a blob, or redacted"
        return format_html('<pre class="payload">{}</pre>', text)


def _newest(stream: Stream | None) -> dict[str, int]:
    """The filter for the newest records, as many as are searched."""
    if stream:
        return {"offset__gt": stream.head - SEARCHED}
    newest = Record.objects.order_by("-id").values_list("id", flat=True).first() or 0
    return {"id__gt": newest - SEARCHED}
