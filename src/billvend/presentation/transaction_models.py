"""Fundings and payments as JSON, with their attempts and events."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field

from billvend.domain.enums import IncidentKind, Proof, Status, VendType
from billvend.domain.journal.events import IncidentRaised, load_event
from billvend.domain.ledger.wallet import Funding
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Deferred, Delivered, Misconfigured
from billvend.domain.payment.state import Payment
from billvend.ports.queries import RawEvent, Transaction, TransactionRecord
from billvend.presentation.models import (
    BillerName,
    MoneyString,
    ResponseModel,
    Timestamp,
    TransactionId,
    read_from,
)
from billvend.presentation.text import ACCEPTED_MESSAGE, customer_message, describe_answer, describe_event
from billvend.usecases.queries import Balance

REPLAY_RETENTION: Final = timedelta(days=30)
"""How long a repeated request gets the first response. After that it gets the payment's present state."""


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

    @classmethod
    def of(cls, payment: Payment, now: datetime) -> Self:
        """A payment as it was accepted: the same for each repeat within `REPLAY_RETENTION`, whatever its status is now."""
        if now - payment.accepted_at < REPLAY_RETENTION:
            return cls(**payment_facts(payment), status=Status.PENDING, message=ACCEPTED_MESSAGE)
        return cls(**payment_facts(payment), status=payment.status, message=customer_message(payment))


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

    @classmethod
    def of(cls, incident: IncidentRaised, payment: Payment) -> Self:
        """An incident of this payment."""
        return cls(
            kind=incident.kind,
            attempt=incident.attempt,
            aggregator=incident.provider,
            amount=Money(incident.amount_minor, payment.amount.currency),
            detail=incident.detail,
        )


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

    @classmethod
    def of(cls, transaction: Transaction, next_check_at: datetime | None = None, **details: Any) -> Self:
        """A transaction. A payment is next due at `next_check_at`."""
        if isinstance(transaction, Funding):
            return cls(**funding_facts(transaction), updated_at=transaction.at)
        return cls(
            **payment_facts(transaction),
            status=transaction.status,
            updated_at=transaction.updated_at,
            token=transaction.token,
            units=transaction.units,
            receipt=dict(transaction.completion.receipt) if transaction.completion else None,
            reversal=_reversal(transaction),
            incidents=[IncidentResponse.of(incident, transaction) for incident in transaction.incidents],
            next_check_at=next_check_at,
            message=customer_message(transaction, next_check_at),
            **details,
        )


def _reversal(payment: Payment) -> ReversalResponse | None:
    reversal = payment.reversal
    if reversal is None:
        return None
    return ReversalResponse(proof=reversal.proof, reason=reversal.reason, at=payment.ended_at)


def payment_facts(payment: Payment) -> dict[str, Any]:
    """The members of a payment that are known since it was accepted."""
    return {
        "transaction_id": payment.transaction_id,
        "type": "payment",
        "amount": payment.amount,
        "currency": payment.amount.currency,
        "user_id": payment.user_id,
        "created_at": payment.accepted_at,
        "meter_number": payment.meter,
        "provider": payment.biller,
        "biller": payment.biller,
        "vend_type": payment.vend_type,
    }


def funding_facts(funding: Funding) -> dict[str, Any]:
    """The members of a funding."""
    return {
        "transaction_id": funding.transaction_id,
        "type": "funding",
        "status": Status.COMPLETED,
        "amount": funding.amount,
        "currency": funding.amount.currency,
        "user_id": funding.user_id,
        "created_at": funding.at,
        "source": funding.source,
        "reference": funding.reference,
    }


class AnswerResponse(ResponseModel):
    """What a call to the provider brought back. Further names depend on the outcome."""

    outcome: Annotated[str, Field(examples=["delivered"])]
    text: str
    token: str | None = None
    units: str | None = None
    provider_reference: str | None = None
    code: str | None = None
    retry_after_seconds: int | None = None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """An answer of a provider."""
        names: tuple[str, ...] = ()
        match answer:
            case Delivered():
                names = "token", "units", "provider_reference"
            case Declined() | Misconfigured():
                names = ("code",)
            case Deferred():
                names = ("retry_after_seconds",)
        details = {name: getattr(answer, name) for name in names}
        return cls(outcome=_snake_case(type(answer).__name__), text=describe_answer(answer), **details)


class CallResponse(ResponseModel):
    """One call to the provider about a reference."""

    number: int
    started_at: Timestamp
    answered_at: Timestamp | None
    answer: Annotated[AnswerResponse, BeforeValidator(AnswerResponse.of)] | None


class SendResponse(CallResponse):
    """A call that sent the reference."""

    lost: Annotated[bool, read_from("lease_expired"), Field(description="It may have been delivered.")]


class AttemptResponse(ResponseModel):
    """One reference at one provider account, with all calls about it."""

    number: int
    reference: str
    aggregator: Annotated[
        str, read_from("provider"), Field(description="Whom we buy from.", examples=["vtpass"])
    ]
    account: Annotated[str, read_from("account_id")]
    started_at: Timestamp
    valid_until: Timestamp | None
    sends: list[SendResponse]
    requeries: list[CallResponse]


class EventResponse(ResponseModel):
    """An event of a payment."""

    seq: int
    type: Annotated[str, Field(examples=["payment_accepted"])]
    at: Timestamp
    text: str
    hash: str

    @classmethod
    def of(cls, event: RawEvent) -> Self:
        """An event as it is stored."""
        text = describe_event(load_event(event.kind, event.data))
        return cls(seq=event.seq, type=_snake_case(event.kind), at=event.at, text=text, hash=event.hash)


class TransactionDetailResponse(TransactionResponse):
    """A transaction with all details."""

    attempts: list[AttemptResponse] | None = None
    events: list[EventResponse] | None = None

    @classmethod
    def with_events(
        cls, transaction: Transaction, events: Sequence[RawEvent], next_check_at: datetime | None = None
    ) -> Self:
        """A transaction and its events."""
        if isinstance(transaction, Funding):
            return cls.of(transaction)
        shown = [EventResponse.of(event) for event in events]
        return cls.of(transaction, next_check_at, attempts=transaction.attempts, events=shown)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# --- lists ------------------------------------------------------------------------------------------------------------


class BalanceResponse(ResponseModel):
    """A wallet."""

    user_id: str
    currency: str
    balance: Annotated[MoneyString, Field(description="Available: it can be spent.")]
    held: Annotated[MoneyString, Field(description="Held for payments in progress.")]
    recent_transactions: list[TransactionResponse]

    @classmethod
    def of(cls, balance: Balance, recent: Sequence[TransactionRecord]) -> Self:
        """A wallet and its latest transactions."""
        return cls(
            user_id=balance.user_id,
            currency=balance.available.currency,
            balance=balance.available,
            held=balance.held,
            recent_transactions=[
                TransactionResponse.of(record.transaction, record.next_check_at) for record in recent
            ],
        )


class TransactionsResponse(ResponseModel):
    """A page of transactions, newest first."""

    items: list[TransactionResponse]
    next_cursor: str | None
