"""Values of any type that the journal stores, generated from the type itself."""

import collections.abc
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

TEXTS = st.text(max_size=20)
PLAIN: Mapping[object, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(10**12), 10**12),
    float: st.floats(0, 1e9),
    bool: st.booleans(),
    datetime: st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type: a dataclass, a union, an enum, a tuple, a mapping of texts, or a plain type."""
    if kind in PLAIN:
        return PLAIN[kind]
    if kind is type(None):
        return st.none()
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of(*map(values, get_args(kind)))
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    if get_origin(kind) is collections.abc.Mapping:
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})
    raise TypeError(f"no values of {kind}")
