"""When a reference is requeried: first as the provider advises, then at growing intervals."""

import zlib
from datetime import datetime, timedelta

from billvend.domain.enums import Status
from billvend.domain.outcome import Answer, Deferred, Pending
from billvend.domain.payment.state import Attempt, Payment, is_far_ahead
from billvend.domain.policy.policy import Policy

MAX_ADVISED_REQUERIES = 6
"""How often the provider's advice may shorten the interval. From then on it can only lengthen it."""
DAILY_SECONDS = 86400
"""The requery interval while a payment is in review."""
JITTER = 0.1
"""Intervals are lengthened by up to this share, so that payments that failed together are not requeried together."""


def next_requery_at(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> datetime:
    """When an attempt is to be requeried next, without a requery request."""
    advised = advice_seconds(attempt.last_requery_answer)
    # The provider's advice counts from its last answer. The schedule ignores requeries made on request.
    observed_at = _last_observed_at(attempt, now, scheduled_only=not advised)
    if observed_at is None:
        return now
    if payment.status is Status.IN_REVIEW and _scheduled_count(attempt):
        return observed_at + timedelta(seconds=DAILY_SECONDS)
    return observed_at + timedelta(seconds=scheduled_gap_seconds(payment, attempt, policy))


def earliest_requested_requery_at(attempt: Attempt, policy: Policy, now: datetime) -> datetime:
    """When a requery that a webhook or a customer requests may be made, at the earliest.

    An interval after the last requery, and not before the provider's advice is over. Now, if there is no requery yet, or
    if the last one was recorded by a clock that was far ahead of ours.
    """
    if not attempt.requeries:
        return now
    last = attempt.requeries[-1]
    if is_far_ahead(last.observed_at, now):
        return now
    interval = timedelta(seconds=policy.min_requery_interval_seconds)
    advice = timedelta(seconds=advice_seconds(last.answer))
    return max(now, last.started_at + interval, last.observed_at + advice)


def _scheduled_count(attempt: Attempt) -> int:
    """How many of its requeries were scheduled, not requested."""
    return sum(not requery.on_request for requery in attempt.requeries)


def scheduled_gap_seconds(payment: Payment, attempt: Attempt, policy: Policy) -> float:
    """How long to wait before the next requery, in seconds: the provider's advice if it gave one, else the schedule.

    The advice is followed six times. From then on intervals grow as in the schedule, and advice can only lengthen them.
    """
    scheduled_count = _scheduled_count(attempt)
    advice = advice_seconds(attempt.last_requery_answer)
    index = scheduled_count - MAX_ADVISED_REQUERIES if advice else scheduled_count
    if index <= 0 and advice:
        return advice
    schedule = policy.requery_schedule_seconds
    gap = schedule[min(index, len(schedule) - 1)]
    fraction = zlib.crc32(f"{payment.transaction_id}:{attempt.number}:{scheduled_count}".encode()) / 2**32
    return max(advice, gap * (1 + JITTER * fraction))


def advice_seconds(answer: Answer | None) -> float:
    """How long the provider asks us to wait, in seconds: at most a day. 0 if it gives no advice."""
    requested_seconds = answer.retry_after_seconds if isinstance(answer, (Pending, Deferred)) else None
    return float(max(0, min(requested_seconds or 0, DAILY_SECONDS)))


def _last_observed_at(attempt: Attempt, now: datetime, *, scheduled_only: bool) -> datetime | None:
    """When the last call about an attempt ended, or began if it never ended.

    Calls recorded by a clock that was far ahead of ours do not count. None if there is no other call.
    """
    requeries = [requery for requery in attempt.requeries if not (scheduled_only and requery.on_request)]
    times = [call.observed_at for call in (*attempt.sends, *requeries)]
    return next((at for at in reversed(times) if not is_far_ahead(at, now)), None)
