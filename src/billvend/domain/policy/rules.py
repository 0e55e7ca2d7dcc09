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

from billvend.domain.enums import Proof, Status
from billvend.domain.outcome import (
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
)
from billvend.domain.payment.state import (
    Attempt,
    Payment,
    find_delivery,
    holds_lease,
    is_far_ahead,
)
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.evidence import (
    PROOF_FOR,
    AttemptEvidence,
    evidence_of,
    is_known_to_provider,
    is_proven_absent,
)
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.timing import (
    DAILY_SECONDS,
    advice_seconds,
    earliest_requested_requery_at,
    next_requery_at,
)

RESEND_AFTER_SECONDS = (5, 15, 60)
"""Gaps before a request that provably was not executed is sent again; after the last, the money goes back."""
MONITOR_AFTER_SECONDS = (3600, 6 * 3600, 86400, 3 * 86400)
"""When a reference reversed on `not_found` or by an operator is asked about once more, counted from the reversal."""
REASON_NEVER_SENT = "it was never sent to a provider"
SUSPENDED_RETRY_SECONDS = 30
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
class StartAttempt:
    """A new attempt, with a new reference, at this provider."""

    account: ProviderAccount
    at: datetime


@dataclass(frozen=True, slots=True)
class CheckPriorReference:
    """Ask about the reference that this attempt would have had on an earlier day, before anything is sent."""

    account: ProviderAccount
    day: date
    at: datetime


@dataclass(frozen=True, slots=True)
class RetrySend:
    """The same reference once more: nothing of it was executed."""

    attempt: Attempt
    at: datetime


@dataclass(frozen=True, slots=True)
class StartRequery:
    """Requery the provider about this attempt."""

    attempt: Attempt
    at: datetime
    on_request: bool = False
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
class NoAction:
    """Nothing is left to do."""


Step = (
    Complete
    | Reverse
    | StartAttempt
    | CheckPriorReference
    | RetrySend
    | StartRequery
    | Review
    | Wait
    | NoAction
)


def next_step(payment: Payment, policy: Policy, now: datetime) -> Step:
    """The policy. `now` decides only whether a limit has passed; times in the answer may lie in the future."""
    if payment.has_ended:
        return _requested_requery(payment, policy, now) or _monitor(payment, policy)
    for attempt in payment.attempts:
        if delivered := find_delivery(attempt):
            return Complete(attempt, delivered)
    if payment.status is Status.REVERSING and payment.reversal is not None:
        return _recheck_reversal(payment, policy, now)
    if not payment.attempts:
        return _start_or_expire(payment, policy, now)
    attempt = payment.attempts[-1]
    match evidence_of(attempt, now):
        case AttemptEvidence.CALL_IN_FLIGHT if (call := attempt.open_call) is not None:
            return Wait(call.lease_until)
        case AttemptEvidence.PROVIDER_REVERSED:
            return Reverse(Proof.PROVIDER_REVERSED, _last_reason(attempt), attempt)
        case AttemptEvidence.DECLINED:
            return _next_account_or_reverse(payment, policy, now, Proof.DECLINED)
        case AttemptEvidence.NOT_SENT if not attempt.sends:
            return _after_prior_check(payment, attempt, policy, now)
        case AttemptEvidence.NOT_SENT:
            return _retry_or_next_account(payment, policy, now, Proof.NOT_SENT)
        case AttemptEvidence.NOT_EXECUTED:
            return _retry_or_next_account(payment, policy, now, Proof.NOT_EXECUTED)
        case _:
            return _in_doubt(payment, attempt, policy, now)


def due_at(step: Step, now: datetime) -> datetime | None:
    """When somebody should look at the payment again; None for never."""
    match step:
        case Reverse() | Complete():
            return now
        case (
            StartAttempt(at=at)
            | CheckPriorReference(at=at)
            | RetrySend(at=at)
            | StartRequery(at=at)
            | Review(at=at)
        ):
            return at
        case Wait(until):
            return until
        case _:
            return None


# --- the rules behind the rows ----------------------------------------------------------------------------------------


