"""The notifications: what they contain, and that their bytes are the same whenever they are made."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from billvend import Money, Status, VendType
from billvend.domain.enums import IncidentKind, Proof
from billvend.domain.journal.events import (
    EVENT_TYPES,
    Event,
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    ReviewRequested,
    StoredEvent,
    StreamKey,
    WalletFunded,
    chain_event,
)
from billvend.domain.notifications import Channel, Notification, NotificationKind, message_id, webhook_body
from billvend.domain.payment.state import Payment
from billvend.presentation.notifications import notification_for
from tests.domain.values import values

AT = datetime(2026, 11, 22, 12, 0, 0, 5_000, tzinfo=UTC)
TOKEN = "12345678901234567890"
PAYMENT = Payment(
    "ada", "T1", Money(50_000, "NGN"), "12345678901", "EKEDC", VendType.PREPAID, None, "order-42",
    Status.COMPLETED, accepted_at=AT, updated_at=AT,
)  # fmt: skip
BILL = {
    "transactionId": "T1",
    "type": "payment",
    "userId": "ada",
    "amount": "500.00",
    "currency": "NGN",
    "meterNumber": "12345678901",
    "provider": "EKEDC",
    "biller": "EKEDC",
    "vendType": "prepaid",
    "createdAt": "2026-11-22T12:00:00.005Z",
}
COMPLETED = PaymentCompleted(1, "acme", 50_000, None, TOKEN, "12.5", {"kct1": "1", "tax": "2.00"})
NOTIFIED: list[tuple[Event, NotificationKind, dict[str, Any]]] = [
    (
        COMPLETED,
        NotificationKind.PAYMENT_COMPLETED,
        BILL
        | {
            "status": "completed",
            "token": TOKEN,
            "units": "12.5",
            "receipt": {"kct1": "1", "tax": "2.00"},
            "completedAt": "2026-11-22T12:00:00.005Z",
        },
    ),
    (
        replace(COMPLETED, token=None, units=None, receipt={}),
        NotificationKind.PAYMENT_COMPLETED,
        BILL
        | {
            "status": "completed",
            "token": None,
            "units": None,
            "receipt": {},
            "completedAt": "2026-11-22T12:00:00.005Z",
        },
    ),
    (
        PaymentReversed(Proof.DECLINED, "no such meter", 50_000),
        NotificationKind.PAYMENT_REVERSED,
        BILL
        | {
            "status": "reversed",
            "reversal": {"proof": "declined", "reason": "no such meter", "at": "2026-11-22T12:00:00.005Z"},
        },
    ),
    (
        ReviewRequested("it has been in doubt for too long"),
        NotificationKind.PAYMENT_IN_REVIEW,
        BILL | {"status": "in_review", "reason": "it has been in doubt for too long"},
    ),
    (
        IncidentRaised(IncidentKind.TAKEN_BACK, 1, "acme", 49_250, "the provider says now: reversed"),
        NotificationKind.PAYMENT_INCIDENT,
        BILL
        | {
            "status": "completed",
            "incident": {
                "kind": "taken_back",
                "attempt": 1,
                "aggregator": "acme",
                "amount": "492.50",
                "detail": "the provider says now: reversed",
            },
        },
    ),
]
NOT_NOTIFIED = sorted(
    set(EVENT_TYPES) - {type(event).__name__ for event, _, _ in NOTIFIED} - {WalletFunded.__name__}
)


def stored_event(event: Event, *, stream: str = "T1", seq: int = 3, user: str = "ada") -> StoredEvent:
    return chain_event(StreamKey(user, stream), seq, AT, event, "key", "before")


def notification_of(event: Event, payment: Payment = PAYMENT, *, stream: str = "T1") -> Notification:
    notification = notification_for(stored_event(event, stream=stream), payment)
    assert notification is not None
    return notification


@pytest.mark.parametrize(("event", "kind", "document"), NOTIFIED)
def test_payment_event_yields_notification_data(
    event: Event, kind: NotificationKind, document: dict[str, Any]
) -> None:
    notification = notification_of(event)
    assert (notification.kind, notification.transaction_id) == (kind, "T1")
    assert json.loads(notification.data) == document


def test_funding_event_yields_notification_data() -> None:
    funded = WalletFunded("F1", 100_050, "paystack", "ref-7")
    notification = notification_for(stored_event(funded, stream="wallet:NGN"), None)
    assert notification is not None
    assert (notification.kind, notification.transaction_id) == (NotificationKind.WALLET_FUNDED, "F1")
    assert json.loads(notification.data) == {
        "transactionId": "F1",
        "type": "funding",
        "status": "completed",
        "userId": "ada",
        "amount": "1000.50",
        "currency": "NGN",
        "source": "paystack",
        "reference": "ref-7",
        "createdAt": "2026-11-22T12:00:00.005Z",
    }


@pytest.mark.parametrize("name", NOT_NOTIFIED)
def test_other_events_yield_no_notification(name: str) -> None:
    @given(values(EVENT_TYPES[name]))
    def silent(event: Event) -> None:
        assert notification_for(stored_event(event), PAYMENT) is None

    silent()


@pytest.mark.parametrize(("event", "_kind", "_document"), NOTIFIED)
def test_notification_data_ignores_later_payment_state(
    event: Event, _kind: NotificationKind, _document: object
) -> None:
    """One transaction writes several events, but only the final state of the payment is available."""
    later = replace(
        PAYMENT, updated_at=AT.replace(day=23), in_doubt_since=AT, review_reason="why", completion=COMPLETED
    )
    assert notification_of(event, later) == notification_of(event)


@pytest.mark.parametrize("text", ["NUL \0", "half \ud800", "₦ and \u2028"])
def test_provider_text_becomes_ascii_json_without_nul_or_surrogates(text: str) -> None:
    data = notification_of(PaymentReversed(Proof.DECLINED, text, 50_000)).data
    assert data.isascii()
    assert "\\u0000" not in data
    reason = json.loads(data)["reversal"]["reason"]
    reason.encode()
    assert reason == text.replace("\0", "?").replace("\ud800", "?")


def test_message_id_is_unique_per_event_and_channel() -> None:
    here = stored_event(COMPLETED)
    others = [
        stored_event(COMPLETED, seq=4),
        stored_event(COMPLETED, stream="T2"),
        stored_event(COMPLETED, user="ben"),
        stored_event(replace(COMPLETED, units="12.6")),  # the same position in a restored ledger
    ]
    names = [message_id(one, channel) for one in (here, *others) for channel in Channel]
    assert len(set(names)) == len(names)
    assert message_id(stored_event(COMPLETED), Channel.WEBHOOK) == message_id(here, Channel.WEBHOOK)
    assert names[0].startswith("msg_")
    assert "." not in names[0]  # the signed text puts a dot after the id


def test_webhook_body_has_type_timestamp_and_data() -> None:
    body = webhook_body(NotificationKind.PAYMENT_COMPLETED, AT, notification_of(COMPLETED).data)
    assert json.loads(body) == {
        "type": "payment.completed",
        "timestamp": "2026-11-22T12:00:00.005Z",
        "data": NOTIFIED[0][2],
    }


def test_webhook_examples_in_docs_have_real_fields() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    shown = [json.loads(example) for example in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    funded = notification_for(stored_event(WalletFunded("F1", 1, "manual", "r"), stream="wallet:NGN"), None)
    assert funded is not None
    real = {funded.kind: set(json.loads(funded.data))} | {
        kind: set(document) for _, kind, document in NOTIFIED
    }
    assert [example["type"] for example in shown] == list(NotificationKind)
    for example in shown:
        assert set(example) == {"type", "timestamp", "data"}
        assert set(example["data"]) == real[example["type"]]


@pytest.mark.parametrize("kind", NotificationKind)
def test_operator_notifications_go_to_webhooks_only(kind: NotificationKind) -> None:
    is_for_customers = kind in (
        NotificationKind.WALLET_FUNDED,
        NotificationKind.PAYMENT_COMPLETED,
        NotificationKind.PAYMENT_REVERSED,
    )
    assert {channel for channel in Channel if channel.accepts(kind)} == (
        set(Channel) if is_for_customers else {Channel.WEBHOOK}
    )
