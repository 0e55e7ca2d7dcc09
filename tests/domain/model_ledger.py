"""An in-memory model of the ledger: what the journal does with `decide`, without a database, checked after every list.

`ModelLedger` reads no more than a journal would: what the commands name, and a wallet only where it has to be locked.
It applies what `decide` returns, and then checks everything that must be true of any ledger.
"""

from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandKey,
    Fund,
    Pay,
    RecordAnswer,
    RequestRequery,
    Resolve,
)
from billvend.domain.decisions.decider import (
    CommandOutcome,
    DuplicateFingerprint,
    Snapshot,
    StoredResult,
    StreamHead,
    WriteSet,
    decide,
    duplicate_fingerprint,
)
from billvend.domain.decisions.worker import needs_wallet
from billvend.domain.enums import Status
from billvend.domain.journal.events import (
    NO_HASH,
    PaymentAccepted,
    PaymentCompleted,
    PaymentReversed,
    StoredEvent,
    StreamKey,
    WalletFunded,
    WalletHeld,
    WalletReleased,
    event_hash,
    load_event,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.transfers import IN_FLIGHT, WALLET, transfers
from billvend.domain.ledger.wallet import Wallet, wallet_stream
from billvend.domain.outcome import Answer, verify_answer
from billvend.domain.payment import transitions as payments
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import Biller, Mode, ProviderAccount

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WALLET_EVENTS = (WalletFunded, WalletHeld, WalletReleased)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def provider(
    name: str = "acme", *, account: str = "key-1", billers: Sequence[str] = ("EKEDC",), **traits: Any
) -> ProviderAccount:
    """A provider account whose references can be read: `acme/<seed>/1/2026-11-22`."""

    def reference(seed: str, attempt: int, day: date) -> str:
        return f"{name}/{seed}/{attempt}/{day}"

    sold = tuple(Biller(code, code) for code in billers)
    made = ProviderAccount(name, account, Mode.TEST, sold, "NGN", make_reference=reference)
    return replace(made, **traits)


def verified(answer: Answer, payment: Payment, reference: str) -> Answer:
    """The answer to a call about this reference, as a worker reports it."""
    return verify_answer(
        answer, reference=reference, meter=payment.meter, biller=payment.biller,
        amount_minor=payment.amount.amount_minor, needs_token=payment.needs_token,
    )  # fmt: skip


class ModelLedger:
    """All events and transfers."""

    def __init__(self) -> None:
        self.wallets: dict[StreamKey, tuple[Wallet, StreamHead]] = {}
        self.payments: dict[StreamKey, tuple[Payment, StreamHead]] = {}
        self.stored_replies: dict[CommandKey, StoredResult] = {}
        self.next_at: dict[StreamKey, datetime | None] = {}
        self.streams: dict[StreamKey, tuple[StoredEvent, ...]] = {}
        self.token_owners: dict[str, StreamKey] = {}
        """The payment that each known token belongs to. Tokens are those of our answers, and those that a scenario
        assigns."""
        self.accounts: Counter[tuple[str, str, str]] = Counter()
        """The balance of (user, account, currency), in minor units, as the transfers add up."""

    def copy(self) -> "ModelLedger":
        """An independent copy of the ledger."""
        other = ModelLedger()
        for name, kept in vars(self).items():
            setattr(other, name, copy(kept))
        return other

    def execute(self, *commands: Command, lock_all_wallets: bool = False) -> list[CommandOutcome]:
        """Execute a list of commands in one transaction."""
        before = self.copy()
        snapshot = self.snapshot(commands)
        if lock_all_wallets:
            snapshot = replace(snapshot, wallets=self.wallets)
        changes, results = decide(snapshot, commands)
        self._apply(changes)
        _check(before, self, changes)
        return results

    def snapshot(self, commands: Sequence[Command]) -> Snapshot:
        """What a journal would read for these commands."""
        named = [c for c in commands if isinstance(c, (Cancel, Claim, RequestRequery, RecordAnswer, Resolve))]
        found = {
            key: self.payments[key]
            for command in named
            if (key := StreamKey(command.user_id, command.transaction_id)) in self.payments
        }
        wallet_keys = {
            wallet_stream(c.user_id, c.amount.currency) for c in commands if isinstance(c, (Fund, Pay))
        }
        for command in named:
            known = found.get(StreamKey(command.user_id, command.transaction_id))
            if known is not None and needs_wallet(known[0], command):
                wallet_keys.add(wallet_stream(command.user_id, known[0].amount.currency))
        return Snapshot(
            wallets={key: self.wallets[key] for key in wallet_keys if key in self.wallets},
            payments=found,
            stored_results=self.stored_replies,
            token_owners=self.token_owners,
            recent_by_fingerprint={
                duplicate_fingerprint(c): at
                for c in commands
                if isinstance(c, Pay)
                if (at := self._last_similar_payment_at(c))
            },
        )

    def payment(self, user_id: str, transaction_id: str) -> Payment:
        """The payment as it is now."""
        return self.payments[StreamKey(user_id, transaction_id)][0]

    def balance(self, user_id: str, currency: str = "NGN") -> int:
        """The available balance of a user, in minor units."""
        wallet, _ = self.wallets[wallet_stream(user_id, currency)]
        return wallet.balance.amount_minor

    def total(self, account: str) -> int:
        """The balance of an account over all users, in minor units."""
        return sum(amount for (_, name, _), amount in self.accounts.items() if name == account)

    def _last_similar_payment_at(self, command: Pay) -> datetime | None:
        alike = [
            payment.accepted_at
            for payment, _ in self.payments.values()
            if payment.status is not Status.REVERSED
            and duplicate_fingerprint(command)
            == DuplicateFingerprint(
                payment.user_id,
                payment.meter,
                payment.biller,
                payment.amount.amount_minor,
                payment.amount.currency,
            )
        ]
        return max(alike, default=None)

    def _apply(self, changes: WriteSet) -> None:
        self.wallets |= changes.wallets
        self.payments |= changes.payments
        self.next_at |= changes.next_at
        for key, (command, reply) in changes.results.items():
            assert key not in self.stored_replies, "a command was done twice"
            self.stored_replies[key] = StoredResult(command.request_hash, reply)
        for payment, _ in changes.payments.values():
            if payment.token is not None:
                self.token_owners.setdefault(payment.token, payment.stream_key)
        for stored in changes.events:
            self.streams[stored.key] = (*self.streams.get(stored.key, ()), stored)
            for moved in transfers(stored.event):
                assert moved.amount_minor > 0
                assert moved.source != moved.target
                currency = _currency(self, stored.key)
                self.accounts[stored.key.user_id, moved.source, currency] -= moved.amount_minor
                self.accounts[stored.key.user_id, moved.target, currency] += moved.amount_minor


def _currency(ledger: ModelLedger, key: StreamKey) -> str:
    if key in ledger.payments:
        return ledger.payments[key][0].amount.currency
    return ledger.wallets[key][0].balance.currency


def _check(before: ModelLedger, ledger: ModelLedger, changes: WriteSet) -> None:
    """What must be true after any command: events chained, rows folded from them, no money created or lost."""
    for key in {stored.key for stored in changes.events}:
        _check_stream(before, ledger, key)
    for key, (wallet, _) in ledger.wallets.items():
        balance = wallet.balance.amount_minor
        assert balance >= 0
        assert balance == ledger.accounts[key.user_id, WALLET, wallet.balance.currency]
    held: Counter[tuple[str, str, str]] = Counter()
    for payment, _ in ledger.payments.values():
        if not payment.has_ended:
            held[payment.user_id, IN_FLIGHT, payment.amount.currency] += payment.amount.amount_minor
    in_flight = {key: amount for key, amount in ledger.accounts.items() if key[1] == IN_FLIGHT and amount}
    assert in_flight == dict(held)
    assert sum(ledger.accounts.values()) == 0


def _check_stream(before: ModelLedger, ledger: ModelLedger, key: StreamKey) -> None:
    stream = ledger.streams[key]
    known = len(before.streams.get(key, ()))
    assert stream[:known] == before.streams.get(key, ()), "history was rewritten"
    previous = stream[known - 1].hash if known else NO_HASH
    wallet = before.wallets.get(key, (None,))[0] or wallets.new_wallet(
        key.user_id, key.stream.partition(":")[2] or "NGN"
    )
    payment = before.payments.get(key, (None,))[0]
    for number, stored in enumerate(stream[known:], known + 1):
        kind = type(stored.event).__name__
        assert (stored.key, stored.seq, stored.prev_hash) == (key, number, previous)
        assert stored.hash == event_hash(
            previous, key, number, stored.at, kind, stored.command_key, stored.data
        )
        event = load_event(kind, stored.data)
        assert event == stored.event
        if isinstance(event, WALLET_EVENTS):
            wallet = wallets.evolve(wallet, event)
        else:
            payment = payments.evolve(payment, key, event, stored.at)
        previous = stored.hash
    rows = ledger.payments if key in ledger.payments else ledger.wallets
    row, head = rows[key]
    assert row == (payment if key in ledger.payments else wallet), "the row is not the fold of its events"
    assert head == StreamHead(len(stream), previous)
    if key in ledger.payments:
        _check_resolution([stored.event for stored in stream])


def _check_resolution(events: Sequence[object]) -> None:
    """A hold is captured or released, at most once, and never both."""
    ends = [event for event in events if isinstance(event, (PaymentCompleted, PaymentReversed))]
    assert len(ends) <= 1
    accepted = events[0]
    assert isinstance(accepted, PaymentAccepted)
    for end in ends:
        assert end.amount_minor == accepted.amount_minor
