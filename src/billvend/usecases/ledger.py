"""The ledger as the use cases change it: commit a command, then log it, count it, and queue hints for what follows.

Log lines contain ids and amounts, never tokens. They are made with the standard library's logging, with the facts in
`context`. The CLI, the API or the worker decides where they go and in which format.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from billvend.domain.decisions.commands import Command, CommandResult, Executed, Fund
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError, ConfigurationError, TransactionNotFound
from billvend.domain.ids import parse_transaction_id
from billvend.domain.journal.events import (
    Event,
    IncidentRaised,
    PaymentAccepted,
    PaymentCompleted,
    PaymentPutInDoubt,
    PaymentReversed,
    ReviewRequested,
)
from billvend.domain.notifications import NOTIFIED_EVENTS
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Mode
from billvend.domain.safe_text import safe_repr
from billvend.ports.clock import Clock
from billvend.ports.journal import Journal
from billvend.ports.queries import Queries
from billvend.ports.queue import Hint, Queue, QueueName
from billvend.ports.telemetry import CommandCommitted, Metrics

logger = logging.getLogger("billvend.payments")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Executes commands, and finds the payments that they are about."""

    journal: Journal
    queries: Queries
    queue: Queue
    clock: Clock
    metrics: Metrics
    mode: Mode
    """Whether the configured providers sell for test or for real money."""
    has_notifiers: bool
    """Whether messages are written that a worker must deliver."""

    def execute(self, command: Command) -> Executed:
        """Execute one command. Raises its error, `Unavailable`, `OutcomeUnknown`."""
        (outcome,) = self.execute_all([command])
        if isinstance(outcome, BillvendError):
            raise outcome
        return outcome

    def execute_all(self, commands: Sequence[Command]) -> list[CommandOutcome]:
        """Execute commands together. Each gets its own result or error. Raises `Unavailable` if nothing was done."""
        outcomes = self.journal.execute(commands)
        notified: list[Hint] = []
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, BillvendError) or not outcome.events:
                continue
            _log(command, outcome)
            self.metrics.observe(CommandCommitted(command, outcome))
            if any(isinstance(event, NOTIFIED_EVENTS) for event in outcome.events):
                notified.append(Hint(command.user_id, command.transaction_id))
        if notified and self.has_notifiers:
            self.queue.enqueue(QueueName.NOTIFICATIONS, notified, wait=False)
        return outcomes

    def enqueue_if_due(self, hint: Hint, result: CommandResult) -> None:
        """Queue a hint if the next step is due at once. A sweep finds what is due later."""
        if result.next_at is not None and result.next_at <= self.clock.now():
            self.queue.enqueue(queue_for(result.status), [hint], wait=False)

    def payment(self, transaction_id: str, user_id: str | None = None) -> Payment:
        """A payment by its id. Raises `TransactionNotFound`, `Unavailable`."""
        found = self.queries.find(parse_transaction_id(transaction_id), user_id)
        if found is None or not isinstance(found.transaction, Payment):
            raise TransactionNotFound(f"There is no payment {safe_repr(transaction_id)}.")
        return found.transaction

    def require_mode(self) -> None:
        """Mark the ledger as test or live by the configured providers, or check that it has this mark.

        Raises `ConfigurationError` if it is for the other kind of money, and `Unavailable`.
        """
        marked = self.journal.bind_environment(self.mode)
        if marked is not self.mode:
            raise ConfigurationError(
                f"This ledger is for {marked} money, and the configured provider is for {self.mode} money. "
                "Nothing was done: use another DATABASE_URL or BILL_PROVIDER."
            )

    def require_test_money(self) -> None:
        """Raise `ConfigurationError` if the ledger or a provider is for real money. Marks the ledger as test for ever."""
        if self.mode is not Mode.TEST:
            raise ConfigurationError(
                "The configured provider sells for real money, and this works only with test money. Nothing was done."
            )
        self.require_mode()

    def is_test_money_only(self) -> bool:
        """Whether no real money is here: the provider is for tests, and the ledger is not marked as live.

        A gateway is always for the same kind of money as the provider. Raises `Unavailable`.
        """
        return self.mode is Mode.TEST and self.journal.mode() is not Mode.LIVE


def queue_for(status: Status) -> QueueName:
    """The queue for a payment in this status."""
    return QueueName.REVERSALS if status is Status.REVERSING else QueueName.PAYMENTS


_LINES: dict[type[Event], tuple[int, str]] = {
    PaymentAccepted: (logging.INFO, "Bill payment accepted"),
    PaymentPutInDoubt: (logging.INFO, "Bill payment in doubt"),
    ReviewRequested: (logging.WARNING, "Bill payment in review"),
    PaymentCompleted: (logging.INFO, "Bill payment completed"),
    PaymentReversed: (logging.INFO, "Bill payment reversed"),
    IncidentRaised: (logging.ERROR, "Bill payment incident"),
}
"""The events that have a line of their own in the log, with its level and its message."""


def _log(command: Command, executed: Executed) -> None:
    payment = executed.payment
    context = {"userId": command.user_id, "transactionId": command.transaction_id}
    if isinstance(command, Fund):
        context |= {"amount": str(command.amount), "source": command.source}
        logger.info("Wallet funded", extra={"context": context})
    if payment is None:
        return
    context |= {"amount": str(payment.amount), "provider": payment.biller}
    context |= {"proof": payment.proof.value} if payment.proof else {}
    events = [event for event in executed.events if type(event) in _LINES]
    for event in events:
        level, message = _LINES[type(event)]
        details = {"reason": event.reason} if isinstance(event, ReviewRequested) else {}
        details |= {"incident": event.kind.value} if isinstance(event, IncidentRaised) else {}
        logger.log(level, message, extra={"context": context | details})
    if not events:
        logger.debug("Bill payment %s", payment.status, extra={"context": context})
