"""The settings of a server under test: the real ones, with failpoints and a channel layer that can be told to misbehave."""

import os

from project.settings import *  # noqa: F403
from project.settings import CHANNEL_LAYERS, DATABASES, WIRELOG

from . import wallclock

wallclock.install()

TESTING = True
WIRELOG["FAILPOINTS"] = os.environ.get("FAILPOINTS", "")

if "LAYER" in os.environ:
    CHANNEL_LAYERS["default"] = {"BACKEND": "tests.faults.layer.FaultyLayer", "CONFIG": {"fault": os.environ["LAYER"]}}

# Seconds after which a write that waits for the lock is given up.
DATABASES["default"]["OPTIONS"]["timeout"] = int(os.environ.get("LOCK_SECONDS", "20"))
