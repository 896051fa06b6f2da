import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from realtime import protocol
from realtime.audit import command_principal
from realtime.conf import limit
from realtime.errors import UnknownStream, WirelogError
from realtime.items import Item
from realtime.journal import Appended, Outcome, append_now, append_one
from realtime.management.terminal import TerminalCommand, add_json, explain, explain_database, json_line

READ_BYTES = 262_144
# Refused lines that are told one by one.
TOLD = 20

Line = tuple[int, bytes]


class Command(TerminalCommand):
    help = "Publishes a record, or one for each line of stdin, and prints where it is. Works beside a server and without one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stream")
        parser.add_argument("payload", metavar="JSON", help="The payload, or - for one from each line of stdin.")
        parser.add_argument("--key", default="", help="The subject of the record, for the latest record per key.")
        parser.add_argument(
            "--idempotency-key", default="", help="A repeat with it stores nothing; with -, the number of the line is added."
        )
        add_json(parser, "Offset and epoch as JSON, for programs.")

    def work(self, options: dict[str, Any]) -> None:
        self.options = options
        self.publisher = command_principal()
        if options["payload"] == "-":
            Lines(self).publish(sys.stdin.buffer)
            return
        self.tell(append_one(self.item(options["payload"].encode())))

    def item(self, raw: bytes, line: int = 0) -> Item:
        key = self.options["idempotency_key"]
        if key and line:
            key = f"{key}:{line}"
        return Item(
            self.options["stream"],
            protocol.payload(raw),
            publisher=self.publisher,
            idempotency_key=key,
            key=self.options["key"],
        )

    def tell(self, appended: Appended) -> None:
        if self.options["json"]:
            repeat = {"duplicate": True} if appended.duplicate else {}
            self.say(json_line({"offset": appended.offset, "epoch": appended.epoch} | repeat))
        else:
            repeated = " (stored before, under the same key)" if appended.duplicate else ""
            self.say(f"offset {appended.offset} epoch {appended.epoch}{repeated}")


class Lines:
    """Publishes stdin. A bad line fails alone and is told; the others are stored."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.stream: str = command.options["stream"]
        self.stored = 0
        self.refused = 0
        self.first = self.last = 0

    def publish(self, source: BinaryIO) -> None:
        try:
            for batch in batches(source, limit("BATCH_RECORDS")):
                started = time.monotonic()
                self.append(batch)
                self.command.progress(f"{self.stored:,} records")
                # As long as the commit took: a bulk writer leaves half of the time to everybody else.
                time.sleep(time.monotonic() - started)
        finally:
            self.command.progress("")
            if self.stored or self.refused:
                self.summarize()
        if self.refused:
            raise CommandError(f"{self.refused:,} of {self.stored + self.refused:,} lines were refused.")

    def append(self, batch: Sequence[Line]) -> None:
        items: list[Item] = []
        numbers: list[int] = []
        for number, raw in batch:
            try:
                items.append(self.command.item(raw, number))
            except WirelogError as error:
                self.refuse(number, error)
            else:
                numbers.append(number)
        for number, outcome in zip(numbers, self.commit(items, numbers), strict=True):
            self.settle(number, outcome)

    def commit(self, items: list[Item], numbers: list[int]) -> list[Outcome]:
        try:
            return append_now(items) if items else []
        except DatabaseError as error:
            raise CommandError(
                f"Stopped: lines {numbers[0]} to {numbers[-1]} may not be stored, those before are. {explain_database(error)}"
            ) from error

    def settle(self, number: int, outcome: Outcome) -> None:
        if isinstance(outcome, UnknownStream):
            # It concerns every line: one error, and not a million.
            raise outcome
        if isinstance(outcome, WirelogError):
            self.refuse(number, outcome)
            return
        self.stored += 1
        self.first = self.first or outcome.offset
        self.last = outcome.offset
        if self.command.options["json"]:
            self.command.tell(outcome)

    def refuse(self, number: int, error: WirelogError) -> None:
        self.refused += 1
        if self.refused <= TOLD:
            self.command.note(f"line {number}: {explain(error)}")
        elif self.refused == TOLD + 1:
            self.command.note("More lines were refused; they are only counted.")

    def summarize(self) -> None:
        if self.command.options["json"]:
            return
        where = f", offsets {self.first} to {self.last}" if self.stored else ""
        self.command.say(f"Published {self.stored:,} records to {self.stream}{where}.")


def batches(source: BinaryIO, size: int) -> Iterator[list[Line]]:
    """What is there now, at most `size` lines at a time: a slow pipe is published line by line, a file in large transactions."""
    numbered = enumerate_lines(source)
    for lines in numbered:
        while batch := list(islice(lines, size)):
            yield batch


def enumerate_lines(source: BinaryIO) -> Iterator[Iterator[Line]]:
    """The complete lines of each read, numbered from 1, without the empty ones. Raises CommandError for a line without an end."""
    number = 0
    rest = b""
    longest = limit("MESSAGE_BYTES")
    while chunk := source.read1(READ_BYTES):  # type: ignore[attr-defined]
        *complete, rest = (rest + chunk).split(b"\n")
        if len(rest) > longest:
            raise CommandError(f"Stopped: line {number + len(complete) + 1} is over {longest:,} bytes; those before are stored.")
        yield iter([(number + index, line) for index, line in enumerate(complete, 1) if line.strip()])
        number += len(complete)
    if rest.strip():
        yield iter([(number + 1, rest)])
