from typing import Any

from django.contrib.auth.views import PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.db import transaction
from django.http import HttpResponse


class ChangePassword(SuccessMessageMixin, PasswordChangeView):  # type: ignore[type-arg]  # generic for the type checker only
    template_name = "registration/change_password.html"
    success_url = "/"
    success_message = "Your password was changed. This browser stays signed in; everywhere else you were signed out."

    def form_valid(self, form: Any) -> HttpResponse:
        # At once: the sockets are told of the new password when the new session is there.
        with transaction.atomic():
            return super().form_valid(form)
