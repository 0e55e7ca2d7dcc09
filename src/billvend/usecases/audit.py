"""Audit: replay every event, and compare everything else in the database with the result."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from billvend.domain.decisions.decider import StreamHead
from billvend.domain.errors import DependencyError
from billvend.domain.journal.events import (
    Event,
    PaymentEvent,
    StreamKey,
    WalletEvent,
    WalletFunded,
    WalletHeld,
    WalletReleased,
    event_hash,
    load_event,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.transfers import IN_FLIGHT, transfers
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.payment import transitions as payments
from billvend.domain.payment.state import Payment
from billvend.ports.queries import StoredStream, StoredTransfer
from billvend.usecases.dependencies import Dependencies

WALLET_EVENTS = (WalletFunded, WalletHeld, WalletReleased)
MAX_DIFFERENCES = 100
"""Differences that are listed. Further ones are only counted."""


@dataclass(slots=True)
class AuditReport:
    """The counts and differences of an audit."""

    events: int = 0
    wallets: int = 0
    payments: int = 0
    transfers: int = 0
    differences: list[str] = field(default_factory=list)
    unlisted_differences: int = 0
    """The number of differences that are not listed."""

    @property
    def ok(self) -> bool:
        """Whether there are no differences."""
        return not self.differences

    def add_difference(self, key: StreamKey, description: str) -> None:
        """List a difference, or count it if the list is full."""
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(f"{key.user_id} {key.stream}: {description}")
        else:
            self.unlisted_differences += 1


def audit(deps: Dependencies) -> AuditReport:
    """Read the whole database once, in one consistent snapshot and constant memory. Raises `Unavailable`."""
    report = AuditReport()
    in_flight = _InFlightCheck(report)
    for stream in deps.queries.streams():
        in_flight.start_user(stream.key.user_id)
        _audit_stream(report, in_flight, stream)
    in_flight.start_user("")
    return report


class _InFlightCheck:
    """Compares the money that one user's transfers leave in flight with the user's payments that have not ended.

    Only this finds a payment that is missing with all its rows. The streams of a user must come one after the other.
    """

    def __init__(self, report: AuditReport) -> None:
        self._report = report
        self._user_id = ""
        self._unexplained_minor: Counter[str] = Counter()

    def start_user(self, user_id: str) -> None:
        """Start with the streams of this user, and report what the previous user's payments do not explain."""
        if user_id == self._user_id:
            return
        for currency, minor in self._unexplained_minor.items():
            if minor:
                key = StreamKey(self._user_id, f"{IN_FLIGHT}:{currency}")
                self._report.add_difference(
                    key, f"{minor} minor units more are held than the open payments need"
                )
        self._user_id = user_id
        self._unexplained_minor.clear()

    def add_transfer(self, transfer: StoredTransfer) -> None:
        """Add what a transfer puts in flight, or subtract what it takes from there."""
        into, out_of = transfer.target == IN_FLIGHT, transfer.source == IN_FLIGHT
        self._unexplained_minor[transfer.currency] += transfer.amount_minor * (into - out_of)

    def subtract_payment(self, payment: Payment) -> None:
        """Subtract the amount that an open payment holds."""
        if not payment.has_ended:
            self._unexplained_minor[payment.amount.currency] -= payment.amount.amount_minor


def _audit_stream(report: AuditReport, in_flight: _InFlightCheck, stream: StoredStream) -> None:
    is_wallet = stream.key.stream.startswith("wallet:")
    state: Wallet | Payment | None = None
    head = StreamHead()
    stored_transfers = iter(stream.transfers)
    try:
        if is_wallet:
            state = wallets.new_wallet(stream.key.user_id, stream.key.stream.removeprefix("wallet:"))
        for logged in stream.events:
            report.events += 1
            if logged.seq != head.seq + 1 or logged.prev_hash != head.hash:
                report.add_difference(stream.key, f"event {logged.seq} does not follow event {head.seq}")
            expected_hash = event_hash(
                logged.prev_hash,
                logged.key,
                logged.seq,
                logged.at,
                logged.kind,
                logged.command_key,
                logged.data,
            )
            if expected_hash != logged.hash:
                report.add_difference(stream.key, f"event {logged.seq} was changed: its hash does not match")
            event = load_event(logged.kind, logged.data)
            state = _evolve(state, stream, event, logged.at)
            head = StreamHead(logged.seq, logged.hash)
            for leg, transfer in enumerate(transfers(event)):
                transaction_id = (
                    event.transaction_id if isinstance(event, WALLET_EVENTS) else stream.key.stream
                )
                expected = StoredTransfer(
                    logged.seq, leg, transaction_id, transfer.source, transfer.target, transfer.amount_minor,
                    _currency(state), logged.at,
                )  # fmt: skip
                stored = next(stored_transfers, None)
                report.transfers += 1
                in_flight.add_transfer(expected)
                if stored != expected:
                    report.add_difference(stream.key, f"transfer {stored} where the events say {expected}")
        for row in stored_transfers:
            report.add_difference(stream.key, f"transfer {row.seq}.{row.leg} that no event makes")
    except DependencyError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged event must not stop the audit
        report.add_difference(stream.key, f"its events can't be replayed: {error}")
        return
    report.wallets += is_wallet and head.seq > 0
    report.payments += not is_wallet and head.seq > 0
    if isinstance(state, Payment):
        in_flight.subtract_payment(state)
    for difference in stream.differences(state, head):
        report.add_difference(stream.key, difference)


def _evolve(
    state: Wallet | Payment | None, stream: StoredStream, event: Event, at: datetime
) -> Wallet | Payment:
    if isinstance(state, Wallet):
        return wallets.evolve(state, cast(WalletEvent, event))
    return payments.evolve(state, stream.key, cast(PaymentEvent, event), at)


def _currency(state: Wallet | Payment) -> str:
    return state.balance.currency if isinstance(state, Wallet) else state.amount.currency
