"""The decisions: what each command does to the books, or why it is refused.

`decide` takes what was read under the lock and a list of commands, and returns what to write and what to answer. It is
pure: no clock, no ids of its own, no I/O; time and keys come with the commands. A refused command leaves no trace and
does not disturb its neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar, assert_never

from billvend.domain import decisions
from billvend.domain import wallet as wallets
from billvend.domain.commands import (
    Cancel,
    Claim,
    Command,
    CommandKey,
    Done,
    Fund,
    Nudge,
    Pay,
    Reply,
    Report,
    Resolve,
    command_key,
)
from billvend.domain.decisions import Decision
from billvend.domain.errors import (
    BillvendError,
    IdempotencyMismatch,
    TransactionNotFound,
)
from billvend.domain.events import (
    NO_HASH,
    Event,
    Recorded,
    StreamKey,
    record,
)
from billvend.domain.outcome import Delivered
from billvend.domain.payment import Payment
from billvend.domain.wallet import Wallet


class Head(NamedTuple):
    """The end of a stream: how many events it has, and the hash of the last."""

    seq: int = 0
    hash: str = NO_HASH


class Remembered(NamedTuple):
    """A command that was done before."""

    request_hash: str
    reply: Reply


class Likeness(NamedTuple):
    """What makes two payments look like one bill paid twice."""

    user_id: str
    meter: str
    biller: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the commands name, as read under the lock. What is missing does not exist."""

    wallets: Mapping[StreamKey, tuple[Wallet, Head]] = field(default_factory=dict)
    payments: Mapping[StreamKey, tuple[Payment, Head]] = field(default_factory=dict)
    remembered: Mapping[CommandKey, Remembered] = field(default_factory=dict)
    recent: Mapping[Likeness, datetime] = field(default_factory=dict)
    """When a payment that looks the same was last accepted, of those that are not reversed."""
    token_owners: Mapping[str, StreamKey] = field(default_factory=dict)
    """Which payment was completed first with a token, for the tokens that are reported here."""


@dataclass(slots=True)
class Changes:
    """What to write, all in one transaction."""

    events: list[Recorded] = field(default_factory=list)
    wallets: dict[StreamKey, tuple[Wallet, Head]] = field(default_factory=dict)
    payments: dict[StreamKey, tuple[Payment, Head]] = field(default_factory=dict)
    next_at: dict[StreamKey, datetime | None] = field(default_factory=dict)
    """When each payment that was decided on is due, whether it changed or not; None for never."""
    done: dict[CommandKey, tuple[Command, Reply]] = field(default_factory=dict)


Result = Done | BillvendError


def decide(snapshot: Snapshot, commands: Iterable[Command]) -> tuple[Changes, list[Result]]:
    """Decide the commands one after the other, each on the books as the ones before it left them."""
    desk = _Desk(snapshot)
    results: list[Result] = []
    for command in commands:
        try:
            results.append(desk.decide(command))
        except BillvendError as refusal:  # an IllegalMove too: a bug in one place stops nobody else
            results.append(refusal)
    return desk.changes, results


State = TypeVar("State")


