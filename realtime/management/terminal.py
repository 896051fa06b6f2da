"""What the commands have in common: results to stdout, notes and progress to stderr, and errors as one sentence that names the cure."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from realtime.errors import UnknownStream, WirelogError
from realtime.models import STREAM_NAME, Stream

# C0, DEL and C1 drive a terminal; the others reorder or break the line that is shown.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")


def escape(text: str) -> str:
    """`text` on one line, with what a terminal would obey made visible. In JSON the result means the same."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_line(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False, default=str))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Lines of aligned columns; the last one is as long as it likes."""
    cells = [list(headers), *([escape(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def sentence(error: ValidationError) -> str:
    """All that a form would show beside its fields."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items())


def check_texts(options: dict[str, Any]) -> None:
    """Raises CommandError for an argument that the terminal sent in another encoding: no column can hold it."""
    for value in options.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _encodable(text):
                raise CommandError(f"{text[:100]!r} is not UTF-8. Nothing was changed.")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class TerminalCommand(BaseCommand):
    # The checks read every page and setting; a command that only needs the database must work when they do not.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        check_texts(options)
        try:
            with self.quiet_pipe():
                self.work(options)
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=130) from None
        except ValidationError as error:
            raise CommandError(sentence(error)) from error
        except WirelogError as error:
            raise CommandError(explain(error)) from error
        except DatabaseError as error:
            raise CommandError(explain_database(error)) from error

    def work(self, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def say(self, line: str) -> None:
        """A result."""
        self.stdout.write(line)

    def note(self, text: str) -> None:
        """For the person at the terminal, beside the results."""
        self.stderr.write(text, style_func=str)

    def progress(self, text: str) -> None:
        """Overwrites itself; not for files and pipes."""
        if self.stderr.isatty():
            self.stderr.write(f"\r\x1b[K{text}", style_func=str, ending="")

    def confirm(self, question: str, options: dict[str, Any]) -> None:
        """Raises CommandError unless the answer is yes."""
        if not options["interactive"]:
            return
        try:
            answer = input(f"{question} [y/N] ")
        except EOFError:
            raise CommandError("Nobody is here to confirm. Add --noinput to go ahead without a question.") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")

    @contextmanager
    def quiet_pipe(self) -> Iterator[None]:
        """`manage.py … | head` is not an error."""
        try:
            yield
            self.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class VerbCommand(TerminalCommand):
    """A noun with verbs: each verb is a method, and a parser that `add_verbs` makes."""

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_verbs(parser.add_subparsers(dest="verb", required=True, metavar="VERB"))

    def add_verbs(self, verbs: Any) -> None:
        raise NotImplementedError

    def work(self, options: dict[str, Any]) -> None:
        getattr(self, options["verb"])(options)


def add_json(parser: CommandParser, meaning: str = "One JSON object per line, for programs.") -> None:
    parser.add_argument("--json", action="store_true", help=meaning)


def add_noinput(parser: CommandParser) -> None:
    parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="Do not ask for confirmation.")


def find_stream(name: str) -> Stream:
    """The stream `name`, or a CommandError that says where to look."""
    stream = Stream.objects.filter(name=name).first()
    if stream is None:
        raise CommandError(explain(UnknownStream(name)))
    return stream


def explain_database(error: DatabaseError) -> str:
    reason = str(error)
    if "no such table" in reason or "no such column" in reason:
        return f"The database is not up to date ({reason}). Run: manage.py migrate"
    if "locked" in reason:
        return "Another process holds the write lock of the database. Try again; if it stays so, find out what writes for so long."
    if "readonly" in reason or "unable to open" in reason:
        return f"The database cannot be used ({reason}). Is the folder WIRELOG_DATA this user's, and writable?"
    return f"The database refused: {reason}."


def explain(error: WirelogError) -> str:
    if isinstance(error, UnknownStream):
        cure = f" Make it: manage.py streams create {error.stream}" if STREAM_NAME.match(error.stream) else ""
        return f"There is no stream {escape(error.stream)!r}. See what there is: manage.py streams list.{cure}"
    return escape(str(error))
