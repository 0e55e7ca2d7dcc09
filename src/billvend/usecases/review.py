"""Review: what waits for a person, and what a person decides."""

import re
from dataclasses import dataclass

from billvend.domain.decisions.commands import Resolve
from billvend.domain.enums import OperatorDecision, Status
from billvend.domain.errors import ValidationFailed
from billvend.domain.payment.state import Payment
from billvend.ports.repositories import Deposit, Deposits
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.ledger import Ledger

MAX_REVIEW_ITEMS = 1_000
MAX_TEXT_CHARACTERS = 500
_TOKEN_PATTERN = re.compile("[0-9]{20}")


@dataclass(frozen=True, slots=True)
class ReviewList:
    """Payments and deposits that wait for a person, the oldest first."""

    payments_in_review: list[Payment]
    """In review. The money stays held, and requeries go on."""
    payments_with_incidents: list[Payment]
    """Ended, with an incident that no person has acknowledged."""
    deposits_with_problems: list[Deposit]
    """Their payment differs from the deposit, or was refunded after the credit."""


@dataclass(frozen=True, slots=True)
class Reviews:
    """Lists what waits for a person, and carries out what a person decides."""

    ledger: Ledger
    deposits: Deposits
    accounts: ProviderAccounts

    def review(self, limit: int = MAX_REVIEW_ITEMS) -> ReviewList:
        """At most `limit` payments, and at most `limit` deposits, that wait for a person. Raises `Unavailable`."""
        payments = self.ledger.queries.needing_review(limit)
        in_review = [payment for payment in payments if payment.status is Status.IN_REVIEW]
        payments_with_incidents = [payment for payment in payments if payment.open_incidents]
        return ReviewList(in_review, payments_with_incidents, self.deposits.with_problems(limit))

    def resolve(
        self, transaction_id: str, decision: str | None, *, operator: str, reason: str, token: str | None
    ) -> Payment:
        """Complete a payment with a token, reverse it, or acknowledge its incidents; see `Billvend.resolve`."""
        payment, clock = self.ledger.payment(transaction_id), self.ledger.clock
        default = OperatorDecision.DELIVERED if token else OperatorDecision.REVERSE
        command = Resolve(
            payment.user_id,
            clock.new_id(),
            payment.transaction_id,
            clock.now(),
            self.accounts.current_policy(),
            _parse_text(operator, "operator", "operator's name"),
            _parse_decision(decision or default),
            _parse_text(reason, "reason", "reason"),
            _parse_token(token),
        )
        return self.ledger.execute(command).payment or payment


def _parse_decision(value: str) -> OperatorDecision:
    if value in list(OperatorDecision):
        return OperatorDecision(value)
    raise _rejected("decision", "decision", f"must be one of {', '.join(OperatorDecision)}")


def _parse_text(value: object, field: str, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise _rejected(field, name, f"must be 1 to {MAX_TEXT_CHARACTERS} printable characters")
    return text


def _parse_token(value: object) -> str | None:
    """A token as a person types it, with spaces or hyphens between its groups."""
    if value is None:
        return None
    digits = value.replace(" ", "").replace("-", "") if isinstance(value, str) else ""
    if not _TOKEN_PATTERN.fullmatch(digits) or int(digits) >= 2**66:
        raise _rejected("token", "token", "must be 20 digits, as printed on the receipt")
    return digits


def _rejected(field: str, name: str, reason: str) -> ValidationFailed:
    return ValidationFailed(
        f"The {name} is not accepted: it {reason}. Nothing was changed.", fields={field: reason}
    )
