from typing import Any

from django.core.management.base import CommandParser

from realtime import operations
from realtime.audit import commander
from realtime.management.terminal import TerminalCommand, add_noinput, find_stream


class Command(TerminalCommand):
    help = "Takes the payload of one record away for good, with its key and tags. Its place stays, and every reader is told."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stream")
        parser.add_argument("offset", type=int)
        parser.add_argument("--reason", default="", help="For the audit log; readers are not told.")
        add_noinput(parser)

    def work(self, options: dict[str, Any]) -> None:
        stream, offset = find_stream(options["stream"]), options["offset"]
        self.confirm(f"Take the payload of {stream.name}@{offset} away for good?", options)
        done = operations.redact(commander(), stream, offset, options["reason"])
        self.say(f"{stream.name}@{offset} is redacted." if done else f"{stream.name}@{offset} was redacted already.")
