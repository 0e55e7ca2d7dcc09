"""Evidence: what the answers to one attempt prove, taken together."""

from datetime import datetime
from enum import Enum, auto

from billvend.domain.enums import Proof
from billvend.domain.outcome import (
    Declined,
    Deferred,
    Misconfigured,
    NotFound,
    NotSent,
)
from billvend.domain.payment.state import Attempt, Requery, Send, find_delivery, holds_lease, knows_reference
from billvend.domain.policy.accounts import ProviderAccount


class AttemptEvidence(Enum):
    """What an attempt's answers prove, taken together."""

    CALL_IN_FLIGHT = auto()
    DELIVERED = auto()
    PROVIDER_REVERSED = auto()
    DECLINED = auto()
    NOT_SENT = auto()
    NOT_EXECUTED = auto()
    IN_DOUBT = auto()


PROOF_FOR = {
    AttemptEvidence.PROVIDER_REVERSED: Proof.PROVIDER_REVERSED,
    AttemptEvidence.DECLINED: Proof.DECLINED,
    AttemptEvidence.NOT_SENT: Proof.NOT_SENT,
    AttemptEvidence.NOT_EXECUTED: Proof.NOT_EXECUTED,
}
"""Which proof a standing is."""


def evidence_of(attempt: Attempt, now: datetime) -> AttemptEvidence:
    """What is proven of an attempt.

    An answer about the transaction speaks for the reference. An answer to a send speaks for that send only: it proves
    the reference when every other send of it is proven too.
    """
    if find_delivery(attempt):
        return AttemptEvidence.DELIVERED
    final = [
        answer for answer in attempt.answers if isinstance(answer, Declined) and answer.about_transaction
    ]
    if final:
        return AttemptEvidence.PROVIDER_REVERSED if final[-1].provider_reversed else AttemptEvidence.DECLINED
    if (call := attempt.open_call) is not None and (isinstance(call, Send) or holds_lease(call, now)):
        return AttemptEvidence.CALL_IN_FLIGHT
    if any(send.is_ambiguous for send in attempt.sends) or is_known_to_provider(attempt):
        return AttemptEvidence.IN_DOUBT
    answers = [send.answer for send in attempt.sends]
    if any(isinstance(answer, Declined) for answer in answers):
        return AttemptEvidence.DECLINED
    if all(isinstance(answer, NotSent) for answer in answers):
        return AttemptEvidence.NOT_SENT
    if all(isinstance(answer, (NotSent, Deferred, Misconfigured)) for answer in answers):
        return AttemptEvidence.NOT_EXECUTED
    return AttemptEvidence.IN_DOUBT  # whatever a send says beyond these words proves nothing


def is_proven_absent(attempt: Attempt, account: ProviderAccount, spacing_seconds: float) -> bool:
    """Whether "not found" has been seen often, late and far apart enough to be believed.

    Time counts from the last moment at which a request could have reached the provider, and only as far as it was
    observed: the sum of the gaps between answers, each credited at most its scheduled length.

    The sightings are in a row: what the provider says in between starts anew. A `Deferred` says nothing: our question was
    turned away unread, and what is known of the transaction is what was known before, as with a requery whose worker
    died. It is passed over, and is no sighting. Otherwise whoever hints often enough, and so has us turned away for
    asking too early, could hold up a reversal for as long as he likes. Both sightings still have to be late and far
    apart enough. (An adapter gives `Deferred` only where the refusal shows no knowledge of our reference.)
    """
    if not account.reports_not_found or is_known_to_provider(attempt):
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


def is_known_to_provider(attempt: Attempt) -> bool:
    """Whether the provider ever showed that it knows the reference."""
    return any(knows_reference(answer) for answer in attempt.answers)


def observed_seconds(attempt: Attempt, requery: Requery, now: datetime) -> float:
    """How much observed time an answer now adds to the attempt's age; see `is_proven_absent`."""
    marks = [send.answer_by for send in attempt.sends] or [attempt.started_at]
    marks += [earlier.answered_at for earlier in attempt.requeries if earlier.answered_at]
    gap_seconds = (now - max(marks)).total_seconds()
    return max(0.0, min(gap_seconds, requery.scheduled_seconds))
