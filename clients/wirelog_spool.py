#!/usr/bin/env python3
"""Store and forward: sends records to a Wirelog stream through a spool on disk, so that a dead link or a power cut loses none.

    with Spool("https://wirelog.example.org", "iot:shed", key, device="shed-pi", folder="/var/lib/shed") as spool:
        spool.put({"temperature": 21.4})

or, one JSON value a line: `measure | WIRELOG_KEY=… python wirelog_spool.py --url https://… --stream iot:shed --device shed-pi`.

One file, the standard library, Python 3.9 or newer. `put` returns when the record is on disk. A thread sends what waits there, in order:
one batch at a time, all of it or nothing. The key of a record is `<device>:<number>`, by which the server knows a repeat; no number is
ever used twice.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import json
import logging
import os
import random
import signal
import socket
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from ssl import SSLContext, create_default_context
from time import time_ns
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

try:
    import fcntl
except ImportError:  # Windows: whoever starts two processes on one folder is not stopped.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("wirelog_spool")

BATCH_RECORDS = 100
BATCH_BYTES = 262_144
# An answer has fewer. What has more, or no end, comes from something else on the way.
ANSWER_BYTES = 65_536
LIMIT_BYTES = 67_108_864
SMALLEST_LIMIT = 65_536
# The spool is cut into so many files: the oldest of them is what a full spool drops.
SEGMENTS = 8
# Full jitter: a random time up to the second, which doubles from the first with every failure in a row.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# As long as a server may ask to be left alone, or what stands before it: it may say any number.
LONGEST_WAIT = 3_600.0
# How far the sending has come.
CURSOR = "cursor.json"
# The year 5138: what is beyond is in milliseconds, or no time at all.
LATEST = 1e11
# Between two tries where a person has to act first: a wrong key, a missing stream.
REFUSED_PAUSE = 60.0


class SpoolError(Exception):
    """What keeps a spool from being used. `str()` is a sentence for people."""


class SpoolFull(SpoolError):
    """Raised by `put` when the spool is full and may drop nothing: the record was not taken."""


class Temporary(Exception):
    """The server cannot take it now."""

    def __init__(self, problem: str, seconds: float = 0.0) -> None:
        self.seconds = seconds
        super().__init__(problem)


class Refused(Exception):
    """The server will not take anything until somebody has put something right."""


class BadBatch(Exception):
    """The server will never take this batch, for what is in it: in the record `line`, which counts from 1; 0 when it did not say."""

    def __init__(self, problem: str, line: int) -> None:
        self.line = line
        super().__init__(problem)


# On disk


class Line(NamedTuple):
    number: int
    # What is sent, a JSON object, but for its idempotency key.
    text: str
    # Where it ends in its file.
    end: int = 0


def pack(number: int, text: str) -> bytes:
    rest = f"{number} {text}\n".encode()
    return b"%08x %b" % (zlib.crc32(rest), rest)


def unpack(line: bytes, end: int) -> Line | None:
    """None for a line that is not whole: the power went while it was written, or the disk is damaged."""
    checksum, _, rest = line.partition(b" ")
    if not rest.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(rest):
        return None
    number, _, text = rest.partition(b" ")
    return Line(int(number), text.decode().rstrip("\n"), end)


class Segment:
    """One file of consecutive records, named by the number of the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = int(path.stem)
        # The newest whole record, and where it ends.
        self.last = self.first - 1
        self.size = 0
        # Where the oldest record begins that is still to be sent.
        self.unsent = 0

    def scan(self, sent: int) -> Segment:
        for line in self.lines(0):
            self.last, self.size = line.number, line.end
            if line.number <= sent:
                self.unsent = line.end
        return self

    def lines(self, start: int) -> Iterator[Line]:
        """The whole records from byte `start` on."""
        with self.path.open("rb") as file:
            file.seek(start)
            for raw in file:
                start += len(raw)
                line = unpack(raw, start)
                if line is not None:
                    yield line

    def batch(self) -> list[Line]:
        """The next records to send, without a hole between them: what is damaged is a gap before the batch that follows."""
        found: list[Line] = []
        for line in self.lines(self.unsent):
            over = len(found) == BATCH_RECORDS or line.end - self.unsent > BATCH_BYTES
            if line.end > self.size or (found and (over or line.number != found[-1].number + 1)):
                break
            found.append(line)
        return found

    def waiting(self, sent: int) -> int:
        return max(0, self.last - max(self.first - 1, sent))


