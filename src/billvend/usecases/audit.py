"""Audit: replay every event, and hold everything else on the books against what comes out."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from billvend.domain import payment as payments
from billvend.domain import wallet as wallets
from billvend.domain.decide import Head
from billvend.domain.errors import Unreachable
from billvend.domain.events import (
    Event,
    PaymentEvent,
    StreamKey,
    WalletEvent,
    WalletFunded,
    WalletHeld,
    WalletReleased,
    chained,
    load,
)
from billvend.domain.payment import Payment
from billvend.domain.transfers import IN_FLIGHT, transfers
from billvend.domain.wallet import Wallet
from billvend.ports.books import LoggedStream, LoggedTransfer
from billvend.usecases.parts import Parts

OF_WALLETS = (WalletFunded, WalletHeld, WalletReleased)
MOST_DIFFERENCES = 100
"""How many are told; the count goes on."""


@dataclass(slots=True)
class Audit:
    """What an audit counted and found."""

    events: int = 0
    wallets: int = 0
    payments: int = 0
    transfers: int = 0
    differences: list[str] = field(default_factory=list)
    more: int = 0
    """Differences beyond those that are listed."""

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.differences

    def complain(self, key: StreamKey, what: str) -> None:
        """Note a difference."""
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(f"{key.user_id} {key.stream}: {what}")
        else:
            self.more += 1


def audit(parts: Parts) -> Audit:
    """Read all of the books once, in one consistent state and constant memory. Raises `Unavailable`."""
    result = Audit()
    held = _Held(result)
    for stream in parts.books.streams():
        held.turn_to(stream.key.user_id)
        _audit_stream(result, held, stream)
    held.turn_to("")
    return result


class _Held:
    """What the transfers of one user leave in flight, against what this user's payments that have not ended are for.

    A payment that is missing with all its rows leaves no other trace. The streams of a user come one after the other.
    """

    def __init__(self, result: Audit) -> None:
        self._result = result
        self._user_id = ""
        self._open_minor: Counter[str] = Counter()

    def turn_to(self, user_id: str) -> None:
        """From here on the streams are of this user."""
        if user_id == self._user_id:
            return
        for currency, minor in self._open_minor.items():
            if minor:
                key = StreamKey(self._user_id, f"{IN_FLIGHT}:{currency}")
                self._result.complain(key, f"{minor} minor units more are held than open payments are for")
        self._user_id = user_id
        self._open_minor.clear()

    def move(self, transfer: LoggedTransfer) -> None:
        """Count what a transfer puts in flight, or takes from there."""
        into, out_of = transfer.target == IN_FLIGHT, transfer.source == IN_FLIGHT
        self._open_minor[transfer.currency] += transfer.amount_minor * (into - out_of)

    def explain(self, payment: Payment) -> None:
        """Count what a payment has a right to hold."""
        if not payment.has_ended:
            self._open_minor[payment.amount.currency] -= payment.amount.amount_minor


def _audit_stream(result: Audit, held: _Held, stream: LoggedStream) -> None:
    is_wallet = stream.key.stream.startswith("wallet:")
    state: Wallet | Payment | None = None
    head = Head()
    booked = iter(stream.transfers)
    try:
        if is_wallet:
            state = wallets.empty(stream.key.user_id, stream.key.stream.removeprefix("wallet:"))
        for logged in stream.events:
            result.events += 1
            if logged.seq != head.seq + 1 or logged.prev_hash != head.hash:
                result.complain(stream.key, f"event {logged.seq} does not follow event {head.seq}")
            link = chained(
                logged.prev_hash,
                logged.key,
                logged.seq,
                logged.at,
                logged.kind,
                logged.command_key,
                logged.data,
            )
            if link != logged.hash:
                result.complain(stream.key, f"event {logged.seq} was changed: its hash does not fit")
            event = load(logged.kind, logged.data)
            state = _after(state, stream, event, logged.at)
            head = Head(logged.seq, logged.hash)
            for leg, transfer in enumerate(transfers(event)):
                about = event.transaction_id if isinstance(event, OF_WALLETS) else stream.key.stream
                should = LoggedTransfer(
                    logged.seq, leg, about, transfer.source, transfer.target, transfer.amount_minor,
                    _currency(state), logged.at,
                )  # fmt: skip
                stands = next(booked, None)
                result.transfers += 1
                held.move(should)
                if stands != should:
                    result.complain(stream.key, f"transfer {stands} where the events say {should}")
        for row in booked:
            result.complain(stream.key, f"transfer {row.seq}.{row.leg} that no event makes")
    except Unreachable:
        raise
    except Exception as error:  # noqa: BLE001  whatever was done to an event, the audit goes on
        result.complain(stream.key, f"its events can't be replayed: {error}")
        return
    result.wallets += is_wallet and head.seq > 0
    result.payments += not is_wallet and head.seq > 0
    if isinstance(state, Payment):
        held.explain(state)
    for difference in stream.differences(state, head):
        result.complain(stream.key, difference)


def _after(
    state: Wallet | Payment | None, stream: LoggedStream, event: Event, at: datetime
) -> Wallet | Payment:
    if isinstance(state, Wallet):
        return wallets.evolve(state, cast(WalletEvent, event))
    return payments.evolve(state, stream.key, cast(PaymentEvent, event), at)


def _currency(state: Wallet | Payment) -> str:
    return state.balance.currency if isinstance(state, Wallet) else state.amount.currency
