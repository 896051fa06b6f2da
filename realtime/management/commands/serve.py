import argparse
import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from channels.db import database_sync_to_async
from channels.routing import get_default_application
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from realtime import first_run, host_feed, jobs, listener
from realtime.conf import limit, option, rate
from realtime.engine import Engine, current
from realtime.lifetime import Lifetime
from realtime.lock import AlreadyServing
from realtime.management.terminal import explain_database

logger = logging.getLogger(__name__)

SERVERS = ("uvicorn", "daphne")
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST_PORT = 65_535
# So long before DRAIN_SECONDS are over the process ends, whatever still hangs in a thread.
RESERVE_SECONDS = 0.3


class Command(BaseCommand):
    help = "Serves Wirelog: pages, API and sockets. Ends cleanly on SIGTERM and Ctrl-C; a second one ends it at once."
    # `prepare` runs them, with those of the database.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=getattr(settings, "HOST", "127.0.0.1"), help="Address to listen on; default: %(default)s.")
        parser.add_argument(
            "--port", type=_port, default=getattr(settings, "PORT", 8000), help="Default: %(default)s; 0 takes any free one."
        )
        parser.add_argument("--server", choices=SERVERS, default=SERVERS[0], help="Default: %(default)s.")
        parser.add_argument("--sign-in-link", action="store_true", help="On a terminal, print a link that signs in once.")
        parser.add_argument("--demo", action="store_true", help="Publish measurements of this machine, once a second.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.prepare()
            sock = listener.bind(options["host"], options["port"])
            server = importlib.import_module(f"realtime.{options['server']}_server")
            with asyncio.Runner(loop_factory=server.new_event_loop) as runner:
                status = runner.run(serve(server, sock, options))
        except (AlreadyServing, listener.CannotListen, listener.TooFewFiles) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(explain_database(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped before it served.", returncode=130) from None
        if status:
            sys.exit(status)

    def prepare(self) -> None:
        """What can be wrong is said before anybody connects."""
        connection = connections[DEFAULT_DB_ALIAS]
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            raise CommandError(f"The database is not up to date: {len(missing)} migrations are missing. Run: manage.py migrate")
        self.check(databases=[DEFAULT_DB_ALIAS])
        try:
            get_default_application()
        except ImproperlyConfigured as error:
            raise CommandError(f"{error} Name the application in your asgi.py, as in 'mysite.asgi.application'.") from None
        if option("OPERATOR"):
            first_run.ensure_operator()
        connection.close()
        listener.raise_open_files(rate("CONNECTIONS"))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {LAST_PORT}, not {text!r}")
    return int(text)


async def serve(server: Any, sock: socket.socket, options: dict[str, Any]) -> int:
    """Serve until a signal or a fatal error; returns the exit status."""
    engine = await current()
    try:
        run = Run(engine, listener.address(options["host"], sock.getsockname()[1]), options)
        run.start()
        listener.listen(sock)
        await server.serve(get_default_application(), sock, run.lifetime)
    finally:
        await engine.stop()
    return run.status


class Run:
    """One run of the server: what starts beside it, and how it ends."""

    def __init__(self, engine: Engine, address: str, options: dict[str, Any]) -> None:
        self.engine = engine
        self.url = f"http://{address}/"
        self.options = options
        self.lifetime = Lifetime(self.ready, self.flush, limit("DRAIN_SECONDS"))
        # Kept here: the loop itself holds a task only weakly.
        self.tasks: list[asyncio.Task[None]] = []
        self.status = 0

    def start(self) -> None:
        for number in SIGNALS:
            self.engine.loop.add_signal_handler(number, self.stop)
        self.tasks.append(asyncio.create_task(self.watch()))

    def ready(self) -> None:
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        sys.stdout.write(f"Wirelog serves {self.url} with {self.options['server']}\n")
        sys.stdout.flush()
        self.tasks.append(asyncio.create_task(jobs.run(self.engine)))
        if self.options["sign_in_link"] and option("OPERATOR"):
            self.tasks.append(asyncio.create_task(self.welcome()))
        if self.options["demo"]:
            self.tasks.append(asyncio.create_task(host_feed.run(self.engine)))

    async def welcome(self) -> None:
        public = getattr(settings, "PUBLIC_URL", None)
        await database_sync_to_async(first_run.print_welcome)(public.origin if public else self.url, sys.stdout)

    async def watch(self) -> None:
        await self.engine.fatal.wait()
        self.status = 1
        self.stop()

    def stop(self) -> None:
        """The first signal drains; another one ends the process at once, as if nobody had handled it."""
        for number in SIGNALS:
            self.engine.loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        last = threading.Timer(self.lifetime.seconds - RESERVE_SECONDS, self.exit)
        last.daemon = True
        last.start()
        self.lifetime.stopping.set()

    async def flush(self, seconds: float) -> None:
        for task in self.tasks:
            task.cancel()
        await self.engine.drain(seconds)

    def exit(self) -> None:
        logger.warning("Something still runs %d s after the signal, and is ended with the process.", self.lifetime.seconds)
        logging.shutdown()
        os._exit(self.status)
