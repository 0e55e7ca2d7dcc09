"""Look up: what stands on the books."""

from dataclasses import dataclass
from datetime import datetime

from billvend.domain.errors import TransactionNotFound, ValidationFailed, WalletNotFound
from billvend.domain.events import StreamKey
from billvend.domain.money import Money
from billvend.domain.names import parse_transaction_id, parse_user_id
from billvend.domain.payment import Payment
from billvend.domain.quote import quoted
from billvend.domain.reversal import due_at, next_step
from billvend.ports.books import LoggedEvent, Search, Transaction
from billvend.usecases.breaker import policy_now
from billvend.usecases.parts import Parts

MOST_AT_ONCE = 1_000
"""Transactions that one look may bring."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A wallet for people: what can be spent, and what is held for payments that have not ended."""

    user_id: str
    balance: Money
    held: Money


def balance(parts: Parts, user_id: str, currency: str | None) -> Balance:
    """A wallet's balance. Raises `WalletNotFound` where the user never had money in this currency."""
    user_id = parse_user_id(user_id)
    currency = parts.default_currency if currency is None else currency
    found = parts.books.balance(user_id, Money(0, currency).currency)
    if found is None:
        raise WalletNotFound(f"There is no {currency} wallet of this user: fund it first.")
    return Balance(user_id, *found)


def transaction(parts: Parts, transaction_id: str) -> Transaction:
    """A transaction by its id. Raises `TransactionNotFound`."""
    found = parts.books.transaction(parse_transaction_id(transaction_id))
    if found is None:
        raise TransactionNotFound(f"There is no transaction {quoted(transaction_id)}.")
    return found


def events(parts: Parts, payment: Payment) -> list[LoggedEvent]:
    """What happened to a payment, in order."""
    return parts.books.events(StreamKey(payment.user_id, payment.transaction_id))


def search(parts: Parts, search: Search) -> list[Transaction]:
    """Transactions, newest first. Raises `ValidationFailed` for a limit that is not 1 to 1,000."""
    limit: object = search.limit  # whatever a door passed on
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_AT_ONCE:
        reason = f"must be a whole number from 1 to {MOST_AT_ONCE:,}"
        raise ValidationFailed(
            f"The limit {quoted(limit)} is not accepted: it {reason}.", fields={"limit": reason}
        )
    return parts.books.search(search)


def next_look_at(parts: Parts, payment: Payment) -> datetime | None:
    """When a payment is next due by the policy; None when nothing is left to do."""
    return due_at(next_step(payment, policy_now(parts), parts.clock.now()), parts.clock.now())
