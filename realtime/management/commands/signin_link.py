from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime import first_run
from realtime.conf import option


class Command(BaseCommand):
    help = "Prints a link that signs USER in, once, within ten minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="Login name.")
        parser.add_argument("--base-url", default=option("BASE_URL"), help="Where the server is reached; default: %(default)s.")

    def handle(self, *args: Any, user: str, base_url: str, **options: Any) -> None:
        if not option("OPERATOR"):
            raise CommandError("This project has a sign-in of its own; the link belongs to the Wirelog server.")
        users = get_user_model()
        found = users._default_manager.filter(**{users.USERNAME_FIELD: user}).first()
        if found is None:
            raise CommandError(f"There is no user {user!r}. Make one with manage.py createsuperuser, or in the admin.")
        if not found.is_active:
            raise CommandError(f"User {user!r} is disabled and cannot sign in. Enable them in the admin first.")
        self.stdout.write(first_run.link(found, base_url))
