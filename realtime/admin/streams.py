from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from realtime import operations
from realtime.models import Membership, Namespace, ReadMarker, Record, Stream
from realtime.times import stamp

from .base import USERNAME, AuditedAdmin, HoldersLookedUp, MachineAdmin, TabularInline, actor_of, at, link

ACCESS: Any = ("Who may do what", {"fields": ["readers", "writers", "presence", "join_leave"]})
DELIVERY: Any = ("How records travel", {"fields": ["delivery", "durable"]})
LIMITS: Any = ("Limits", {"fields": ["max_payload", "keep_days", "keep_records", "keep_bytes", "keep_latest"]})


class MembershipInline(HoldersLookedUp, TabularInline[Membership, Stream]):
    model = Membership
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "group", "stream")


class Archived(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("archived", "archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stream]) -> QuerySet[Stream]:
        if self.value() in ("open", "archived"):
            return queryset.filter(archived__isnull=self.value() == "open")
        return queryset


@admin.register(Stream)
class StreamAdmin(AuditedAdmin[Stream]):
    list_display = ["name", "title", "kind", "audiences", "head", "last_record", "state", "look"]
    list_filter = ["kind", "readers", "writers", Archived]
    search_fields = ["name", "title"]
    search_help_text = "Name or title."
    readonly_fields: ClassVar[Any] = ["epoch", "head", "tail", "kept", "last_record", at("created"), at("archived")]
    inlines = [MembershipInline]
    actions = ["archive", "unarchive"]
    fieldsets = [
        (None, {"fields": ["name", "title", "kind"]}),
        ACCESS,
        DELIVERY,
        LIMITS,
        ("Position", {"fields": [*readonly_fields]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stream]:
        newest = Record.objects.filter(stream=OuterRef("pk"), offset=OuterRef("head"))
        return super().get_queryset(request).annotate(last_received=Subquery(newest.values("received")[:1]))

    def get_readonly_fields(self, request: HttpRequest, obj: Stream | None = None) -> list[str]:
        # Clients know a stream by its name, and hold positions in a durable one.
        return [*self.readonly_fields, "name", "durable"] if obj else list(self.readonly_fields)

    def get_fieldsets(self, request: HttpRequest, obj: Stream | None = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:-1]

    def has_delete_permission(self, request: HttpRequest, obj: Stream | None = None) -> bool:
        """A stream is archived. Deleting would collect every record first, in memory, under the write lock."""
        return False

    def view_on_site(self, obj: Stream) -> str | None:
        try:
            return reverse("stream", args=[obj.name])
        except NoReverseMatch:
            # A project that installs the app has none of its pages.
            return None

    @admin.display(description="kept")
    def kept(self, stream: Stream) -> int:
        return stream.head - stream.tail + 1

    @admin.display(description="last record")
    def last_record(self, stream: Stream) -> str:
        received = getattr(stream, "last_received", None)
        return stamp(received, "seconds") if received is not None else "-"

    @admin.display(description="read / write", ordering="readers")
    def audiences(self, stream: Stream) -> str:
        return f"{stream.readers} / {stream.writers}"

    @admin.display(description="state", ordering="archived")
    def state(self, stream: Stream) -> str:
        return "archived" if stream.archived else "open"

    @admin.display(description="see")
    def look(self, stream: Stream) -> SafeString:
        records = f"{reverse('admin:realtime_record_changelist')}?{urlencode({'q': stream.name})}"
        page = self.view_on_site(stream)
        return format_html("{} · {}", link(page, "page"), link(records, "records")) if page else link(records, "records")

    @admin.action(description="Archive: end writing, keep reading", permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[Stream]) -> None:
        names = [stream.name for stream in queryset if operations.archive(actor_of(request), stream)]
        self._tell(request, names, "archived", "was archived already")

    @admin.action(description="Unarchive: allow writing again", permissions=["change"])
    def unarchive(self, request: HttpRequest, queryset: QuerySet[Stream]) -> None:
        names = [stream.name for stream in queryset if operations.unarchive(actor_of(request), stream)]
        self._tell(request, names, "open again", "was archived")

    def _tell(self, request: HttpRequest, names: list[str], done: str, otherwise: str) -> None:
        if names:
            self.message_user(request, f"Now {done}: {', '.join(names)}.", messages.SUCCESS)
        else:
            self.message_user(request, f"Nothing was changed: each of them {otherwise}.", messages.WARNING)


@admin.register(Namespace)
class NamespaceAdmin(AuditedAdmin[Namespace]):
    list_display = ["__str__", "create_on_use", "kind", "readers", "writers", "delivery", "durable", "keep_days"]
    list_filter = ["create_on_use", "kind", "readers", "writers"]
    search_fields = ["name"]
    fieldsets = [(None, {"fields": ["name", "create_on_use", "kind"]}), ACCESS, DELIVERY, LIMITS]


@admin.register(Membership)
class MembershipAdmin(HoldersLookedUp, AuditedAdmin[Membership]):
    list_display = ["stream", "user", "group", "role"]
    list_display_links = ["stream", "user", "group"]
    list_filter = ["role"]
    list_select_related = ["stream", "user", "group"]
    search_fields = ["stream__name", f"user__{USERNAME}", "group__name"]
    search_help_text = "Stream, user or group."
    autocomplete_fields = ["stream"]


@admin.register(ReadMarker)
class ReadMarkerAdmin(MachineAdmin[ReadMarker]):
    list_display = ["user", "stream", "offset", "unread"]
    list_select_related = ["user", "stream"]
    search_fields = [f"user__{USERNAME}", "stream__name"]
    search_help_text = "User or stream."

    @admin.display(description="unread")
    def unread(self, marker: ReadMarker) -> int:
        return max(marker.stream.head - max(marker.offset, marker.stream.tail - 1), 0)
