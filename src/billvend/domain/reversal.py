"""The reversal policy: what to do next with a payment, given all that is known. One pure function, `next_step`.

Money goes back only on proof. Electricity is asked for again only while it is proven that no earlier request can have
been carried out. Whatever lies between is asked about, at growing intervals, and in the end shown to a person.

| the latest attempt                                              | next step                                        |
| --------------------------------------------------------------- | ------------------------------------------------ |
| none yet                                                        | send; past the pending limit: reverse `not_sent` |
| a call is under way, its lease runs                             | wait for the lease's end                         |
| any attempt delivered                                           | complete                                         |
| the provider took the sale back                                 | reverse `provider_reversed`                      |
| declined                                                        | another provider, else reverse `declined`        |
| every send proven unexecuted, the last may be tried again       | send again, same reference, after 5, 15, 60 s    |
| every send proven unexecuted, tries or validity used up         | another provider, else reverse                   |
| in doubt; not found often, late and far apart enough            | reverse `not_found`                              |
| in doubt; known to the provider, but now not found; or its account is gone; or in doubt for too long | review    |
| in doubt otherwise                                              | requery at a growing interval                    |
| in review                                                       | requery daily                                    |
| reversed on `not_found` or by an operator                       | watch: requery after 1 h, 6 h, 1 d, 3 d          |
"""

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from billvend.domain.abilities import Abilities
from billvend.domain.evidence import PROVES, Standing, is_proven_absent, standing, was_acknowledged
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
)
from billvend.domain.payment import Attempt, Payment, Requery, Send, delivered_by, is_far_ahead
from billvend.domain.words import Proof, Status

RESEND_AFTER_SECONDS = (5, 15, 60)
"""Gaps before a request that provably was not executed is sent again; after the last, the money goes back."""
WATCH_AFTER_SECONDS = (3600, 6 * 3600, 86400, 3 * 86400)
"""When a reference reversed on `not_found` or by an operator is asked about once more, counted from the reversal."""
DAILY_SECONDS = 86400
"""The requery interval while a person is asked to look."""
JITTER = 0.1
"""Intervals are lengthened by up to this share, so that payments that failed together are not all requeried together."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the policy reasons with besides the payment: the configured accounts and intervals, all in seconds."""

    routes: tuple[Abilities, ...]
    """The configured provider accounts, in order of preference."""
    requery_schedule_seconds: tuple[float, ...] = (20, 60, 120, 300, 600, 1200, 2400, 3600)
    not_found_spacing_seconds: float = 60
    review_after_seconds: float = 7200
    pending_limit_seconds: float = 86400
    lease_seconds: float = 60
    timeout_seconds: float = 30

    def route(self, attempt: Attempt) -> Abilities | None:
        """The account an attempt was sent to, if it is still configured."""
        wanted = (attempt.provider, attempt.account)
        return next((route for route in self.routes if (route.provider, route.account) == wanted), None)

    def untried(self, payment: Payment) -> Abilities | None:
        """The first configured provider that sells this, takes the amount and has not been tried."""
        tried = {attempt.provider for attempt in payment.attempts}
        return next(
            (
                route
                for route in self.routes
                if route.provider not in tried
                and route.sells(payment.biller, payment.vend_type)
                and route.takes(payment.amount)
            ),
            None,
        )


# --- what can be done next --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complete:
    """The hold is spent."""

    attempt: Attempt
    delivered: Delivered


@dataclass(frozen=True, slots=True)
class Reverse:
    """The hold goes back, on this proof."""

    proof: Proof
    reason: str
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class SendNew:
    """A new attempt, with a new reference, at this provider."""

    route: Abilities
    at: datetime


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The same reference once more: nothing of it was executed."""

    attempt: Attempt
    at: datetime


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Requery the provider about this attempt."""

    attempt: Attempt
    at: datetime


@dataclass(frozen=True, slots=True)
class Review:
    """A person should look; asking goes on."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else is at it, or only time can help."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is left to do."""


Step = Complete | Reverse | SendNew | SendAgain | AskAgain | Review | Wait | Rest


