"""What the servers and the operators did: processes, connections, presence, notices, the audit log."""

from datetime import timedelta
from typing import Any, ClassVar

import msgspec
from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from realtime.conf import limit
from realtime.models import AuditEntry, Connection, Notice, Presence, ServerProcess

from .base import KeysetChangeList, MachineAdmin, at, named, who


@admin.register(ServerProcess)
class ServerProcessAdmin(MachineAdmin[ServerProcess]):
    list_display = ["host", "pid", at("started"), at("heartbeat"), "lives", "connected"]
    ordering = ["-heartbeat"]
    search_fields = ["host", "pid"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServerProcess]:
        return super().get_queryset(request).annotate(connected_count=Count("connections"))

    @admin.display(description="alive", boolean=True)
    def lives(self, process: ServerProcess) -> bool:
        return timezone.now() - process.heartbeat < timedelta(seconds=limit("FRESH_SECONDS"))

    @admin.display(description="connections", ordering="connected_count")
    def connected(self, process: ServerProcess) -> int:
        return int(getattr(process, "connected_count", 0))


@admin.register(Connection)
class ConnectionAdmin(MachineAdmin[Connection]):
    list_display = ["who", "address", "agent", at("since"), "subscriptions", "process"]
    list_select_related = ["process", "user"]
    ordering = ["-since"]
    search_fields = ["label", "principal", "address", "agent"]
    search_help_text = "Name, principal, address or agent."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).annotate(present_count=Count("present"))

    @admin.display(description="who", ordering="label")
    def who(self, connection: Connection) -> str:
        return connection.label or "anonymous"

    @admin.display(description="present in", ordering="present_count")
    def subscriptions(self, connection: Connection) -> int:
        return int(getattr(connection, "present_count", 0))


@admin.register(Presence)
class PresenceAdmin(MachineAdmin[Presence]):
    list_display = ["stream", "connection", "process"]
    list_select_related = ["stream", "connection__process"]
    search_fields = ["stream__name", "connection__label"]
    search_help_text = "Stream or who is there."

    @admin.display(description="process")
    def process(self, presence: Presence) -> str:
        return str(presence.connection.process)


@admin.register(Notice)
class NoticeAdmin(MachineAdmin[Notice]):
    list_display = [at("created"), "kind", "subject"]
    list_filter = ["kind"]
    ordering = ["-created"]
    search_fields = ["kind"]


class AuditChangeList(KeysetChangeList):
    def prepare(self, rows: list[Any]) -> None:
        named(rows, "actor", "actor_name")


@admin.register(AuditEntry)
class AuditEntryAdmin(MachineAdmin[AuditEntry]):
    list_display = [at("created"), "who", "action", "subject", "address"]
    list_filter = ["created"]
    # It would count.
    show_facets = ShowFacets.NEVER
    list_per_page = 100
    ordering = ["-id"]
    sortable_by = ()
    search_fields = ["actor", "action", "subject"]
    search_help_text = "Actor, action or subject."
    fields: ClassVar[Any] = [at("created"), "who", "action", "subject", "address", "details"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[AuditChangeList]:
        return AuditChangeList

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> str:
        return getattr(entry, "actor_name", None) or who(entry.actor)

    @admin.display(description="detail")
    def details(self, entry: AuditEntry) -> SafeString:
        text = msgspec.json.format(msgspec.json.encode(entry.detail).decode(), indent=2)
        return format_html('<pre class="payload">{}</pre>', text)
