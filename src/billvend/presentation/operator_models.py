"""What only operators see as JSON, by `--json`: review, deposits, API keys, notifications, audit. And health."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AliasPath, BeforeValidator, ConfigDict, Field

from billvend.domain.enums import Status
from billvend.domain.journal.events import IncidentRaised
from billvend.domain.payment.state import Payment
from billvend.ports.repositories import Deposit, Message
from billvend.presentation.models import (
    AmountCurrency,
    AttemptResponse,
    FundResponse,
    IncidentResponse,
    MoneyString,
    ResponseModel,
    Timestamp,
    iso_time,
)
from billvend.usecases.health import Health
from billvend.usecases.review import ReviewList


class FundingResultResponse(FundResponse):
    """A wallet after money was added, or a repeat that added nothing."""

    replayed: bool


class DepositCheckResponse(ResponseModel):
    """A deposit and what is known of it."""

    reference: Annotated[str, Field(validation_alias=AliasPath("deposit", "reference"))]
    user_id: Annotated[str, Field(validation_alias=AliasPath("deposit", "user_id"))]
    amount: Annotated[MoneyString, Field(validation_alias=AliasPath("deposit", "amount"))]
    currency: Annotated[str, Field(validation_alias=AliasPath("deposit", "amount", "currency"))]
    status: str
    transaction_id: Annotated[str | None, Field(validation_alias=AliasPath("deposit", "transaction_id"))]
    detail: str
    created_at: Annotated[Timestamp, Field(validation_alias=AliasPath("deposit", "created_at"))]
    acknowledged_at: Annotated[
        Timestamp | None, Field(validation_alias=AliasPath("deposit", "acknowledged_at"))
    ]


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
    type: str
    channel: str
    status: str
    transaction_id: str
    user_id: str
    at: Timestamp
    next_try_at: Timestamp | None
    ended_at: Timestamp | None
    deliveries: list[DeliveryResponse]

    @classmethod
    def of(cls, message: Message) -> Self:
        """A message and its delivery attempts."""
        return cls(
            message_id=message.message_id,
            type=message.kind,
            channel=message.channel,
            status=_message_status(message),
            transaction_id=message.transaction_id,
            user_id=message.user_id,
            at=message.at,
            next_try_at=message.next_at,
            ended_at=message.ended_at,
            deliveries=[DeliveryResponse.model_validate(attempt) for attempt in message.attempts],
        )


def _message_status(message: Message) -> str:
    """`waiting` for its next attempt, `trying`, or its end: `delivered`, `gave_up`, `skipped`."""
    if message.final_status is not None:
        return message.final_status.value
    return "waiting" if message.lease_until is None else "trying"


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
    more: Annotated[int, Field(validation_alias="unlisted_differences")]


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
        checks = {
            name: HealthCheckResponse(
                status=check.status, latency_ms=check.latency_ms, **_json_values(check.details)
            )
            for name, check in health.checks.items()
        }
        return cls.model_validate({"status": health.status, "checks": checks})


def _json_values(details: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: iso_time(value) if isinstance(value, datetime) else value for name, value in details.items()
    }


# --- review -----------------------------------------------------------------------------------------------------------


class ReviewItemResponse(ResponseModel):
    """A payment in review."""

    transaction_id: str
    user_id: str
    reason: Annotated[str | None, Field(validation_alias="review_reason")]
    since: Annotated[Timestamp | None, Field(validation_alias="in_doubt_since")]
    evidence: Annotated[list[AttemptResponse], Field(validation_alias="attempts")]
    amount: MoneyString
    currency: AmountCurrency
    meter_number: Annotated[str, Field(validation_alias="meter")]
    provider: Annotated[str, Field(validation_alias="biller")]
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
    def of_payment(cls, incident: IncidentRaised, payment: Payment) -> Self:
        """An incident of this payment."""
        return cls(
            transaction_id=payment.transaction_id,
            user_id=payment.user_id,
            status=payment.status,
            **dict(IncidentResponse.of(incident, payment)),
        )

    @classmethod
    def of_deposit(cls, deposit: Deposit) -> Self:
        """An incident without a payment."""
        return cls(
            transaction_id=None,
            user_id=deposit.user_id,
            status=None,
            kind="deposit_problem",
            attempt=None,
            aggregator=deposit.source,
            amount=deposit.amount,
            detail=deposit.problem,
            reference=deposit.reference,
        )


class ReviewResponse(ResponseModel):
    """What waits for a person."""

    items: list[ReviewItemResponse]
    incidents: list[ReviewIncidentResponse]

    @classmethod
    def of(cls, review: ReviewList) -> Self:
        """Payments in review and open incidents."""
        incidents = [
            ReviewIncidentResponse.of_payment(incident, payment)
            for payment in review.payments_with_incidents
            for incident in payment.open_incidents
        ]
        return cls(
            items=[ReviewItemResponse.model_validate(payment) for payment in review.payments_in_review],
            incidents=incidents
            + [ReviewIncidentResponse.of_deposit(each) for each in review.deposits_with_problems],
        )
