"""Frozen dataclasses to canonical JSON and back: what the journal stores and the hash chain covers.

Canonical: keys sorted, no spaces, ASCII only, times as RFC 3339 UTC with microseconds. A union of dataclasses carries
the name of its member under `is`. Fields that are None are left out, so that a field added later changes no old text.
"""

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints


@lru_cache(maxsize=4096)  # what happens in one transaction has a moment or two for each of its commands
def instant(at: datetime) -> str:
    """A moment as RFC 3339 UTC with microseconds: `2026-11-22T12:00:00.000000Z`. It sorts as text."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def dumps(value: object) -> str:
    """Canonical JSON of a dataclass, or of a row of plain values."""
    return _ENCODER.encode(value)


def loads(kind: Any, text: str) -> Any:
    """The value of type `kind` (a dataclass, or a union of them) that `dumps` made `text` from."""
    return _typed(kind, json.loads(text))


def _plain(value: object) -> object:
    """What `json` can write of a value that it can't write itself."""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping):
        return dict(value)
    kind: type = type(value)
    names, tag = _shape(kind)
    plain = {name: item for name in names if (item := getattr(value, name)) is not None}
    plain["is"] = tag
    return plain


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)


@cache
def _shape(kind: type) -> tuple[tuple[str, ...], str]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} has no canonical form")
    return tuple(field.name for field in fields(kind)), kind.__name__


def _typed(kind: Any, value: Any) -> Any:
    if value is None or kind in (Any, str, int, float, bool):
        return value
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _typed(_member(kind, value), value)
    if origin is tuple:
        return tuple(_typed(get_args(kind)[0], item) for item in value)
    if origin is not None:  # Mapping[str, str]
        return dict(value)
    hints, needed = _hints(kind)
    given = {name: _typed(hints[name], item) for name, item in value.items() if name in hints}
    return kind(**needed | given)


def _member(union: Any, value: Any) -> Any:
    members = [member for member in get_args(union) if member is not type(None)]
    if len(members) == 1:
        return members[0]
    return next(member for member in members if member.__name__ == value["is"])


@cache
def _hints(kind: type) -> tuple[dict[str, Any], dict[str, None]]:
    """The types of a dataclass' fields, and None for each without a default: what was left out was None."""
    needed = [field.name for field in fields(kind) if field.default is MISSING is field.default_factory]
    return get_type_hints(kind), dict.fromkeys(needed)
