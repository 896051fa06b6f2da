"""What the tests of properties are made from: JSON of every kind, bytes that nearly are JSON, and bodies that fit a struct, or nearly."""

import json
from base64 import b64encode
from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from .poison import PAYLOADS, SOUND

Json = st.SearchStrategy[Any]

NUMBERS = st.integers() | st.floats() | st.integers(min_value=2**1_020, max_value=2**1_028)
# With surrogates.
STRINGS = st.text(st.characters(codec=None))
LEAVES = st.none() | st.booleans() | NUMBERS | STRINGS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4))
# By name, since what is drawn from is shown with what has failed.
POISON = st.sampled_from([*PAYLOADS]).map(lambda name: PAYLOADS[name])
PIECES = POISON | st.sampled_from([*SOUND]).map(lambda name: SOUND[name]) | st.sampled_from(b'[]{}",:\\\n\r 0-e.\xff\x00')


def written(values: Json) -> st.SearchStrategy[bytes]:
    """Written with and without escapes, with lone surrogates as they would be encoded, and with whatever json writes for NaN."""
    return st.builds(lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"), values, st.booleans())


def splice(text: bytes, piece: bytes | int, place: int) -> bytes:
    at = place % (len(text) + 1)
    return text[:at] + (bytes([piece]) if isinstance(piece, int) else piece) + text[at:]


def spoiled(texts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """With something in it that does not belong there, or cut off."""
    places = st.integers(0, 10_000)
    return st.builds(splice, texts, PIECES, places) | st.builds(lambda text, place: text[: place % (len(text) + 1)], texts, places)


# Some over several lines.
WRITTEN = written(VALUES) | VALUES.map(lambda value: json.dumps(value, indent=1).replace("\n", "\r\n").encode())
TEXTS = WRITTEN | st.builds(splice, WRITTEN, PIECES, st.integers(0, 10_000)) | POISON | st.binary()


# Bodies


def bodies(of: Any, words: Collection[str]) -> st.SearchStrategy[bytes]:
    """JSON that fits the type `of`, nearly fits it, and is none. `words` are strings that mean something where the body goes."""
    return st.one_of(written(fitting(of, words)), written(fitting(of, words, VALUES)), spoiled(written(fitting(of, words))), TEXTS)


def fitting(of: Any, words: Collection[str], instead: Json | None = None) -> Json:
    """Values for the type `of`; with `instead`, here and there one of those in place of what would fit."""
    return _fitting(inspect.type_info(of), st.sampled_from([*words]) | STRINGS, instead)


def _fitting(info: Any, texts: Json, instead: Json | None) -> Json:
    if isinstance(info, inspect.Metadata):
        return _fitting(info.type, texts, instead)
    if isinstance(info, inspect.StructType):
        return _struct(info, texts, instead)
    container = _container(info, texts, instead)
    found = _scalar(info, texts) if container is None else container
    return found | instead if instead is not None else found


def _struct(info: inspect.StructType, texts: Json, instead: Json | None) -> Json:
    fields = {field.encode_name: _fitting(field.type, texts, instead) for field in info.fields}
    needed = {field.encode_name: fields[field.encode_name] for field in info.fields if field.required and instead is None}
    known = st.fixed_dictionaries(needed, optional={name: values for name, values in fields.items() if name not in needed})
    if instead is None:
        return known
    return known | st.builds(lambda values, unknown: unknown | values, known, st.dictionaries(STRINGS, VALUES, max_size=1))


def _container(info: inspect.Type, texts: Json, instead: Json | None) -> Json | None:
    match info:
        case inspect.UnionType():
            return st.one_of(*(_fitting(part, texts, instead) for part in info.types))
        case inspect.ListType():
            return st.lists(_fitting(info.item_type, texts, instead), min_size=info.min_length or 0, max_size=4)
        case inspect.DictType():
            return st.dictionaries(texts, _fitting(info.value_type, texts, instead), max_size=4)
    return None


def _scalar(info: inspect.Type, texts: Json) -> Json:
    match info:
        case inspect.StrType():
            return texts
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.IntType():
            # Of all numbers the small ones mean something more often.
            least = info.ge or 0
            return st.integers(least, least + 10 if info.le is None else min(least + 10, info.le)) | st.integers(least, info.le)
    return SCALARS.get(type(info), VALUES)


SCALARS: dict[type[inspect.Type], Json] = {
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.FloatType: NUMBERS,
    inspect.BytesType: st.binary(max_size=100).map(lambda data: b64encode(data).decode()),
}
