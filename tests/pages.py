"""What one sees of a page, and records for it to show."""

import html
import json
import re
from typing import Any

from project.users.models import User
from realtime.items import Item
from realtime.journal import Appended, append_now
from realtime.protocol import payload


def say(stream: str, data: Any, who: User | None = None, times: int = 1) -> None:
    text = payload(json.dumps(data).encode())
    outcomes = append_now([Item(stream, text, publisher=str(who.pk) if who else "") for _ in range(times)])
    assert all(isinstance(outcome, Appended) for outcome in outcomes)


def text_of(response: Any) -> str:
    """What one reads on a page, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def embedded(response: Any, name: str) -> Any:
    found = re.search(f'<script id="{name}" type="application/json">(.*?)</script>', response.content.decode(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])
