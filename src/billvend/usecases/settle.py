"""Settle: carry out the next due step of a payment.

Claim (commit), call the provider with no transaction open, record the answer (commit), then queue a hint for the next
step. The claim excludes other workers. So a hint that comes twice, late or without work does no harm.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from billvend.domain.decisions.commands import Claim, CommandResult, Executed, ProviderCall, RecordAnswer
from billvend.domain.errors import BillvendError, DependencyError
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Unknown, verify_answer
from billvend.domain.payment.state import Payment
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


@dataclass(frozen=True, slots=True)
class Settlement:
    """Carries out the steps of payments, as workers do."""

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
