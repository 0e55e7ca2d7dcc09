"""What commands show to people: lines, facts and tables. Tables show members of JSON documents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence."""

    text: str
    style: str = ""
    """A style of Rich, for terminals with colours."""


good = partial(Line, style="bold green")
bad = partial(Line, style="bold red")
doubt = partial(Line, style="bold yellow")
quiet = partial(Line, style="dim")


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Names and values, one pair a line."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


Block: TypeAlias = Line | KeyValues | Table
Item: TypeAlias = Mapping[str, Any]
"""An object of a JSON document."""
Columns: TypeAlias = Mapping[str, str | Callable[[Item], str]]
"""The columns of a table: under each heading a member of the items, or a text that is made from the item."""


def table(items: Sequence[Item], columns: Columns, *, empty: str = "") -> Table | Line:
    """The items of a JSON document as a table, or the text for no items."""
    if not items and empty:
        return quiet(empty)
    return Table([*columns], [[_cell(item, column) for column in columns.values()] for item in items])


def words(code: str) -> str:
    """A code such as `in_doubt` in words."""
    return code.replace("_", " ")


def short_time(at: str) -> str:
    """A moment of a JSON document without the fraction of its second: `2026-11-22 12:00:00`, in UTC."""
    return at[:19].replace("T", " ")


def money(item: Item, member: str = "amount") -> str:
    """An amount of an item with its currency: `NGN 1,000.00`."""
    whole, point, fraction = str(item[member]).partition(".")
    return f"{item['currency']} {int(whole):,}{point}{fraction}"


def _cell(item: Item, column: str | Callable[[Item], str]) -> str:
    value = column(item) if callable(column) else item.get(column)
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)
