"""The commands that change the journal, and their results.

A command carries everything that its decision needs from outside: the time, the ids, the policy. It is identified by
(user, operation, key). The same command given twice is done once, and both get the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
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


@dataclass(frozen=True, slots=True)
class _Command:
    """What all commands have."""

    operation: ClassVar[str]
    request: ClassVar[tuple[str, ...]] = ("transaction_id",)
    """The fields that make two commands the same request. Never the user, the time or the operator."""
    user_id: str
    key: str
    """The caller's idempotency key, or a key made for this call."""
    transaction_id: str
    at: datetime

    @property
    def command_key(self) -> CommandKey:
        """What identifies it."""
        return CommandKey(self.user_id, self.operation, self.key)

    @property
    def request_hash(self) -> str:
        """The hash of the request. A key that was used for another request is rejected."""
        return codec.digest(*[attrgetter(name)(self) for name in self.request])


@dataclass(frozen=True, slots=True)
class _PolicyCommand(_Command):
    """What commands have that are decided by the reversal policy."""

    policy: Policy


# --- commands of people -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fund(_Command):
    """Add money to a wallet. A new wallet is opened."""

    operation = "fund"
    request = ("amount.amount_minor", "amount.currency", "source", "reference")
    amount: Money
    source: str
    reference: str


@dataclass(frozen=True, slots=True)
class Pay(_Command):
    """Hold money for a bill. Nothing is sent yet."""

    operation = PAY_OPERATION
    request = ("amount.amount_minor", "amount.currency", "meter", "biller", "vend_type", "phone")
    has_caller_key: bool
    """False if the caller gave none. Then a likely double click is rejected."""
    amount: Money
    meter: str
    biller: str
    vend_type: VendType
    phone: str | None = None
    allow_duplicate: bool = False
    """True if the caller requested a second payment of the same bill on purpose."""
    verified: bool = False
    """True when the provider was asked about the meter just now. Else a worker asks before anything is sent."""


@dataclass(frozen=True, slots=True)
class Cancel(_Command):
    """Give the money back, if nothing was sent yet."""

    operation = "cancel"


@dataclass(frozen=True, slots=True)
class Resolve(_PolicyCommand):
    """A person decides about a payment in doubt or in review, or acknowledges its incidents."""

    operation = "resolve"
    request = ("transaction_id", "decision", "token")
    operator: str
    """Who decides, as the events will name them."""
    decision: OperatorDecision
    reason: str
    token: str | None = None
    """The token that was sold, for `OperatorDecision.DELIVERED` of a prepaid payment."""


@dataclass(frozen=True, slots=True)
class RequestRequery(_PolicyCommand):
    """Request an earlier requery, because the provider may have news. Nothing else changes."""

    operation = "request_requery"
    source: str
    """Who requests it: `webhook`, `customer` or `operator`. The shortest interval does not apply to `operator`."""
    reference: str | None = None
    """The reference of the attempt to requery. The latest attempt if no attempt has it."""


# --- commands of workers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim(_PolicyCommand):
    """Do what is due on a payment. A send or a requery is left to the claimer; a reversal is done at once."""

    operation = "claim"


@dataclass(frozen=True, slots=True)
class RecordAnswer(_PolicyCommand):
    """Record the answer to a send or a requery, and draw the conclusion. Never rejected for being late."""

    operation = "record_answer"
    request = ("transaction_id", "attempt", "call_number", "is_requery")
    attempt: int
    call_number: int
    """The number of the send or of the requery."""
    is_requery: bool
    answer: Answer
    """The answer of an adapter as `verify_answer` returned it."""


Command = Fund | Pay | Cancel | Resolve | RequestRequery | Claim | RecordAnswer


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
