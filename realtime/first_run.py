"""The first minutes: an operator to sign in as, and a link that signs in once, in the manner of Jupyter."""

import secrets
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractUser
from django.core import signing
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from . import keyfile
from .conf import data_folder

OPERATOR = "operator"
SALT = "wirelog.signin-link"
LINK_SECONDS = 600
# The backend of a login that no `authenticate()` came before.
BACKEND = "django.contrib.auth.backends.ModelBackend"


def password_file() -> Path:
    return data_folder() / "operator_password"


def ensure_operator() -> AbstractUser | None:
    """The one whom the server greets. Made, with a password in the data folder, when there is no superuser at all."""
    users = get_user_model()._default_manager
    if not users.filter(is_superuser=True).exists():
        make_operator()
    return users.filter(is_superuser=True, is_active=True).order_by("pk").first()


def make_operator() -> None:
    users = get_user_model()._default_manager
    # Of two servers that start at once, the second finds the operator of the first when it gets the write lock.
    with transaction.atomic():
        # Somebody who has the name and is no superuser is not promoted: that is not ours to decide.
        if users.filter(Q(is_superuser=True) | Q(username=OPERATOR)).exists():
            return
        password = secrets.token_urlsafe(12)
        users.create_superuser(OPERATOR, password=password)
        keyfile.write(password_file(), password)


def known_password(user: AbstractUser) -> str:
    """The generated password, as long as it is still the one in use."""
    try:
        password = password_file().read_text().strip()
    except OSError:
        return ""
    return password if user.check_password(password) else ""


def print_welcome(base_url: str, out: TextIO) -> None:
    """Says how to get in. To a terminal only: a link and a password have no place in a log."""
    if not out.isatty():
        return
    operator = ensure_operator()
    if operator is None:
        out.write("Nobody can sign in as operator yet. Run: manage.py createsuperuser\n")
        return
    password = known_password(operator)
    out.write(f"\n  Sign in as {operator.get_username()}" + (f", password {password}" if password else "") + "\n")
    out.write(f"  or open this link once, within {LINK_SECONDS // 60} minutes:\n\n  {link(operator, base_url)}\n\n")
    out.flush()


def link(user: AbstractUser, base_url: str) -> str:
    # In the query, which Django's logs of refused requests leave out.
    return f"{base_url.rstrip('/')}{reverse('signin_link')}?token={token(user)}"


def token(user: AbstractUser) -> str:
    return signing.dumps([user.pk, stamp(user)], salt=SALT)


def stamp(user: AbstractUser) -> str:
    """Changes with every sign-in and every password, so the first use ends a link. A digest: a URL is no place for a password hash."""
    return salted_hmac(SALT, f"{user.last_login}{user.password}", algorithm="sha256").hexdigest()[:32]


def holder(token: str) -> AbstractUser | None:
    """Whom a link signs in; None when it is used, too old or forged."""
    try:
        pk, expected = signing.loads(token, salt=SALT, max_age=LINK_SECONDS)
    except signing.BadSignature:
        return None
    user: AbstractUser | None = get_user_model()._default_manager.filter(pk=pk, is_active=True).first()
    return user if user and constant_time_compare(stamp(user), expected) else None


def claim(user: AbstractUser) -> bool:
    """Of two browsers that use a link at once, one wins."""
    unused = get_user_model()._default_manager.filter(pk=user.pk, last_login=user.last_login)
    return unused.update(last_login=timezone.now()) == 1


@never_cache
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def signin_link(request: HttpRequest) -> HttpResponse:
    """GET shows a button and changes nothing, so a preview of the link does not use it up; POST signs in."""
    user: Any = holder(request.GET.get("token", ""))
    if user and request.method == "POST" and claim(user):
        login(request, user, backend=BACKEND)
        return redirect(settings.LOGIN_REDIRECT_URL)
    usable = user is not None and request.method != "POST"
    context = {"holder": user, "usable": usable, "minutes": LINK_SECONDS // 60}
    return render(request, "registration/signin_link.html", context, status=200 if usable else 403)
