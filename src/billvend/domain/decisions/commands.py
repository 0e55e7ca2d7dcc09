"""The commands that change the journal, and their results.

A command carries everything that its decision needs from outside: the time, the ids, the policy. It is identified by
(user, operation, key). The same command given twice is done once, and both get the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from billvend.domain.enums import OperatorDecision, Proof, Status, VendType
from billvend.domain.journal import codec
from billvend.domain.journal.events import Event
from billvend.domain.money import Money
from billvend.domain.outcome import Answer
from billvend.domain.payment.state import PAY_OPERATION, Payment
from billvend.domain.policy.policy import Policy


class CommandKey(NamedTuple):
    """What identifies a command. Two commands with the same key are one."""

    user_id: str
    operation: str
    key: str


# --- commands of people -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fund:
    """Add money to a wallet. A new wallet is opened."""

    operation: ClassVar[str] = "fund"
    user_id: str
    key: str
    """The caller's idempotency key, or a key made for this call."""
    transaction_id: str
    at: datetime
    amount: Money
    source: str
    reference: str

    @property
    def request_hash(self) -> str:
        """The hash of the request, without its user and its time. A key used for another request is rejected."""
        return codec.digest(self.amount.amount_minor, self.amount.currency, self.source, self.reference)


@dataclass(frozen=True, slots=True)
class Pay:
    """Hold money for a bill. Nothing is sent yet."""

    operation: ClassVar[str] = PAY_OPERATION
    user_id: str
    key: str
    has_caller_key: bool
    """False if the caller gave none. Then a likely double click is rejected."""
    transaction_id: str
    at: datetime
    amount: Money
    meter: str
    biller: str
    vend_type: VendType
    phone: str | None = None
    allow_duplicate: bool = False
    """True if the caller requested a second payment of the same bill on purpose."""
    verified: bool = False
    """True when the provider was asked about the meter just now. Else a worker asks before anything is sent."""

    @property
    def request_hash(self) -> str:
        """The hash of the request; see `Fund.request_hash`."""
        return codec.digest(
            self.amount.amount_minor,
            self.amount.currency,
            self.meter,
            self.biller,
            self.vend_type,
            self.phone,
        )


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give the money back, if nothing was sent yet."""

    operation: ClassVar[str] = "cancel"
    user_id: str
    key: str
    transaction_id: str
    at: datetime

    @property
    def request_hash(self) -> str:
        """The hash of the transaction's id."""
        return codec.digest(self.transaction_id)


@dataclass(frozen=True, slots=True)
class Resolve:
    """A person decides about a payment in doubt or in review, or acknowledges its incidents."""

    operation: ClassVar[str] = "resolve"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy
    operator: str
    """Who decides, as the events will name them."""
    decision: OperatorDecision
    reason: str
    token: str | None = None
    """The token that was sold, for `OperatorDecision.DELIVERED` of a prepaid payment."""

    @property
    def request_hash(self) -> str:
        """The hash of the decision, without the person who makes it."""
        return codec.digest(self.transaction_id, self.decision, self.token)


@dataclass(frozen=True, slots=True)
class RequestRequery:
    """Request an earlier requery, because the provider may have news. Nothing else changes."""

    operation: ClassVar[str] = "request_requery"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy
    source: str
    """Who requests it: `webhook`, `customer` or `operator`. The shortest interval does not apply to `operator`."""
    reference: str | None = None
    """The reference of the attempt to requery. The latest attempt if no attempt has it."""

    @property
    def request_hash(self) -> str:
        """The hash of the transaction's id."""
        return codec.digest(self.transaction_id)


# --- commands of workers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Do what is due on a payment. A send or a requery is left to the claimer; a reversal is done at once."""

    operation: ClassVar[str] = "claim"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy

    @property
    def request_hash(self) -> str:
        """The hash of the transaction's id."""
        return codec.digest(self.transaction_id)


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """Record the answer to a send or a requery, and draw the conclusion. Never rejected for being late."""

    operation: ClassVar[str] = "record_answer"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy
    attempt: int
    call_number: int
    """The number of the send or of the requery."""
    is_requery: bool
    answer: Answer

    @property
    def request_hash(self) -> str:
        """The hash of the transaction's id and the call."""
        return codec.digest(self.transaction_id, self.attempt, self.call_number, self.is_requery)


Command = Fund | Pay | Cancel | Resolve | RequestRequery | Claim | RecordAnswer


def command_key(command: Command) -> CommandKey:
    """What identifies a command."""
    return CommandKey(command.user_id, command.operation, command.key)


# --- results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """The one call that the claimer may make."""

    attempt: int
    call_number: int
    is_requery: bool
    reference: str
    provider: str
    account_id: str
    send_before: datetime | None = None
    """The first byte of a send may not leave after this. None for a requery."""
    verify_meter: bool = False
    """True if the worker must ask the provider about the meter before the send. It was not asked at acceptance."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The state of a transaction after a command."""

    transaction_id: str
    status: Status
    balance_minor: int | None = None
    """The available balance of the wallet afterwards, in minor units. None if the command did not change the wallet."""
    next_at: datetime | None = None
    """When the payment is due again; None for never."""
    proof: Proof | None = None
    provider_call: ProviderCall | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """The result of a command, and whether it had been done before."""

    result: CommandResult
    replayed: bool = False
    payment: Payment | None = None
    """The payment after the command. None if the command was not about a payment, or was a replay."""
    events: Sequence[Event] = ()
    """The events that the command added. None if it was a replay."""
