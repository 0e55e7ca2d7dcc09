"""Evidence: what the answers to one attempt prove, taken together."""

from datetime import datetime
from enum import Enum

from billvend.domain.outcome import Declined, Deferred, Misconfigured, NotFound, NotSent
from billvend.domain.payment.state import Attempt, Payment, Requery, Send
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.policy import Policy


class Evidence(Enum):
    """What the answers to an attempt prove, taken together, with its meaning. The last three apply to a payment."""

    CALL_IN_FLIGHT = "a worker is calling the provider, and its lease has not expired"
    DELIVERED = "an attempt was sold under our reference, meter and amount"
    PROVIDER_REVERSED = "the provider sold, and then reversed the sale"
    DECLINED = "the provider states that nothing was or will be delivered"
    NOT_SENT = "no request left us"
    NOT_EXECUTED = "the provider states that no request was carried out"
    UNKNOWN = "it may have been sold"
    PROVEN_ABSENT = "not found twice in a row, late and far apart; deferred requeries do not count"
    NOTHING_SENT = "no attempt was sent, as far as the ledger and the provider know"
    PRIOR_UNCHECKED = "a reference of an earlier day is being checked, and the provider has not answered yet"


def payment_evidence(payment: Payment, policy: Policy, now: datetime) -> Evidence:
    """What is proven of a payment: `DELIVERED` if any attempt was delivered, else what is proven of the deciding attempt."""
    if any(attempt.delivery for attempt in payment.attempts):
        return Evidence.DELIVERED
    if not payment.attempts:
        return Evidence.NOTHING_SENT
    attempt = deciding_attempt(payment)
    evidence = evidence_of(attempt, now)
    if evidence is Evidence.NOT_SENT and not attempt.sends:
        is_checked = isinstance(attempt.last_requery_answer, NotFound)
        return Evidence.NOTHING_SENT if is_checked else Evidence.PRIOR_UNCHECKED
    account = policy.account_of(attempt)
    if evidence is not Evidence.UNKNOWN or account is None or account.key in policy.not_found_ignored:
        return evidence
    is_absent = is_proven_absent(attempt, account, policy.not_found_spacing_seconds)
    return Evidence.PROVEN_ABSENT if is_absent else evidence


def deciding_attempt(payment: Payment) -> Attempt:
    """The attempt that decides what happens next: the latest one, in most payments.

    If the provider turns out to know a reference of an earlier day, which this ledger did not send, that one decides until
    its end is known: it may have been sold, so nothing else may be sent or reversed.
    """
    open_prior = (each for each in payment.attempts if each.is_known_prior and not each.failure)
    return next(open_prior, payment.attempts[-1])


def evidence_of(attempt: Attempt, now: datetime) -> Evidence:
    """What is proven of an attempt.

    An answer about the transaction is about the reference. An answer to a send is about that send only. It proves
    something of the reference when every other send of it is proven too.
    """
    if attempt.delivery:
        return Evidence.DELIVERED
    if failure := attempt.failure:
        return Evidence.PROVIDER_REVERSED if failure.provider_reversed else Evidence.DECLINED
    if (call := attempt.open_call) is not None and (isinstance(call, Send) or call.holds_lease(now)):
        return Evidence.CALL_IN_FLIGHT
    if any(send.is_ambiguous for send in attempt.sends) or attempt.is_known_to_provider:
        return Evidence.UNKNOWN
    answers = [send.answer for send in attempt.sends]
    if any(isinstance(answer, Declined) for answer in answers):
        return Evidence.DECLINED
    if all(isinstance(answer, NotSent) for answer in answers):
        return Evidence.NOT_SENT
    if all(isinstance(answer, NotSent | Deferred | Misconfigured) for answer in answers):
        return Evidence.NOT_EXECUTED
    return Evidence.UNKNOWN  # any other answer to a send proves nothing


def is_proven_absent(attempt: Attempt, account: ProviderAccount, spacing_seconds: float) -> bool:
    """Whether "not found" was answered twice in a row, late and far enough apart to be a proof.

    Time counts from the last moment at which a request could have reached the provider. Only observed time counts: the
    sum of the gaps between answers, each credited at most its scheduled length.

    Any answer in between starts the count again, except `Deferred`. A deferred requery was rejected before it was looked
    up, so it adds no knowledge of the transaction, as a requery whose worker died adds none. It is skipped, and does not
    count as "not found". Otherwise a client could hold up a reversal for ever with requery requests that the provider
    rejects as too early. The two "not found" must still be late and far enough apart. (An adapter returns `Deferred` only
    if the rejection shows no knowledge of our reference.)
    """
    if not account.reports_not_found or attempt.is_known_to_provider:
        return False
    in_order = sorted((each.answered_at, each.number) for each in attempt.requeries if each.answered_at)
    answered = [attempt.requery(number) for _, number in in_order]
    age_seconds = sum(requery.credited_seconds for requery in answered)
    seen_later, spread_seconds = False, 0.0
    for requery in reversed(answered):
        if isinstance(requery.answer, NotFound):
            is_late = age_seconds >= account.max_processing_seconds
            if seen_later and is_late and spread_seconds >= spacing_seconds:
                return True
            seen_later = True
        elif not isinstance(requery.answer, Deferred):
            return False
        age_seconds -= requery.credited_seconds
        spread_seconds += requery.credited_seconds if seen_later else 0.0
    return False


def observed_seconds(attempt: Attempt, requery: Requery, now: datetime) -> float:
    """How many seconds of observed time an answer adds now to the attempt's age; see `is_proven_absent`."""
    marks = [send.answer_by for send in attempt.sends] or [attempt.started_at]
    marks += [earlier.answered_at for earlier in attempt.requeries if earlier.answered_at]
    gap_seconds = (now - max(marks)).total_seconds()
    return max(0.0, min(gap_seconds, requery.scheduled_seconds))
