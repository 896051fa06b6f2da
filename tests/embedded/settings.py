"""What `startproject` makes, and Wirelog."""

import os
from pathlib import Path
from typing import Any

SECRET_KEY = "of the shop"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.embedded.urls"
# A test takes it away.
ASGI_APPLICATION = os.environ.get("SHOP_ASGI_APPLICATION", "tests.embedded.asgi.application")
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tests.embedded.orders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["SHOP_DATA"]) / "shop.sqlite3"}
}

INSTALLED_APPS += ["channels", "realtime"]
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
