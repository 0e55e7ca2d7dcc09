"""Audit: replay every event, and hold everything else on the books against what comes out."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from billvend.domain import payment as payments
from billvend.domain import wallet as wallets
from billvend.domain.decide import Head
from billvend.domain.errors import BillvendError
from billvend.domain.events import Event, PaymentEvent, WalletEvent, WalletFunded, chained, load
from billvend.domain.payment import Payment
from billvend.domain.transfers import transfers
from billvend.domain.wallet import Wallet
from billvend.ports.books import LoggedStream
from billvend.usecases.parts import Parts

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

    def complain(self, stream: LoggedStream, what: str) -> None:
        """Note a difference."""
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(f"{stream.key.user_id} {stream.key.stream}: {what}")
        else:
            self.more += 1


def audit(parts: Parts) -> Audit:
    """Read all of the books once, in one consistent state and constant memory. Raises `Unavailable`."""
    result = Audit()
    for stream in parts.books.streams():
        _audit_stream(result, stream)
    return result


def _audit_stream(result: Audit, stream: LoggedStream) -> None:
    is_wallet = stream.key.stream.startswith("wallet:")
    state: Wallet | Payment | None = None
    if is_wallet:
        state = wallets.empty(stream.key.user_id, stream.key.stream.removeprefix("wallet:"))
    head, funded_minor = Head(), 0
    booked = iter(stream.transfers)
    try:
        for logged in stream.events:
            result.events += 1
            if logged.seq != head.seq + 1 or logged.prev_hash != head.hash:
                result.complain(stream, f"event {logged.seq} does not follow event {head.seq}")
            link = chained(
                logged.prev_hash, logged.key, logged.seq, logged.at, logged.kind, logged.command_key, logged.data
            )
            if link != logged.hash:
                result.complain(stream, f"event {logged.seq} was changed: its hash does not fit")
            event = load(logged.kind, logged.data)
            state = _after(state, stream, event, logged.at)
            funded_minor += event.amount_minor if isinstance(event, WalletFunded) else 0
            head = Head(logged.seq, logged.hash)
            for leg, transfer in enumerate(transfers(event)):
                should = (logged.seq, leg, transfer.source, transfer.target, transfer.amount_minor)
                row = next(booked, None)
                stands = row and (row.seq, row.leg, row.source, row.target, row.amount_minor)
                result.transfers += 1
                if stands != should:
                    result.complain(stream, f"transfer {stands} where the events say {should}")
        for row in booked:
            result.complain(stream, f"transfer {row.seq}.{row.leg} that no event makes")
    except (BillvendError, LookupError, TypeError, ValueError) as error:
        result.complain(stream, f"its events can't be replayed: {error}")
        return
    result.wallets += is_wallet and head.seq > 0
    result.payments += not is_wallet and head.seq > 0
    for difference in stream.differences(state, head, funded_minor):
        result.complain(stream, difference)


def _after(state: Wallet | Payment | None, stream: LoggedStream, event: Event, at: datetime) -> Wallet | Payment:
    if isinstance(state, Wallet):
        return wallets.evolve(state, cast(WalletEvent, event))
    return payments.evolve(state, stream.key, cast(PaymentEvent, event), at)

