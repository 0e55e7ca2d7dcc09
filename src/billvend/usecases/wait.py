"""Wait: settle a payment in the foreground, with the same claims as any worker."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billvend.domain.errors import ValidationFailed
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.safe_text import safe_repr
from billvend.ports.queue import Hint
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.ledger import Ledger
from billvend.usecases.settle import Settlement

MAX_POLL_SECONDS = 0.5
"""The longest time after which a change by another worker is seen."""
MIN_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Waiting:
    """Follows payments to their end."""

    ledger: Ledger
    settlement: Settlement
    accounts: ProviderAccounts

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
                self.settlement.settle(Hint(current.user_id, current.transaction_id))
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