@dataclass
class Cursor:
    """How far the sending has come. It may be behind, never ahead: what is sent again is known by its key."""

    stream: str
    device: str
    # The newest number that is settled: stored, set aside, or dropped.
    sent: int
    stored: int = 0
    dropped: int = 0
    rejected: int = 0
    state: str = "idle"
    error: str = ""


def replace(path: Path, content: bytes) -> None:
    """Write the whole file or leave the one before."""
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of new files last, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Files:
    """The spool's folder. Not thread-safe."""

    def __init__(self, folder: Path, stream: str, device: str, limit_bytes: int, fsync: bool) -> None:
        self.folder = folder
        self.limit = limit_bytes
        self.fsync = fsync
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)
        self._lock = self._take_lock()
        try:
            self.cursor = self._read_cursor(stream, device)
            self.segments = scan(folder, self.cursor.sent)
            self._open()
        except BaseException:
            self._lock.close()
            raise

    def _take_lock(self) -> IO[bytes]:
        file = (self.folder / "lock").open("ab")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise SpoolError(f"Another process uses the spool {self.folder}. Stop it, or give this one a folder of its own.") from None
        return file

    def _read_cursor(self, stream: str, device: str) -> Cursor:
        cursor = read_cursor(self.folder) or Cursor(stream, device, oldest(self.folder) - 1)
        if (cursor.stream, cursor.device) != (stream, device):
            raise SpoolError(
                f"The spool {self.folder} is of device {cursor.device!r} for stream {cursor.stream!r}, not of {device!r} for {stream!r}. "
                "Give each its own folder."
            )
        return cursor

    def _open(self) -> None:
        """Go on in the newest file, without what a crash has torn: that was never accepted."""
        if not self.segments or self.segments[-1].last < self.cursor.sent:
            self.segments.append(self._new_segment(self.cursor.sent + 1))
        elif self.segments[-1].size > 2 * self.limit // SEGMENTS:
            # The limit was lowered. Whatever makes room, the newest file stays: this one must not be that.
            self.segments.append(self._new_segment(self.segments[-1].last + 1))
        newest = self.segments[-1]
        self._file = newest.path.open("r+b", buffering=0)
        self._file.truncate(newest.size)
        self._file.seek(newest.size)
        if not (self.folder / CURSOR).exists():
            # Says whose folder this is. Later on nothing is written before something was sent, for which a full disk is no obstacle.
            self.save()
        self._forget()

    def _new_segment(self, first: int) -> Segment:
        path = self.folder / f"{first:020}.log"
        path.touch(mode=0o600)
        sync_folder(self.folder)
        return Segment(path)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def waiting(self) -> int:
        return sum(segment.waiting(self.cursor.sent) for segment in self.segments)

    def append(self, text: str) -> int:
        """The number of the record. Raises OSError: then it was not taken."""
        newest = self.segments[-1]
        if newest.size >= self.limit // SEGMENTS:
            newest = self._rotate(newest)
        number = newest.last + 1
        line = pack(number, text)
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(newest.path))
            if self.fsync:
                os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(newest.size)
            self._file.seek(newest.size)
            raise
        newest.last, newest.size = number, newest.size + len(line)
        return number

    def _rotate(self, newest: Segment) -> Segment:
        self.sync()
        following = self._new_segment(newest.last + 1)
        file = following.path.open("r+b", buffering=0)
        self._file.close()
        self._file = file
        self.segments.append(following)
        self._forget()
        return following

    def sync(self) -> None:
        """Nothing is sent before it lasts here: after a power cut its number would be given to another record."""
        if not self.fsync and self.waiting:
            os.fsync(self._file.fileno())

    def batch(self) -> list[Line]:
        """The next records to send, of which some wait. Raises OSError when the disk has lost them since they were written."""
        for segment in self.segments:
            if segment.waiting(self.cursor.sent) and (found := segment.batch()):
                return found
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.folder))

    def gap(self, line: Line) -> int:
        """How many records before `line` are lost: dropped from a full spool, or damaged on disk."""
        return line.number - self.cursor.sent - 1

    def settle(self, batch: Sequence[Line]) -> None:
        """`batch`, the oldest that waits, need not be sent again."""
        for segment in self.segments:
            if segment.first <= batch[-1].number <= segment.last:
                segment.unsent = batch[-1].end
        self.cursor.dropped += self.gap(batch[0])
        self.cursor.sent = batch[-1].number

    def save(self) -> None:
        content = json.dumps(asdict(self.cursor), indent=1).encode()
        try:
            replace(self.folder / CURSOR, content)
        except OSError:
            # Of a full disk: what is sent makes room.
            self._forget()
            replace(self.folder / CURSOR, content)
        self._forget()

    def _forget(self) -> None:
        """Remove the files that are sent; the newest stays, since its name and lines tell the next number."""
        while len(self.segments) > 1 and self.segments[0].last <= self.cursor.sent:
            self.segments.pop(0).path.unlink()

    def drop_oldest(self) -> None:
        """Give up the oldest file. What of it is stored, or in flight and about to be, does not count as lost: see `gap`."""
        self.segments.pop(0).path.unlink()

    def reject(self, line: Line, error: str) -> None:
        """Set a record aside that the server will never take."""
        path = self.folder / "rejected.ndjson"
        if path.exists() and path.stat().st_size > self.limit // SEGMENTS:
            path.replace(path.with_suffix(".old.ndjson"))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"number": line.number, "error": error, "record": json.loads(line.text)}, ensure_ascii=False) + "\n")
        self.cursor.rejected += 1

    def close(self) -> None:
        try:
            self.save()
        finally:
            self._file.close()
            self._lock.close()


