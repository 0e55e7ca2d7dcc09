"""Domain values as JSON documents, in the shapes of the public interface."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from billvend.domain.abilities import Biller
from billvend.domain.access import ApiKey
from billvend.domain.events import IncidentRaised, load
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Deferred, Delivered, Misconfigured
from billvend.domain.payment import Attempt, Payment, Requery, Send
from billvend.domain.verification import MeterFound
from billvend.domain.wallet import Funding
from billvend.domain.words import Status
from billvend.ports.books import LoggedEvent, Transaction
from billvend.ports.intents import Intent
from billvend.ports.outbox import DisabledEndpoint, Message, Told
from billvend.usecases.audit import Audit
from billvend.usecases.fund import Funded
from billvend.usecases.fund_intent import FundingIntent, SettledFunding
from billvend.usecases.health import Health
from billvend.usecases.look_up import Balance
from billvend.usecases.review import Waiting
from billvend.views.words import answer_words, event_words, message

Document: TypeAlias = dict[str, object]
"""A JSON object."""


def when(at: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, to the millisecond: `2026-11-22T12:00:00.000Z`."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- transactions -----------------------------------------------------------------------------------------------------


def transaction_document(found: Transaction, next_look_at: datetime | None = None) -> Document:
    """A funding or payment as it stands in lists: without attempts and events."""
    if isinstance(found, Payment):
        return _payment(found, next_look_at)
    return funding_document(found)


def funding_document(funding: Funding) -> Document:
    """Money that came in."""
    return {
        "transactionId": funding.transaction_id,
        "type": "funding",
        "status": Status.COMPLETED.value,
        **_amount(funding.amount),
        "userId": funding.user_id,
        "createdAt": when(funding.at),
        "updatedAt": when(funding.at),
        "source": funding.source,
        "reference": funding.reference,
    }


def payment_document(
    payment: Payment, events: Sequence[LoggedEvent], next_look_at: datetime | None = None
) -> Document:
    """All that is known of a payment."""
    return {
        **_payment(payment, next_look_at),
        "attempts": [_attempt(attempt) for attempt in payment.attempts],
        "events": [_event(event) for event in events],
    }


def _payment(payment: Payment, next_look_at: datetime | None) -> Document:
    completed, reversal = payment.completed, payment.reversal
    return {
        "transactionId": payment.transaction_id,
        "type": "payment",
        "status": payment.status.value,
        **_amount(payment.amount),
        "userId": payment.user_id,
        "createdAt": when(payment.accepted_at),
        "updatedAt": when(payment.updated_at),
        "meterNumber": payment.meter,
        "provider": payment.biller,
        "vendType": payment.vend_type.value,
        "token": payment.token,
        "units": payment.units,
        "receipt": dict(completed.receipt) if completed else None,
        "reversal": reversal
        and {"proof": reversal.proof.value, "reason": reversal.reason, "at": when(payment.ended_at)},
        "incidents": [_incident(incident, payment) for incident in payment.incidents],
        "nextCheckAt": when(next_look_at),
        "message": message(payment, next_look_at),
    }


def _incident(incident: IncidentRaised, payment: Payment) -> Document:
    return {
        "kind": incident.kind.value,
        "attempt": incident.attempt,
        "provider": incident.provider,
        "amount": str(Money(incident.amount_minor, payment.amount.currency)),
        "detail": incident.detail,
    }


def _amount(amount: Money) -> Document:
    return {"amount": str(amount), "currency": amount.currency}


def _attempt(attempt: Attempt) -> Document:
    """Here `provider` is whom we buy from, as the attempt itself has it: the biller is the payment's."""
    return {
        "number": attempt.number,
        "reference": attempt.reference,
        "provider": attempt.provider,
        "account": attempt.account,
        "startedAt": when(attempt.started_at),
        "validUntil": when(attempt.valid_until),
        "sends": [{**_call(send), "lost": send.lost} for send in attempt.sends],
        "requeries": [_call(requery) for requery in attempt.requeries],
    }


def _call(call: Send | Requery) -> Document:
    return {
        "number": call.number,
        "startedAt": when(call.started_at),
        "answeredAt": when(call.answered_at),
        "answer": None if call.answer is None else _answer(call.answer),
    }


def _answer(answer: Answer) -> Document:
    outcome: Document = {"outcome": _snake(type(answer).__name__), "text": answer_words(answer)}
    match answer:
        case Delivered():
            outcome |= {"token": answer.token, "units": answer.units}
            outcome |= {"providerReference": answer.provider_reference}
        case Declined() | Misconfigured():
            outcome |= {"code": answer.code}
        case Deferred():
            outcome |= {"retryAfterSeconds": answer.retry_after_seconds}
    return outcome


def _event(logged: LoggedEvent) -> Document:
    return {
        "seq": logged.seq,
        "type": _snake(logged.kind),
        "at": when(logged.at),
        "text": event_words(load(logged.kind, logged.data)),
        "hash": logged.hash,
    }


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


# --- the rest ---------------------------------------------------------------------------------------------------------


def funded_document(funded: Funded) -> Document:
    """A wallet after money came in."""
    return {
        "transactionId": funded.transaction_id,
        "userId": funded.user_id,
        **_amount(funded.amount),
        "balance": str(funded.balance),
        "replayed": funded.replayed,
    }


