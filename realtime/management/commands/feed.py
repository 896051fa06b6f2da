import time
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from realtime.errors import WirelogError
from realtime.feeds import INTERVAL_SECONDS, PRINCIPAL, Complaints, HostFeed, Pace
from realtime.journal import append_now
from realtime.management.terminal import VerbCommand
from realtime.models import Record


class Command(VerbCommand):
    help = "Publishes real measurements, until stopped with Ctrl-C."

    def add_verbs(self, verbs: Any) -> None:
        host = verbs.add_parser("host", help="CPU, memory, load, disk and network of this machine, to the stream host:NAME.")
        host.add_argument("--name", default="", help="In place of the name of this machine.")
        host.add_argument(
            "--interval", type=float, default=INTERVAL_SECONDS, metavar="SECONDS", help="Between records (default: %(default)s)."
        )

    def host(self, options: dict[str, Any]) -> None:
        interval = options["interval"]
        if not 0.1 <= interval <= 3600:
            raise CommandError(f"--interval {interval:g}: give 0.1 to 3600 seconds.")
        feed = HostFeed(options["name"], title=options["name"] or "This host")
        feed.ensure_stream()
        refuse_second_feed(feed.stream)
        self.note(f"Publishing this machine to {feed.stream} every {interval:g} s. Ctrl-C stops.")
        try:
            publish(feed, interval)
        except KeyboardInterrupt:
            self.note("")


def publish(feed: HostFeed, interval: float) -> None:
    pace = Pace(interval)
    complaints = Complaints(feed.stream)
    while True:
        time.sleep(pace.delay())
        try:
            outcome = append_now([feed.item()])[0]
        except (DatabaseError, OSError) as error:
            complaints.failed(error)
            continue
        if isinstance(outcome, WirelogError):
            complaints.failed(outcome)
        else:
            complaints.worked()


def refuse_second_feed(stream: str) -> None:
    """Two feeds of one machine would draw one line from two sets of readings."""
    last = Record.objects.filter(stream__name=stream).order_by("-offset").first()
    if last and last.publisher == PRINCIPAL and time.time() * 1000 - last.received < 3 * INTERVAL_SECONDS * 1000:
        raise CommandError(f"{stream} is being fed already, by a server or another `feed host`. Stop that, or give another --name.")