def scan(folder: Path, sent: int) -> list[Segment]:
    return [Segment(path).scan(sent) for path in sorted(folder.glob("*.log")) if path.exists()]


def read_cursor(folder: Path) -> Cursor | None:
    """None when there is none, or a crash has damaged it: then what is on disk is sent again, and known by its keys."""
    try:
        return Cursor(**json.loads((folder / CURSOR).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def oldest(folder: Path) -> int:
    """The first number. In a new folder it is the time in microseconds: one that was lost had used up the low numbers."""
    return min((int(path.stem) for path in folder.glob("*.log")), default=time_ns() // 1_000)


def status_of(cursor: Cursor, segments: Sequence[Segment]) -> dict[str, Any]:
    waiting = sum(segment.waiting(cursor.sent) for segment in segments)
    lost = max(0, segments[-1].last - cursor.sent - waiting) if segments else 0
    more = {"waiting": waiting, "bytes": sum(segment.size for segment in segments)}
    return asdict(cursor) | {"dropped": cursor.dropped + lost} | more


# To the server


class Link:
    """The way to one stream: one connection, kept while the server keeps it."""

    def __init__(self, url: str, stream: str, key: str, timeout: float, context: SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SpoolError(f"The URL must look like https://wirelog.example.org, not {url!r}.")
        if not key or not key.isascii() or not key.isprintable():
            raise SpoolError("The API key is empty or has characters that no key has.")
        self._path = f"{parts.path.rstrip('/')}/api/streams/{quote(stream, safe='')}/records?atomic=1"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson", "User-Agent": "wirelog-spool"}
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)

    def post(self, lines: Sequence[str]) -> None:
        """Have all `lines` stored, or none. Raises OSError, HTTPException, Temporary, Refused, BadBatch."""
        body = "".join(f"{line}\n" for line in lines).encode()
        kept = self._connection.sock is not None
        try:
            try:
                answer = self._exchange(body)
            except ConnectionError:
                if not kept:
                    raise
                # An idle connection may be closed by the other side. The keys make a second try safe.
                self.close()
                answer = self._exchange(body)
        except BaseException:
            self.close()
            raise
        judge(*answer, len(lines))

    def _exchange(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        body = response.read(ANSWER_BYTES)
        if not response.isclosed():
            self.close()
        return response.status, response.headers, body

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        """From another thread: end what it waits for."""
        found = self._connection.sock
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)


def judge(status: int, headers: http.client.HTTPMessage, body: bytes, count: int) -> None:
    """Return if all of `count` records are stored. Raises Temporary, Refused, BadBatch."""
    if status == 200:
        if stored(body) != count:
            # Not from Wirelog: the sign-in page of a hotel network, say.
            raise Temporary(f"the answer is not one to {count} records")
        return
    found = problem_of(body)
    problem = f"{status} {found.get('detail') or headers.get('Location') or http.client.responses.get(status, '')}"
    if status in (408, 429) or status >= 500:
        after = headers.get("Retry-After", "")
        raise Temporary(problem, min(float(after), LONGEST_WAIT) if after.isdigit() else 0.0)
    line = found["line"] if isinstance(found.get("line"), int) else 0
    # A 400 that names no record is about something else, such as a host that the server does not know.
    if status == 413 or (status == 400 and line):
        raise BadBatch(problem, line)
    raise Refused(problem)


def stored(body: bytes) -> int:
    """How many records an answer says are stored."""
    try:
        answers = [json.loads(line) for line in body.splitlines()]
    except ValueError:
        return 0
    return sum(isinstance(answer, dict) and "error" not in answer for answer in answers)


def problem_of(body: bytes) -> dict[str, Any]:
    """The problem document in `body`; empty for anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# The two together


class Spool:
    """A spool and the thread that sends from it. Its methods may be called from any thread.

    `full` says what happens when `limit_bytes` are waiting: "drop" gives up the oldest records, and the first one after such a gap is
    sent with the tag `dropped`; "refuse" raises SpoolFull. `fsync` off is faster, and a power cut loses the last seconds.
    Raises SpoolError for what is wrong with the arguments or the folder, which belongs to one stream and one device.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        key: str,
        device: str,
        folder: str | os.PathLike[str],
        limit_bytes: int = LIMIT_BYTES,
        *,
        full: str = "drop",
        fsync: bool = True,
        timeout: float = 30.0,
        context: SSLContext | None = None,
    ) -> None:
        if not device or len(device) > 100 or not device.isprintable():
            raise SpoolError(f"The device must have a name of 1 to 100 printable characters, not {device!r}.")
        if limit_bytes < SMALLEST_LIMIT:
            raise SpoolError(f"The limit must be at least {SMALLEST_LIMIT} bytes, not {limit_bytes}.")
        if full not in ("drop", "refuse"):
            raise SpoolError(f"A full spool can drop or refuse, not {full!r}.")
        self.device = device
        self._full = full
        self._link = Link(url, stream, key, timeout, context)
        self._files = Files(Path(folder), stream, device, limit_bytes, fsync)
        # Notified when something was put, settled, or closed.
        self._changed = threading.Condition()
        self._closed = False
        # Whether the log has said that something is wrong, and not yet that it is over.
        self._warned = False
        # Records in a request, as many as were not too many so far; and in the next one, which may end before a bad one.
        self._largest = self._most = BATCH_RECORDS
        self._thread = threading.Thread(target=self._run, name="wirelog-spool", daemon=True)
        self._thread.start()

    def put(self, data: Any, time: float | None = None, key: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Take a record; returns its idempotency key once it is on disk.

        `data` is anything JSON, `time` seconds since 1970 (default: now), `key` what the record is about, for the latest of each.
        Raises ValueError or TypeError for what is not JSON or too large, SpoolFull, and OSError when the disk fails: nothing was taken.
        """
        text = record(data, time, key, tags)
        size = len(pack(0, text)) + 20
        with self._changed:
            if self._closed:
                raise SpoolError("The spool is closed.")
            self._make_room(size)
            number = self._files.append(text)
            self._changed.notify_all()
        return self._key(number)

    def _make_room(self, size: int) -> None:
        files = self._files
        if size > files.limit // SEGMENTS:
            raise ValueError(f"the record is too large: {size} bytes, a spool of {files.limit} takes at most {files.limit // SEGMENTS}")
        while files.size + size > files.limit:
            if self._full == "refuse":
                raise SpoolFull(f"The spool {files.folder} is full: {files.waiting} records wait. Bring the link back, or raise the limit.")
            files.drop_oldest()
            logger.warning("The spool %s is full: its oldest records are dropped.", files.folder)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all is sent, at most `timeout` seconds; whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._files.waiting, timeout)
            return not self._files.waiting

    def status(self) -> dict[str, Any]:
        with self._changed:
            return status_of(self._files.cursor, self._files.segments)

    def close(self, timeout: float = 10.0) -> None:
        """Wait at most `timeout` seconds for what is still to be sent; the rest stays on disk for the next time."""
        self.flush(timeout)
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._link.abort()
        # It may hang in a name server. It changes nothing any more.
        self._thread.join(1)
        self._link.close()
        self._files.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(10.0 if kind is None else 0.0)

    # The thread

    def _run(self) -> None:
        failures = 0
        while not self._closed:
            try:
                self._send()
                failures = 0
                continue
            except Refused as error:
                pause = random.uniform(REFUSED_PAUSE / 2, REFUSED_PAUSE)
                self._report("refused", error)
            except Exception as error:  # noqa: BLE001
                # The edge of the thread: whatever a network or a disk comes up with, the sending goes on.
                failures += 1
                pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10)))
                pause = max(pause, getattr(error, "seconds", 0.0))
                self._report("waiting", error)
            self._rest(pause)

    def _send(self) -> None:
        """Send one batch, once there is one, and settle what was answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._files.waiting)
            if self._closed:
                return
            self._files.sync()
            batch = self._files.batch()[: self._most]
            gap = self._files.gap(batch[0])
            lines = [self._dress(line, 0 if number else gap) for number, line in enumerate(batch)]
        try:
            self._link.post(lines)
        except BadBatch as error:
            self._narrow(batch, error)
        else:
            if len(batch) == self._largest:
                # One more at a time: what is refused as a whole has crossed the link in vain.
                self._largest = min(BATCH_RECORDS, self._largest + 1)
            self._most = self._largest
            self._settle(batch)

    def _narrow(self, batch: Sequence[Line], error: BadBatch) -> None:
        """Send what comes before the bad record next, then the record alone; then it is set aside."""
        if len(batch) == 1 or error.line == 1:
            # The fault of this one, of which more would not have been too many.
            self._most = self._largest = self._largest if error.line else BATCH_RECORDS
            self._settle(batch[:1], str(error))
        elif 1 < error.line <= len(batch):
            self._most = error.line - 1
        else:
            self._most = self._largest = len(batch) // 2

    def _dress(self, line: Line, gap: int) -> str:
        """The line as it is sent: with its key, and after a gap with a tag that tells how many are lost."""
        text = line.text
        if gap:
            fields = json.loads(text)
            fields["tags"] = {**fields.get("tags", {}), "dropped": str(gap)}
            text = encode(fields)
        return f'{{"idempotency_key":{encode(self._key(line.number))},{text[1:]}'

    def _key(self, number: int) -> str:
        return f"{self.device}:{number}"

    def _settle(self, batch: Sequence[Line], error: str = "") -> None:
        """`batch` is stored; with an `error` it is its one record that never will be."""
        with self._changed:
            if self._closed:
                return
            if error:
                self._files.reject(batch[0], error)
                logger.warning("Record %d is set aside in rejected.ndjson: %s", batch[0].number, error)
            else:
                self._files.cursor.stored += len(batch)
            self._files.settle(batch)
            self._tell("sending" if self._files.waiting else "idle", "")
            self._save()
            self._changed.notify_all()

    def _report(self, state: str, error: Exception) -> None:
        with self._changed:
            if not self._closed:
                # A server that says when to come back paces the sender: that is no trouble.
                self._tell(state, str(error) or type(error).__name__, warn=not getattr(error, "seconds", 0))
                self._save()

    def _save(self) -> None:
        # A full disk is no reason to stop sending, which makes room.
        with contextlib.suppress(OSError):
            self._files.save()

    def _tell(self, state: str, error: str, warn: bool = True) -> None:
        cursor = self._files.cursor
        if error and warn and cursor.error != error:
            self._warned = True
            logger.warning("%s: %s. Records are kept in %s.", state.capitalize(), error, self._files.folder)
        elif self._warned and not error:
            self._warned = False
            logger.warning("Sending again.")
        cursor.state, cursor.error = state, error

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)


def encode(value: Any) -> str:
    """JSON as the server takes it. Raises ValueError and TypeError for what it would not."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # A lone surrogate is no text.
        text.encode()
    except RecursionError:
        raise ValueError("the data is nested too deeply") from None
    return text


def record(data: Any, time: float | None, key: str | None, tags: Mapping[str, str] | None) -> str:
    if time is not None and not (isinstance(time, (int, float)) and 0 <= time < LATEST):
        raise ValueError(f"the time must be in seconds since 1970, not {time!r}")
    fields: dict[str, Any] = {"device_time": time_ns() // 1_000_000 if time is None else round(time * 1000)}
    if key:
        fields["key"] = key
    if tags:
        fields["tags"] = dict(tags)
    return encode({**fields, "data": data})


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return show(options) if options.status else forward(options)
    except (SpoolError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description="Publishes JSON values, one a line on stdin, to a Wirelog stream, through a spool on disk.",
        epilog="The API key is read from the environment variable WIRELOG_KEY, or from --key-file.",
    )
    add = found.add_argument
    add("--url", help="Of the server, for example https://wirelog.example.org.")
    add("--stream")
    add("--device", default=socket.gethostname(), help="What the keys of its records begin with; default: %(default)s.")
    add("--folder", type=Path, default=Path("wirelog-spool"), help="Where records wait; default: %(default)s.")
    add("--key-file", type=Path, metavar="FILE", help="Where the API key is, in place of WIRELOG_KEY.")
    add("--ca-file", type=Path, metavar="FILE", help="Certificates to trust, for a server with one of your own.")
    add("--limit-bytes", type=int, default=LIMIT_BYTES, metavar="N", help="Size of the spool; default: %(default)s.")
    add("--full", choices=("drop", "refuse"), default="drop", help="Of a full spool: drop the oldest records, or end with an error.")
    add("--no-fsync", action="store_true", help="Do not wait for the disk: faster, and a power cut loses the last seconds.")
    add("--time-field", metavar="NAME", help="Member of each object that holds its time, in seconds since 1970; default: now.")
    add("--key-field", metavar="NAME", help="Member of each object that says what it is about.")
    add("--wait", type=float, default=10.0, metavar="SECONDS", help="At the end, for what is not sent yet; default: %(default)s.")
    add("--status", action="store_true", help="Tell what is in the folder, as JSON, and end.")
    return found


def show(options: argparse.Namespace) -> int:
    cursor = read_cursor(options.folder)
    if cursor is None:
        raise SpoolError(f"There is no spool in {options.folder}.")
    print(json.dumps(status_of(cursor, scan(options.folder, cursor.sent)), indent=1))
    return 0


def forward(options: argparse.Namespace) -> int:
    if not options.url or not options.stream:
        raise SpoolError("Give --url and --stream.")
    key = options.key_file.read_text() if options.key_file else os.environ.get("WIRELOG_KEY", "")
    context = create_default_context(cafile=options.ca_file) if options.ca_file else None
    place = (options.url, options.stream, key.strip(), options.device, options.folder, options.limit_bytes)
    with Spool(*place, full=options.full, fsync=not options.no_fsync, context=context) as spool:
        bad = sum(not take(spool, number, line, options) for number, line in enumerate(sys.stdin.buffer, 1))
        spool.close(options.wait)
        if waiting := spool.status()["waiting"]:
            print(f"{waiting} records wait in {options.folder}; the next run sends them.", file=sys.stderr)
    return 1 if bad else 0


def take(spool: Spool, number: int, line: bytes, options: argparse.Namespace) -> bool:
    """Whether the line was taken, or was empty."""
    try:
        if line.strip():
            data = json.loads(line)
            fields = data if isinstance(data, dict) else {}
            key = fields.get(options.key_field)
            spool.put(data, fields.get(options.time_field), None if key is None else str(key))
    except (ValueError, TypeError, RecursionError) as error:
        print(f"Line {number} is left out: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
