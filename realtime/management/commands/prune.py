import time
from typing import Any

from django.core.management.base import CommandParser

from realtime import audit, retention
from realtime.management.terminal import TerminalCommand, add_noinput, find_stream, table
from realtime.models import Stream
from realtime.retention import Removed


class Command(TerminalCommand):
    help = "Removes the records that streams need not keep: by number, age and bytes. A server does the same in the background."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("streams", nargs="*", metavar="STREAM", help="Only these; every stream without any.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how much would go.")
        add_noinput(parser)

    def work(self, options: dict[str, Any]) -> None:
        streams = [find_stream(name) for name in options["streams"]] or list(Stream.objects.order_by("name"))
        found = [(stream, removed) for stream in streams if (removed := retention.overdue(stream)).records]
        if not found:
            self.note("Every stream holds what it keeps, and no more.")
            return
        for line in table(("STREAM", "RECORDS", "BYTES"), [(stream.name, *removed) for stream, removed in found]):
            self.say(line)
        if options["dry_run"]:
            return
        total = sum((removed for _, removed in found), Removed(0, 0))
        self.confirm(f"Remove {total.records:,} records, {total.size:,} bytes, for good?", options)
        removed = sum((self.prune(stream) for stream, _ in found), Removed(0, 0))
        self.progress("")
        self.note(f"Removed {removed.records:,} records, {removed.size:,} bytes. The file does not shrink: new records take their place.")

    def prune(self, stream: Stream) -> Removed:
        removed = Removed(0, 0)
        while True:
            started = time.monotonic()
            batch = retention.prune_stream_once(stream.pk)
            if not batch.records:
                break
            removed += batch
            self.progress(f"{stream.name}: {removed.records:,} records")
            # Who publishes meanwhile gets half of the time.
            time.sleep(time.monotonic() - started)
        audit.note(audit.commander(), "stream.prune", stream.name, records=removed.records, bytes=removed.size)
        return removed
