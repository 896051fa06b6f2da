from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from realtime import operations, scopes
from realtime.audit import commander
from realtime.management.terminal import VerbCommand, add_json, add_noinput, json_line, table
from realtime.models import ApiKey
from realtime.times import zoned

MAX_DAYS = 36_500
HOURS = int(operations.OVERLAP.total_seconds() // 3600)


class Command(VerbCommand):
    help = "Makes, lists, rotates and revokes the keys of devices and programs."

    def add_verbs(self, verbs: Any) -> None:
        create = verbs.add_parser("create", help="Make a key and print it, this once.")
        create.add_argument("name", help="Whose key it is, for people.")
        create.add_argument(
            "--scope",
            action="append",
            required=True,
            metavar="PATTERN=ACTIONS",
            help="What it may do, for example 'iot:*=read,publish'. Actions: read, publish, manage. May be given several times.",
        )
        create.add_argument("--expires", type=int, metavar="DAYS", help="Days until it ends; it never does when not given.")
        create.add_argument("--publish-rate", type=int, default=0, metavar="N", help="Publishes a second; 0 sets no limit (0).")
        create.add_argument("--max-connections", type=int, default=0, metavar="N", help="Connections to one process; 0 sets no limit (0).")
        add_json(create, "The key, its prefix and its scopes as JSON, for programs.")
        add_json(verbs.add_parser("list", help="Every key, but for its secret, which is kept nowhere."))
        rotate = verbs.add_parser("rotate", help="Make a new secret for a key and print it, this once; the old one works on for a while.")
        rotate.add_argument(
            "--overlap", type=int, default=HOURS, metavar="HOURS", help="So long the old one works on; 0 ends it at once (%(default)s)."
        )
        add_json(rotate, "The key, its prefix and its scopes as JSON, for programs.")
        revoke = verbs.add_parser("revoke", help="End a key for good.")
        for verb in (rotate, revoke):
            verb.add_argument("prefix", help="As `apikey list` shows it, for example wl_1a2b3c4d.")
            add_noinput(verb)

    def create(self, options: dict[str, Any]) -> None:
        try:
            granted = scopes.parse_all(options["scope"])
        except ValueError as error:
            raise CommandError(f"--scope: {error}") from None
        limits = {"publish_rate": options["publish_rate"], "max_connections": options["max_connections"]}
        key, secret = operations.create_key(commander(), options["name"], granted, expiry(options["expires"]), **limits)
        self.show(key, secret, options)

    def show(self, key: ApiKey, secret: str, options: dict[str, Any]) -> None:
        if options["json"]:
            self.say(json_line({"key": secret} | as_dict(key)))
            return
        # Alone on stdout, so that KEY=$(manage.py apikey create …) works.
        self.say(secret)
        self.note(f"This is the key of {key.name!r}. It is shown only now: only its hash is kept.")

    def list(self, options: dict[str, Any]) -> None:
        keys = ApiKey.objects.order_by("-created", "-pk").select_related("created_by")
        if options["json"]:
            for key in keys.iterator():
                self.say(json_line(as_dict(key)))
            return
        for line in table(("PREFIX", "NAME", "STATE", "EXPIRES", "LAST USED", "SCOPES"), map(row, keys.iterator())):
            self.say(line)

    def rotate(self, options: dict[str, Any]) -> None:
        key = find_key(options["prefix"])
        if options["overlap"] == 0:
            self.confirm(f"Rotate {key} without an overlap? What uses it is disconnected.", options)
        secret = operations.rotate(commander(), key, hours(options["overlap"]))
        self.show(key, secret, options)
        if key.previous_until:
            self.note(f"The one before it works until {day(key.previous_until)}.")

    def revoke(self, options: dict[str, Any]) -> None:
        key = find_key(options["prefix"])
        self.confirm(f"Revoke {key}? What uses it is disconnected, and this cannot be undone.", options)
        changed = operations.revoke(commander(), key)
        self.say(f"{key} is revoked." if changed else f"{key} was revoked already.")


def find_key(written: str) -> ApiKey:
    """Who pastes the whole key finds it too, and does not see it again."""
    prefix = written.removeprefix("wl_").split("_")[0]
    key = ApiKey.objects.filter(prefix=prefix).first()
    if key is None:
        raise CommandError(f"There is no key with the prefix {'wl_' + prefix!r}. See what there is: manage.py apikey list")
    return key


def expiry(days: int | None) -> Any:
    if days is None:
        return None
    if not 1 <= days <= MAX_DAYS:
        raise CommandError(f"--expires: give 1 to {MAX_DAYS} days, or leave it out for a key that does not end.")
    return timezone.now() + timedelta(days=days)


def hours(count: int) -> timedelta:
    try:
        return timedelta(hours=count)
    except OverflowError:
        # Too long in any case: `operations` says what may be.
        return timedelta.max


def day(when: Any) -> str:
    return f"{zoned(when):%Y-%m-%d %H:%M}" if when else "never"


def row(key: ApiKey) -> tuple[object, ...]:
    granted = " ".join(scopes.text(scope) for scope in key.scopes)
    return f"wl_{key.prefix}", key.name, key.state, day(key.expires), day(key.last_used), granted


def as_dict(key: ApiKey) -> dict[str, Any]:
    return {
        "prefix": f"wl_{key.prefix}",
        "name": key.name,
        "scopes": key.scopes,
        "state": key.state,
        "created": key.created.isoformat(),
        "created_by": key.created_by and key.created_by.get_username(),
        "expires": key.expires and key.expires.isoformat(),
        "previous_until": key.previous_until and key.previous_until.isoformat(),
        "publish_rate": key.publish_rate,
        "max_connections": key.max_connections,
        "last_used": key.last_used and key.last_used.isoformat(),
    }
