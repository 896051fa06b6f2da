"""The settings of the Wirelog server, all from the environment and `.env`. docs/configuration.md lists the names."""

import os
import sys
import warnings
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from realtime.conf import SETTINGS

from . import environment

# SQLite before 3.51.3 can corrupt a database in WAL mode (realtime.W001); pysqlite3 brings a newer one.
with suppress(ModuleNotFoundError):
    sys.modules["sqlite3"] = import_module("pysqlite3")

BASE_DIR = Path(__file__).resolve().parent.parent
environment.load(Path(os.environ.get("WIRELOG_ENV_FILE", BASE_DIR / ".env")))

# Where it is

DATA = environment.data_folder(BASE_DIR / environment.text("WIRELOG_DATA", "data"))
HOST = environment.text("HOST", "127.0.0.1")
PORT = environment.port("PORT", 8000)
PUBLIC_URL = environment.public_url("PUBLIC_URL")
SECURE = PUBLIC_URL is not None and PUBLIC_URL.secure
TRUSTED_PROXIES = environment.networks("TRUSTED_PROXIES")
REDIS_URL = environment.redis_url("REDIS_URL")

# Django

DEBUG = environment.switch("DEBUG")
SECRET_KEY = environment.text("SECRET_KEY") or environment.secret_key(DATA / "secret_key")
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS") or environment.allowed_hosts(HOST, PUBLIC_URL)

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "project.staticfiles.AssetsConfig",
    "axes",
    "channels",
    "csp",
    "project.users",
    "realtime",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "project.headers.permissions_policy",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "project.staticfiles.assets",
            ],
        },
    },
]

# Storage

DATABASES: dict[str, dict[str, Any]] = {"default": environment.database("DATABASE_URL", DATA / "wirelog.sqlite3", BASE_DIR)}
DATABASES["default"]["OPTIONS"] = {
    # Take the write lock at BEGIN: a transaction that reads first and writes later fails at once when another one wrote in between.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # WAL is not here: it is kept in the file, and `migrate` sets it once (realtime/apps.py).
    "init_command": "PRAGMA synchronous=FULL; PRAGMA cache_size=-20000; PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Without Redis there is one process, which has a layer in memory (realtime/hints.py).
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {}
if REDIS_URL:
    CHANNEL_LAYERS["default"] = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}

# Who is it

AUTH_USER_MODEL = "users.User"
SESSION_ENGINE = "project.users.sessions"
# The first only counts; it lets nobody in.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesBackend", "django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Who guesses has to wait (project/users/lockout.py)

AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
# Together, so that nobody can lock somebody else out from another address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "project.users.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "project.users.lockout.locked_out"
AXES_RESET_ON_SUCCESS = True
# A try during the wait does not prolong it: the page says how long it is.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# What a browser may do with the pages

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL.origin] if PUBLIC_URL else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if SECURE else 0
# Without a proxy that is trusted to say "https", every request looks like http and would be redirected for ever.
SECURE_SSL_REDIRECT = SECURE and bool(TRUSTED_PROXIES)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Whether other hosts of the domain speak https only is not ours to decide; realtime.W005 says more than W008.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]

# Static files

# WhiteNoise reads files in a thread, which Django warns of under ASGI. A proxy in front serves them where that is too slow.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators", Warning)
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
PACKAGES = {"centrifuge": BASE_DIR / "node_modules/centrifuge/build", "uplot": BASE_DIR / "node_modules/uplot/dist"}
STATICFILES_DIRS: list[Any] = [
    BASE_DIR / "static",
    # realtime.W003 tells when one is missing.
    *((prefix, folder) for prefix, folder in PACKAGES.items() if folder.is_dir()),
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "project.staticfiles.AssetsStorage"},
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# Words and time

LANGUAGE_CODE = "en"
TIME_ZONE = environment.time_zone("TIME_ZONE", "UTC")
USE_TZ = True

# Logs

LOG_LEVEL = environment.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"()": "project.logs.TextFormatter"}, "json": {"()": "project.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": environment.choice("LOG_FORMAT", "text", ("text", "json"))}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "filters": {"brief": {"()": "project.logs.Brief"}},
    "loggers": {
        # Django would mail errors and print its own access lines; one handler is enough.
        **{name: {"handlers": [], "level": "NOTSET", "propagate": True} for name in ("django", "django.server")},
        # It tells of each sign-in that it has forgotten no tries.
        "axes": {"level": "WARNING"},
        # A Redis that is away is a state, not a bug: no traceback for each try to reach it.
        "channels_redis.pubsub": {"filters": ["brief"]},
    },
}

# Wirelog

WIRELOG: dict[str, Any] = {
    setting.name: environment.number(f"WIRELOG_{setting.name}", setting.default, setting.least) for setting in SETTINGS
}
WIRELOG |= {
    "DATA": DATA,
    "ORIGINS": [*environment.origins("WIRELOG_ORIGINS"), *CSRF_TRUSTED_ORIGINS],
    "TRUSTED_PROXIES": TRUSTED_PROXIES,
    "RATE_LIMITS": environment.switch("WIRELOG_RATE_LIMITS", default=True),
    "REDIS_URL": REDIS_URL,
    "VERSION": environment.version(BASE_DIR / "CHANGELOG.md"),
    "OPERATOR": True,
    # What links begin with that are made outside of a request.
    "BASE_URL": PUBLIC_URL.origin if PUBLIC_URL else environment.local_url(HOST, PORT),
}
