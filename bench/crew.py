"""Conducts the processes of the load generator: the same call to all of them, or a share to each."""

import multiprocessing
from array import array
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any, Self

from . import load
from .stats import shares


class LoadFailed(Exception):
    """A process of the load generator could not do what it was told. Its traceback is the text."""


class Hand:
    """One process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Pipe
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=load.main, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, method: str, **params: Any) -> None:
        self.pipe.send((method, params))

    def hear(self) -> tuple[bool, Any]:
        """Whether it was done, and its result or the traceback."""
        fine, result = self.pipe.recv()
        return fine, result

    def call(self, method: str, **params: Any) -> Any:
        self.tell(method, **params)
        return results([self])[0]


def results(hands: Sequence[Hand]) -> list[Any]:
    """What the hands answer. Raises LoadFailed once all have: an answer left in its pipe would pass for that of the next call."""
    heard = [hand.hear() for hand in hands]
    for fine, result in heard:
        if not fine:
            raise LoadFailed(result)
    return [result for _, result in heard]


class Crew:
    """`readers` hold subscribers; `writer` publishes, with a subscriber of its own where its pace comes from deliveries."""

    def __init__(self, readers: int = 2) -> None:
        self.readers = [Hand() for _ in range(readers)]
        self.writer = Hand()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for hand in self.hands:
            hand.process.terminate()
            hand.process.join()

    @property
    def hands(self) -> list[Hand]:
        return [*self.readers, self.writer]

    def begin(self, dialect: str, port: int) -> None:
        """Close whatever is open, and turn to another server."""
        self.everybody("begin", dialect=dialect, host="127.0.0.1", port=port)

    def subscribe(self, count: int, **params: Any) -> dict[str, Any]:
        """`count` subscribers, shared out among the readers. Raises LoadFailed when one is refused."""
        first = 0
        for hand, share in zip(self.readers, shares(count, len(self.readers)), strict=True):
            hand.tell("subscribe", first=first, count=share, **params)
            first += share
        answers = results(self.readers)
        refused = [reason for answer in answers for reason in answer["refused"]]
        if refused:
            raise LoadFailed(f"{len(refused)} of {count} subscribers were refused, the first: {refused[0]}")
        start, end = min(answer["start"] for answer in answers), max(answer["end"] for answer in answers)
        return {"samples": joined(answer["samples"] for answer in answers), "seconds": (end - start) / 1e9}

    def each(self, method: str, **params: Any) -> list[Any]:
        """The answers of all readers."""
        return _ask(self.readers, method, **params)

    def everybody(self, method: str, **params: Any) -> list[Any]:
        """The answers of the readers and of the writer."""
        return _ask(self.hands, method, **params)

    def cpu(self) -> float:
        return float(sum(self.everybody("cpu")))


def _ask(hands: Sequence[Hand], method: str, **params: Any) -> list[Any]:
    """The same of all at once, and their answers."""
    for hand in hands:
        hand.tell(method, **params)
    return results(hands)


def joined(arrays: Iterable["array[int]"]) -> "array[int]":
    together: array[int] = array("q")
    for samples in arrays:
        together.extend(samples)
    return together
