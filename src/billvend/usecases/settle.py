"""Settle: carry out the next due step of a payment. Wait: do so until the payment has ended.

Claim (commit), call the provider with no transaction open, record the answer (commit), then queue a hint for the next
step. The claim excludes other workers. So a hint that comes twice, late or without work does no harm.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from billvend.domain.decisions.commands import Claim, CommandResult, Executed, ProviderCall, RecordAnswer
from billvend.domain.errors import BillvendError, DependencyError, ValidationFailed
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Unknown, verify_answer
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.safe_text import safe_repr
from billvend.ports.provider import Order, Provider
from billvend.ports.queue import Hint
from billvend.ports.telemetry import ProviderAnswered
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.ledger import Ledger
from billvend.usecases.meters import Meters

logger = logging.getLogger("billvend.settle")

RECORD_TIMEOUT_SECONDS = 120
"""How long an answer in hand waits for the database to come back."""
MAX_RETRY_PAUSE_SECONDS = 2.0
MAX_POLL_SECONDS = 0.5
"""The longest time after which `wait` sees a change by another worker."""
MIN_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Settlement:
    """Carries out the steps of payments: as workers do, or in the foreground with the same claims."""

    ledger: Ledger
    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account)."""
    accounts: ProviderAccounts
    meters: Meters

    def settle(self, hint: Hint) -> CommandResult:
        """Do what is due on one payment. Does nothing if nothing is due or another worker has a lease on it.

        Raises `TransactionNotFound`, `Unavailable`, `OutcomeUnknown`. A send before the error is found again when its
        lease expires.
        """
        ledger, clock = self.ledger, self.ledger.clock
        ledger.require_mode()
        claimed_at, claimed_at_seconds = clock.now(), clock.elapsed_seconds()
        policy = self.accounts.current_policy()
        claim = Claim(hint.user_id, clock.new_id(), hint.transaction_id, claimed_at, policy)
        claimed = ledger.execute(claim)
        call = claimed.result.provider_call
        if call is None:
            ledger.enqueue_if_due(hint, claimed.result)
            return claimed.result

        def may_send() -> bool:
            if call.send_before is None:
                return True
            elapsed = timedelta(seconds=clock.elapsed_seconds() - claimed_at_seconds)
            return elapsed < call.send_before - claimed_at

        payment = claimed.payment or ledger.payment(hint.transaction_id, hint.user_id)
        called_at_seconds = clock.elapsed_seconds()
        answer = self._call_provider(payment, call, may_send)
        latency_seconds = clock.elapsed_seconds() - called_at_seconds
        ledger.metrics.observe(ProviderAnswered(call.provider, answer, latency_seconds, call.is_requery))
        command = RecordAnswer(
            hint.user_id, clock.new_id(), hint.transaction_id, clock.now(), policy,
            call.attempt, call.call_number, call.is_requery, answer,
        )  # fmt: skip
        recorded = self._record_answer(command)
        if isinstance(answer, Misconfigured) and not call.is_requery:
            self._suspend_account(call, answer)
        ledger.enqueue_if_due(hint, recorded.result)
        return recorded.result

    def wait(
        self, payment: Payment | str, timeout_seconds: float, on_poll: Callable[[Payment], None] | None
    ) -> Payment:
        """The payment when it has ended, or in its current state after the timeout.

        Calls `on_poll` with the payment each time it was read. A call to a provider is finished even if it takes longer
        than the timeout. Raises `TransactionNotFound`, `ValidationFailed`, `Unavailable`, `OutcomeUnknown`.
        """
        raw_timeout: object = timeout_seconds  # a caller may pass any type; NaN is not >= 0
        if not isinstance(raw_timeout, int | float) or not raw_timeout >= 0:
            raise ValidationFailed(
                f"The timeout {safe_repr(timeout_seconds)} is not accepted: it must be seconds, 0 or more.",
                fields={"timeout": "must be seconds, 0 or more"},
            )
        clock = self.ledger.clock
        deadline = clock.elapsed_seconds() + timeout_seconds
        current = payment if isinstance(payment, Payment) else self.ledger.payment(payment)
        while True:
            if on_poll is not None:
                on_poll(current)
            remaining_seconds = deadline - clock.elapsed_seconds()
            if current.has_ended or remaining_seconds <= 0:
                return current
            due_in_seconds = self._due_in_seconds(current)
            if due_in_seconds <= 0:
                self.settle(Hint(current.user_id, current.transaction_id))
            else:
                if self.accounts.current_policy().suspended:
                    self.accounts.refresh()  # perhaps no worker runs that could resume the account
                pause_seconds = min(due_in_seconds, remaining_seconds, MAX_POLL_SECONDS)
                clock.sleep(max(pause_seconds, MIN_POLL_SECONDS))
            current = self.ledger.queries.payments([current.stream_key])[current.stream_key]

    def next_check_at(self, payment: Payment) -> datetime | None:
        """When a payment is next due by the policy; None if nothing is left to do."""
        return next_step(payment, self.accounts.current_policy(), self.ledger.clock.now()).at

    def _due_in_seconds(self, payment: Payment) -> float:
        at = self.next_check_at(payment)
        return (at - self.ledger.clock.now()).total_seconds() if at else MAX_POLL_SECONDS

    def _call_provider(self, payment: Payment, call: ProviderCall, may_send: Callable[[], bool]) -> Answer:
        provider = self.providers.get((call.provider, call.account_id))
        if provider is None:
            return NotSent(f"the {call.provider} account {call.account_id} is not configured here")
        if call.verify_meter and (rejection := self.meters.rejection(provider, payment)) is not None:
            return rejection
        order = Order(
            call.reference, payment.meter, payment.biller, payment.vend_type, payment.amount, payment.phone
        )
        try:
            answer = provider.requery(order) if call.is_requery else provider.vend(order, may_send)
            return verify_answer(
                answer, reference=order.reference, meter=order.meter, biller=order.biller,
                amount_minor=order.amount.amount_minor, needs_token=payment.needs_token,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  an adapter's bug after the first byte must not lose the payment
            return Unknown(f"the adapter failed: {type(error).__name__}: {error}"[:200])

    def _record_answer(self, command: RecordAnswer) -> Executed:
        """Record an answer. Retries, so that a restart of the database does not lose the answer.

        Raises `DependencyError` after `RECORD_TIMEOUT_SECONDS`. Then the lease expires, and a requery gets the answer
        again.
        """
        clock = self.ledger.clock
        started_at_seconds, pause_seconds = clock.elapsed_seconds(), 0.1
        while True:
            try:
                return self.ledger.execute(command)
            except DependencyError:
                if clock.elapsed_seconds() - started_at_seconds >= RECORD_TIMEOUT_SECONDS:
                    raise
            clock.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, MAX_RETRY_PAUSE_SECONDS)

    def _suspend_account(self, call: ProviderCall, answer: Misconfigured) -> None:
        try:
            self.accounts.suspend(call.provider, call.account_id, answer)
        except BillvendError:  # the next answer, or the account status loop, suspends it again
            logger.warning("The suspension of %s could not be stored", call.provider)
