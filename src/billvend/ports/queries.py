"""The queries port: reads from the database. Nothing here changes anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from billvend.domain.decisions.commands import CommandKey, Pay
from billvend.domain.decisions.decider import StoredResult
from billvend.domain.enums import Status
from billvend.domain.journal.events import StreamKey
from billvend.domain.ledger.wallet import Funding, Wallet
from billvend.domain.money import Money
from billvend.domain.payment.state import Payment
from billvend.ports.repositories import Exposure

Transaction = Payment | Funding

MAX_LISTED_DIFFERENCES = 100
"""Differences that an audit lists. Further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search for transactions. A criterion that is None matches all. Newest first."""

    user_id: str | None = None
    statuses: tuple[Status, ...] = ()
    """Payments in any of these; fundings count as completed."""
    kind: str | None = None
    """`funding` or `payment`."""
    currency: str | None = None
    meter: str | None = None
    reference: str | None = None
    """Our reference at a provider, or the reference of a funding."""
    key: str | None = None
    """The caller's idempotency key."""
    before: str | None = None
    """Only transactions with a smaller id than this. Used for the next page."""
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open work, and the money in it."""

    payments: Mapping[Status, int]
    """The number of payments in each status that is not final."""
    amounts: Mapping[tuple[Status, str], Money]
    """Their sums, by status and currency."""
    due: int
    oldest_due_at: datetime | None
    open_incidents: int = 0
    """Payments with incidents that no person has acknowledged."""


class RawEvent(NamedTuple):
    """An event as stored, with its data unparsed. For display and for audits."""

    key: StreamKey
    seq: int
    kind: str
    at: datetime
    command_key: str
    data: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A transaction as stored."""

    transaction: Transaction
    next_check_at: datetime | None
    """When a worker looks at it next; None for never."""
    events: Sequence[RawEvent] = ()
    """Its events, in order, if it was looked up by its id. A funding has no events of its own."""


@dataclass(slots=True)
class AuditReport:
    """The counts and differences of an audit."""

    events: int = 0
    wallets: int = 0
    payments: int = 0
    transfers: int = 0
    differences: list[str] = field(default_factory=list)
    """At most `MAX_LISTED_DIFFERENCES`."""
    unlisted_differences: int = 0
    """The number of further differences."""

    @property
    def ok(self) -> bool:
        """Whether there are no differences."""
        return not self.differences

    def add_difference(self, key: StreamKey, description: str) -> None:
        """List a difference, or count it if the list is full."""
        if len(self.differences) < MAX_LISTED_DIFFERENCES:
            self.differences.append(f"{key.user_id} {key.stream}: {description}")
        else:
            self.unlisted_differences += 1


class Queries(Protocol):
    """Reads. Every method raises `Unavailable` when the database is unavailable."""

    def balance(self, user_id: str, currency: str) -> tuple[Money, Money] | None:
        """The available and the held balance of a wallet; None if there is no wallet."""

    def stored_results(self, keys: Sequence[CommandKey]) -> Mapping[CommandKey, StoredResult]:
        """The stored results of these commands, for those that were done before."""

    def wallet_and_duplicate(self, command: Pay) -> tuple[Wallet | None, datetime | None]:
        """The wallet that a bill is paid from, and when an equal bill was last paid, in one cheap query.

        An equal bill counts for `DUPLICATE_WINDOW_SECONDS`, and not if it was reversed.
        """

    def find(self, transaction_id: str, user_id: str | None = None) -> TransactionRecord | None:
        """One transaction with its events, by its id. It is faster with the user id."""

    def payments(self, keys: Sequence[StreamKey]) -> Mapping[StreamKey, Payment]:
        """These payments, in one query. Payments that don't exist are missing from the result."""

    def search(self, search: Search) -> list[TransactionRecord]:
        """The transactions that match, newest first, without their events."""

    def needing_review(self, limit: int) -> list[Payment]:
        """Payments in review, or with incidents that no person has acknowledged. The oldest first."""

    def exposures(self, since: datetime) -> list[Exposure]:
        """The open risk at each provider account, with counts of the attempts started after `since`."""

    def count_due(self, now: datetime) -> int:
        """How many payments are due."""

    def backlog(self, now: datetime) -> Backlog:
        """The open work."""

    def audit(self) -> AuditReport:
        """Replay every event, and compare everything that is derived from events with the result: in one consistent
        snapshot and in constant memory."""
