"""Leases: how long a call about a payment excludes other workers, and which clocks are not believed."""

from datetime import datetime, timedelta

from billvend.domain.payment.state import Requery, Send

MAX_CLOCK_SKEW_SECONDS = 60
"""How far ahead the clock of another machine may be. Times of a clock further ahead are taken for errors."""


def holds_lease(call: Send | Requery, now: datetime) -> bool:
    """Whether a call excludes other workers: its lease has not expired, and its clock was not far ahead of ours."""
    return call.lease_until > now and not is_far_ahead(call.started_at, now)


def is_far_ahead(at: datetime, now: datetime) -> bool:
    """Whether a time can only come from a clock that was wrong."""
    return at > now + timedelta(seconds=MAX_CLOCK_SKEW_SECONDS)
