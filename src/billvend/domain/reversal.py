"""The reversal policy: what to do next with a payment, given all that is known. One pure function, `next_step`.

Money goes back only on proof. Electricity is asked for again only while it is proven that no earlier request can have
been carried out. Whatever lies between is asked about, at growing intervals, and in the end shown to a person.

| the latest attempt                                              | next step                                        |
| --------------------------------------------------------------- | ------------------------------------------------ |
| none yet                                                        | send; past the pending limit: reverse `not_sent` |
| to be sent under a reference of a new day                       | first ask about that of the day before           |
| a call is under way, its lease runs                             | wait for the lease's end                         |
| any attempt delivered                                           | complete                                         |
| the provider took the sale back                                 | reverse `provider_reversed`                      |
| declined                                                        | another provider, else reverse `declined`        |
| every send proven unexecuted, the last may be tried again       | send again, same reference, after 5, 15, 60 s    |
| every send proven unexecuted, tries or validity used up         | another provider, else reverse                   |
| in doubt; not found often, late and far apart enough            | reverse `not_found`                              |
| in doubt; known to the provider, but now not found; or its account is gone; or in doubt for too long | review    |
| in doubt otherwise                                              | requery at a growing interval                    |
| somebody hints at news                                          | requery, at most once an interval                |
| in review                                                       | requery daily                                    |
| reversed on `not_found` or by an operator                       | watch: requery after 1 h, 6 h, 1 d, 3 d          |
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billvend.domain.abilities import Abilities
from billvend.domain.evidence import PROVES, Standing, is_proven_absent, standing, was_acknowledged
from billvend.domain.outcome import (
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
)
from billvend.domain.payment import (
    Attempt,
    Payment,
    delivered_by,
    holds_lease,
    is_far_ahead,
)
from billvend.domain.policy import Policy
from billvend.domain.schedule import DAILY_SECONDS, advice_seconds, ask_at, hint_at
from billvend.domain.words import Proof, Status

RESEND_AFTER_SECONDS = (5, 15, 60)
"""Gaps before a request that provably was not executed is sent again; after the last, the money goes back."""
WATCH_AFTER_SECONDS = (3600, 6 * 3600, 86400, 3 * 86400)
"""When a reference reversed on `not_found` or by an operator is asked about once more, counted from the reversal."""
NEVER_SENT = "it was never sent to a provider"
CLOSED_SECONDS = 30
"""How soon a payment that nobody sells for at present is looked at again."""


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
class Recall:
    """Ask about the reference that this attempt would have had on an earlier day, before anything is sent."""

    route: Abilities
    day: date
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
    nudged: bool = False
    """True when somebody's hint brings it forward."""


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


Step = Complete | Reverse | SendNew | Recall | SendAgain | AskAgain | Review | Wait | Rest


def next_step(payment: Payment, policy: Policy, now: datetime) -> Step:
    """The policy. `now` decides only whether a limit has passed; times in the answer may lie in the future."""
    if payment.has_ended:
        return _nudged(payment, policy, now) or _watch(payment, policy)
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
        case Standing.NOT_SENT if not attempt.sends:
            return _recalled(payment, attempt, policy, now)
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
        case SendNew(at=at) | Recall(at=at) | SendAgain(at=at) | AskAgain(at=at) | Review(at=at):
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
    if proof is None and decided.proof is Proof.NOT_FOUND and _is_absent(attempt, route, policy):
        proof = Proof.NOT_FOUND
    if proof is None:
        return Review("new evidence came in after the reversal was decided", now)
    return Reverse(proof, decided.reason if proof is decided.proof else _last_reason(attempt), attempt)


def _first_send(payment: Payment, policy: Policy, now: datetime) -> Step:
    limit = payment.accepted_at + timedelta(seconds=policy.pending_limit_seconds)
    if now >= limit:
        return Reverse(Proof.NOT_SENT, NEVER_SENT, None)
    if route := policy.untried(payment):
        return _send_new(payment, route, policy, now)
    return Wait(min(limit, now + timedelta(seconds=CLOSED_SECONDS)) if policy.closed else limit)


def _send_new(payment: Payment, route: Abilities, policy: Policy, now: datetime) -> Step:
    """A new attempt. Where references are bound to a day: had these books been restored from a backup, it may have been
    made and sent on an earlier day, under that day's reference. That one is asked about first."""
    if not route.reference_lasts_a_day:
        return SendNew(route, now)
    sent = [attempt.started_at for attempt in payment.attempts if attempt.was_made]
    day, today = route.day(sent[-1] if sent else payment.accepted_at), route.day(now)
    asked_about = {attempt.reference for attempt in payment.attempts}
    while day < today:
        if route.make_reference(payment.reference_seed, payment.reference_number, day) not in asked_about:
            midnight = route.valid_until(day) or now
            landed = midnight + timedelta(seconds=policy.timeout_seconds + route.max_processing_seconds)
            return Recall(route, day, max(now, landed))
        day += timedelta(days=1)
    if route.make_reference(payment.reference_seed, payment.reference_number, today) in asked_about:
        # A clock that was ahead took today for a day gone by. Tomorrow there is another reference.
        return Wait(route.valid_until(today) or now)
    return SendNew(route, now)


