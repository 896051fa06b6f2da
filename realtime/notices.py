"""Notices: the only control path between processes.

A notice is a row, written in the transaction of what it tells of, so that neither is there without the other. The tick of every process
reads it, whoever wrote it, and `control.py` acts on it.
"""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from .models import Notice

# A process that has not looked for so long has other worries; what it missed the next look at every connection finds.
KEEP = timedelta(minutes=10)
PAGE = 1_000


def post(kind: str, /, **subject: Any) -> None:
    """Tell every process, when the caller's transaction commits. `control.py` lists the kinds and their subjects, which are JSON."""
    Notice.objects.create(kind=kind, subject=subject)


def newest() -> int:
    """The id of the newest notice; 0 when there is none."""
    return Notice.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def after(seen: int) -> list[Notice]:
    """The notices with an id over `seen`, in the order of their commits; at most PAGE of them."""
    return list(Notice.objects.filter(pk__gt=seen).order_by("pk")[:PAGE])


def prune() -> int:
    """Remove what every process has read long ago; how many those were."""
    return Notice.objects.filter(created__lt=timezone.now() - KEEP).delete()[0]