def next_step(payment: Payment, policy: Policy, now: datetime) -> Step:
    """The policy. `now` decides only whether a limit has passed; times in the answer may lie in the future."""
    if payment.status is Status.COMPLETED:
        return Rest()
    if payment.status is Status.REVERSED:
        return _watch(payment, policy)
    for attempt in payment.attempts:
        if delivered := delivered_by(attempt):
            return Complete(attempt, delivered)
    if payment.status is Status.REVERSING and payment.reversal is not None:
        return _reversal_stands(payment, policy, now)
    if not payment.attempts:
        return _first_send(payment, policy, now)
    attempt = payment.attempts[-1]
    match standing(attempt, now):
        case Standing.UNDER_WAY if (call := attempt.open_call) is not None:
            return Wait(call.lease_until)
        case Standing.TAKEN_BACK:
            return Reverse(Proof.PROVIDER_REVERSED, _last_reason(attempt), attempt)
        case Standing.DECLINED:
            return _elsewhere(payment, policy, now, Proof.DECLINED)
        case Standing.NOT_SENT:
            return _again(payment, policy, now, Proof.NOT_SENT)
        case Standing.NOT_EXECUTED:
            return _again(payment, policy, now, Proof.NOT_EXECUTED)
        case _:
            return _in_doubt(payment, attempt, policy, now)


def due_at(step: Step, now: datetime) -> datetime | None:
    """When somebody should look at the payment again; None for never."""
    match step:
        case Reverse() | Complete():
            return now
        case SendNew(at=at) | SendAgain(at=at) | AskAgain(at=at) | Review(at=at):
            return at
        case Wait(until):
            return until
        case _:
            return None


# --- the rules behind the rows ----------------------------------------------------------------------------------------


def _reversal_stands(payment: Payment, policy: Policy, now: datetime) -> Step:
    """Decide once more, under the lock in which the money goes back: the proof may have been overtaken."""
    decided = payment.reversal
    assert decided is not None  # noqa: S101  the caller looked
    attempt = payment.attempts[-1] if payment.attempts else None
    if attempt is None or decided.proof is Proof.OPERATOR:
        return Reverse(decided.proof, decided.reason, attempt)
    stands = standing(attempt, now)
    if stands is Standing.UNDER_WAY and (call := attempt.open_call) is not None:
        return Wait(call.lease_until)
    proof = PROVES.get(stands)
    route = policy.route(attempt)
    if proof is None and decided.proof is Proof.NOT_FOUND and route is not None:
        proof = (
            Proof.NOT_FOUND if is_proven_absent(attempt, route, policy.not_found_spacing_seconds) else None
        )
    if proof is None:
        return Review("new evidence came in after the reversal was decided", now)
    return Reverse(proof, decided.reason if proof is decided.proof else _last_reason(attempt), attempt)


def _first_send(payment: Payment, policy: Policy, now: datetime) -> Step:
    limit = payment.accepted_at + timedelta(seconds=policy.pending_limit_seconds)
    if now >= limit:
        return Reverse(Proof.NOT_SENT, "it was never sent to a provider", None)
    route = policy.untried(payment)
    return SendNew(route, now) if route else Wait(limit)


