"""What callers get, for the document that Swagger shows: `views` makes the values, these describe them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from billvend.domain.words import IncidentKind, Proof, Status, VendType

Sum = Annotated[str, Field(description="Major units with the currency's decimals.", examples=["500.00"])]
Moment = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-22T12:00:00.000Z"])]
Id = Annotated[str, Field(examples=["019a0b5c-7d3e-7000-8000-1234567890ab"])]


class Shape(BaseModel):
    """Names in camelCase; more may be added."""

    model_config = ConfigDict(alias_generator=to_camel)


Data = TypeVar("Data", bound=BaseModel)


class Envelope(Shape, Generic[Data]):
    """Every answer that is a result."""

    success: Literal[True] = True
    message: str
    data: Data
    timestamp: Moment


class Fault(Shape):
    """What was wrong."""

    code: Annotated[
        str, Field(description="Stable: for programs to tell by.", examples=["insufficient_funds"])
    ]
    message: str
    fields: Annotated[dict[str, str] | None, Field(default=None, description="What was wrong, by field.")]
    transaction_id: Annotated[str | None, Field(default=None, description="With `outcome_unknown`.")]
    idempotency_key: Annotated[
        str | None, Field(default=None, description="With `outcome_unknown`: repeat the request with it.")
    ]


class Problem(Shape):
    """Every answer that is an error. `message` says what happened, what became of the money, and what to do."""

    success: Literal[False] = False
    message: str
    data: dict[str, Any] | None = None
    error: Fault
    timestamp: Moment


# --- results ----------------------------------------------------------------------------------------------------------


class FundedShape(Shape):
    """A wallet after money came in."""

    transaction_id: Id
    user_id: str
    amount: Sum
    currency: str
    balance: Annotated[Sum, Field(description="What could be spent right after it.")]


class IntentShape(Shape):
    """Where the payer goes."""

    reference: str
    authorization_url: str


class AcceptedShape(Shape):
    """A payment whose money is held: follow it at `Location`."""

    transaction_id: Id
    status: Status
    user_id: str
    amount: Sum
    currency: str
    meter_number: str
    provider: str
    message: str


class BatchResultShape(Shape):
    """What became of one entry: `data` as of a single payment, or `error`."""

    status: Annotated[int, Field(description="The HTTP status that the entry alone would have got.")]
    success: bool
    replayed: bool
    data: AcceptedShape | None
    error: Fault | None


class BatchShape(Shape):
    """One result an entry, in order."""

    accepted: int
    replayed: int
    refused: int
    results: list[BatchResultShape]


class MeterShape(Shape):
    """Whose meter it is."""

    meter_number: str
    provider: str
    vend_type: VendType
    customer_name: str | None
    address: str | None
    minimum_amount: Sum | None
    maximum_amount: Sum | None
    currency: str


class BillerShape(Shape):
    """An electricity company."""

    code: str
    name: str
    vend_types: list[VendType]


class BillersShape(Shape):
    """Those that can be paid."""

    items: list[BillerShape]


class ReversalShape(Shape):
    """Why the money went back."""

    proof: Proof
    reason: str
    at: Moment | None


class IncidentShape(Shape):
    """What turned up after the end."""

    kind: IncidentKind
    attempt: int
    provider: str
    amount: Sum
    detail: str


class TransactionShape(Shape):
    """A funding or a payment; a funding has the names down to `updatedAt`, `source` and `reference`."""

    transaction_id: Id
    type: Literal["funding", "payment"]
    status: Status
    amount: Sum
    currency: str
    user_id: str
    created_at: Moment
    updated_at: Moment
    source: str | None = None
    reference: str | None = None
    meter_number: str | None = None
    provider: str | None = None
    vend_type: VendType | None = None
    token: str | None = None
    units: str | None = None
    receipt: dict[str, Any] | None = None
    reversal: ReversalShape | None = None
    incidents: list[IncidentShape] | None = None
    next_check_at: Moment | None = None
    message: str | None = None


class WholeTransactionShape(TransactionShape):
    """All that is known of it."""

    attempts: list[dict[str, Any]] | None = None
    events: list[dict[str, Any]] | None = None


class BalanceShape(Shape):
    """A wallet."""

    user_id: str
    currency: str
    balance: Annotated[Sum, Field(description="What can be spent.")]
    held: Annotated[Sum, Field(description="What is reserved for payments under way.")]
    recent_transactions: list[TransactionShape]


class PageShape(Shape):
    """A page of transactions, newest first."""

    items: list[TransactionShape]
    next_cursor: str | None


class CheckShape(Shape):
    """One part; more names tell more of it."""

    status: str
    latency_ms: float


class HealthShape(Shape):
    """How billvend is."""

    status: Literal["ok", "degraded", "down"]
    checks: dict[str, CheckShape]


class LiveShape(Shape):
    """The process answers."""

    status: Literal["ok"]


class ReceivedShape(Shape):
    """A hook was taken."""

    received: bool
