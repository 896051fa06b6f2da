#!/usr/bin/env python3
"""Django's command line for Wirelog."""

import os
import sys
from typing import NoReturn


def main(argv: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed for {sys.executable}. Run `make setup`, then use .venv/bin/python manage.py.")
    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as error:
        if "--traceback" in argv:
            raise
        fail(str(error))
    except OperationalError as error:
        if "--traceback" in argv:
            raise
        from realtime.management.terminal import explain_database

        fail(explain_database(error))


def fail(sentence: str) -> NoReturn:
    sys.exit(f"Error: {sentence}")


if __name__ == "__main__":
    try:
        main(sys.argv)
    except KeyboardInterrupt:
        # Ctrl-C while there was nothing to end yet; what shells say of it.
        sys.exit(130)
