import select
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection

from realtime import protocol
from realtime.conf import limit
from realtime.management.terminal import TerminalCommand, add_json, escape, find_stream
from realtime.models import Stream
from realtime.names import display_names
from realtime.protocol import Publication
from realtime.reads import page_after
from realtime.times import stamp

POLL_SECONDS = 0.1
# Records shown before following, as `tail` does.
SHOWN = 10

# Waits a moment; False ends the following.
Wait = Callable[[], bool]


class Command(TerminalCommand):
    help = "Follows a stream: prints its latest records, then each new one as it is stored. Reads the database: no server is needed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stream")
        parser.add_argument(
            "--since", type=int, metavar="OFFSET", help=f"Start after this offset; 0 is the start (default: the last {SHOWN})."
        )
        add_json(parser)

    def work(self, options: dict[str, Any]) -> None:
        if hasattr(self.stdout._out, "reconfigure"):
            # A terminal that cannot show a character shows its number.
            self.stdout._out.reconfigure(errors="backslashreplace")
        show = self.show_json if options["json"] else self.show_text
        try:
            for found in follow(options["stream"], options["since"], self.wait):
                if isinstance(found, str):
                    self.stdout.flush()
                    self.note(found)
                else:
                    show(options["stream"], *found)
        except KeyboardInterrupt:
            # Ctrl-C is how one stops following, not an error.
            self.note("")

    def wait(self) -> bool:
        self.stdout.flush()
        return wait_for_reader(self.stdout._out)

    def show_json(self, stream: str, epoch: str, page: list[Publication]) -> None:
        position = f'{{"stream":{protocol.quote(stream)},"epoch":"{epoch}",'
        for record in page:
            # The payload as it was sent, so that 1.10 stays 1.10.
            self.say(escape(position + protocol.publication(record)[1:]))

    def show_text(self, stream: str, epoch: str, page: list[Publication]) -> None:
        names = display_names({record.publisher for record in page})
        for record in page:
            about = f" {record.key}{' removed' if record.removed else ''}:" if record.key else ""
            self.say(escape(f"{record.offset}  {stamp(record.time)}  {names[record.publisher]}{about}  {record.data}"))


def follow(name: str, since: int | None, wait: Wait) -> Iterator[str | tuple[str, list[Publication]]]:
    """What there is to tell, for ever: pages of records with their epoch, and sentences about the stream."""
    stream = find_stream(name)
    position = start(stream, since)
    while True:
        # Before the read: what is stored meanwhile moves it, and is read in the next turn.
        version = data_version()
        now = find_stream(name)
        yield from changes(stream, now)
        if now.epoch != stream.epoch:
            position = min(position, now.head)
        stream = now
        while position < stream.head:
            page = page_after(connection, stream.pk, position, stream.head, limit("PAGE_RECORDS"))
            first = page[0].offset if page else stream.head + 1
            if first > position + 1:
                yield f"Records {position + 1} to {first - 1} of {name} are not kept any more."
            if page:
                yield stream.epoch, page
            position = page[-1].offset if page else stream.head
        while data_version() == version:
            if not wait():
                return


def start(stream: Stream, since: int | None) -> int:
    if since is None:
        return max(stream.head - SHOWN, stream.tail - 1)
    if not 0 <= since <= stream.head:
        raise CommandError(
            f"--since {since} is not a position of {stream.name}: give 0 for its start, up to {stream.head} for what comes next."
        )
    return since


def changes(before: Stream, now: Stream) -> Iterator[str]:
    if now.epoch != before.epoch:
        yield f"{now.name} was restored: the epoch {before.epoch} ended, this is {now.epoch}. The offsets above are of another history."
    if now.archived and not before.archived:
        yield f"{now.name} is archived now: nothing more will come until it is unarchived."


def data_version() -> int:
    """Moves when another connection commits; cheap enough to ask ten times a second."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0])


def wait_for_reader(output: Any) -> bool:
    """Wait a moment. False when nobody reads `output` any more: `tail … | grep -m1 x` ends at the match, not at the record after it."""
    try:
        descriptor = output.fileno()
    except (AttributeError, OSError):
        time.sleep(POLL_SECONDS)
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    broken = select.POLLERR | select.POLLHUP | select.POLLNVAL
    return not any(event & broken for _, event in poll.poll(POLL_SECONDS * 1000))
