"""What the templates of the pages need beside Django's own tags."""

from typing import Any

from django import template
from django.contrib.auth import get_user_model
from django.contrib.messages.storage.base import Message
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from realtime import times, words
from realtime.names import label_of

register = template.Library()

TONES = {"success": "good", "warning": "warn", "error": "bad"}
# As Django's json_script: nothing in the data can end the script element.
ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """One symbol of the sprite."""
    html = '<svg class="{}" aria-hidden="true" width="16" height="16"><use href="{}#{}"></use></svg>'
    return format_html(html, css, static("icons.svg"), name)


@register.simple_tag
def first_run() -> bool:
    """Whether nobody could sign in as operator yet."""
    return not get_user_model()._default_manager.filter(is_superuser=True).exists()


@register.simple_tag
def raw_json_script(text: str, element_id: str) -> SafeString:
    """JSON text that is there already, as a script element for `JSON.parse`."""
    return format_html('<script id="{}" type="application/json">{}</script>', element_id, mark_safe(text.translate(ESCAPES)))  # noqa: S308


@register.filter
def tone(message: Message) -> str:
    return TONES.get(message.level_tag, "quiet")


@register.filter
def code_words(text: str) -> SafeString:
    """A sentence, with what stands in `backquotes` as code."""
    marks = ("{}", "<code>{}</code>")
    return mark_safe("".join(format_html(marks[number % 2], part) for number, part in enumerate(text.split("`"))))  # noqa: S308


@register.filter
def initials(user: Any) -> str:
    parts = label_of(user).split()
    return "".join(part[0] for part in parts[:2]).upper() if len(parts) > 1 else parts[0][:2].upper()


register.filter("grouped", words.grouped)
register.filter("age", words.age)
register.filter("moment", times.local)
