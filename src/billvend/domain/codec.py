"""Frozen dataclasses to canonical JSON and back: what the journal stores and the hash chain covers.

Canonical: keys sorted, no spaces, ASCII only, times as RFC 3339 UTC with microseconds. A union of dataclasses carries
the name of its member under `is`. Fields that are None are left out, so that a field added later changes no old text.
"""

import hashlib
import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii
from types import NoneType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints


@lru_cache(maxsize=4096)  # what happens in one transaction has a moment or two for each of its commands
def instant(at: datetime) -> str:
    """A moment as RFC 3339 UTC with microseconds: `2026-11-22T12:00:00.000000Z`. It sorts as text."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def dumps(value: object) -> str:
    """Canonical JSON of a dataclass, or of a row of plain values."""
    return _WRITERS[type(value)](value)


def digest(*parts: object) -> str:
    """SHA-256 of plain values, in hexadecimal: the same for the same values, in the same order."""
    return hashlib.sha256(dumps(parts).encode()).hexdigest()


def loads(kind: Any, text: str) -> Any:
    """The value of type `kind` (a dataclass, or a union of them) that `dumps` made `text` from."""
    value, read = json.loads(text), _reader(kind)
    return value if read is None else read(value)


# Text is put together here, and not by `json`, because that is half of what it takes to write an event down.

_Writer = Callable[[Any], str]


class _Writers(dict[type, _Writer]):
    """What makes the text of a value of a type; made when the type is first met."""

    def __missing__(self, kind: type) -> _Writer:
        writer = self[kind] = _writer(kind)
        return writer


_WRITERS: Final = _Writers()


def _writer(kind: type) -> _Writer:
    if issubclass(kind, str):
        return encode_basestring_ascii
    if issubclass(kind, bool):
        return {True: "true", False: "false"}.__getitem__
    if issubclass(kind, float | NoneType):
        return json.dumps
    if issubclass(kind, int):
        return int.__repr__
    if issubclass(kind, datetime):
        return lambda at: f'"{instant(at)}"'
    if issubclass(kind, Mapping):
        return _text_of_mapping
    if issubclass(kind, list | tuple):
        return lambda items: f"[{','.join([_WRITERS[type(item)](item) for item in items])}]"
    if is_dataclass(kind):
        return _writer_of_fields(kind)
    raise TypeError(f"{kind.__name__} has no canonical form")


def _text_of_mapping(value: Mapping[str, Any]) -> str:
    members = [f"{encode_basestring_ascii(name)}:{dumps(item)}" for name, item in sorted(value.items())]
    return f"{{{','.join(members)}}}"


def _writer_of_fields(kind: type) -> _Writer:
    """Of a dataclass: those of its fields that are not None, and its name."""
    names, tag = tuple(field.name for field in fields(kind)), f'"is":"{kind.__name__}"'

    def write(value: object) -> str:
        members = [
            f'"{name}":{_WRITERS[type(item)](item)}'
            for name in names
            if (item := getattr(value, name)) is not None
        ]
        members.append(tag)
        members.sort()  # a name that begins another one comes first, for a quote comes before any letter
        return f"{{{','.join(members)}}}"

    return write


_Reader = Callable[[Any], Any]


@cache
def _reader(kind: Any) -> _Reader | None:
    """What makes a value of this type of what `json` read; None where that is the value already."""
    if kind in (Any, str, int, float, bool):
        return None
    if kind is datetime:
        return datetime.fromisoformat
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _reader_of_one([member for member in get_args(kind) if member is not type(None)])
    if origin is tuple:
        of_item = _reader(get_args(kind)[0])
        return tuple if of_item is None else lambda items: tuple(map(of_item, items))
    if origin is not None:  # Mapping[str, str]
        return dict
    return kind if issubclass(kind, Enum) else _reader_of_fields(kind)


def _reader_of_one(members: Sequence[Any]) -> _Reader | None:
    """Of a union: where several types are in it, the value carries the name of its own under `is`."""
    if len(members) == 1:
        return _reader(members[0])
    readers = {member.__name__: _reader_of_fields(member) for member in members}
    return lambda value: readers[value["is"]](value)


def _reader_of_fields(kind: type) -> _Reader:
    """Of a dataclass. What was left out was None, unless the field has a default; what it does not know is passed over."""
    readers = {name: _reader(hint) for name, hint in get_type_hints(kind).items()}
    left_out = dict.fromkeys(
        field.name for field in fields(kind) if field.default is MISSING is field.default_factory
    )

    def read(value: Mapping[str, Any]) -> Any:
        given = {
            name: item if item is None or (reader := readers[name]) is None else reader(item)
            for name, item in value.items()
            if name in readers
        }
        return kind(**left_out | given)

    return read
