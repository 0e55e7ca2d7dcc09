"""Schemas of responses, for the OpenAPI document. `billvend.presentation` makes the values."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from billvend.domain.enums import IncidentKind, Proof, Status, VendType

MoneyString = Annotated[
    str, Field(description="Major units with the currency's decimals.", examples=["500.00"])
]
Timestamp = Annotated[str, Field(description="RFC 3339, UTC.", examples=["2026-11-22T12:00:00.000Z"])]
BillerName = Annotated[
    str,
    Field(
        description="The electricity company. `provider` and `biller` are the same, until version 2.",
        examples=["EKEDC"],
    ),
]
TransactionId = Annotated[str, Field(examples=["019a0b5c-7d3e-7000-8000-1234567890ab"])]


class ResponseModel(BaseModel):
    """Names in camelCase. More may be added."""

    model_config = ConfigDict(alias_generator=to_camel)


Data = TypeVar("Data", bound=BaseModel)


class SuccessEnvelope(ResponseModel, Generic[Data]):
    """The envelope of a result."""

    success: Literal[True] = True
    message: str
    data: Data
    timestamp: Timestamp


class ErrorDetail(ResponseModel):
    """An error."""

    code: Annotated[str, Field(description="Stable, for programs.", examples=["insufficient_funds"])]
    message: str
    fields: Annotated[dict[str, str] | None, Field(default=None, description="The reason by field.")]
    transaction_id: Annotated[str | None, Field(default=None, description="With `outcome_unknown`.")]
    idempotency_key: Annotated[
        str | None, Field(default=None, description="With `outcome_unknown`: repeat the request with it.")
    ]


class ErrorEnvelope(ResponseModel):
    """The envelope of an error. `message` says what happened, what became of the money, and what to do."""

    success: Literal[False] = False
    message: str
    data: dict[str, Any] | None = None
    error: ErrorDetail
    timestamp: Timestamp


# --- results ----------------------------------------------------------------------------------------------------------


class FundResponse(ResponseModel):
    """A wallet after money was added."""

    transaction_id: TransactionId
    user_id: str
    amount: MoneyString
    currency: str
    balance: Annotated[MoneyString, Field(description="The available balance right after it.")]


class DepositResponse(ResponseModel):
    """Where the payer pays."""

    reference: str
    authorization_url: str


class PayResponse(ResponseModel):
    """A payment whose money is held. Follow it at `Location`."""

    transaction_id: TransactionId
    status: Status
    user_id: str
    amount: MoneyString
    currency: str
    meter_number: str
    provider: BillerName
    biller: BillerName
    message: str


class BatchEntryResponse(ResponseModel):
    """The result of one entry: `data` as for a single payment, or `error`."""

    status: Annotated[int, Field(description="The HTTP status that the entry alone would get.")]
    success: bool
    replayed: bool
    data: PayResponse | None
    error: ErrorDetail | None


class BatchResponse(ResponseModel):
    """One result for each entry, in order."""

    accepted: int
    replayed: int
    refused: int
    results: list[BatchEntryResponse]


class MeterResponse(ResponseModel):
    """A meter and its customer."""

    meter_number: str
    provider: BillerName
    biller: BillerName
    vend_type: VendType
    customer_name: str | None
    address: str | None
    minimum_amount: MoneyString | None
    maximum_amount: MoneyString | None
    currency: str


class BillerResponse(ResponseModel):
    """An electricity company."""

    code: str
    name: str
    vend_types: list[VendType]


class BillersResponse(ResponseModel):
    """The billers that can be paid."""

    items: list[BillerResponse]


class ReversalResponse(ResponseModel):
    """Why the money was released."""

    proof: Proof
    reason: str
    at: Timestamp | None


class IncidentResponse(ResponseModel):
    """Something that happened after the end of a payment."""

    kind: IncidentKind
    attempt: int
    aggregator: str
    amount: MoneyString
    detail: str


class TransactionResponse(ResponseModel):
    """A funding or a payment. A funding has only the names down to `updatedAt`, `source` and `reference`."""

    transaction_id: TransactionId
    type: Literal["funding", "payment"]
    status: Status
    amount: MoneyString
    currency: str
    user_id: str
    created_at: Timestamp
    updated_at: Timestamp
    source: str | None = None
    reference: str | None = None
    meter_number: str | None = None
    provider: BillerName | None = None
    biller: BillerName | None = None
    vend_type: VendType | None = None
    token: str | None = None
    units: str | None = None
    receipt: dict[str, Any] | None = None
    reversal: ReversalResponse | None = None
    incidents: list[IncidentResponse] | None = None
    next_check_at: Timestamp | None = None
    message: str | None = None


class AttemptResponse(ResponseModel):
    """One reference at one provider account, with all calls about it."""

    number: int
    reference: str
    aggregator: Annotated[str, Field(description="Whom we buy from.", examples=["vtpass"])]
    account: str
    started_at: Timestamp
    valid_until: Timestamp | None
    sends: list[dict[str, Any]]
    requeries: list[dict[str, Any]]


class TransactionDetailResponse(TransactionResponse):
    """A transaction with all details."""

    attempts: list[AttemptResponse] | None = None
    events: list[dict[str, Any]] | None = None


class BalanceResponse(ResponseModel):
    """A wallet."""

    user_id: str
    currency: str
    balance: Annotated[MoneyString, Field(description="Available: it can be spent.")]
    held: Annotated[MoneyString, Field(description="Held for payments in progress.")]
    recent_transactions: list[TransactionResponse]


class TransactionsResponse(ResponseModel):
    """A page of transactions, newest first."""

    items: list[TransactionResponse]
    next_cursor: str | None


class HealthCheckResponse(ResponseModel):
    """One component. Further names give its details."""

    status: str
    latency_ms: float


class HealthResponse(ResponseModel):
    """The health of billvend."""

    status: Literal["ok", "degraded", "down"]
    checks: dict[str, HealthCheckResponse]


class LivenessResponse(ResponseModel):
    """The process is alive."""

    status: Literal["ok"]


class WebhookReceivedResponse(ResponseModel):
    """The webhook was received."""

    received: bool
