"""What is asked while one read is under way is answered together by the next one.

In a storm of connects one hop to a reader thread, and one statement, serve dozens of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .reads import Reads

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# In one read, so that nobody waits long for those who came later.
MOST = 100


class GroupRead(Generic[Question, Answer]):
    def __init__(self, reads: Reads, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """`answer` runs in a reader thread; its answers are in the order of the questions."""
        self._reads = reads
        self._answer = answer
        self._turn = asyncio.Lock()
        # The read that has not begun, and what it will be asked.
        self._next: asyncio.Task[Sequence[Answer]] | None = None
        self._asked: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        """Read after this call began. Raises what the read raises, and so for all who are in it."""
        if self._next is None or len(self._asked) == MOST:
            self._asked = []
            self._next = asyncio.create_task(self._read(self._asked))
        answers, place = self._next, len(self._asked)
        self._asked.append(question)
        # Shielded: one who gives up must not end it for the others.
        return (await asyncio.shield(answers))[place]

    async def _read(self, asked: list[Question]) -> Sequence[Answer]:
        async with self._turn:
            if asked is self._asked:
                self._next = None
            return await self._reads.run(self._answer, asked)
