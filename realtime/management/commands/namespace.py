from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import models

from realtime import operations
from realtime.audit import commander
from realtime.management.terminal import VerbCommand, add_json, add_noinput, escape, json_line, table
from realtime.models import STREAM_NAME, Namespace
from realtime.namespaces import TEMPLATE_FIELDS

# How the namespace of names without a colon is written, since its own name is empty.
DEFAULT = "-"
# Key of the command line to field of the model.
KEYS = {{"readers": "read", "writers": "write"}.get(field, field): field for field in ("create_on_use", *TEMPLATE_FIELDS)}
SWITCH = {"on": True, "yes": True, "true": True, "1": True, "off": False, "no": False, "false": False, "0": False}


class Command(VerbCommand):
    help = "Lists, sets and removes namespaces: the templates by which streams NAME:* are created on first use."

    def add_verbs(self, verbs: Any) -> None:
        add_json(verbs.add_parser("list", help="Every namespace."))
        change = verbs.add_parser("set", help="Make a namespace, or change it; what is not given stays as it is.")
        remove = verbs.add_parser("remove", help="Remove a namespace: its streams stay, new ones are not created any more.")
        for verb in (change, remove):
            verb.add_argument("name", metavar="NAME", help=f"The part of stream names before the colon; {DEFAULT} for names without one.")
        change.add_argument("fields", nargs="*", metavar="KEY=VALUE", help=f"Keys: {', '.join(KEYS)}.")
        add_json(change, "The namespace as JSON, for programs.")
        add_noinput(remove)

    def list(self, options: dict[str, Any]) -> None:
        namespaces = Namespace.objects.order_by("name")
        if options["json"]:
            for namespace in namespaces:
                self.say(json_line(as_dict(namespace)))
            return
        for line in table(("NAME", "CREATES", "KIND", "READ", "WRITE", "DELIVERY", "KEEPS"), map(row, namespaces)):
            self.say(line)

    def set(self, options: dict[str, Any]) -> None:
        fields = parse(options["fields"])
        namespace, changed = operations.set_namespace(commander(), name_of(options["name"]), fields)
        if options["json"]:
            self.say(json_line(as_dict(namespace)))
        elif changed:
            self.say(f"{namespace} is set. Streams that are there already stay as they are.")
        else:
            self.say(f"{namespace} was so already.")

    def remove(self, options: dict[str, Any]) -> None:
        name = name_of(options["name"])
        namespace = Namespace.objects.filter(name=name).first()
        if namespace is None:
            raise CommandError(f"There is no namespace {escape(name)!r}. See what there is: manage.py namespace list")
        self.confirm(f"Remove {namespace}? Its streams stay, new ones are not created any more.", options)
        operations.remove_namespace(commander(), namespace)
        self.say(f"{namespace} is removed.")


def name_of(written: str) -> str:
    name = "" if written == DEFAULT else written
    if name and (":" in name or not STREAM_NAME.match(name)):
        raise CommandError(f"{escape(name)!r} cannot name a namespace: use 1 to 64 letters, digits, _ . and -, and begin with none of . -.")
    return name


def parse(settings: Iterable[str]) -> dict[str, Any]:
    """Fields and their values. Raises CommandError with a sentence."""
    return dict(parse_one(setting) for setting in settings)


def parse_one(setting: str) -> tuple[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or key not in KEYS:
        raise CommandError(f"{escape(setting)!r} is no setting of a namespace: write KEY=VALUE, with a key of {', '.join(KEYS)}.")
    field = Namespace._meta.get_field(KEYS[key])
    return KEYS[key], _value(key, field, value)


def _value(key: str, field: Any, value: str) -> Any:
    if isinstance(field, models.BooleanField):
        if value.lower() not in SWITCH:
            raise CommandError(f"{key} is on or off, not {escape(value)!r}.")
        return SWITCH[value.lower()]
    if field.choices:
        known = [choice for choice, _ in field.choices]
        if value not in known:
            raise CommandError(f"{key} is one of {', '.join(known)}, not {escape(value)!r}.")
        return value
    if not (value.isascii() and value.isdecimal()):
        raise CommandError(f"{key} is a whole number, 0 or more, not {escape(value)!r}.")
    return int(value)


def row(namespace: Namespace) -> tuple[object, ...]:
    creates = "on first use" if namespace.create_on_use else "no"
    return (namespace.name or DEFAULT, creates, namespace.kind, namespace.readers, namespace.writers, namespace.delivery, keeps(namespace))


def keeps(namespace: Namespace) -> str:
    if not namespace.durable:
        return "nothing"
    bounds = {"days": namespace.keep_days, "records": namespace.keep_records, "bytes": namespace.keep_bytes}
    return ", ".join(f"{bound} {name}" for name, bound in bounds.items() if bound) or "all"


def as_dict(namespace: Namespace) -> dict[str, Any]:
    return {"name": namespace.name} | {key: getattr(namespace, field) for key, field in KEYS.items()}