def _elsewhere(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """Another provider if there is one that may be asked, else the money goes back."""
    may_send = payment.status is Status.PROCESSING
    if may_send and (route := policy.untried(payment)):
        return SendNew(route, now)
    attempt = payment.attempts[-1]
    return Reverse(proof, _last_reason(attempt), attempt)


def _again(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """The same reference again while that is allowed, else elsewhere."""
    attempt = payment.attempts[-1]
    last = attempt.sends[-1]
    tries = len(attempt.sends) - 1
    route_is_configured = policy.route(attempt) is not None
    retryable = isinstance(last.answer, (NotSent, Deferred)) and tries < len(RESEND_AFTER_SECONDS)
    if payment.status is Status.PROCESSING and retryable and route_is_configured and last.answered_at:
        at = last.answered_at + timedelta(seconds=max(_advice(last.answer), RESEND_AFTER_SECONDS[tries]))
        if is_far_ahead(last.answered_at, now):
            at = now
        if attempt.valid_until is None or max(at, now) < attempt.valid_until:
            return SendAgain(attempt, at)
    return _elsewhere(payment, policy, now, proof)


def _in_doubt(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> Step:
    """In doubt or in review: prove it, ask on, or call a person."""
    route = policy.route(attempt)
    if route is not None and is_proven_absent(attempt, route, policy.not_found_spacing_seconds):
        return Reverse(Proof.NOT_FOUND, "the provider does not know our reference", attempt)
    since = payment.in_doubt_since or attempt.started_at
    in_review = payment.status is Status.IN_REVIEW
    if route is None:
        account = f"{attempt.provider} account {attempt.account}"
        if in_review:
            return Wait(now + timedelta(seconds=DAILY_SECONDS))
        return Review(f"the {account} that it was sent to is no longer configured", now)
    last = attempt.requeries[-1].answer if attempt.requeries else None
    if not in_review and isinstance(last, NotFound) and was_acknowledged(attempt):
        return Review("the provider knew our reference, and now does not find it", now)
    ask_at = _ask_at(payment, attempt, policy, now)
    review_at = since + timedelta(seconds=policy.review_after_seconds)
    if not in_review and review_at <= ask_at:
        return Review("it has been in doubt for too long", review_at)
    return AskAgain(attempt, ask_at)


def _ask_at(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> datetime:
    mark = _mark(attempt, now)
    if mark is None:
        return now
    if payment.status is Status.IN_REVIEW and attempt.requeries:
        return mark + timedelta(seconds=DAILY_SECONDS)
    return mark + timedelta(seconds=scheduled_gap_seconds(payment, attempt, policy))


def scheduled_gap_seconds(payment: Payment, attempt: Attempt, policy: Policy) -> float:
    """How long to wait before the next requery: the provider's advice if it gave one, else the schedule."""
    asked = len(attempt.requeries)
    last = attempt.requeries[-1].answer if attempt.requeries else None
    if advice := _advice(last):
        return advice
    schedule = policy.requery_schedule_seconds
    gap = schedule[min(asked, len(schedule) - 1)]
    dice = zlib.crc32(f"{payment.transaction_id}:{attempt.number}:{asked}".encode()) / 2**32
    return gap * (1 + JITTER * dice)


def _advice(answer: Answer | None) -> float:
    """How long the provider asks us to wait, in seconds: at most a day, whatever it says; 0 where it does not."""
    wanted = answer.retry_after_seconds if isinstance(answer, (Pending, Deferred)) else None
    return float(max(0, min(wanted or 0, DAILY_SECONDS)))


def _mark(attempt: Attempt, now: datetime) -> datetime | None:
    """When the last call about an attempt ended, or began where it never ended; calls of a clock that was far ahead of
    ours don't count, and where there is no other, nobody knows."""
    calls: tuple[Send | Requery, ...] = (*attempt.sends, *attempt.requeries)
    for call in reversed(calls):
        mark = call.answered_at or call.started_at
        if not is_far_ahead(mark, now):
            return mark
    return None


def _watch(payment: Payment, policy: Policy) -> Step:
    if payment.proof not in (Proof.NOT_FOUND, Proof.OPERATOR) or payment.ended_at is None:
        return Rest()
    if not payment.attempts or policy.route(attempt := payment.attempts[-1]) is None:
        return Rest()
    if delivered_by(attempt):
        return Rest()
    looks = [payment.ended_at + timedelta(seconds=after) for after in WATCH_AFTER_SECONDS]
    looked_at = attempt.requeries[-1].started_at if attempt.requeries else payment.ended_at
    return next((AskAgain(attempt, at) for at in looks if at > looked_at), Rest())


def _last_reason(attempt: Attempt) -> str:
    declined = [answer.reason for answer in attempt.answers if isinstance(answer, Declined)]
    if declined:
        return declined[-1]
    refused = attempt.sends[-1].answer
    return refused.why if isinstance(refused, (NotSent, Deferred, Misconfigured)) else "no reason was given"