def _recheck_reversal(payment: Payment, policy: Policy, now: datetime) -> Step:
    """Decide once more, under the lock in which the money goes back: the proof may have been overtaken."""
    decided = payment.reversal
    assert decided is not None  # noqa: S101  the caller looked
    attempt = payment.attempts[-1] if payment.attempts else None
    if attempt is None or decided.proof is Proof.OPERATOR:
        return Reverse(decided.proof, decided.reason, attempt)
    evidence = evidence_of(attempt, now)
    if evidence is AttemptEvidence.CALL_IN_FLIGHT and (call := attempt.open_call) is not None:
        return Wait(call.lease_until)
    proof = PROOF_FOR.get(evidence)
    account = policy.account_of(attempt)
    if proof is None and decided.proof is Proof.NOT_FOUND and _is_absent(attempt, account, policy):
        proof = Proof.NOT_FOUND
    if proof is None:
        return Review("new evidence came in after the reversal was decided", now)
    return Reverse(proof, decided.reason if proof is decided.proof else _last_reason(attempt), attempt)


def _start_or_expire(payment: Payment, policy: Policy, now: datetime) -> Step:
    limit = payment.accepted_at + timedelta(seconds=policy.pending_limit_seconds)
    if now >= limit:
        return Reverse(Proof.NOT_SENT, REASON_NEVER_SENT, None)
    if account := policy.next_account(payment):
        return _start_attempt(payment, account, policy, now)
    return Wait(min(limit, now + timedelta(seconds=SUSPENDED_RETRY_SECONDS)) if policy.suspended else limit)


def _start_attempt(payment: Payment, account: ProviderAccount, policy: Policy, now: datetime) -> Step:
    """A new attempt. Where references are bound to a day: had these books been restored from a backup, it may have been
    made and sent on an earlier day, under that day's reference. That one is asked about first."""
    if not account.reference_lasts_a_day:
        return StartAttempt(account, now)
    sent = [attempt.started_at for attempt in payment.attempts if attempt.was_sent]
    day, today = account.day(sent[-1] if sent else payment.accepted_at), account.day(now)
    asked_about = {attempt.reference for attempt in payment.attempts}
    while day < today:
        if account.make_reference(payment.reference_seed, payment.reference_number, day) not in asked_about:
            midnight = account.valid_until(day) or now
            latest_effect_at = midnight + timedelta(
                seconds=policy.timeout_seconds + account.max_processing_seconds
            )
            return CheckPriorReference(account, day, max(now, latest_effect_at))
        day += timedelta(days=1)
    if account.make_reference(payment.reference_seed, payment.reference_number, today) in asked_about:
        # A clock that was ahead took today for a day gone by. Tomorrow there is another reference.
        return Wait(account.valid_until(today) or now)
    return StartAttempt(account, now)


