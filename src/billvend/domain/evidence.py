"""Evidence: what the answers to one attempt prove, taken together."""

from datetime import datetime
from enum import Enum, auto

from billvend.domain.abilities import Abilities
from billvend.domain.outcome import (
    Declined,
    Deferred,
    Misconfigured,
    NotFound,
    NotSent,
)
from billvend.domain.payment import Attempt, Requery, Send, acknowledges, delivered_by, holds_lease
from billvend.domain.words import Proof


class Standing(Enum):
    """What an attempt's answers prove, taken together."""

    UNDER_WAY = auto()
    DELIVERED = auto()
    TAKEN_BACK = auto()
    DECLINED = auto()
    NOT_SENT = auto()
    NOT_EXECUTED = auto()
    IN_DOUBT = auto()


PROVES = {
    Standing.TAKEN_BACK: Proof.PROVIDER_REVERSED,
    Standing.DECLINED: Proof.DECLINED,
    Standing.NOT_SENT: Proof.NOT_SENT,
    Standing.NOT_EXECUTED: Proof.NOT_EXECUTED,
}
"""Which proof a standing is."""


def standing(attempt: Attempt, now: datetime) -> Standing:
    """What is proven of an attempt.

    An answer about the transaction speaks for the reference. An answer to a send speaks for that send only: it proves
    the reference when every other send of it is proven too.
    """
    if delivered_by(attempt):
        return Standing.DELIVERED
    final = [
        answer for answer in attempt.answers if isinstance(answer, Declined) and answer.about_transaction
    ]
    if final:
        return Standing.TAKEN_BACK if final[-1].taken_back else Standing.DECLINED
    if (call := attempt.open_call) is not None and (isinstance(call, Send) or holds_lease(call, now)):
        return Standing.UNDER_WAY
    if any(send.is_ambiguous for send in attempt.sends) or was_acknowledged(attempt):
        return Standing.IN_DOUBT
    answers = [send.answer for send in attempt.sends]
    if any(isinstance(answer, Declined) for answer in answers):
        return Standing.DECLINED
    if all(isinstance(answer, NotSent) for answer in answers):
        return Standing.NOT_SENT
    if all(isinstance(answer, (NotSent, Deferred, Misconfigured)) for answer in answers):
        return Standing.NOT_EXECUTED
    return Standing.IN_DOUBT  # whatever a send says beyond these words proves nothing


def is_proven_absent(attempt: Attempt, route: Abilities, spacing_seconds: float) -> bool:
    """Whether "not found" has been seen often, late and far apart enough to be believed.

    Time counts from the last moment at which a request could have reached the provider, and only as far as it was
    observed: the sum of the gaps between answers, each credited at most its scheduled length.

    The sightings are in a row: what the provider says in between starts anew. A `Deferred` says nothing: our question was
    turned away unread, and what is known of the transaction is what was known before, as with a requery whose worker
    died. It is passed over, and is no sighting. Otherwise whoever hints often enough, and so has us turned away for
    asking too early, could hold up a reversal for as long as he likes. Both sightings still have to be late and far
    apart enough. (An adapter gives `Deferred` only where the refusal shows no knowledge of our reference.)
    """
    if not route.reports_not_found or was_acknowledged(attempt):
        return False
    in_order = sorted((asked.answered_at, asked.number) for asked in attempt.requeries if asked.answered_at)
    answered = [attempt.requery(number) for _, number in in_order]
    age_seconds = sum(requery.credited_seconds for requery in answered)
    seen_later, spread_seconds = False, 0.0
    for requery in reversed(answered):
        if isinstance(requery.answer, NotFound):
            is_late = age_seconds >= route.max_processing_seconds
            if seen_later and is_late and spread_seconds >= spacing_seconds:
                return True
            seen_later = True
        elif not isinstance(requery.answer, Deferred):
            return False
        age_seconds -= requery.credited_seconds
        spread_seconds += requery.credited_seconds if seen_later else 0.0
    return False


def was_acknowledged(attempt: Attempt) -> bool:
    """Whether the provider ever showed that it knows the reference."""
    return any(acknowledges(answer) for answer in attempt.answers)


def credit_seconds(attempt: Attempt, requery: Requery, now: datetime) -> float:
    """How much observed time an answer now adds to the attempt's age; see `is_proven_absent`."""
    marks = [send.answer_by for send in attempt.sends] or [attempt.started_at]
    marks += [earlier.answered_at for earlier in attempt.requeries if earlier.answered_at]
    gap_seconds = (now - max(marks)).total_seconds()
    return max(0.0, min(gap_seconds, requery.scheduled_seconds))
