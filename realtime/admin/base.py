"""What the pages of the admin have in common."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from realtime.audit import Actor, note
from realtime.callers import address_of
from realtime.names import display_names
from realtime.times import written

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.forms import ModelForm
else:

    class _Generic:
        """These classes of Django are generic for the type checker only."""

        def __class_getitem__(cls, _model: object) -> type:
            return cls

    class ModelAdmin(_Generic, admin.ModelAdmin):
        pass

    class TabularInline(_Generic, admin.TabularInline):
        pass

    class ModelForm(_Generic, forms.ModelForm):
        pass


M = TypeVar("M", bound=Model)

__all__ = [
    "USERNAME",
    "AuditedAdmin",
    "HoldersLookedUp",
    "KeysetChangeList",
    "MachineAdmin",
    "ModelForm",
    "TabularInline",
    "actor_of",
    "at",
    "link",
    "named",
    "who",
]

# By what people are searched for: a project may have users of its own kind.
USERNAME = get_user_model().USERNAME_FIELD


def actor_of(request: HttpRequest) -> Actor:
    return Actor(str(request.user.pk), address_of(request))


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def at(field: str, title: str = "") -> Callable[[Any], str]:
    """A column for the date-time `field`, to the second and in the order of its digits; Django's own format ends at the minute."""

    @admin.display(description=title or field.replace("_", " "), ordering=field)
    def shown(row: Any) -> str:
        when = getattr(row, field)
        return written(when) if when else "-"

    shown.__name__ = f"{field}_at"
    return shown


def named(rows: list[Any], principal: str, name: str) -> None:
    """Give each row the attribute `name`: its `principal` as people know it. One query for a page, not one for a row."""
    names = display_names({getattr(row, principal) for row in rows})
    for row in rows:
        setattr(row, name, _with_principal(names[getattr(row, principal)], getattr(row, principal)))


def who(principal: str) -> str:
    return _with_principal(display_names({principal})[principal], principal)


def _with_principal(name: str, principal: str) -> str:
    """Two may bear one name, and a login of the host may be that of a user: so the principal stands beside it."""
    if not principal or principal.startswith("cli:"):
        return principal or name
    return name if name == principal else f"{name} ({principal})"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | list | dict) else str(value)


def _values(form: ModelForm[Any]) -> dict[str, Any]:
    return {name: _plain(form.cleaned_data.get(name)) for name in form.changed_data}


def _changes(form: ModelForm[Any]) -> dict[str, Any]:
    """Before and after of each field that the form changed."""
    return {name: [_plain(form.initial.get(name)), after] for name, after in _values(form).items()}


class AuditedAdmin(ModelAdmin[M]):
    """Whatever is changed here is in the audit log, with before and after."""

    show_full_result_count = False

    def note(self, request: HttpRequest, verb: str, subject: object, **detail: Any) -> None:
        note(actor_of(request), f"{self.opts.model_name}.{verb}", str(subject), **detail)

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        # Only what the form changed: a stream's head moves while its form is open, and must not be set back.
        obj.save(update_fields=[name for name in form.changed_data if name in form.fields] if change else None)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        detail = _changes(form) if change else _values(form)
        for formset in formsets:
            detail |= {
                "added": [str(row) for row in formset.new_objects],
                "altered": [str(row) for row, _ in formset.changed_objects],
                "deleted": [str(row) for row in formset.deleted_objects],
            }
        detail = {name: value for name, value in detail.items() if value != []}
        if detail or not change:
            self.note(request, "change" if change else "create", form.instance, **detail)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[M]) -> list[LogEntry] | LogEntry:
        for row in queryset:
            self.note(request, "delete", row)
        return super().log_deletions(request, queryset)


class HoldersLookedUp:
    """Users and groups of memberships are looked up by name where the admin of the project knows them, and else given by their key.

    Not by `autocomplete_fields`: where it does not, Django's checks would stop every command.
    """

    raw_id_fields: Any = ("user", "group")

    def get_autocomplete_fields(self: Any, request: HttpRequest) -> list[str]:
        return [*self.autocomplete_fields, *(name for name in self.raw_id_fields if self.looks_up(name))]

    def looks_up(self: Any, name: str) -> bool:
        model = self.model._meta.get_field(name).related_model
        return self.admin_site.is_registered(model) and bool(self.admin_site.get_model_admin(model).search_fields)


class MachineAdmin(ModelAdmin[M]):
    """Rows that the servers write: shown, never edited."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Never by itself; but who deletes a user may take these rows along."""
        match = request.resolver_match
        own = f"{self.opts.app_label}_{self.opts.model_name}_"
        elsewhere = match is not None and not (match.url_name or "").startswith(own)
        return elsewhere and super().has_delete_permission(request, obj)


class KeysetChangeList(ChangeList):
    """Pages by position, newest first: no COUNT and no OFFSET, so any page of a huge table costs what the first one does.

    The page parameter is the key to start below, in place of a number.
    """

    keyset = True
    # Query strings of the links under the table.
    newest = ""
    older = ""

    def get_results(self, request: HttpRequest) -> None:
        key = self.key()
        rows = self.queryset.filter(**{f"{key}__lt": self.page_num}) if self.page_num > 1 else self.queryset
        found = list(rows[: self.list_per_page + 1])
        self.result_list = found[: self.list_per_page]
        if self.page_num > 1:
            self.newest = self.get_query_string()
        if len(found) > self.list_per_page:
            self.older = self.get_query_string({PAGE_VAR: getattr(self.result_list[-1], key)})
        # Equal, so that the page claims nothing about how many there are.
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = False
        self.show_all = self.can_show_all = self.multi_page = False
        self.paginator = None
        self.prepare(self.result_list)

    def key(self) -> str:
        return "id"

    def prepare(self, rows: list[Any]) -> None:
        """For what a page of rows needs beside its own columns."""
