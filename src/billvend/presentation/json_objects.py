"""Domain values as JSON documents, in the shapes of the public interface."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from billvend.domain.api_keys import ApiKey
from billvend.domain.enums import Status
from billvend.domain.journal.events import IncidentRaised, load_event
from billvend.domain.ledger.wallet import Funding
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Deferred, Delivered, Misconfigured
from billvend.domain.payment.state import Attempt, Payment, Requery, Send
from billvend.domain.policy.accounts import Biller
from billvend.ports.queries import AuditReport, RawEvent, Transaction
from billvend.ports.repositories import Deposit, DisabledEndpoint, Message
from billvend.presentation.text import customer_message, describe_answer, describe_event
from billvend.usecases.deposits import DepositCheck
from billvend.usecases.fund import FundingResult
from billvend.usecases.health import Health
from billvend.usecases.queries import Balance
from billvend.usecases.review import ReviewList
from billvend.usecases.start_deposit import DepositResult

JsonObject: TypeAlias = dict[str, object]
"""A JSON object."""


def iso_time(at: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, to the millisecond: `2026-11-22T12:00:00.000Z`."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- transactions -----------------------------------------------------------------------------------------------------


def transaction_json(transaction: Transaction, next_check_at: datetime | None = None) -> JsonObject:
    """A funding or payment for lists: without attempts and events."""
    if isinstance(transaction, Payment):
        return _payment_fields(transaction, next_check_at)
    return funding_json(transaction)


def funding_json(funding: Funding) -> JsonObject:
    """A funding."""
    return {
        "transactionId": funding.transaction_id,
        "type": "funding",
        "status": Status.COMPLETED.value,
        **_amount_fields(funding.amount),
        "userId": funding.user_id,
        "createdAt": iso_time(funding.at),
        "updatedAt": iso_time(funding.at),
        "source": funding.source,
        "reference": funding.reference,
    }


def payment_json(
    payment: Payment, events: Sequence[RawEvent], next_check_at: datetime | None = None
) -> JsonObject:
    """A payment with all details."""
    return {
        **_payment_fields(payment, next_check_at),
        "attempts": [_attempt_json(attempt) for attempt in payment.attempts],
        "events": [_event_json(event) for event in events],
    }


def _payment_fields(payment: Payment, next_check_at: datetime | None) -> JsonObject:
    completed, reversal = payment.completion, payment.reversal
    return {
        "transactionId": payment.transaction_id,
        "type": "payment",
        "status": payment.status.value,
        **_amount_fields(payment.amount),
        "userId": payment.user_id,
        "createdAt": iso_time(payment.accepted_at),
        "updatedAt": iso_time(payment.updated_at),
        "meterNumber": payment.meter,
        "provider": payment.biller,
        "biller": payment.biller,
        "vendType": payment.vend_type.value,
        "token": payment.token,
        "units": payment.units,
        "receipt": dict(completed.receipt) if completed else None,
        "reversal": reversal
        and {"proof": reversal.proof.value, "reason": reversal.reason, "at": iso_time(payment.ended_at)},
        "incidents": [_incident_json(incident, payment) for incident in payment.incidents],
        "nextCheckAt": iso_time(next_check_at),
        "message": customer_message(payment, next_check_at),
    }


def _incident_json(incident: IncidentRaised, payment: Payment) -> JsonObject:
    return {
        "kind": incident.kind.value,
        "attempt": incident.attempt,
        "aggregator": incident.provider,
        "amount": str(Money(incident.amount_minor, payment.amount.currency)),
        "detail": incident.detail,
    }


def _amount_fields(amount: Money) -> JsonObject:
    return {"amount": str(amount), "currency": amount.currency}


def _attempt_json(attempt: Attempt) -> JsonObject:
    """Whom we bought from is `aggregator`, because `provider` is the biller."""
    return {
        "number": attempt.number,
        "reference": attempt.reference,
        "aggregator": attempt.provider,
        "account": attempt.account_id,
        "startedAt": iso_time(attempt.started_at),
        "validUntil": iso_time(attempt.valid_until),
        "sends": [{**_call_json(send), "lost": send.lease_expired} for send in attempt.sends],
        "requeries": [_call_json(requery) for requery in attempt.requeries],
    }


def _call_json(call: Send | Requery) -> JsonObject:
    return {
        "number": call.number,
        "startedAt": iso_time(call.started_at),
        "answeredAt": iso_time(call.answered_at),
        "answer": None if call.answer is None else _answer_json(call.answer),
    }


def _answer_json(answer: Answer) -> JsonObject:
    outcome: JsonObject = {"outcome": _snake_case(type(answer).__name__), "text": describe_answer(answer)}
    match answer:
        case Delivered():
            outcome |= {"token": answer.token, "units": answer.units}
            outcome |= {"providerReference": answer.provider_reference}
        case Declined() | Misconfigured():
            outcome |= {"code": answer.code}
        case Deferred():
            outcome |= {"retryAfterSeconds": answer.retry_after_seconds}
    return outcome


def _event_json(event: RawEvent) -> JsonObject:
    return {
        "seq": event.seq,
        "type": _snake_case(event.kind),
        "at": iso_time(event.at),
        "text": describe_event(load_event(event.kind, event.data)),
        "hash": event.hash,
    }


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# --- the rest ---------------------------------------------------------------------------------------------------------


def funding_result_json(result: FundingResult) -> JsonObject:
    """A wallet after money was added."""
    return {
        "transactionId": result.transaction_id,
        "userId": result.user_id,
        **_amount_fields(result.amount),
        "balance": str(result.balance),
        "replayed": result.replayed,
    }


def deposit_result_json(deposit: DepositResult) -> JsonObject:
    """A created deposit."""
    return {"reference": deposit.reference, "authorizationUrl": deposit.authorization_url}


def deposit_check_json(check: DepositCheck) -> JsonObject:
    """A deposit and what is known of it."""
    return {
        "reference": check.deposit.reference,
        "userId": check.deposit.user_id,
        **_amount_fields(check.deposit.amount),
        "status": check.status.value,
        "transactionId": check.deposit.transaction_id,
        "detail": check.detail,
        "createdAt": iso_time(check.deposit.created_at),
        "acknowledgedAt": iso_time(check.deposit.acknowledged_at),
    }


def api_key_json(api_key: ApiKey) -> JsonObject:
    """A key of the API. Its secret is not stored, so it is never shown."""
    return {
        "keyId": api_key.key_id,
        "name": api_key.name,
        "scopes": sorted(api_key.scopes),
        "createdAt": iso_time(api_key.created_at),
        "lastUsedAt": iso_time(api_key.last_used_at),
        "revokedAt": iso_time(api_key.revoked_at),
    }


def balance_json(balance: Balance, recent: Sequence[JsonObject]) -> JsonObject:
    """The available and held amounts, and the latest transactions."""
    return {
        "userId": balance.user_id,
        "currency": balance.available.currency,
        "balance": str(balance.available),
        "held": str(balance.held),
        "recentTransactions": list(recent),
    }


def meter_json(details: MeterFound, meter: str, biller: str, vend_type: str, currency: str) -> JsonObject:
    """A meter with its customer and the amounts that it accepts."""

    def amount(minor: int | None) -> str | None:
        return None if minor is None else str(Money(minor, currency))

    return {
        "meterNumber": meter,
        "provider": biller,
        "biller": biller,
        "vendType": vend_type.lower(),
        "customerName": details.customer_name,
        "address": details.address,
        "minimumAmount": amount(details.minimum_minor),
        "maximumAmount": amount(details.maximum_minor),
        "currency": currency,
    }


def review_json(review_list: ReviewList) -> JsonObject:
    """Payments in review and open incidents."""
    return {
        "items": [
            {
                "transactionId": payment.transaction_id,
                "userId": payment.user_id,
                "reason": payment.review_reason,
                "since": iso_time(payment.in_doubt_since),
                "evidence": [_attempt_json(attempt) for attempt in payment.attempts],
                **_amount_fields(payment.amount),
                "meterNumber": payment.meter,
                "provider": payment.biller,
                "biller": payment.biller,
            }
            for payment in review_list.payments_in_review
        ],
        "incidents": [
            {
                "transactionId": payment.transaction_id,
                "userId": payment.user_id,
                "status": payment.status.value,
                **_incident_json(incident, payment),
            }
            for payment in review_list.payments_with_incidents
            for incident in payment.open_incidents
        ]
        + [_deposit_problem_json(deposit) for deposit in review_list.deposits_with_problems],
    }


def _deposit_problem_json(deposit: Deposit) -> JsonObject:
    """An incident without a payment: the money that was paid differs from the deposit."""
    return {
        "transactionId": None,
        "userId": deposit.user_id,
        "status": None,
        "kind": "deposit_problem",
        "attempt": None,
        "aggregator": deposit.source,
        "amount": str(deposit.amount),
        "detail": deposit.problem,
        "reference": deposit.reference,
    }


def biller_json(biller: Biller) -> JsonObject:
    """An electricity company."""
    return {
        "code": biller.code,
        "name": biller.name,
        "vendTypes": [vend_type.value for vend_type in biller.vend_types],
    }


def notification_json(message: Message) -> JsonObject:
    """A notification without its content, which may hold a token."""
    return {
        "messageId": message.message_id,
        "type": message.kind,
        "channel": message.channel.value,
        "status": notification_status(message),
        "transactionId": message.transaction_id,
        "userId": message.user_id,
        "at": iso_time(message.at),
        "nextTryAt": iso_time(message.next_at),
        "endedAt": iso_time(message.ended_at),
        "deliveries": [
            {
                "number": attempt.number,
                "at": iso_time(attempt.at),
                "target": attempt.target,
                "httpStatus": attempt.http_status,
                "latencyMs": attempt.latency_ms,
                "detail": attempt.detail,
            }
            for attempt in message.attempts
        ],
    }


def notification_status(message: Message) -> str:
    """`waiting` for its next attempt, `trying`, or its end: `delivered`, `gave_up`, `skipped`."""
    if message.final_status is not None:
        return message.final_status.value
    return "waiting" if message.lease_until is None else "trying"


def endpoint_json(endpoint: DisabledEndpoint) -> JsonObject:
    """A disabled webhook endpoint."""
    return {
        "target": endpoint.target,
        "disabledAt": iso_time(endpoint.disabled_at),
        "reason": endpoint.reason,
    }


def audit_json(audit: AuditReport) -> JsonObject:
    """What an audit counted and found."""
    return {
        "ok": audit.ok,
        "events": audit.events,
        "wallets": audit.wallets,
        "payments": audit.payments,
        "transfers": audit.transfers,
        "differences": list(audit.differences),
        "more": audit.unlisted_differences,
    }


def health_json(health: Health) -> JsonObject:
    """The health of each component. Latencies are milliseconds."""
    return {
        "status": health.status,
        "checks": {
            name: {"status": check.status, "latencyMs": check.latency_ms, **_json_values(check.details)}
            for name, check in health.checks.items()
        },
    }


def _json_values(details: Mapping[str, object]) -> JsonObject:
    return {
        name: iso_time(value) if isinstance(value, datetime) else value for name, value in details.items()
    }
