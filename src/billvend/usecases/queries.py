"""Queries: wallets, transactions and their events."""

from collections.abc import Sequence
from dataclasses import dataclass

from billvend.domain.errors import TransactionNotFound, ValidationFailed, WalletNotFound
from billvend.domain.ids import parse_transaction_id, parse_user_id
from billvend.domain.money import Money
from billvend.domain.policy.accounts import Biller
from billvend.domain.safe_text import safe_repr
from billvend.ports.clock import Clock
from billvend.ports.queries import Backlog, Queries, Search, TransactionRecord
from billvend.usecases.account_status import ProviderAccounts

MAX_SEARCH_RESULTS = 1_000
"""Transactions in one search, at most."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The available balance of a wallet, and the balance held for payments that have not ended."""

    user_id: str
    available: Money
    held: Money


@dataclass(frozen=True, slots=True)
class Lookups:
    """Reads wallets and transactions for people. Every method raises `Unavailable` when the database is unavailable."""

    queries: Queries
    clock: Clock
    accounts: ProviderAccounts
    default_currency: str

    def balance(self, user_id: str, currency: str | None) -> Balance:
        """A wallet's balance. Raises `WalletNotFound` if the user never had money in this currency."""
        user_id = parse_user_id(user_id)
        currency = self.default_currency if currency is None else currency
        amounts = self.queries.balance(user_id, Money(0, currency).currency)
        if amounts is None:
            raise WalletNotFound(f"There is no {currency} wallet of this user: fund it first.")
        return Balance(user_id, *amounts)

    def find(self, transaction_id: str) -> TransactionRecord:
        """A transaction by its id, with its events. Raises `TransactionNotFound`."""
        record = self.queries.find(parse_transaction_id(transaction_id))
        if record is None:
            raise TransactionNotFound(f"There is no transaction {safe_repr(transaction_id)}.")
        return record

    def search(self, criteria: Search) -> list[TransactionRecord]:
        """Transactions, newest first. Raises `ValidationFailed` for a limit that is not 1 to 1,000."""
        limit: object = criteria.limit  # a caller may pass any type
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_SEARCH_RESULTS:
            reason = f"must be a whole number from 1 to {MAX_SEARCH_RESULTS:,}"
            raise ValidationFailed(
                f"The limit {safe_repr(limit)} is not accepted: it {reason}.", fields={"limit": reason}
            )
        return self.queries.search(criteria)

    def backlog(self) -> Backlog:
        """The open work, and how many payments wait for a worker now."""
        return self.queries.backlog(self.clock.now())

    def count_due(self) -> int:
        """How many payments wait for a worker now."""
        return self.queries.count_due(self.clock.now())

    def billers(self) -> Sequence[Biller]:
        """The electricity companies that the configured providers sell for, by their code."""
        accounts = self.accounts.base_policy.accounts
        by_code = {biller.code: biller for account in accounts for biller in account.billers}
        return [by_code[code] for code in sorted(by_code)]
