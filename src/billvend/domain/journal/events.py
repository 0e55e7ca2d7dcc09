"""The events: what happened. Wallets, payments and transfers are folded from them.

An event belongs to one stream of one user: `wallet:NGN`, or a payment's id. Its envelope (`StoredEvent`) numbers it
without gaps within the stream. A hash chains it to the event before, so that a changed or missing event is noticed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from billvend.domain.enums import IncidentKind, OperatorDecision, Proof, VendType
from billvend.domain.journal import codec
from billvend.domain.outcome import Answer

# --- a wallet's stream ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WalletFunded:
    """Money came in from outside."""

    transaction_id: str
    amount_minor: int
    source: str
    """Where it came from: `manual`, `paystack`."""
    reference: str
    """The source's own id of this money, or the caller's key. It is credited only once, for ever."""


@dataclass(frozen=True, slots=True)
class WalletHeld:
    """Money was set aside for a payment."""

    transaction_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class WalletReleased:
    """A payment's hold went back to the wallet: the reversal."""

    transaction_id: str
    amount_minor: int


# --- a payment's stream -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaymentAccepted:
    """The customer's order, with the money held."""

    amount_minor: int
    currency: str
    meter: str
    biller: str
    vend_type: VendType
    phone: str | None
    key: str | None
    """The caller's own idempotency key; None if the caller gave none."""
    verified: bool = False
    """True when the provider was asked about the meter before the money was held. Else a worker asks before it sends."""


@dataclass(frozen=True, slots=True)
class SendStarted:
    """A worker may send a reference once. Committed before the first byte."""

    attempt: int
    send: int
    reference: str
    provider: str
    account_id: str
    lease_until: datetime
    send_before: datetime
    """The worker may not send the first byte after this."""
    answer_by: datetime
    """`send_before` plus the call's total deadline. After this, no byte of the request is still on its way."""
    valid_until: datetime | None
    """The reference may not be sent after this. None: it has no limit."""


@dataclass(frozen=True, slots=True)
class PriorAttemptRegistered:
    """A reference of an earlier day is to be requeried before today's is sent. The journal has no send under it, but a
    restored backup may have lost one."""

    attempt: int
    reference: str
    provider: str
    account_id: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class SendAnswered:
    """The answer to a send."""

    attempt: int
    send: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class SendLeaseExpired:
    """The lease expired without an answer: the send may have happened."""

    attempt: int
    send: int


@dataclass(frozen=True, slots=True)
class RequeryStarted:
    """A worker asks the provider about a reference."""

    attempt: int
    requery: int
    lease_until: datetime
    scheduled_seconds: float
    """The gap that was scheduled before it."""
    on_request: bool = False
    """True when a requery request led to it, not the schedule."""


@dataclass(frozen=True, slots=True)
class RequeryAnswered:
    """The answer to a requery."""

    attempt: int
    requery: int
    answer: Answer
    credited_seconds: float
    """How much observed time this answer adds to the age of the attempt. At most the scheduled gap, so that a jump of
    the clock proves nothing."""


@dataclass(frozen=True, slots=True)
class RequeryRequested:
    """An earlier requery is requested: the provider may have news. The request itself proves nothing."""

    source: str
    """Who requested it: `webhook`, `operator`, `customer`."""
    not_before: datetime
    """The requery is not made before this."""
    attempt: int
    """The attempt to requery."""
    after_requery: int
    """How many of its requeries had started by then. Only a later one answers the request."""


@dataclass(frozen=True, slots=True)
class PaymentPutInDoubt:
    """The outcome of the latest attempt is unknown: it may have been sold. From here on nothing is sent."""


@dataclass(frozen=True, slots=True)
class ReviewRequested:
    """A person must decide. The money stays held, and requeries go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class PaymentCompleted:
    """The electricity was sold. The hold is captured."""

    attempt: int
    provider: str
    amount_minor: int
    cost_minor: int | None
    """What the provider charged. None while unknown: then the face value is booked."""
    token: str | None
    units: str | None
    receipt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CostRecorded:
    """The cost of a completed payment became known after the face value had been booked."""

    attempt: int
    provider: str
    amount_minor: int
    """What was booked."""
    cost_minor: int


@dataclass(frozen=True, slots=True)
class ReversalDecided:
    """The money will go back. The proof shows why that is safe."""

    proof: Proof
    reason: str
    attempt: int | None


@dataclass(frozen=True, slots=True)
class PaymentReversed:
    """The money went back."""

    proof: Proof
    reason: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class IncidentRaised:
    """Something turned up after the payment's end, and a person must see it. The customer's money does not move."""

    kind: IncidentKind
    attempt: int
    provider: str
    amount_minor: int
    """What it moves between our own accounts: a loss, or a recovered sum. 0 for nothing."""
    detail: str


@dataclass(frozen=True, slots=True)
class OperatorDecided:
    """A person has decided, and is responsible for it. The events after this one carry it out."""

    operator: str
    decision: OperatorDecision
    reason: str


WalletEvent = WalletFunded | WalletHeld | WalletReleased
PaymentEvent = (
    PaymentAccepted
    | PriorAttemptRegistered
    | SendStarted
    | SendAnswered
    | SendLeaseExpired
    | RequeryStarted
    | RequeryAnswered
    | RequeryRequested
    | PaymentPutInDoubt
    | ReviewRequested
    | PaymentCompleted
    | CostRecorded
    | ReversalDecided
    | PaymentReversed
    | IncidentRaised
    | OperatorDecided
)
Event = WalletEvent | PaymentEvent
EVENT_TYPES: Mapping[str, type] = {kind.__name__: kind for kind in Event.__args__}

NO_HASH = ""
"""The `prev_hash` of the first event of a stream."""


class StreamKey(NamedTuple):
    """The name of a stream: the user, and `wallet:<currency>` or the payment's id."""

    user_id: str
    stream: str


class StoredEvent(NamedTuple):
    """An event in its envelope, as the journal stores it."""

    key: StreamKey
    seq: int
    """1, 2, 3 ... within the stream, without gaps."""
    at: datetime
    event: Event
    command_key: str
    """The key of the command that caused it."""
    data: str
    """The event's fields as canonical JSON. The hash covers it."""
    prev_hash: str
    hash: str


def chain_event(
    key: StreamKey, seq: int, at: datetime, event: Event, command_key: str, prev_hash: str
) -> StoredEvent:
    """Put an event in its envelope, after the event whose hash is `prev_hash`."""
    data = codec.dumps(event)
    hash_ = event_hash(prev_hash, key, seq, at, type(event).__name__, command_key, data)
    return StoredEvent(key, seq, at, event, command_key, data, prev_hash, hash_)


def event_hash(
    prev_hash: str, key: StreamKey, seq: int, at: datetime, kind: str, command_key: str, data: str
) -> str:
    """The hash (SHA-256, hex) of an event after `prev_hash`. It covers all columns of the event's row."""
    content = [prev_hash, key.user_id, key.stream, seq, codec.format_timestamp(at), kind, command_key, data]
    return hashlib.sha256(codec.dumps(content).encode()).hexdigest()


def load_event(kind: str, data: str) -> Event:
    """The event of a type's name and its canonical JSON."""
    event: Event = codec.loads(EVENT_TYPES[kind], data)
    return event
