"""Frames and batches as text."""

from realtime.outbox import Batch, Outbox


def taken(outbox: Outbox, now: float) -> str | None:
    """The next frame that may go."""
    frame = outbox.take(now)
    return b"\n".join(frame).decode() if frame is not None else None


def messages(batch: Batch) -> list[str]:
    return batch.data.decode().split("\n")
