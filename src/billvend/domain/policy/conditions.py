"""The conditions of the reversal policy: what each rule requires of a payment besides its status and its evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from billvend.domain.enums import Proof
from billvend.domain.outcome import Deferred, NotFound, NotSent
from billvend.domain.payment.state import Attempt, Payment, is_far_ahead
from billvend.domain.policy.evidence import Evidence, deciding_attempt, payment_evidence
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.steps import StartRequery, Wait
from billvend.domain.policy.timing import advice_seconds, earliest_requested_requery_at, next_requery_at

RESEND_AFTER_SECONDS = (5, 15, 60)
"""Gaps before a request that is proven not to be executed is sent again. After the last, the money goes back."""
MONITOR_AFTER_SECONDS = (3600, 6 * 3600, 86400, 3 * 86400)
"""When a payment reversed on `not_found` or by an operator is requeried once more, in seconds after the reversal."""


@dataclass(frozen=True)
class Case:
    """A payment as the rules see it. The moment `now` decides only whether a limit has passed."""

    payment: Payment
    policy: Policy
    now: datetime

    @cached_property
    def evidence(self) -> Evidence:
        """What is proven of the payment."""
        return payment_evidence(self.payment, self.policy, self.now)

    @property
    def attempt(self) -> Attempt:
        """The attempt that decides. Only for rules whose evidence implies that there is one."""
        return self.payment.attempts[-1] if self.payment.has_ended else deciding_attempt(self.payment)

    @cached_property
    def retry_at(self) -> datetime | None:
        """When the same reference may be sent again; None if it must not be sent, or no retry is left."""
        attempt, account = self.attempt, self.policy.account_of(self.attempt)
        last, retries = attempt.sends[-1], len(attempt.sends) - 1
        is_retryable = isinstance(last.answer, NotSent | Deferred) and retries < len(RESEND_AFTER_SECONDS)
        if not is_retryable or last.answered_at is None:
            return None
        if account is None or not self.policy.is_selling(account):
            return None
        wait_seconds = max(advice_seconds(last.answer), RESEND_AFTER_SECONDS[retries])
        at = last.answered_at + timedelta(seconds=wait_seconds)
        if is_far_ahead(last.answered_at, self.now):
            at = self.now
        is_valid = attempt.valid_until is None or max(at, self.now) < attempt.valid_until
        return at if is_valid else None

    @cached_property
    def requery_at(self) -> datetime:
        """When the latest attempt is to be requeried, by the schedule or the provider's advice."""
        return next_requery_at(self.payment, self.attempt, self.policy, self.now)

    @cached_property
    def requested_requery(self) -> StartRequery | Wait | None:
        """What a requery request leads to; None without one, or if the account is no longer configured."""
        request = self.payment.requery_request
        if request is None:
            return None
        attempt = self.payment.attempt(request.attempt)
        if self.policy.account_of(attempt) is None:
            return None
        if (call := attempt.open_call) is not None and call.holds_lease(self.now):
            return Wait(at=call.lease_until)
        # A clock that was far ahead may have recorded the request. A request made now would not wait longer.
        earliest = earliest_requested_requery_at(attempt, self.policy, self.now)
        return StartRequery(attempt, on_request=True, at=min(request.not_before, earliest))

    @cached_property
    def monitor_at(self) -> datetime | None:
        """When a reversed payment is requeried once more; None if it is not monitored, or not any more."""
        payment = self.payment
        if payment.proof not in (Proof.NOT_FOUND, Proof.OPERATOR) or payment.ended_at is None:
            return None
        if not payment.attempts or self.attempt.delivery or account_is_removed(self):
            return None
        requeries = self.attempt.requeries
        last_at = requeries[-1].started_at if requeries else payment.ended_at
        due_times = (payment.ended_at + timedelta(seconds=after) for after in MONITOR_AFTER_SECONDS)
        return next((at for at in due_times if at > last_at), None)

    @property
    def review_at(self) -> datetime:
        """When a payment in doubt goes into review."""
        since = self.payment.in_doubt_since or self.attempt.started_at
        return since + timedelta(seconds=self.policy.review_after_seconds)

    @property
    def pending_limit(self) -> datetime:
        """How long a payment may wait while nothing was sent."""
        return self.payment.accepted_at + timedelta(seconds=self.policy.pending_limit_seconds)


Condition = Callable[[Case], bool]


def always(_case: Case) -> bool:
    """No condition."""
    return True


def requery_was_requested(case: Case) -> bool:
    """An operator, a customer or a webhook requested a requery, and the account is configured."""
    return case.requested_requery is not None


def requery_was_requested_sooner(case: Case) -> bool:
    """The same, and the request is due before the schedule."""
    requested = case.requested_requery
    return isinstance(requested, Wait) or (requested is not None and requested.is_due(case.requery_at))


def needs_monitoring(case: Case) -> bool:
    """It was reversed on `not_found` or by an operator, within the last three days."""
    return case.monitor_at is not None


def was_decided_without_provider(case: Case) -> bool:
    """The reversal rests on no attempt (cancelled, never sent) or on an operator."""
    return not case.payment.attempts or case.payment.proof is Proof.OPERATOR


def was_decided_on_not_found(case: Case) -> bool:
    """The reversal rests on `not_found`."""
    return case.payment.proof is Proof.NOT_FOUND


def provider_knows_prior_reference(case: Case) -> bool:
    """The provider knows a reference of an earlier day that this ledger never sent."""
    return any(attempt.is_known_prior for attempt in case.payment.attempts)


def may_retry(case: Case) -> bool:
    """A retry (after 5, 15 and 60 s) is left, the account sells, and the reference is still valid then."""
    return case.retry_at is not None


def another_account_sells(case: Case) -> bool:
    """A provider that has not been tried sells this now, and accepts the amount."""
    return case.policy.next_account(case.payment) is not None


def is_older_than_pending_limit(case: Case) -> bool:
    """It has waited for a day, and nothing was sent."""
    return case.now >= case.pending_limit


def account_is_removed(case: Case) -> bool:
    """The account that the attempt was sent to is no longer configured."""
    return case.policy.account_of(case.attempt) is None


def disappeared_at_provider(case: Case) -> bool:
    """The provider knew our reference, and now does not find it."""
    return isinstance(case.attempt.last_requery_answer, NotFound) and case.attempt.is_known_to_provider


def is_in_doubt_too_long(case: Case) -> bool:
    """Two hours in doubt will have passed before the next requery."""
    return case.review_at <= case.requery_at
