"""What the tests of properties are made from: JSON of every kind, bytes that nearly are JSON, and bodies that fit a struct, or nearly."""

import json
import re
from base64 import b64encode
from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from .poison import PAYLOADS, SOUND

Json = st.SearchStrategy[Any]
Words = Collection[str]

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


def bodies(of: Any, words: Words) -> st.SearchStrategy[bytes]:
    """JSON that fits the type `of`, nearly fits it, and is none. `words` are strings that mean something where the body goes."""
    fit = written(fitting(of, words))
    return st.one_of(fit, fit, fit, written(fitting(of, words, VALUES)), spoiled(fit), TEXTS)


def fitting(of: Any, words: Words, instead: Json | None = None) -> Json:
    """Values for the type `of`; with `instead`, here and there one of those in place of what would fit."""
    return _fitting(inspect.type_info(of), words, instead)


def _fitting(info: Any, words: Words, instead: Json | None) -> Json:
    if isinstance(info, inspect.Metadata):
        return _fitting(info.type, words, instead)
    if isinstance(info, inspect.StructType):
        return _struct(info, words, instead)
    container = _container(info, words, instead)
    found = _scalar(info, words) if container is None else container
    return found | instead if instead is not None else found


def _struct(info: inspect.StructType, words: Words, instead: Json | None) -> Json:
    """The fields that it needs, its payload, and a few others."""
    fields = {field.encode_name: _fitting(field.type, words, instead) for field in info.fields}
    needed = {field.encode_name for field in info.fields if field.required or isinstance(bare(field.type), inspect.RawType)}
    if instead is not None:
        known = st.fixed_dictionaries({}, optional=fields)
        return known | st.builds(lambda values, unknown: unknown | values, known, st.dictionaries(STRINGS, VALUES, max_size=1))
    others = st.lists(st.sampled_from([*fields]), max_size=3) if fields else st.just([])
    chosen = others.map(lambda names: [name for name in fields if name in {*names, *needed}])
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


def bare(info: Any) -> Any:
    return info.type if isinstance(info, inspect.Metadata) else info


def _container(info: inspect.Type, words: Words, instead: Json | None) -> Json | None:
    match info:
        case inspect.UnionType():
            return st.one_of(*(_fitting(part, words, instead) for part in info.types))
        case inspect.ListType():
            return st.lists(_fitting(info.item_type, words, instead), min_size=info.min_length or 0, max_size=4)
        case inspect.DictType():
            return st.dictionaries(_fitting(info.key_type, words, None), _fitting(info.value_type, words, instead), max_size=4)
    return None


def _scalar(info: inspect.Type, words: Words) -> Json:
    match info:
        case inspect.StrType():
            return st.sampled_from([word for word in words if _is(info, word)]) | (PRINTABLE if info.pattern is None else st.nothing())
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.IntType():
            # Of all numbers the small ones mean something more often.
            least = info.ge or 0
            return st.integers(least, least + 10 if info.le is None else min(least + 10, info.le)) | st.integers(least, info.le)
    return SCALARS.get(type(info), VALUES)


def _is(info: inspect.StrType, word: str) -> bool:
    sized = (info.min_length or 0) <= len(word) <= (info.max_length or len(word))
    return sized and (info.pattern is None or re.search(info.pattern, word) is not None)


PRINTABLE = st.text("abcż🎈 -", min_size=1, max_size=8)
SCALARS: dict[type[inspect.Type], Json] = {
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.FloatType: NUMBERS,
    inspect.BytesType: st.binary(max_size=100).map(lambda data: b64encode(data).decode()),
    # A payload.
    inspect.RawType: st.integers(0, 9) | PRINTABLE | st.dictionaries(PRINTABLE, st.floats(0, 1), max_size=2),
}