def _recalled(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> Step:
    """Nothing was sent under this reference as far as these books know; the provider may know better."""
    if not attempt.requeries or not isinstance(attempt.requeries[-1].answer, NotFound):
        return _ask_on(payment, attempt, policy, now, since=attempt.started_at)
    if payment.status is Status.IN_REVIEW:
        return Reverse(Proof.NOT_SENT, NEVER_SENT, attempt)
    return _first_send(payment, policy, now)


def _elsewhere(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """Another provider if there is one that may be asked, else the money goes back."""
    may_send = payment.status is Status.PROCESSING
    if may_send and (route := policy.untried(payment)):
        return _send_new(payment, route, policy, now)
    attempt = payment.attempts[-1]
    return Reverse(proof, _last_reason(attempt), attempt)


def _again(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """The same reference again while that is allowed, else elsewhere."""
    attempt = payment.attempts[-1]
    last = attempt.sends[-1]
    tries = len(attempt.sends) - 1
    route = policy.route(attempt)
    retryable = isinstance(last.answer, (NotSent, Deferred)) and tries < len(RESEND_AFTER_SECONDS)
    sells = route is not None and policy.may_send(route)
    if payment.status is Status.PROCESSING and retryable and sells and last.answered_at:
        at = last.answered_at + timedelta(
            seconds=max(advice_seconds(last.answer), RESEND_AFTER_SECONDS[tries])
        )
        if is_far_ahead(last.answered_at, now):
            at = now
        if attempt.valid_until is None or max(at, now) < attempt.valid_until:
            return SendAgain(attempt, at)
    return _elsewhere(payment, policy, now, proof)


def _in_doubt(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> Step:
    """In doubt or in review: prove it, or ask on."""
    if _is_absent(attempt, policy.route(attempt), policy):
        return Reverse(Proof.NOT_FOUND, "the provider does not know our reference", attempt)
    return _ask_on(payment, attempt, policy, now, since=payment.in_doubt_since or attempt.started_at)


def _ask_on(payment: Payment, attempt: Attempt, policy: Policy, now: datetime, *, since: datetime) -> Step:
    """Ask the account that it was sent to, at growing intervals; in the end a person is called as well."""
    in_review = payment.status is Status.IN_REVIEW
    if policy.route(attempt) is None:
        if in_review:
            return Wait(now + timedelta(seconds=DAILY_SECONDS))
        account = f"{attempt.provider} account {attempt.account}"
        return Review(f"the {account} that it was sent to is no longer configured", now)
    at = ask_at(payment, attempt, policy, now)
    nudged = _nudged(payment, policy, now)
    if nudged is not None and not (isinstance(nudged, AskAgain) and nudged.at > at):
        return nudged
    if not in_review:
        last = attempt.requeries[-1].answer if attempt.requeries else None
        if isinstance(last, NotFound) and was_acknowledged(attempt):
            return Review("the provider knew our reference, and now does not find it", now)
        review_at = since + timedelta(seconds=policy.review_after_seconds)
        if review_at <= at:
            return Review("it has been in doubt for too long", review_at)
    return AskAgain(attempt, at)


def _is_absent(attempt: Attempt, route: Abilities | None, policy: Policy) -> bool:
    if route is None or (route.provider, route.account) in policy.distrusted:
        return False
    return is_proven_absent(attempt, route, policy.not_found_spacing_seconds)


def _nudged(payment: Payment, policy: Policy, now: datetime) -> Step | None:
    """Somebody hinted at news: ask, whatever the schedule says. Not where the account is gone."""
    if payment.nudge is None:
        return None
    attempt = payment.attempt(payment.nudge.attempt)
    if policy.route(attempt) is None:
        return None
    if (call := attempt.open_call) is not None and holds_lease(call, now):
        return Wait(call.lease_until)
    # A clock that was far ahead may have taken the hint; and none is worth waiting longer for than one that comes now.
    at = min(payment.nudge.ask_at, hint_at(attempt, policy, now))
    return AskAgain(attempt, at, nudged=True)


def _watch(payment: Payment, policy: Policy) -> Step:
    is_watched = payment.proof in (Proof.NOT_FOUND, Proof.OPERATOR)
    if payment.status is not Status.REVERSED or not is_watched or payment.ended_at is None:
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
    refused = attempt.sends[-1].answer if attempt.sends else None
    return refused.why if isinstance(refused, (NotSent, Deferred, Misconfigured)) else "no reason was given"
