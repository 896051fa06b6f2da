import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from realtime.conf import data_folder
from realtime.errors import WirelogError
from realtime.host_feed import INTERVAL_SECONDS, PRINCIPAL, Complaints, HostFeed, Pace
from realtime.journal import append_one
from realtime.management.terminal import VerbCommand
from realtime.models import Record
from realtime.times import now


class Command(VerbCommand):
    help = "Publishes real measurements, until stopped with Ctrl-C."

    def add_verbs(self, verbs: Any) -> None:
        host = verbs.add_parser("host", help="CPU, memory, load, disk and network of this machine, to the stream host:NAME.")
        host.add_argument("--name", default="", help="In place of the name of this machine.")
        host.add_argument(
            "--interval", type=float, default=INTERVAL_SECONDS, metavar="SECONDS", help="Between records (default: %(default)s)."
        )
        host.add_argument("--to", metavar="URL", help="A server elsewhere, through a spool in the data folder: nothing is lost meanwhile.")
        host.add_argument("--key-file", type=Path, metavar="FILE", help="For --to: where the API key is, in place of WIRELOG_KEY.")

    def host(self, options: dict[str, Any]) -> None:
        interval = options["interval"]
        if not 0.1 <= interval <= 3600:
            raise CommandError(f"--interval {interval:g}: give 0.1 to 3600 seconds.")
        feed = HostFeed(options["name"], title=options["name"] or "This host")
        try:
            if options["to"]:
                self.publish_elsewhere(feed, options)
            else:
                self.publish_here(feed, interval)
        except KeyboardInterrupt:
            self.note("")

    def publish_here(self, feed: HostFeed, interval: float) -> None:
        feed.ensure_stream()
        refuse_second_feed(feed.stream)
        self.note(f"Publishing this machine to {feed.stream} every {interval:g} s. Ctrl-C stops.")
        publish(feed, interval, lambda: append_one(feed.item()))

    def publish_elsewhere(self, feed: HostFeed, options: dict[str, Any]) -> None:
        try:
            from clients.wirelog_spool import Spool, SpoolError  # noqa: PLC0415
        except ImportError:
            # A project that installs the app has no such folder.
            raise CommandError("--to needs clients/wirelog_spool.py beside manage.py, which a checkout of Wirelog has.") from None

        folder = data_folder() / "spool" / feed.stream
        try:
            with Spool(options["to"], feed.stream, read_key(options["key_file"]), feed.stream.partition(":")[2], folder) as spool:
                self.note(f"Publishing this machine to {feed.stream} at {options['to']}, through {folder}. Ctrl-C stops.")
                publish(feed, options["interval"], lambda: spool.put(feed.sample()))
        except SpoolError as error:
            raise CommandError(str(error)) from None


def read_key(file: Path | None) -> str:
    try:
        return file.read_text().strip() if file else os.environ.get("WIRELOG_KEY", "")
    except OSError as error:
        raise CommandError(f"The key file cannot be read: {error}") from None


def publish(feed: HostFeed, interval: float, store: Callable[[], object]) -> None:
    pace = Pace(interval)
    complaints = Complaints(feed.stream)
    while True:
        time.sleep(pace.delay())
        try:
            store()
        except (WirelogError, DatabaseError, OSError) as error:
            complaints.failed(error)
        else:
            complaints.worked()


def refuse_second_feed(stream: str) -> None:
    """Two feeds of one machine would draw one line from two sets of readings."""
    last = Record.objects.filter(stream__name=stream).order_by("-offset").first()
    if last and last.publisher == PRINCIPAL and now() - last.received < 3 * INTERVAL_SECONDS * 1000:
        raise CommandError(f"{stream} is being fed already, by a server or another `feed host`. Stop that, or give another --name.")
