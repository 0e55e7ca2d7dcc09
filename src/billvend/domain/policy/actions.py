"""The actions of the reversal policy. Each makes the next step of a case."""

from collections.abc import Callable
from datetime import timedelta

from billvend.domain.enums import Proof, Status
from billvend.domain.outcome import Declined, Deferred, Misconfigured, NotSent
from billvend.domain.payment.state import Attempt
from billvend.domain.policy import steps
from billvend.domain.policy.conditions import Case
from billvend.domain.policy.steps import Step, Wait
from billvend.domain.policy.timing import DAILY_SECONDS

SUSPENDED_RETRY_SECONDS = 30
"""How soon a payment is decided on again when accounts are suspended."""
NEVER_SENT = "it was never sent to a provider"
NEW_EVIDENCE = "new evidence came in after the reversal was decided"
DISAPPEARED = "the provider knew our reference, and now does not find it"
ABSENT = "the provider does not know our reference"

Action = Callable[[Case], Step]


def nothing(_case: Case) -> Step:
    """Do nothing."""
    return Wait(at=None)


def complete(case: Case) -> Step:
    """Capture the hold, and give the customer the token."""
    attempts = case.payment.attempts
    return next(steps.Complete(each, each.delivery, at=case.now) for each in attempts if each.delivery)


def wait_for_lease(case: Case) -> Step:
    """Wait until the call is answered, or its lease expires."""
    call = case.attempt.open_call
    return Wait(at=call.lease_until if call else case.now)


def put_in_doubt(case: Case) -> Step:
    """Put it in doubt. From here on nothing is sent, only requeried."""
    return steps.PutInDoubt(at=case.now)


def retry_send(case: Case) -> Step:
    """Send the same reference again."""
    return steps.RetrySend(case.attempt, at=case.retry_at)


def start_attempt(case: Case) -> Step:
    """Send a new attempt to the next account; where references last a day, check those of earlier days first.

    A database that was restored from a backup may have lost a send of an earlier day, under that day's reference.
    """
    payment, now = case.payment, case.now
    account = case.policy.next_account(payment)
    if account is None:
        return wait_for_account(case)
    if not account.reference_lasts_a_day:
        return steps.StartAttempt(account, at=now)
    sent = [attempt.started_at for attempt in payment.attempts if attempt.was_sent]
    day, today = account.day(sent[-1] if sent else payment.accepted_at), account.day(now)
    checked = {attempt.reference for attempt in payment.attempts}
    while day < today:
        if account.reference_for(payment, day) not in checked:
            processing_seconds = case.policy.timeout_seconds + account.max_processing_seconds
            landed_at = (account.valid_until(day) or now) + timedelta(seconds=processing_seconds)
            return steps.CheckPriorReference(account, day, at=max(now, landed_at))
        day += timedelta(days=1)
    if account.reference_for(payment, today) in checked:
        # A clock that was ahead took today for an earlier day, and checked its reference. Tomorrow has another one.
        return Wait(at=account.valid_until(today))
    return steps.StartAttempt(account, at=now)


def wait_for_account(case: Case) -> Step:
    """Wait until an account sells again, or until the limit has passed."""
    soon = case.now + timedelta(seconds=SUSPENDED_RETRY_SECONDS)
    return Wait(at=min(case.pending_limit, soon) if case.policy.suspended else case.pending_limit)


def requery(case: Case) -> Step:
    """Requery at a growing interval."""
    return steps.StartRequery(case.attempt, at=case.requery_at)


def requery_as_requested(case: Case) -> Step:
    """Requery soon, at most once an interval."""
    return case.requested_requery or Wait(at=None)


def monitor(case: Case) -> Step:
    """Requery after 1 h, 6 h, 1 d and 3 d."""
    return steps.StartRequery(case.attempt, at=case.monitor_at)


def wait_a_day(case: Case) -> Step:
    """Decide again tomorrow."""
    return Wait(at=case.now + timedelta(seconds=DAILY_SECONDS))


def reverse(proof: Proof) -> Action:
    """Give the money back on this proof, with the reason from the answer that proves it."""

    def reverse_on_proof(case: Case) -> Step:
        decided = case.payment.reversal
        reason = ABSENT if proof is Proof.NOT_FOUND else _last_reason(case.attempt)
        if decided is not None and decided.proof is proof:
            reason = decided.reason
        return steps.Reverse(proof, reason, case.attempt, at=case.now)

    reverse_on_proof.__name__ = f"reverse_{proof.value}"
    return reverse_on_proof


def reverse_as_decided(case: Case) -> Step:
    """Give the money back on the proof that was decided on."""
    decided = case.payment.reversal
    return steps.Reverse(decided.proof, decided.reason, None, at=case.now) if decided else nothing(case)


def reverse_never_sent(case: Case) -> Step:
    """Give the money back on the proof `not_sent`: no request ever left."""
    was_in_doubt = case.payment.status in (Status.IN_DOUBT, Status.IN_REVIEW) and case.payment.attempts
    return steps.Reverse(Proof.NOT_SENT, NEVER_SENT, case.attempt if was_in_doubt else None, at=case.now)


def review(reason: str) -> Action:
    """Ask a person to decide, for this reason."""

    def review_now(case: Case) -> Step:
        return steps.Review(reason, at=case.now)

    review_now.__name__ = "review"
    return review_now


def review_removed_account(case: Case) -> Step:
    """Ask a person to decide: only the account that it was sent to knows the outcome."""
    account = f"{case.attempt.provider} account {case.attempt.account_id}"
    return steps.Review(f"the {account} that it was sent to is no longer configured", at=case.now)


def review_too_long(case: Case) -> Step:
    """Ask a person to decide. Requeries go on."""
    return steps.Review("it has been in doubt for too long", at=case.review_at)


def _last_reason(attempt: Attempt) -> str:
    declined = [answer.reason for answer in attempt.answers if isinstance(answer, Declined)]
    if declined:
        return declined[-1]
    last = attempt.sends[-1].answer if attempt.sends else None
    return last.reason if isinstance(last, NotSent | Deferred | Misconfigured) else "no reason was given"
