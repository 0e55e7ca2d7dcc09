"""The decider: what each command writes, or why it is rejected.

`decide` takes what was read under the lock and a list of commands, and returns what to write and the results. It is
pure: no clock, no ids of its own, no I/O. Time and keys come with the commands. A rejected command writes nothing and
does not affect the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar, assert_never

from billvend.domain.decisions import customer, operator, worker
from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandKey,
    CommandResult,
    Executed,
    Fund,
    Pay,
    RecordAnswer,
    RequestRequery,
    Resolve,
)
from billvend.domain.decisions.decision import Decision
from billvend.domain.errors import BillvendError, IdempotencyMismatch
from billvend.domain.journal.events import NO_HASH, Event, StoredEvent, StreamKey, chain_event
from billvend.domain.ledger.wallet import Wallet, wallet_stream
from billvend.domain.outcome import Delivered
from billvend.domain.payment.state import Payment


class StreamHead(NamedTuple):
    """The end of a stream: how many events it has, and the hash of the last."""

    seq: int = 0
    hash: str = NO_HASH


class StoredResult(NamedTuple):
    """The stored result of a command that was done before."""

    request_hash: str
    result: CommandResult


class DuplicateFingerprint(NamedTuple):
    """What makes two payments look like one bill paid twice."""

    user_id: str
    meter: str
    biller: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state that the commands need, as read under the lock. What is missing does not exist."""

    wallets: Mapping[StreamKey, tuple[Wallet, StreamHead]] = field(default_factory=dict)
    payments: Mapping[StreamKey, tuple[Payment, StreamHead]] = field(default_factory=dict)
    stored_results: Mapping[CommandKey, StoredResult] = field(default_factory=dict)
    recent_by_fingerprint: Mapping[DuplicateFingerprint, datetime] = field(default_factory=dict)
    """When a payment with this fingerprint was last accepted. Reversed payments do not count."""
    token_owners: Mapping[str, StreamKey] = field(default_factory=dict)
    """The payment that each token completed first, for the tokens in the commands."""


@dataclass(slots=True)
class WriteSet:
    """What to write, all in one transaction."""

    events: list[StoredEvent] = field(default_factory=list)
    wallets: dict[StreamKey, tuple[Wallet, StreamHead]] = field(default_factory=dict)
    payments: dict[StreamKey, tuple[Payment, StreamHead]] = field(default_factory=dict)
    next_at: dict[StreamKey, datetime | None] = field(default_factory=dict)
    """When each payment that was decided on is due, even if it did not change. None for never."""
    results: dict[CommandKey, tuple[Command, CommandResult]] = field(default_factory=dict)


CommandOutcome = Executed | BillvendError


def replay_of(stored: StoredResult | None, command: Command) -> Executed | None:
    """The stored result of a command; None if its key is new. Raises `IdempotencyMismatch`."""
    if stored is None:
        return None
    if stored.request_hash != command.request_hash:
        raise IdempotencyMismatch(
            "This key was used before for another request. That one is unchanged. Nothing was done now."
        )
    return Executed(stored.result, replayed=True)


def decide(snapshot: Snapshot, commands: Iterable[Command]) -> tuple[WriteSet, list[CommandOutcome]]:
    """Decide the commands in order. Each sees the state that the ones before it left."""
    batch = _Batch(snapshot)
    results: list[CommandOutcome] = []
    for command in commands:
        try:
            results.append(batch.decide(command))
        except BillvendError as rejection:  # an InvalidTransition too: a bug stops only its own command
            results.append(rejection)
    return batch.writes, results


State = TypeVar("State", Wallet, Payment)


class _Batch:
    """The state after some of a list of commands."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.wallets, self.payments = dict(snapshot.wallets), dict(snapshot.payments)
        self.results = dict(snapshot.stored_results)
        self.recent_by_fingerprint = dict(snapshot.recent_by_fingerprint)
        self.token_owners = dict(snapshot.token_owners)
        self.writes = WriteSet()

    def decide(self, command: Command) -> Executed:
        if (replay := replay_of(self.results.get(command.command_key), command)) is not None:
            return replay
        decision, owner = self._begin(command), self.token_owners.get(token_of(command) or "")
        match command:
            case Fund():
                customer.fund(decision, command)
            case Pay():
                fingerprint = duplicate_fingerprint(command)
                customer.pay(decision, command, self.recent_by_fingerprint.get(fingerprint))
                self.recent_by_fingerprint[fingerprint] = command.at
            case Cancel():
                customer.cancel(decision)
            case Resolve():
                operator.resolve(decision, command, owner)
            case RequestRequery():
                operator.request_requery(decision, command)
            case Claim():
                worker.claim(decision, command)
            case RecordAnswer():
                worker.record_answer(decision, command, owner)
            case _:
                assert_never(command)
        self._record(command, decision)
        added = [*decision.wallet_events, *decision.payment_events]
        return Executed(decision.result, payment=decision.payment_or_none, events=added)

    def _begin(self, command: Command) -> Decision:
        """The decision on a command, with the wallet and the payment as the commands before left them."""
        if isinstance(command, Fund | Pay):
            payment, currency = None, command.amount.currency
        else:
            payment, _ = self.payments.get(StreamKey(command.user_id, command.transaction_id), (None, None))
            currency = payment.amount.currency if payment else ""
        wallet, _ = self.wallets.get(wallet_stream(command.user_id, currency), (None, None))
        return Decision(command, wallet, payment)

    def _record(self, command: Command, decision: Decision) -> None:
        if (wallet := decision.wallet) is not None:
            self._append(command, wallet, decision.wallet_events, self.wallets, self.writes.wallets)
        if (payment := decision.payment_or_none) is not None:
            self._append(command, payment, decision.payment_events, self.payments, self.writes.payments)
            self.writes.next_at[payment.stream_key] = decision.result.next_at
            if payment.token is not None:
                self.token_owners.setdefault(payment.token, payment.stream_key)
        if decision.wallet_events or decision.payment_events:
            self.writes.results[command.command_key] = (command, decision.result)
            self.results[command.command_key] = StoredResult(command.request_hash, decision.result)

    def _append(
        self,
        command: Command,
        state: State,
        events: Sequence[Event],
        states: dict[StreamKey, tuple[State, StreamHead]],
        writes: dict[StreamKey, tuple[State, StreamHead]],
    ) -> None:
        """Add events to the stream of a wallet or a payment, and keep the state after them."""
        if not events:
            return
        _, head = states.get(state.stream_key, (None, StreamHead()))
        for event in events:
            stored = chain_event(state.stream_key, head.seq + 1, command.at, event, command.key, head.hash)
            self.writes.events.append(stored)
            head = StreamHead(stored.seq, stored.hash)
        states[state.stream_key] = writes[state.stream_key] = (state, head)


def token_of(command: Command) -> str | None:
    """The token in a command, if any."""
    match command:
        case RecordAnswer(answer=Delivered(token)) | Resolve(token=token):
            return token
        case _:
            return None


def duplicate_fingerprint(command: Pay) -> DuplicateFingerprint:
    """The fingerprint of a payment, compared with later ones to find a double click."""
    amount = command.amount
    return DuplicateFingerprint(
        command.user_id, command.meter, command.biller, amount.amount_minor, amount.currency
    )
