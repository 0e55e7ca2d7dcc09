"""What only operators see as JSON, by `--json`: review, deposits, API keys, notifications, audit. And health."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict

from billvend.domain.enums import Status
from billvend.domain.journal.events import IncidentRaised
from billvend.domain.payment.state import Payment
from billvend.ports.repositories import Deposit
from billvend.presentation.models import (
    AmountCurrency,
    FundResponse,
    MoneyString,
    ResponseModel,
    Timestamp,
    iso_time,
    read_from,
)
from billvend.presentation.transaction_models import AttemptResponse, IncidentResponse
from billvend.usecases.health import Health
from billvend.usecases.review import ReviewList


class FundingResultResponse(FundResponse):
    """A wallet after money was added, or a repeat that added nothing."""

    replayed: bool


class DepositCheckResponse(ResponseModel):
    """A deposit and what is known of it."""

    reference: Annotated[str, read_from("deposit", "reference")]
    user_id: Annotated[str, read_from("deposit", "user_id")]
    amount: Annotated[MoneyString, read_from("deposit", "amount")]
    currency: Annotated[str, read_from("deposit", "amount", "currency")]
    status: str
    transaction_id: Annotated[str | None, read_from("deposit", "transaction_id")]
    detail: str
    created_at: Annotated[Timestamp, read_from("deposit", "created_at")]
    acknowledged_at: Annotated[Timestamp | None, read_from("deposit", "acknowledged_at")]


class ApiKeyResponse(ResponseModel):
    """A key of the API. Its secret is not stored, so it is never shown."""

    key_id: str
    name: str
    scopes: Annotated[list[str], BeforeValidator(sorted)]
    created_at: Timestamp
    last_used_at: Timestamp | None
    revoked_at: Timestamp | None


class DeliveryResponse(ResponseModel):
    """A delivery attempt of a notification."""

    number: int
    at: Timestamp
    target: str
    http_status: int | None
    latency_ms: int
    detail: str


class NotificationResponse(ResponseModel):
    """A notification without its content, which may hold a token."""

    message_id: str
    type: Annotated[str, read_from("kind")]
    channel: str
    status: str
    transaction_id: str
    user_id: str
    at: Timestamp
    next_try_at: Annotated[Timestamp | None, read_from("next_at")]
    ended_at: Timestamp | None
    deliveries: Annotated[list[DeliveryResponse], read_from("attempts")]


class EndpointResponse(ResponseModel):
    """A disabled webhook endpoint."""

    target: str
    disabled_at: Timestamp
    reason: str


class AuditResponse(ResponseModel):
    """What an audit counted and found."""

    ok: bool
    events: int
    wallets: int
    payments: int
    transfers: int
    differences: list[str]
    more: Annotated[int, read_from("unlisted_differences")]


# --- health -----------------------------------------------------------------------------------------------------------


class HealthCheckResponse(ResponseModel):
    """One component. Further names give its details."""

    model_config = ConfigDict(extra="allow")

    status: str
    latency_ms: float


class HealthResponse(ResponseModel):
    """The health of billvend."""

    status: Literal["ok", "degraded", "down"]
    checks: dict[str, HealthCheckResponse]

    @classmethod
    def of(cls, health: Health) -> Self:
        """The health of each component. Latencies are milliseconds."""
        checks = {}
        for name, check in health.checks.items():
            details: dict[str, Any] = {
                key: iso_time(value) if isinstance(value, datetime) else value
                for key, value in check.details.items()
            }
            checks[name] = HealthCheckResponse(status=check.status, latency_ms=check.latency_ms, **details)
        return cls.model_validate({"status": health.status, "checks": checks})


# --- review -----------------------------------------------------------------------------------------------------------


class ReviewItemResponse(ResponseModel):
    """A payment in review."""

    transaction_id: str
    user_id: str
    reason: Annotated[str | None, read_from("review_reason")]
    since: Annotated[Timestamp | None, read_from("in_doubt_since")]
    evidence: Annotated[list[AttemptResponse], read_from("attempts")]
    amount: MoneyString
    currency: AmountCurrency
    meter_number: Annotated[str, read_from("meter")]
    provider: Annotated[str, read_from("biller")]
    biller: str


class ReviewIncidentResponse(ResponseModel):
    """An open incident of a payment, or a deposit whose payment differs from it."""

    transaction_id: str | None
    user_id: str
    status: Status | None
    kind: str
    attempt: int | None
    aggregator: str
    amount: MoneyString
    detail: str | None
    reference: str | None = None

    @classmethod
    def of(cls, incident: IncidentRaised, payment: Payment) -> Self:
        """An incident of this payment."""
        facts = dict(IncidentResponse.of(incident, payment))
        return cls(
            transaction_id=payment.transaction_id, user_id=payment.user_id, status=payment.status, **facts
        )

    @classmethod
    def of_deposit(cls, deposit: Deposit) -> Self:
        """An incident without a payment."""
        return cls(
            transaction_id=None, user_id=deposit.user_id, status=None, kind="deposit_problem", attempt=None,
            aggregator=deposit.source, amount=deposit.amount, detail=deposit.problem, reference=deposit.reference,
        )  # fmt: skip


class ReviewResponse(ResponseModel):
    """What waits for a person."""

    items: list[ReviewItemResponse]
    incidents: list[ReviewIncidentResponse]

    @classmethod
    def of(cls, review: ReviewList) -> Self:
        """Payments in review and open incidents."""
        incidents = [
            ReviewIncidentResponse.of(incident, payment)
            for payment in review.payments_with_incidents
            for incident in payment.open_incidents
        ]
        deposits = [ReviewIncidentResponse.of_deposit(deposit) for deposit in review.deposits_with_problems]
        items = [ReviewItemResponse.model_validate(payment) for payment in review.payments_in_review]
        return cls(items=items, incidents=incidents + deposits)
