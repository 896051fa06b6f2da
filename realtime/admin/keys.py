from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from realtime import operations, scopes
from realtime.models import ApiKey

from .base import USERNAME, AuditedAdmin, ModelForm, actor_of, at

# Between the form and the page that shows the key; long enough for a slow link.
SHOWN_SECONDS = 120


class ScopesField(forms.CharField):
    widget = forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false", "class": "scopes"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(scopes.text(scope) for scope in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = super().to_python(value)
        try:
            return scopes.parse_all((lines or "").splitlines())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != (data or "").replace("\r\n", "\n").strip())


class Shown:
    """A secret for a template. Its repr is not the secret: at level DEBUG the template engine logs whole contexts."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __str__(self) -> str:
        return self._secret


class ApiKeyForm(ModelForm[ApiKey]):
    scopes = ScopesField(
        help_text="One scope on each line: a pattern of stream names, = and what the key may do. "
        "Actions: read, publish, manage. For example: iot:*=read,publish"
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes", "expires", "publish_rate", "max_connections"]

    def clean_expires(self) -> Any:
        expires = self.cleaned_data["expires"]
        if expires is not None and "expires" in self.changed_data and expires <= timezone.now():
            raise forms.ValidationError("This is in the past. To end a key now, revoke it.")
        return expires


class RotateForm(forms.Form):
    overlap = forms.IntegerField(
        label="Overlap in hours",
        initial=int(operations.OVERLAP.total_seconds() // 3600),
        min_value=0,
        max_value=operations.MAX_OVERLAP.days * 24,
        help_text="So long the key before it works on, and what uses it stays connected; 0 ends it at once.",
    )


class State(SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("usable", "usable"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        found = {
            "usable": Q(revoked=None) & (Q(expires=None) | Q(expires__gt=now)),
            "expired": Q(revoked=None, expires__lte=now),
            "revoked": Q(revoked__isnull=False),
        }
        return queryset.filter(found.get(self.value() or "", Q()))


@admin.register(ApiKey)
class ApiKeyAdmin(AuditedAdmin[ApiKey]):
    form = ApiKeyForm
    list_display = ["name", "shown_prefix", "may", "state", at("expires"), at("last_used"), "created_by"]
    list_filter = [State]
    list_select_related = ["created_by"]
    search_fields = ["name", "prefix", f"created_by__{USERNAME}"]
    search_help_text = "Name, prefix (without wl_) or who made it."
    ordering = ["-created"]
    used: ClassVar[Any] = [at("last_used"), at("previous_until", "old secret works until"), at("revoked")]
    readonly_fields: ClassVar[Any] = ["shown_prefix", "state", at("created"), "created_by", *used]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[Any]:
        return [*self.form.Meta.fields, *(self.readonly_fields if obj else [])]

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A revoked key stays as it was."""
        return (obj is None or obj.revoked is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key is revoked, and stays in the list: records name it as their publisher."""
        return False

    @admin.display(description="key", ordering="prefix")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"wl_{key.prefix}"

    @admin.display(description="scopes")
    def may(self, key: ApiKey) -> str:
        return " ".join(scopes.text(scope) for scope in key.scopes)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return key.state

    @admin.action(description="Revoke: end these keys for good", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        names = [str(key) for key in queryset if operations.revoke(actor_of(request), key)]
        if names:
            self.message_user(request, f"Revoked: {', '.join(names)}.", messages.SUCCESS)
        else:
            self.message_user(request, "Nothing was changed: each of them was revoked already.", messages.WARNING)

    # A new key, or a new secret: made, then shown once

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        fields = {name: getattr(obj, name) for name in self.form.Meta.fields}
        made, secret = ApiKey.generate(**fields, created_by=request.user)
        # The secret is for response_add, which gets the same object.
        obj.__dict__.update(made.__dict__, secret=secret)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        # Each would lead away from the only page that shows the key.
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False} if kwargs.get("add") else {}
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None) -> HttpResponse:
        return self._show(request, obj, obj.__dict__.pop("secret"))

    def _show(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        """To the page that shows the key. The key travels in a cookie for that page alone: so the server keeps it nowhere."""
        url = reverse("admin:realtime_apikey_created", args=[key.pk])
        response = HttpResponseRedirect(url)
        response.set_signed_cookie(
            _cookie(key.pk), secret, max_age=SHOWN_SECONDS, path=url, secure=request.is_secure(), httponly=True, samesite="Strict"
        )
        return response

    def get_urls(self) -> list[URLPattern]:
        views = {"created": self.created_view, "rotate": self.rotate_view}
        own = [path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"realtime_apikey_{name}") for name, view in views.items()]
        return [*own, *super().get_urls()]

    def _context(self, request: HttpRequest, key: ApiKey) -> dict[str, Any]:
        return self.admin_site.each_context(request) | {"opts": self.opts, "object": key, "about": str(key)}

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self.get_object(request, str(pk))
        if key is None or not self.has_change_permission(request, key):
            raise PermissionDenied
        form = RotateForm(request.POST or None)
        if form.is_valid():
            try:
                secret = operations.rotate(actor_of(request), key, timedelta(hours=form.cleaned_data["overlap"]))
            except ValidationError as error:
                form.add_error(None, error)
            else:
                return self._show(request, key, secret)
        context = self._context(request, key) | {"title": "Rotate a key", "form": form}
        return TemplateResponse(request, "admin/realtime/apikey/rotate.html", context)

    def created_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self.get_object(request, str(pk))
        if key is None or not (self.has_add_permission(request) or self.has_change_permission(request, key)):
            raise PermissionDenied
        name = _cookie(pk)
        secret = request.get_signed_cookie(name, default="", max_age=SHOWN_SECONDS)
        context = self._context(request, key) | {
            "title": "The new key" if secret else "The key was shown",
            "secret": Shown(secret) if secret else None,
            "streams_url": request.build_absolute_uri("/api/streams/"),
            "example": _example(key),
            "media": self.media,
        }
        response = TemplateResponse(request, "admin/realtime/apikey/created.html", context)
        response.delete_cookie(name, path=request.path, samesite="Strict")
        return response

    class Media:
        js = ["realtime/copy.js"]


def _cookie(pk: int) -> str:
    # "api_key" in the name: Django's error reports hide the value then.
    return f"wirelog_api_key_{pk}"


def _example(key: ApiKey) -> str:
    """The name of a stream that this key may publish to, for a line of curl; empty when it may not publish."""
    patterns = [scope["pattern"] for scope in key.scopes if "publish" in scope["actions"]]
    return patterns[0].replace("*", "example") if patterns else ""
