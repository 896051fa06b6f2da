"""The settings of the tests: those of the server in an empty environment, with a data folder of their own.

Not in conftest.py, which is loaded after the settings are.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from realtime.conf import SETTINGS

FOLDER = Path(tempfile.mkdtemp(prefix="wirelog-tests-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

SERVER = "SECRET_KEY DEBUG PUBLIC_URL ALLOWED_HOSTS TRUSTED_PROXIES DATABASE_URL REDIS_URL HOST PORT TIME_ZONE LOG_LEVEL LOG_FORMAT"
LIMITS = ("ORIGINS", "RATE_LIMITS", *(setting.name for setting in SETTINGS))
for name in (*SERVER.split(), *(f"WIRELOG_{name}" for name in LIMITS)):
    os.environ.pop(name, None)
    os.environ.pop(f"{name}_FILE", None)
os.environ["WIRELOG_ENV_FILE"] = os.devnull
os.environ["WIRELOG_DATA"] = str(FOLDER)

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES, MIDDLEWARE, STORAGES, TEMPLATES  # noqa: E402, F401

# A file: threads of a database in memory meet "table is locked", and WAL is impossible.
DATABASES["default"]["TEST"] = {"NAME": FOLDER / "test.sqlite3"}
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Straight from the sources: tests need no collectstatic.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
STATIC_ROOT = FOLDER / "staticfiles"
STATIC_ROOT.mkdir()
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
