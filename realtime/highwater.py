"""`highwater` in the data folder: which database was served here last, and how far it went.

A database that ends before it, has another record there, or is another one, was put in the place of the one that clients know. Then
every epoch changes, so that nobody resumes into new records under numbers that meant others. What is not found out: a copy that was put
back, written to beyond the mark before a server started on it, and has lost its record at the mark to retention.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import NamedTuple

from django.db import DatabaseError, connections, transaction

from .audit import commander, note
from .models import Database, Record, Stream, new_epoch
from .reads import Reads

logger = logging.getLogger(__name__)

NOTE_SECONDS = 1.0
# Not max(id): that goes back when the newest records are removed, and this never does.
_NEWEST = f"""
    SELECT seq, coalesce((SELECT received FROM {Record._meta.db_table} WHERE id = seq), 0)
    FROM sqlite_sequence WHERE name = '{Record._meta.db_table}'
"""


class Mark(NamedTuple):
    database: str
    # The id of the newest record that was ever stored, and when that was received; 0 when it is not kept any more.
    record: int
    received: int


class Highwater:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "highwater"
        self._noted: Mark | None = None

    def check(self) -> None:
        """Before anybody connects: compare the database with the mark, and change every epoch if it is not the one. Writes."""
        with transaction.atomic():
            database, _ = Database.objects.get_or_create()
            found, noted = Mark(str(database.pk), *_newest()), self._read()
            if noted is not None and is_foreign(found, noted, _received(noted.record)):
                _rotate_epochs(found, noted)
        self.note()

    def note(self) -> None:
        """Write down how far the database goes. Not synced: a mark that is lost or old only finds out less."""
        database = Database.objects.first()
        if database is None or (mark := Mark(str(database.pk), *_newest())) == self._noted:
            return
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        beside.write_text(f"{mark.database} {mark.record} {mark.received}\n")
        beside.replace(self.path)
        self._noted = mark

    async def run(self, reads: Reads) -> None:
        failing = False
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            try:
                await reads.run(self.note)
            except (DatabaseError, OSError) as error:
                if not failing:
                    logger.warning("%s could not be written: %s", self.path, error)
                failing = True
            else:
                failing = False

    def _read(self) -> Mark | None:
        """The mark; None when there is none, or it was torn by a crash."""
        try:
            words = self.path.read_text().split()
        except (OSError, UnicodeDecodeError):
            return None
        numbers = [int(word) for word in words[1:] if word.isascii() and word.isdecimal()]
        return Mark(words[0], *numbers) if len(words) == 3 and len(numbers) == 2 else None


def is_foreign(found: Mark, noted: Mark, received: int) -> bool:
    """Whether clients may know other records than those of the database that was found. One that never had any cannot mislead them.

    `received`: when its record at the mark was; 0 when it has none.
    """
    if found.database != noted.database:
        return found.record > 0
    other = noted.received != received and noted.received > 0 and received > 0
    return found.record < noted.record or other


def _newest() -> tuple[int, int]:
    with connections["default"].cursor() as cursor:
        cursor.execute(_NEWEST)
        number, received = cursor.fetchone() or (0, 0)
    return number, received


def _received(record: int) -> int:
    return Record.objects.filter(pk=record).values_list("received", flat=True).first() or 0


def _rotate_epochs(found: Mark, noted: Mark) -> None:
    streams = list(Stream.objects.only("pk", "epoch"))
    for stream in streams:
        stream.epoch = new_epoch()
    Stream.objects.bulk_update(streams, ["epoch"], batch_size=100)
    known = "an older copy of the database" if found.database == noted.database else "another database"
    logger.warning(
        "This is %s: it ends at record %d, the one that was served here at %d. "
        "Each stream gets a new epoch, so that clients start again instead of taking new records for the ones they know.",
        known,
        found.record,
        noted.record,
    )
    note(commander(), "database.restored", found.database, record=found.record, noted=[*noted], streams=len(streams))
