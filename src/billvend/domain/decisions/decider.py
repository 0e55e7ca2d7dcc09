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
    command_key,
)
from billvend.domain.decisions.recorder import Decision
from billvend.domain.errors import (
    BillvendError,
    IdempotencyMismatch,
    TransactionNotFound,
)
from billvend.domain.journal.events import (
    NO_HASH,
    Event,
    StoredEvent,
    StreamKey,
    chain_event,
)
from billvend.domain.ledger import wallet as wallets
from billvend.domain.ledger.wallet import Wallet
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


State = TypeVar("State")


class _Batch:
    """The state after some of a list of commands."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.before = snapshot
        self.writes = WriteSet()
        self.recent_by_fingerprint = dict(snapshot.recent_by_fingerprint)

    def decide(self, command: Command) -> Executed:
        key = command_key(command)
        if (replay := replay_of(self._stored_result(key), command)) is not None:
            return replay
        match command:
            case Fund():
                decision = customer.fund(self.wallet(command.user_id, command.amount.currency), command)
            case Pay():
                fingerprint = duplicate_fingerprint(command)
                wallet = self.wallet(command.user_id, command.amount.currency)
                decision = customer.pay(wallet, self.recent_by_fingerprint.get(fingerprint), command)
                self.recent_by_fingerprint[fingerprint] = command.at
            case Cancel():
                payment = self.payment(command)
                decision = customer.cancel(self.wallet_of(payment), payment, command)
            case Resolve():
                payment = self.payment(command)
                decision = operator.resolve(
                    self.wallet_of(payment), payment, command, self.owner_of(command.token)
                )
            case RequestRequery():
                decision = operator.request_requery(self.payment(command), command)
            case Claim():
                payment = self.payment(command)
                decision = worker.claim(self.wallet_of(payment), payment, command)
            case RecordAnswer():
                payment = self.payment(command)
                decision = worker.record_answer(payment, command, self.owner_of(token_of(command)))
            case _:
                assert_never(command)
        return self._record_decision(key, command, decision)

    def wallet(self, user_id: str, currency: str) -> Wallet | None:
        key = wallets.wallet_stream(user_id, currency)
        known = self.writes.wallets.get(key) or self.before.wallets.get(key)
        return known[0] if known else None

    def wallet_of(self, payment: Payment) -> Wallet | None:
        return self.wallet(payment.user_id, payment.amount.currency)

    def owner_of(self, token: str | None) -> StreamKey | None:
        """The payment that a token completed before."""
        if token is None:
            return None
        completed_now = (key for key, (payment, _) in self.writes.payments.items() if payment.token == token)
        return self.before.token_owners.get(token) or next(completed_now, None)

    def payment(self, command: Cancel | Resolve | RequestRequery | Claim | RecordAnswer) -> Payment:
        key = StreamKey(command.user_id, command.transaction_id)
        known = self.writes.payments.get(key) or self.before.payments.get(key)
        if known is None:
            raise TransactionNotFound(f"There is no payment {command.transaction_id}.")
        return known[0]

    def _stored_result(self, key: CommandKey) -> StoredResult | None:
        if (now := self.writes.results.get(key)) is not None:
            command, result = now
            return StoredResult(command.request_hash, result)
        return self.before.stored_results.get(key)

    def _record_decision(self, key: CommandKey, command: Command, decision: Decision) -> Executed:
        if decision.payment is not None:
            self.writes.next_at[decision.payment.stream_key] = decision.result.next_at
        if not decision.wallet_events and not decision.payment_events:
            return Executed(decision.result, payment=decision.payment)
        if decision.wallet_events and decision.wallet is not None:
            stream = decision.wallet.stream_key
            _, head = self._current(self.writes.wallets, self.before.wallets, stream)
            head = self._append_events(stream, head, command, decision.wallet_events)
            self.writes.wallets[stream] = (decision.wallet, head)
        if decision.payment_events and decision.payment is not None:
            stream = decision.payment.stream_key
            _, head = self._current(self.writes.payments, self.before.payments, stream)
            head = self._append_events(stream, head, command, decision.payment_events)
            self.writes.payments[stream] = (decision.payment, head)
        self.writes.results[key] = (command, decision.result)
        return Executed(
            decision.result,
            payment=decision.payment,
            events=[*decision.wallet_events, *decision.payment_events],
        )

    @staticmethod
    def _current(
        changed: Mapping[StreamKey, tuple[State, StreamHead]],
        before: Mapping[StreamKey, tuple[State, StreamHead]],
        stream: StreamKey,
    ) -> tuple[State | None, StreamHead]:
        return changed.get(stream) or before.get(stream) or (None, StreamHead())

    def _append_events(
        self, stream: StreamKey, head: StreamHead, command: Command, events: Sequence[Event]
    ) -> StreamHead:
        for event in events:
            stored = chain_event(stream, head.seq + 1, command.at, event, command.key, head.hash)
            self.writes.events.append(stored)
            head = StreamHead(stored.seq, stored.hash)
        return head


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
