"""Frozen dataclasses to canonical JSON and back. The journal stores this text, and the hash chain covers it.

Canonical means: keys sorted, no spaces, ASCII only, times as RFC 3339 UTC with microseconds. A dataclass has its name
under `is`. Fields that are None are left out, so that a field added later changes no old text.
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


@lru_cache(maxsize=4096)  # the events of one transaction share a few times
def format_timestamp(at: datetime, timespec: str = "microseconds") -> str:
    """A time as RFC 3339 UTC: `2026-11-22T12:00:00.000000Z`. It sorts as text."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def dumps(value: object) -> str:
    """Canonical JSON of a dataclass, or of a sequence of plain values."""
    return _ENCODERS[type(value)](value)


def digest(*parts: object) -> str:
    """SHA-256 of plain values, in hexadecimal: the same for the same values, in the same order."""
    return hashlib.sha256(dumps(parts).encode()).hexdigest()


def loads(kind: Any, text: str) -> Any:
    """The value of type `kind` (a dataclass, or a union of them) that `dumps` made `text` from."""
    value, decode = json.loads(text), _decoder_for(kind)
    return value if decode is None else decode(value)


# The text is built here, not by `json`, which took half of the time of storing an event.

_Encoder = Callable[[Any], str]


class _Encoders(dict[type, _Encoder]):
    """The encoder of each type, made at its first use."""

    def __missing__(self, kind: type) -> _Encoder:
        encoder = self[kind] = _encoder_for(kind)
        return encoder


_ENCODERS: Final = _Encoders()


def _encoder_for(kind: type) -> _Encoder:
    if issubclass(kind, str):
        return encode_basestring_ascii
    if issubclass(kind, bool):
        return {True: "true", False: "false"}.__getitem__
    if issubclass(kind, float | NoneType):
        return json.dumps
    if issubclass(kind, int):
        return int.__repr__
    if issubclass(kind, datetime):
        return lambda at: f'"{format_timestamp(at)}"'
    if issubclass(kind, Mapping):
        return _encode_mapping
    if issubclass(kind, list | tuple):
        return lambda items: f"[{','.join([_ENCODERS[type(item)](item) for item in items])}]"
    if is_dataclass(kind):
        return _dataclass_encoder(kind)
    raise TypeError(f"{kind.__name__} has no canonical form")


def _encode_mapping(value: Mapping[str, Any]) -> str:
    members = [f"{encode_basestring_ascii(name)}:{dumps(item)}" for name, item in sorted(value.items())]
    return f"{{{','.join(members)}}}"


def _dataclass_encoder(kind: type) -> _Encoder:
    """The encoder of a dataclass: its fields that are not None, and its name."""
    names, tag = tuple(field.name for field in fields(kind)), f'"is":"{kind.__name__}"'

    def encode(value: object) -> str:
        members = [
            f'"{name}":{_ENCODERS[type(item)](item)}'
            for name in names
            if (item := getattr(value, name)) is not None
        ]
        members.append(tag)
        members.sort()  # sorts by name: the quote after it sorts before every character of a name
        return f"{{{','.join(members)}}}"

    return encode


_Decoder = Callable[[Any], Any]


@cache
def _decoder_for(kind: Any) -> _Decoder | None:
    """The decoder of a type, for values that `json` read. None if those are right already."""
    if kind in (Any, str, int, float, bool):
        return None
    if kind is datetime:
        return datetime.fromisoformat
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union_decoder([member for member in get_args(kind) if member is not type(None)])
    if origin is tuple:
        item_decoder = _decoder_for(get_args(kind)[0])
        return tuple if item_decoder is None else lambda items: tuple(map(item_decoder, items))
    if origin is not None:  # Mapping[str, str]
        return dict
    return kind if issubclass(kind, Enum) else _dataclass_decoder(kind)


def _union_decoder(members: Sequence[Any]) -> _Decoder | None:
    """The decoder of a union. With several types in it, the value has the name of its own under `is`."""
    if len(members) == 1:
        return _decoder_for(members[0])
    decoders = {member.__name__: _dataclass_decoder(member) for member in members}
    return lambda value: decoders[value["is"]](value)


def _dataclass_decoder(kind: type) -> _Decoder:
    """The decoder of a dataclass. A missing field is its default, or None without one. Unknown fields are ignored."""
    decoders = {name: _decoder_for(hint) for name, hint in get_type_hints(kind).items()}
    defaults = dict.fromkeys(
        field.name for field in fields(kind) if field.default is MISSING is field.default_factory
    )

    def decode(value: Mapping[str, Any]) -> Any:
        values = {
            name: item if item is None or (decoder := decoders[name]) is None else decoder(item)
            for name, item in value.items()
            if name in decoders
        }
        return kind(**defaults | values)

    return decode
