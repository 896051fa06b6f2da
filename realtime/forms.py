import json
import uuid

from django import forms

from . import protocol


class WriteForm(forms.Form):
    """The composer of a feed, for a browser without JavaScript."""

    text = forms.CharField(error_messages={"required": "There was nothing to send: write something first."})
    # Made with the page, so that sending the form twice stores one record.
    key = forms.CharField(max_length=64, required=False)

    def payload(self) -> str:
        text = json.dumps({"text": self.cleaned_data["text"]}, ensure_ascii=False)
        return protocol.payload(text.encode("utf-8", "replace"))

    def idempotency_key(self) -> str:
        return self.cleaned_data["key"] or new_key()


def new_key() -> str:
    return str(uuid.uuid4())
