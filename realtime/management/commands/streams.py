from argparse import BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandError, CommandParser

from realtime import operations
from realtime.audit import commander
from realtime.management.terminal import VerbCommand, add_json, escape, find_stream, json_line, table
from realtime.models import STREAM_NAME, Audience, Delivery, Kind, Namespace, Stream
from realtime.namespaces import TEMPLATE_FIELDS, namespace_of


class Command(VerbCommand):
    help = "Lists, creates, archives and unarchives streams."

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Every stream, with its position and who may read and write.")
        add_json(listing)
        self.add_create(verbs.add_parser("create", help="Make a stream."))
        archive = verbs.add_parser("archive", help="End writing to a stream; it can still be read.")
        archive.add_argument("name")
        unarchive = verbs.add_parser("unarchive", help="Allow writing again.")
        unarchive.add_argument("name")

    def add_create(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="Letters, digits, _ . : and -; the part before : is the namespace.")
        parser.add_argument("--title", default="", help="What people see; the name if there is none.")
        template = parser.add_argument_group("template", "What is not given is that of the namespace, where there is one.")
        template.add_argument("--kind", choices=Kind.values, help="The view it opens with (feed).")
        template.add_argument("--read", dest="readers", choices=Audience.values, help="Who may read (users).")
        template.add_argument("--write", dest="writers", choices=Audience.values, help="Who may write (users).")
        template.add_argument("--presence", action=BooleanOptionalAction, help="Readers may see who is subscribed (yes).")
        template.add_argument("--join-leave", action=BooleanOptionalAction, help="Subscribers may be told who comes and goes (yes).")
        template.add_argument("--delivery", choices=Delivery.values, help="newest: who lags behind gets the newest of each key (every).")
        template.add_argument("--durable", action=BooleanOptionalAction, help="Records are stored; else they are broadcast only (yes).")
        template.add_argument("--keep-days", type=int, metavar="DAYS", help="0 keeps records for ever (30).")
        template.add_argument("--keep-records", type=int, metavar="N", help="Newest records to keep; 0 keeps all (0).")
        template.add_argument("--keep-bytes", type=int, metavar="N", help="Payload bytes to keep; 0 keeps all (0).")
        template.add_argument("--keep-latest", action=BooleanOptionalAction, help="The newest record of each key stays, however old (no).")
        template.add_argument("--max-payload", type=int, metavar="BYTES", help="Largest payload; 0 takes the server's default (0).")
        add_json(parser, "The stream as JSON, for programs.")

    def list(self, options: dict[str, Any]) -> None:
        streams = Stream.objects.order_by("name")
        if options["json"]:
            for stream in streams.iterator():
                self.say(json_line(as_dict(stream)))
            return
        for line in table(("NAME", "KIND", "READ", "WRITE", "HEAD", "KEPT", "STATE", "TITLE"), map(row, streams.iterator())):
            self.say(line)

    def create(self, options: dict[str, Any]) -> None:
        check_name(options["name"])
        given = {field: options[field] for field in ("title", *TEMPLATE_FIELDS) if options.get(field) is not None}
        stream = operations.create_stream(commander(), options["name"], **of_namespace(options["name"]) | given)
        self.say(json_line(as_dict(stream)) if options["json"] else f"Made the stream {stream.name}.")

    def archive(self, options: dict[str, Any]) -> None:
        stream = find_stream(options["name"])
        changed = operations.archive(commander(), stream)
        self.say(f"{stream.name} is archived: it can be read, not written." if changed else f"{stream.name} was archived already.")

    def unarchive(self, options: dict[str, Any]) -> None:
        stream = find_stream(options["name"])
        changed = operations.unarchive(commander(), stream)
        self.say(f"{stream.name} can be written again." if changed else f"{stream.name} was not archived.")


def check_name(name: str) -> None:
    if not STREAM_NAME.match(name):
        raise CommandError(
            f"{escape(name)!r} cannot name a stream: use 1 to 128 letters, digits, _ . : and -, and begin with none of . : -."
        )
    if Stream.objects.filter(name=name).exists():
        raise CommandError(f"There is a stream {name!r} already. Nothing was changed.")


def of_namespace(name: str) -> dict[str, Any]:
    template = Namespace.objects.filter(name=namespace_of(name)).first()
    return {field: getattr(template, field) for field in TEMPLATE_FIELDS} if template else {}


def row(stream: Stream) -> tuple[object, ...]:
    state = "archived" if stream.archived else "open"
    kept = stream.head - stream.tail + 1
    return stream.name, stream.kind, stream.readers, stream.writers, stream.head, kept, state, stream.title


def as_dict(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "title": stream.title,
        "kind": stream.kind,
        "read": stream.readers,
        "write": stream.writers,
        "presence": stream.presence,
        "delivery": stream.delivery,
        "durable": stream.durable,
        "epoch": stream.epoch,
        "head": stream.head,
        "tail": stream.tail,
        "keep_days": stream.keep_days,
        "keep_records": stream.keep_records,
        "keep_bytes": stream.keep_bytes,
        "keep_latest": stream.keep_latest,
        "max_payload": stream.max_payload,
        "archived": stream.archived and stream.archived.isoformat(),
        "created": stream.created.isoformat(),
    }
