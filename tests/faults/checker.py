"""Proves from the history of a run, and from what is stored after it, that every promise was kept. Pure: it talks to nobody.

A violation names the invariant and what broke it. `INVARIANTS` is all of them; `test_checker.py` breaks each once.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from .history import (
    Database,
    Delivered,
    Ended,
    Fail,
    History,
    Info,
    Invoke,
    Kept,
    Ok,
    Position,
    ReadInvoke,
    ReadOk,
    Revoked,
    Subscribed,
    numbers,
)

INVARIANTS = {
    "acked is stored": "no acknowledged record is lost",
    "seen is stored": "nothing is seen that is not stored",
    "refused is unseen": "what was refused for good is nowhere",
    "one value": "stream, epoch and offset have one value",
    "one place": "a value has one offset",
    "dense": "the offsets from tail to head are all there",
    "intact": "the database file is sound",
    "no gap": "the next offset of a client is its last plus one",
    "no duplicate": "nothing comes twice, also not after a reconnect",
    "exact resume": "`recovered` starts exactly after what was asked for",
    "kept is resumed": "a position that is kept is never refused",
    "real order": "a publish acknowledged before another was begun has the smaller offset",
    "fresh read": "a read that was begun after an acknowledgement sees the record",
    "revoked": "nothing comes after a revocation",
    "subscribed": "nothing comes without a subscription",
    "caught up": "who is subscribed at the end has everything",
    "proof": "the run had enough acknowledgements, resumes and faults to prove anything",
}


class Violation(NamedTuple):
    invariant: str
    what: str


class Least(NamedTuple):
    """A run with less proves nothing."""

    acks: int = 1_000
    resumes: int = 1
    faults: int = 1


LEAST = Least()
Place = tuple[str, str, int]


def check(history: History, database: Database, least: Least = LEAST) -> list[Violation]:
    return _Check(history, database).run(least)


@dataclass
class _Check:
    history: History
    database: Database
    violations: list[Violation] = field(default_factory=list)
    # What was first seen where, and where a value was first seen.
    values: dict[Place, str] = field(default_factory=dict)
    places: dict[tuple[str, str, str], Place] = field(default_factory=dict)
    invoked: dict[int, Invoke] = field(default_factory=dict)
    # The newest acknowledged offset by stream and epoch; and the one that stood when an operation or read was begun.
    acked: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    # The newest offset that anybody has seen.
    known: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    floors: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    reads: dict[int, str] = field(default_factory=dict)
    cursors: dict[tuple[str, str], Position] = field(default_factory=dict)
    subscribed: set[tuple[str, str]] = field(default_factory=set)
    revoked: set[tuple[str, str]] = field(default_factory=set)

    def run(self, least: Least) -> list[Violation]:
        for (stream, offset), value in self.database.rows.items():
            self._bind((stream, self.database.streams[stream].epoch, offset), value)
        for event in self.history.events:
            self._handlers.get(type(event), lambda *_: None)(self, event)
        self._check_refused()
        self._check_end()
        self._check_database()
        self._check_proof(least)
        return self.violations

    def _fail(self, invariant: str, *what: object) -> None:
        assert invariant in INVARIANTS
        self.violations.append(Violation(invariant, " ".join(map(str, what))))

    def _bind(self, place: Place, value: str) -> None:
        if (before := self.values.setdefault(place, value)) != value:
            self._fail("one value", place, "is", before[:40], "and", value[:40])
        elif (first := self.places.setdefault((place[0], place[1], value), place)) != place:
            self._fail("one place", value[:40], "is at", first, "and", place)

    def _see(self, invariant: str, place: Place, value: str) -> None:
        """`value` was seen at `place`: it must be stored there, unless it was pruned or belongs to an epoch that is over."""
        stream, epoch, offset = place
        self._bind(place, value)
        self.known[stream, epoch] = max(self.known[stream, epoch], offset)
        kept = self.database.streams.get(stream, Kept("", 0, 1))
        if epoch == kept.epoch and offset >= kept.tail and self.database.rows.get((stream, offset)) != value:
            self._fail(invariant, value[:40], "at", place)

    # Publishing and reading

    def _on_invoke(self, event: Invoke) -> None:
        # The first attempt counts: a later one may be answered with what the first did.
        self.invoked.setdefault(event.operation, event)
        self.floors.setdefault(event.operation, self._floor(event.stream))

    def _floor(self, stream: str) -> dict[tuple[str, str], int]:
        return {key: offset for key, offset in self.acked.items() if key[0] == stream}

    def _on_ok(self, event: Ok) -> None:
        invoke, (epoch, offset) = self.invoked[event.operation], event.position
        self._see("acked is stored", (invoke.stream, epoch, offset), invoke.value)
        if offset <= self.floors[event.operation].get((invoke.stream, epoch), 0):
            self._fail("real order", invoke.value[:40], "got", offset, "after it was acknowledged to others")
        self.acked[invoke.stream, epoch] = max(self.acked[invoke.stream, epoch], offset)

    def _on_read_invoke(self, event: ReadInvoke) -> None:
        self.reads[event.read] = event.stream
        self.floors[event.read] = self._floor(event.stream)

    def _on_read_ok(self, event: ReadOk) -> None:
        stream, (epoch, head) = self.reads[event.read], event.head
        if head < (floor := self.floors[event.read].get((stream, epoch), 0)):
            self._fail("fresh read", stream, "ends at", head, "though", floor, "was acknowledged")
        for offset, value in event.records:
            self._see("seen is stored", (stream, epoch, offset), value)

    # Subscribing

    def _on_subscribed(self, event: Subscribed) -> None:
        key = (event.client, event.stream)
        if key in self.revoked:
            self._fail("revoked", *key, "was subscribed again")
        self.subscribed.add(key)
        if event.recovered:
            if event.position != event.asked:
                self._fail("exact resume", *key, "asked for", event.asked, "and got", event.position)
            self.cursors.setdefault(key, event.position)
            return
        if event.asked is not None and self._is_kept(event.stream, event.asked):
            self._fail("kept is resumed", *key, "asked for", event.asked)
        self.cursors[key] = event.position

    def _is_kept(self, stream: str, asked: Position) -> bool:
        kept = self.database.streams[stream]
        return asked.epoch == kept.epoch and kept.tail - 1 <= asked.offset <= self.known[stream, asked.epoch]

    def _on_ended(self, event: Ended) -> None:
        self.subscribed.discard((event.client, event.stream))

    def _on_revoked(self, event: Revoked) -> None:
        self.revoked.add((event.client, event.stream))

    def _on_delivered(self, event: Delivered) -> None:
        key, offset = (event.client, event.stream), event.position.offset
        self._see("seen is stored", (event.stream, *event.position), event.value)
        if key in self.revoked:
            self._fail("revoked", *key, "got", offset)
        if key not in self.subscribed:
            self._fail("subscribed", *key, "got", offset)
        last = self.cursors.get(key, Position("", 0)).offset
        if offset <= last:
            self._fail("no duplicate", *key, "got", offset, "after", last)
        elif offset > last + 1:
            self._fail("no gap", *key, "got", offset, "after", last)
        self.cursors[key] = event.position

    _handlers: ClassVar[dict[type, Any]] = {
        Invoke: _on_invoke,
        Ok: _on_ok,
        ReadInvoke: _on_read_invoke,
        ReadOk: _on_read_ok,
        Subscribed: _on_subscribed,
        Ended: _on_ended,
        Revoked: _on_revoked,
        Delivered: _on_delivered,
    }

    # The end

    def _check_refused(self) -> None:
        events = self.history.events
        seen = set(self.values.values())
        for operation in numbers(events, Fail) - numbers(events, Info) - numbers(events, Ok):
            if self.invoked[operation].value in seen:
                self._fail("refused is unseen", self.invoked[operation].value[:40])

    def _check_end(self) -> None:
        for client, stream in self.subscribed:
            kept = self.database.streams[stream]
            if (cursor := self.cursors[client, stream]) != (kept.epoch, kept.head):
                self._fail("caught up", client, stream, "stands at", cursor, "of", kept)

    def _check_database(self) -> None:
        offsets = defaultdict(set)
        for stream, offset in self.database.rows:
            offsets[stream].add(offset)
        for stream, kept in self.database.streams.items():
            if wrong := offsets[stream] ^ set(range(kept.tail, kept.head + 1)):
                self._fail("dense", stream, kept, "misses or has too much:", sorted(wrong)[:10])
        if self.database.integrity != "ok":
            self._fail("intact", self.database.integrity)

    def _check_proof(self, least: Least) -> None:
        counts = self.history.counts()
        for name, found, wanted in zip(least._fields, (counts["Ok"], counts["resumes"], counts["Fault"]), least, strict=True):
            if found < wanted:
                self._fail("proof", found, name, "of", wanted)
