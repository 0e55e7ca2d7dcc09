"""When a provider is asked about a reference again: its own advice first, then at growing intervals."""

import zlib
from datetime import datetime, timedelta

from billvend.domain.outcome import Answer, Deferred, Pending
from billvend.domain.payment import Attempt, Payment, Requery, Send, is_far_ahead
from billvend.domain.policy import Policy
from billvend.domain.words import Status

ADVISED_TIMES = 6
"""How often the provider's advice may shorten the interval; from then on it can only lengthen it."""
DAILY_SECONDS = 86400
"""The requery interval while a person is asked to look."""
JITTER = 0.1
"""Intervals are lengthened by up to this share, so that payments that failed together are not all requeried together."""


def ask_at(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> datetime:
    """When the provider is to be asked about an attempt next, if nobody hints at news."""
    last = attempt.requeries[-1] if attempt.requeries else None
    advised = advice_seconds(last.answer) if last else 0.0
    # The provider's advice counts from its last word; the schedule goes its way, whoever asked in between.
    mark = _mark(attempt, now, of_schedule=not advised)
    if mark is None:
        return now
    if payment.status is Status.IN_REVIEW and _scheduled(attempt):
        return mark + timedelta(seconds=DAILY_SECONDS)
    return mark + timedelta(seconds=scheduled_gap_seconds(payment, attempt, policy))


def hint_at(attempt: Attempt, policy: Policy, now: datetime) -> datetime:
    """The soonest at which the hint of a hook or a customer is followed: an interval after the last question, and not
    while the provider asks to be left alone. Now, where nobody asked yet, or only a clock that was far ahead of ours."""
    if not attempt.requeries:
        return now
    last = attempt.requeries[-1]
    told_at = last.answered_at or last.started_at
    if is_far_ahead(told_at, now):
        return now
    interval = timedelta(seconds=policy.interval_seconds)
    advice = timedelta(seconds=advice_seconds(last.answer))
    return max(now, last.started_at + interval, told_at + advice)


def _scheduled(attempt: Attempt) -> int:
    """How many of its requeries the schedule made."""
    return sum(not requery.nudged for requery in attempt.requeries)


def scheduled_gap_seconds(payment: Payment, attempt: Attempt, policy: Policy) -> float:
    """How long to wait before the next requery: the provider's advice if it gave one, else the schedule.

    Advice that never ends becomes a schedule of its own: intervals grow from its seventh word on.
    """
    asked = _scheduled(attempt)
    last = attempt.requeries[-1].answer if attempt.requeries else None
    advice = advice_seconds(last)
    place = asked - ADVISED_TIMES if advice else asked
    if place <= 0 and advice:
        return advice
    schedule = policy.requery_schedule_seconds
    gap = schedule[min(place, len(schedule) - 1)]
    dice = zlib.crc32(f"{payment.transaction_id}:{attempt.number}:{asked}".encode()) / 2**32
    return max(advice, gap * (1 + JITTER * dice))


def advice_seconds(answer: Answer | None) -> float:
    """How long the provider asks us to wait, in seconds: at most a day, whatever it says; 0 where it does not."""
    wanted = answer.retry_after_seconds if isinstance(answer, (Pending, Deferred)) else None
    return float(max(0, min(wanted or 0, DAILY_SECONDS)))


def _mark(attempt: Attempt, now: datetime, *, of_schedule: bool) -> datetime | None:
    """When the last call about an attempt ended, or began where it never ended; calls of a clock that was far ahead of
    ours don't count, and where there is no other, nobody knows."""
    asked = [requery for requery in attempt.requeries if not (of_schedule and requery.nudged)]
    calls: tuple[Send | Requery, ...] = (*attempt.sends, *asked)
    for call in reversed(calls):
        mark = call.answered_at or call.started_at
        if not is_far_ahead(mark, now):
            return mark
    return None
