"""What `startproject` makes, and Wirelog."""

import os
from pathlib import Path
from typing import Any

SECRET_KEY = "of the shop"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.embedded.urls"
# A test takes it away.
ASGI_APPLICATION = os.environ.get("SHOP_ASGI_APPLICATION", "tests.embedded.asgi.application")
AUTH_USER_MODEL = "orders.Customer"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "tests.embedded.orders",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["SHOP_DATA"]) / "shop.sqlite3"}
}

INSTALLED_APPS += ["channels", "realtime"]
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