class _Desk:
    """The books as they stand in the middle of a list of commands."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.before = snapshot
        self.changes = Changes()
        self.recent = dict(snapshot.recent)

    def decide(self, command: Command) -> Done:
        key = command_key(command)
        if (known := self._remembered(key)) is not None:
            if known.request_hash != command.request_hash:
                raise IdempotencyMismatch(
                    "This key was used before for another request. That one stands; nothing was done now."
                )
            return Done(known.reply, replayed=True)
        match command:
            case Fund():
                decision = decisions.fund(self.wallet(command.user_id, command.amount.currency), command)
            case Pay():
                likeness = likeness_of(command)
                wallet = self.wallet(command.user_id, command.amount.currency)
                decision = decisions.pay(wallet, self.recent.get(likeness), command)
                self.recent[likeness] = command.at
            case Cancel():
                payment = self.payment(command)
                decision = decisions.cancel(self.wallet_of(payment), payment, command)
            case Resolve():
                payment = self.payment(command)
                decision = decisions.resolve(
                    self.wallet_of(payment), payment, command, self.owner_of(command.token)
                )
            case Nudge():
                decision = decisions.nudge(self.payment(command), command)
            case Claim():
                payment = self.payment(command)
                decision = decisions.claim(self.wallet_of(payment), payment, command)
            case Report():
                payment = self.payment(command)
                decision = decisions.report(payment, command, self.owner_of(token_of(command)))
            case _:
                assert_never(command)
        return self._book(key, command, decision)

    def wallet(self, user_id: str, currency: str) -> Wallet | None:
        key = wallets.wallet_stream(user_id, currency)
        known = self.changes.wallets.get(key) or self.before.wallets.get(key)
        return known[0] if known else None

    def wallet_of(self, payment: Payment) -> Wallet | None:
        return self.wallet(payment.user_id, payment.amount.currency)

    def owner_of(self, token: str | None) -> StreamKey | None:
        """Which payment was completed with a token before."""
        if token is None:
            return None
        completed_now = (key for key, (payment, _) in self.changes.payments.items() if payment.token == token)
        return self.before.token_owners.get(token) or next(completed_now, None)

    def payment(self, command: Cancel | Resolve | Nudge | Claim | Report) -> Payment:
        key = StreamKey(command.user_id, command.transaction_id)
        known = self.changes.payments.get(key) or self.before.payments.get(key)
        if known is None:
            raise TransactionNotFound(f"There is no payment {command.transaction_id}.")
        return known[0]

    def _remembered(self, key: CommandKey) -> Remembered | None:
        if (now := self.changes.done.get(key)) is not None:
            command, reply = now
            return Remembered(command.request_hash, reply)
        return self.before.remembered.get(key)

    def _book(self, key: CommandKey, command: Command, decision: Decision) -> Done:
        if decision.payment is not None:
            self.changes.next_at[decision.payment.stream] = decision.reply.next_at
        if not decision.wallet_events and not decision.payment_events:
            return Done(decision.reply, payment=decision.payment)
        if decision.wallet_events and decision.wallet is not None:
            stream = decision.wallet.key
            _, head = self._known(self.changes.wallets, self.before.wallets, stream)
            head = self._record(stream, head, command, decision.wallet_events)
            self.changes.wallets[stream] = (decision.wallet, head)
        if decision.payment_events and decision.payment is not None:
            stream = decision.payment.stream
            _, head = self._known(self.changes.payments, self.before.payments, stream)
            head = self._record(stream, head, command, decision.payment_events)
            self.changes.payments[stream] = (decision.payment, head)
        self.changes.done[key] = (command, decision.reply)
        return Done(decision.reply, payment=decision.payment)

    @staticmethod
    def _known(
        changed: Mapping[StreamKey, tuple[State, Head]],
        before: Mapping[StreamKey, tuple[State, Head]],
        stream: StreamKey,
    ) -> tuple[State | None, Head]:
        return changed.get(stream) or before.get(stream) or (None, Head())

    def _record(self, stream: StreamKey, head: Head, command: Command, events: Sequence[Event]) -> Head:
        for event in events:
            recorded = record(stream, head.seq + 1, command.at, event, command.key, head.hash)
            self.changes.events.append(recorded)
            head = Head(recorded.seq, recorded.hash)
        return head


def token_of(command: Command) -> str | None:
    """The token that a command brings, if any."""
    match command:
        case Report(answer=Delivered(token)) | Resolve(token=token):
            return token
        case _:
            return None


def likeness_of(command: Pay) -> Likeness:
    """What a later payment is compared with to find a double click."""
    amount = command.amount
    return Likeness(command.user_id, command.meter, command.biller, amount.amount_minor, amount.currency)
