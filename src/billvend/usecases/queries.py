"""Queries: wallets, transactions and their events."""

from dataclasses import dataclass
from datetime import datetime

from billvend.domain.errors import TransactionNotFound, ValidationFailed, WalletNotFound
from billvend.domain.ids import parse_transaction_id, parse_user_id
from billvend.domain.journal.events import StreamKey
from billvend.domain.money import Money
from billvend.domain.payment.state import Payment
from billvend.domain.policy.rules import next_step
from billvend.domain.safe_text import safe_repr
from billvend.ports.queries import RawEvent, Search, Transaction
from billvend.usecases.account_status import current_policy
from billvend.usecases.dependencies import Dependencies

MAX_SEARCH_RESULTS = 1_000
"""Transactions in one search, at most."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The available balance of a wallet, and the balance held for payments that have not ended."""

    user_id: str
    available: Money
    held: Money


def balance(deps: Dependencies, user_id: str, currency: str | None) -> Balance:
    """A wallet's balance. Raises `WalletNotFound` if the user never had money in this currency."""
    user_id = parse_user_id(user_id)
    currency = deps.default_currency if currency is None else currency
    amounts = deps.queries.balance(user_id, Money(0, currency).currency)
    if amounts is None:
        raise WalletNotFound(f"There is no {currency} wallet of this user: fund it first.")
    return Balance(user_id, *amounts)


def transaction(deps: Dependencies, transaction_id: str) -> Transaction:
    """A transaction by its id. Raises `TransactionNotFound`."""
    transaction = deps.queries.transaction(parse_transaction_id(transaction_id))
    if transaction is None:
        raise TransactionNotFound(f"There is no transaction {safe_repr(transaction_id)}.")
    return transaction


def transaction_with_events(deps: Dependencies, transaction_id: str) -> tuple[Transaction, list[RawEvent]]:
    """A transaction and its events, in one read. Raises `TransactionNotFound`."""
    found = deps.queries.transaction_with_events(parse_transaction_id(transaction_id))
    if found is None:
        raise TransactionNotFound(f"There is no transaction {safe_repr(transaction_id)}.")
    return found


def events(deps: Dependencies, payment: Payment) -> list[RawEvent]:
    """The events of a payment, in order."""
    return deps.queries.events(StreamKey(payment.user_id, payment.transaction_id))


def search(deps: Dependencies, criteria: Search) -> list[Transaction]:
    """Transactions, newest first. Raises `ValidationFailed` for a limit that is not 1 to 1,000."""
    limit: object = criteria.limit  # a caller may pass any type
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_SEARCH_RESULTS:
        reason = f"must be a whole number from 1 to {MAX_SEARCH_RESULTS:,}"
        raise ValidationFailed(
            f"The limit {safe_repr(limit)} is not accepted: it {reason}.", fields={"limit": reason}
        )
    return deps.queries.search(criteria)


def next_check_at(deps: Dependencies, payment: Payment) -> datetime | None:
    """When a payment is next due by the policy; None if nothing is left to do."""
    return next_step(payment, current_policy(deps), deps.clock.now()).at