def intent_document(intent: FundingIntent) -> Document:
    """A funding that the gateway waits for."""
    return {"reference": intent.reference, "authorizationUrl": intent.authorization_url}


def settled_document(settled: SettledFunding) -> Document:
    """What became of an announced funding."""
    return {
        "reference": settled.intent.reference,
        "userId": settled.intent.user_id,
        **_amount(settled.intent.amount),
        "status": settled.state.value,
        "transactionId": settled.transaction_id,
        "detail": settled.detail,
        "seenAt": when(settled.intent.seen_at),
    }


def key_document(key: ApiKey) -> Document:
    """A key of the API; its secret is known to nobody."""
    return {
        "keyId": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "createdAt": when(key.created_at),
        "lastUsedAt": when(key.used_at),
        "revokedAt": when(key.revoked_at),
    }


def balance_document(balance: Balance, recent: Sequence[Document]) -> Document:
    """What can be spent, what is held, and what happened lately."""
    return {
        "userId": balance.user_id,
        "currency": balance.balance.currency,
        "balance": str(balance.balance),
        "held": str(balance.held),
        "recentTransactions": list(recent),
    }


def meter_document(found: MeterFound, meter: str, biller: str, vend_type: str, currency: str) -> Document:
    """Whose meter it is, and what it takes at least and at most."""

    def amount(minor: int | None) -> str | None:
        return None if minor is None else str(Money(minor, currency))

    return {
        "meterNumber": meter,
        "provider": biller,
        "vendType": vend_type.lower(),
        "customerName": found.customer_name,
        "address": found.address,
        "minimumAmount": amount(found.minimum_minor),
        "maximumAmount": amount(found.maximum_minor),
        "currency": currency,
    }


def review_document(waiting: Waiting) -> Document:
    """What waits for a person."""
    return {
        "items": [
            {
                "transactionId": payment.transaction_id,
                "userId": payment.user_id,
                "reason": payment.review_reason,
                "since": when(payment.in_doubt_since),
                "evidence": [_attempt(attempt) for attempt in payment.attempts],
                **_amount(payment.amount),
                "meterNumber": payment.meter,
                "provider": payment.biller,
            }
            for payment in waiting.payments
        ],
        "incidents": [
            {
                "transactionId": payment.transaction_id,
                "userId": payment.user_id,
                "status": payment.status.value,
                **_incident(incident, payment),
            }
            for payment in waiting.with_incidents
            for incident in payment.open_incidents
        ]
        + [_funding_problem(intent) for intent in waiting.fundings],
    }


def _funding_problem(intent: Intent) -> Document:
    """An incident that belongs to no payment: money from outside that is not what was announced."""
    return {
        "transactionId": None,
        "userId": intent.user_id,
        "status": None,
        "kind": "funding_problem",
        "attempt": None,
        "provider": intent.source,
        "amount": str(intent.amount),
        "detail": intent.problem,
        "reference": intent.reference,
    }


def biller_document(biller: Biller) -> Document:
    """An electricity company."""
    return {
        "code": biller.code,
        "name": biller.name,
        "vendTypes": [vend_type.value for vend_type in biller.vend_types],
    }


def message_document(told: Told) -> Document:
    """What is or was told to the outside, without its content: a token may be in that."""
    sent = told.message
    return {
        "messageId": sent.message_id,
        "type": sent.kind,
        "channel": sent.channel.value,
        "status": message_status(sent),
        "transactionId": sent.transaction_id,
        "userId": sent.user_id,
        "at": when(sent.at),
        "nextTryAt": when(sent.next_at),
        "endedAt": when(sent.ended_at),
        "deliveries": [
            {
                "number": tried.number,
                "at": when(tried.at),
                "target": tried.target,
                "httpStatus": tried.http_status,
                "latencyMs": tried.latency_ms,
                "detail": tried.detail,
            }
            for tried in told.tries
        ],
    }


def message_status(sent: Message) -> str:
    """`waiting` for its first or next try, `trying`, or how it ended: `delivered`, `gave_up`, `skipped`."""
    if sent.ended is not None:
        return sent.ended.value
    return "waiting" if sent.lease_until is None else "trying"


def endpoint_document(disabled: DisabledEndpoint) -> Document:
    """Where webhooks don't go any more."""
    return {
        "target": disabled.target,
        "disabledAt": when(disabled.disabled_at),
        "because": disabled.because,
    }


def audit_document(audit: Audit) -> Document:
    """What an audit counted and found."""
    return {
        "ok": audit.ok,
        "events": audit.events,
        "wallets": audit.wallets,
        "payments": audit.payments,
        "transfers": audit.transfers,
        "differences": list(audit.differences),
        "more": audit.more,
    }


def health_document(health: Health) -> Document:
    """How each part is. Latencies are milliseconds."""
    return {
        "status": health.status,
        "checks": {
            name: {"status": check.status, "latencyMs": check.latency_ms, **_plain(check.details)}
            for name, check in health.checks.items()
        },
    }


def _plain(details: Mapping[str, object]) -> Document:
    return {name: when(value) if isinstance(value, datetime) else value for name, value in details.items()}
