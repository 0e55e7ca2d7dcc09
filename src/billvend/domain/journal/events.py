"""What happened. Everything else on the books is folded from these.

An event belongs to one stream of one user: `wallet:NGN`, or a payment's id. Its envelope (`StoredEvent`) numbers it without
gaps within the stream and chains it to the one before by hash, so that a changed or missing event is seen.
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
    """Who brought it: `manual`, `paystack`."""
    reference: str
    """The source's own name of this funding, or the caller's key: credited once for ever."""


@dataclass(frozen=True, slots=True)
class WalletHeld:
    """Money was set aside for a payment."""

    transaction_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class WalletReleased:
    """A payment's hold went back: the reversal."""

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
    """The caller's own idempotency key; None when the caller gave none."""
    verified: bool = False
    """True when the provider was asked about the meter before the money was held; else a worker asks before it sends."""


@dataclass(frozen=True, slots=True)
class SendStarted:
    """A worker got leave to send a reference once. Committed before the first byte."""

    attempt: int
    send: int
    reference: str
    provider: str
    account_id: str
    lease_until: datetime
    send_before: datetime
    """The worker may not put the first byte on the wire after this."""
    answer_by: datetime
    """`send_before` plus the call's total deadline: after this, whatever was sent is with the provider."""
    valid_until: datetime | None
    """The reference may not be sent after this; None for ever."""


@dataclass(frozen=True, slots=True)
class PriorAttemptRegistered:
    """Nothing is known to have been sent under this reference; but books that were since lost may have: the provider is
    asked before anything is sent under today's."""

    attempt: int
    reference: str
    provider: str
    account_id: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class SendAnswered:
    """What a send brought back."""

    attempt: int
    send: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class SendLeaseExpired:
    """The lease ran out and nobody reported: the send may have happened."""

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
    """True when it was made because somebody hinted at news, not because the schedule said so."""


@dataclass(frozen=True, slots=True)
class RequeryAnswered:
    """What the provider said of a reference."""

    attempt: int
    requery: int
    answer: Answer
    credited_seconds: float
    """How much observed time this answer adds to the age of the attempt: at most the gap that was scheduled, so that a
    jump of the clock proves nothing."""


@dataclass(frozen=True, slots=True)
class RequeryRequested:
    """Somebody hints that the provider has news: it is asked sooner than planned. A hint, never a fact."""

    source: str
    """Who: `webhook`, `operator`, `customer`."""
    not_before: datetime
    """Not sooner than this."""
    attempt: int
    """What the hint is about."""
    after_requery: int
    """How many requeries of it had been started: only a later one follows the hint up."""


@dataclass(frozen=True, slots=True)
class PaymentPutInDoubt:
    """The outcome of the latest attempt is unknown: it may have been sold. From here on nothing is sent."""


@dataclass(frozen=True, slots=True)
class ReviewRequested:
    """A person is asked to look. The money stays held and the provider goes on being asked."""

    reason: str


@dataclass(frozen=True, slots=True)
class PaymentCompleted:
    """The hold is spent: the electricity was sold."""

    attempt: int
    provider: str
    amount_minor: int
    cost_minor: int | None
    """What the provider charged; None while unknown, when the face value stands in for it."""
    token: str | None
    units: str | None
    receipt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CostRecorded:
    """What the provider charged for a completed payment became known after the face value had been booked for it."""

    attempt: int
    provider: str
    amount_minor: int
    """What was booked."""
    cost_minor: int


@dataclass(frozen=True, slots=True)
class ReversalDecided:
    """The money is to go back, and this is why that is safe."""

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
    """Something turned up after the end that a person must see. The customer's side is left as it is."""

    kind: IncidentKind
    attempt: int
    provider: str
    amount_minor: int
    """What it moves between our own accounts: a loss, or a sum recovered; 0 for nothing."""
    detail: str


@dataclass(frozen=True, slots=True)
class OperatorDecided:
    """A person has decided, and answers for it. What follows from it stands in the events behind."""

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
    """Which stream: the user, and `wallet:<currency>` or the payment's id."""

    user_id: str
    stream: str


class StoredEvent(NamedTuple):
    """An event in its envelope, as it stands in the journal."""

    key: StreamKey
    seq: int
    """1, 2, 3 ... within the stream, without gaps."""
    at: datetime
    event: Event
    command_key: str
    """The key of the command that caused it."""
    data: str
    """The event's fields as canonical JSON: what the hash covers."""
    prev_hash: str
    hash: str


def chain_event(
    key: StreamKey, seq: int, at: datetime, event: Event, command_key: str, prev_hash: str
) -> StoredEvent:
    """Put an event in its envelope, behind the one whose hash is `prev_hash`."""
    data = codec.dumps(event)
    hash_ = event_hash(prev_hash, key, seq, at, type(event).__name__, command_key, data)
    return StoredEvent(key, seq, at, event, command_key, data, prev_hash, hash_)


def event_hash(
    prev_hash: str, key: StreamKey, seq: int, at: datetime, kind: str, command_key: str, data: str
) -> str:
    """The hash (SHA-256, hex) of an event behind `prev_hash`: over everything that its row says."""
    content = [prev_hash, key.user_id, key.stream, seq, codec.format_timestamp(at), kind, command_key, data]
    return hashlib.sha256(codec.dumps(content).encode()).hexdigest()


def load_event(kind: str, data: str) -> Event:
    """An event read back from its type's name and its canonical JSON."""
    event: Event = codec.loads(EVENT_TYPES[kind], data)
    return event
