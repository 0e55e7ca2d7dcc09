"""What can be asked of the books, and what is answered.

A command carries everything that its decision needs from outside: the moment, the ids, the policy. It is identified by
(user, operation, key): the same one given twice is done once, and answered the same way both times.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple

from billvend.domain.enums import OperatorDecision, Proof, Status, VendType
from billvend.domain.journal import codec
from billvend.domain.money import Money
from billvend.domain.outcome import Answer
from billvend.domain.payment.state import PAY_OPERATION, Payment
from billvend.domain.policy.policy import Policy


class CommandKey(NamedTuple):
    """What makes two commands the same one."""

    user_id: str
    operation: str
    key: str


# --- what people ask for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fund:
    """Add money to a wallet; opens it if it is new."""

    operation: ClassVar[str] = "fund"
    user_id: str
    key: str
    """The caller's idempotency key, or one made for this call."""
    transaction_id: str
    at: datetime
    amount: Money
    source: str
    reference: str

    @property
    def request_hash(self) -> str:
        """Of what was asked for, whoever asks and whenever: a key used for anything else is refused."""
        return codec.digest(self.amount.amount_minor, self.amount.currency, self.source, self.reference)


@dataclass(frozen=True, slots=True)
class Pay:
    """Hold money for a bill. Nothing is sent yet."""

    operation: ClassVar[str] = PAY_OPERATION
    user_id: str
    key: str
    has_caller_key: bool
    """False when the caller gave none: then a likely double click is refused."""
    transaction_id: str
    at: datetime
    amount: Money
    meter: str
    biller: str
    vend_type: VendType
    phone: str | None = None
    allow_duplicate: bool = False
    """True when the caller asked for a second payment of the same bill on purpose."""
    verified: bool = False
    """True when the provider was asked about the meter just now; else a worker asks before anything is sent."""

    @property
    def request_hash(self) -> str:
        """Of what was asked for; see `Fund.request_hash`."""
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
    """Give the money back while nothing was sent."""

    operation: ClassVar[str] = "cancel"
    user_id: str
    key: str
    transaction_id: str
    at: datetime

    @property
    def request_hash(self) -> str:
        """Of the transaction."""
        return codec.digest(self.transaction_id)


@dataclass(frozen=True, slots=True)
class Resolve:
    """A person decides about a payment that waits for one, or has dealt with its incidents."""

    operation: ClassVar[str] = "resolve"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy
    operator: str
    """Who decides, as it will stand in the events."""
    decision: OperatorDecision
    reason: str
    token: str | None = None
    """What was sold, for `OperatorDecision.DELIVERED` of a prepaid payment."""

    @property
    def request_hash(self) -> str:
        """Of the decision, whoever makes it."""
        return codec.digest(self.transaction_id, self.decision, self.token)


@dataclass(frozen=True, slots=True)
class RequestRequery:
    """Somebody hints that a provider has news of a payment. Only brings the next requery forward."""

    operation: ClassVar[str] = "request_requery"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy
    source: str
    """Who: `webhook`, `customer`, or `operator`, who need not wait for the shortest interval between requeries."""
    reference: str | None = None
    """Which of its attempts the hint is about; the latest where it names none of them."""

    @property
    def request_hash(self) -> str:
        """Of the transaction."""
        return codec.digest(self.transaction_id)


# --- what workers ask for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Take what is due on a payment: leave to send, to requery, or the giving back of its money, done at once."""

    operation: ClassVar[str] = "claim"
    user_id: str
    key: str
    transaction_id: str
    at: datetime
    policy: Policy

    @property
    def request_hash(self) -> str:
        """Of the transaction."""
        return codec.digest(self.transaction_id)


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """Write down what a send or a requery brought back, and draw the conclusion. Never refused for being late."""

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
        """Of the transaction and the call."""
        return codec.digest(self.transaction_id, self.attempt, self.call_number, self.is_requery)


Command = Fund | Pay | Cancel | Resolve | RequestRequery | Claim | RecordAnswer


def command_key(command: Command) -> CommandKey:
    """What identifies a command."""
    return CommandKey(command.user_id, command.operation, command.key)


# --- what is answered -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call that the claimer may make, and only it."""

    attempt: int
    call_number: int
    is_requery: bool
    reference: str
    provider: str
    account_id: str
    send_before: datetime | None = None
    """The first byte of a send may not leave after this; None for a requery."""
    verify_meter: bool = False
    """True for a send to a meter that was accepted without anybody asking the provider about it."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command left its transaction."""

    transaction_id: str
    status: Status
    balance_minor: int | None = None
    """Of the wallet afterwards, where the command touched it."""
    next_at: datetime | None = None
    """When the payment is due again; None when it has ended."""
    proof: Proof | None = None
    provider_call: ProviderCall | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """A command's result, and whether the command had been done before."""

    result: CommandResult
    replayed: bool = False
    payment: Payment | None = None
    """As the command left it; None where it concerned no payment, or was a replay."""