def _after_prior_check(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> Step:
    """Nothing was sent under this reference as far as these books know; the provider may know better."""
    if not attempt.requeries or not isinstance(attempt.requeries[-1].answer, NotFound):
        return _keep_requerying(payment, attempt, policy, now, since=attempt.started_at)
    if payment.status is Status.IN_REVIEW:
        return Reverse(Proof.NOT_SENT, REASON_NEVER_SENT, attempt)
    return _start_or_expire(payment, policy, now)


def _next_account_or_reverse(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """Another provider if there is one that may be asked, else the money goes back."""
    may_start = payment.status is Status.PROCESSING
    if may_start and (account := policy.next_account(payment)):
        return _start_attempt(payment, account, policy, now)
    attempt = payment.attempts[-1]
    return Reverse(proof, _last_reason(attempt), attempt)


def _retry_or_next_account(payment: Payment, policy: Policy, now: datetime, proof: Proof) -> Step:
    """The same reference again while that is allowed, else elsewhere."""
    attempt = payment.attempts[-1]
    last = attempt.sends[-1]
    tries = len(attempt.sends) - 1
    account = policy.account_of(attempt)
    retryable = isinstance(last.answer, (NotSent, Deferred)) and tries < len(RESEND_AFTER_SECONDS)
    is_selling = account is not None and policy.is_selling(account)
    if payment.status is Status.PROCESSING and retryable and is_selling and last.answered_at:
        at = last.answered_at + timedelta(
            seconds=max(advice_seconds(last.answer), RESEND_AFTER_SECONDS[tries])
        )
        if is_far_ahead(last.answered_at, now):
            at = now
        if attempt.valid_until is None or max(at, now) < attempt.valid_until:
            return RetrySend(attempt, at)
    return _next_account_or_reverse(payment, policy, now, proof)


def _in_doubt(payment: Payment, attempt: Attempt, policy: Policy, now: datetime) -> Step:
    """In doubt or in review: prove it, or ask on."""
    if _is_absent(attempt, policy.account_of(attempt), policy):
        return Reverse(Proof.NOT_FOUND, "the provider does not know our reference", attempt)
    return _keep_requerying(payment, attempt, policy, now, since=payment.in_doubt_since or attempt.started_at)


def _keep_requerying(
    payment: Payment, attempt: Attempt, policy: Policy, now: datetime, *, since: datetime
) -> Step:
    """Ask the account that it was sent to, at growing intervals; in the end a person is called as well."""
    in_review = payment.status is Status.IN_REVIEW
    if policy.account_of(attempt) is None:
        if in_review:
            return Wait(now + timedelta(seconds=DAILY_SECONDS))
        account_name = f"{attempt.provider} account {attempt.account_id}"
        return Review(f"the {account_name} that it was sent to is no longer configured", now)
    at = next_requery_at(payment, attempt, policy, now)
    requested = _requested_requery(payment, policy, now)
    if requested is not None and not (isinstance(requested, StartRequery) and requested.at > at):
        return requested
    if not in_review:
        last = attempt.requeries[-1].answer if attempt.requeries else None
        if isinstance(last, NotFound) and is_known_to_provider(attempt):
            return Review("the provider knew our reference, and now does not find it", now)
        review_at = since + timedelta(seconds=policy.review_after_seconds)
        if review_at <= at:
            return Review("it has been in doubt for too long", review_at)
    return StartRequery(attempt, at)


def _is_absent(attempt: Attempt, account: ProviderAccount | None, policy: Policy) -> bool:
    if account is None or (account.provider, account.account_id) in policy.not_found_ignored:
        return False
    return is_proven_absent(attempt, account, policy.not_found_spacing_seconds)


def _requested_requery(payment: Payment, policy: Policy, now: datetime) -> Step | None:
    """Somebody hinted at news: ask, whatever the schedule says. Not where the account is gone."""
    if payment.requery_request is None:
        return None
    attempt = payment.attempt(payment.requery_request.attempt)
    if policy.account_of(attempt) is None:
        return None
    if (call := attempt.open_call) is not None and holds_lease(call, now):
        return Wait(call.lease_until)
    # A clock that was far ahead may have taken the hint; and none is worth waiting longer for than one that comes now.
    at = min(payment.requery_request.not_before, earliest_requested_requery_at(attempt, policy, now))
    return StartRequery(attempt, at, on_request=True)


def _monitor(payment: Payment, policy: Policy) -> Step:
    is_monitored = payment.proof in (Proof.NOT_FOUND, Proof.OPERATOR)
    if payment.status is not Status.REVERSED or not is_monitored or payment.ended_at is None:
        return NoAction()
    if not payment.attempts or policy.account_of(attempt := payment.attempts[-1]) is None:
        return NoAction()
    if find_delivery(attempt):
        return NoAction()
    due_times = [payment.ended_at + timedelta(seconds=after) for after in MONITOR_AFTER_SECONDS]
    last_requery_at = attempt.requeries[-1].started_at if attempt.requeries else payment.ended_at
    return next((StartRequery(attempt, at) for at in due_times if at > last_requery_at), NoAction())


def _last_reason(attempt: Attempt) -> str:
    declined = [answer.reason for answer in attempt.answers if isinstance(answer, Declined)]
    if declined:
        return declined[-1]
    last_answer = attempt.sends[-1].answer if attempt.sends else None
    return (
        last_answer.reason
        if isinstance(last_answer, (NotSent, Deferred, Misconfigured))
        else "no reason was given"
    )
