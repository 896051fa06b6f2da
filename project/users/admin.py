from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import Session, User


@admin.register(User)
class WirelogUserAdmin(UserAdmin):  # type: ignore[type-arg]  # generic for the type checker only
    actions = ["sign_out"]

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        _, deleted = Session.objects.filter(user__in=queryset).delete()
        self.message_user(request, f"{deleted.get('users.Session', 0)} sessions ended.")
