"""The books port: looking things up. Nothing here changes anything."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from billvend.domain.decisions.decider import StreamHead
from billvend.domain.enums import Status
from billvend.domain.journal.events import StreamKey
from billvend.domain.ledger.wallet import Funding, Wallet
from billvend.domain.money import Money
from billvend.domain.payment.state import Payment
from billvend.ports.account_status import Exposure

Transaction = Payment | Funding


@dataclass(frozen=True, slots=True)
class Search:
    """Which transactions; what is None does not matter. Newest first."""

    user_id: str | None = None
    statuses: tuple[Status, ...] = ()
    """Payments in any of these; fundings count as completed."""
    kind: str | None = None
    """`funding` or `payment`."""
    currency: str | None = None
    meter: str | None = None
    reference: str | None = None
    """Ours, as sent to a provider; or a funding's."""
    key: str | None = None
    """The caller's idempotency key."""
    before: str | None = None
    """Only transactions with a smaller id than this: the next page."""
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be done, and how much money waits in it."""

    payments: Mapping[Status, int]
    """How many payments stand in each status that is not an end."""
    amounts: Mapping[tuple[Status, str], Money]
    """Their sums, by status and currency."""
    due: int
    oldest_due_at: datetime | None
    open_incidents: int = 0
    """Payments with incidents that nobody has dealt with."""


class RawEvent(NamedTuple):
    """An event as its row says, unread: for showing and for auditing."""

    key: StreamKey
    seq: int
    kind: str
    at: datetime
    command_key: str
    data: str
    prev_hash: str
    hash: str


class StoredTransfer(NamedTuple):
    """A transfer as its row says."""

    seq: int
    leg: int
    transaction_id: str
    source: str
    target: str
    amount_minor: int
    currency: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredStream:
    """Everything on the books about one wallet or payment, for the audit to hold against each other."""

    key: StreamKey
    events: Iterable[RawEvent]
    """In order, read as they are consumed."""
    transfers: Iterable[StoredTransfer]
    """In the order of their events."""
    differences: Callable[[Wallet | Payment | None, StreamHead], list[str]]
    """How the rows derived from this stream differ from what they should be, given the state that its events fold to
    and the end of the stream. Ask once the events have been consumed."""


class Queries(Protocol):
    """Reading. Every method raises `Unavailable` when the database is away."""

    def balance(self, user_id: str, currency: str) -> tuple[Money, Money] | None:
        """What can be spent, and what is held for payments that have not ended; None without a wallet."""

    def transaction(self, transaction_id: str, user_id: str | None = None) -> Transaction | None:
        """One transaction by its bare id, faster when its user is known."""

    def payments(self, keys: Sequence[StreamKey]) -> Mapping[StreamKey, Payment]:
        """These payments, in one look; who is missing does not exist."""

    def search(self, search: Search) -> list[Transaction]:
        """The transactions that match, newest first."""

    def events(self, key: StreamKey) -> list[RawEvent]:
        """The events of a stream, in order."""

    def needing_review(self, limit: int) -> list[Payment]:
        """Payments in review, or with incidents that nobody has dealt with; the oldest first."""

    def exposures(self, since: datetime) -> list[Exposure]:
        """What stands at risk at each provider account, with what its attempts begun since then brought."""

    def backlog(self, now: datetime) -> Backlog:
        """What is still to be done."""

    def streams(self) -> Iterator[StoredStream]:
        """Every stream with its rows, in one consistent reading. Consume each before asking for the next."""
