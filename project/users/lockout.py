"""Who guesses passwords has to wait: django-axes counts, by name and address together, and this page says for how long."""

from datetime import timedelta
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone


def client_address(request: HttpRequest) -> str | None:
    """As routing.py found it: TRUSTED_PROXIES decide whose word is believed."""
    return request.META.get("REMOTE_ADDR") or None


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> HttpResponse:
    seconds = seconds_left(str((credentials or {}).get("username", "")), client_address(request))
    page = render(request, "registration/locked_out.html", {"minutes": -(-seconds // 60)}, status=429)
    page["Retry-After"] = str(seconds)
    return page


def seconds_left(username: str, address: str | None) -> int:
    attempt = AccessAttempt.objects.filter(username=username, ip_address=address).order_by("attempt_time").last()
    ends = (attempt.attempt_time if attempt else timezone.now()) + settings.AXES_COOLOFF_TIME
    return max(1, round((ends - timezone.now()) / timedelta(seconds=1)))
