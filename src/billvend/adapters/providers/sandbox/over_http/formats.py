"""Amounts and times as Nigerian providers write them."""

from datetime import timedelta, timezone
from typing import Final

LAGOS: Final = timezone(timedelta(hours=1))
"""Africa/Lagos has no summer time."""


def naira_number(amount_minor: int) -> int | float:
    """A number of naira for JSON. It may be a float, because the sandbox never calculates with it."""
    whole, kobo = divmod(amount_minor, 100)
    return amount_minor / 100 if kobo else whole
