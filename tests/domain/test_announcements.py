"""What the outside is told, and that it is the same to the byte whenever it is made."""

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
from billvend.domain.notifications import (
    Channel,
    Notification,
    NotificationKind,
    message_id,
    notification_for,
    webhook_body,
)
from billvend.domain.payment.state import Payment
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
    "vendType": "prepaid",
    "createdAt": "2026-11-22T12:00:00.005000Z",
}
COMPLETED = PaymentCompleted(1, "acme", 50_000, None, TOKEN, "12.5", {"kct1": "1", "tax": "2.00"})
TOLD: list[tuple[Event, NotificationKind, dict[str, Any]]] = [
    (
        COMPLETED,
        NotificationKind.PAYMENT_COMPLETED,
        BILL
        | {
            "status": "completed",
            "token": TOKEN,
            "units": "12.5",
            "receipt": {"kct1": "1", "tax": "2.00"},
            "completedAt": "2026-11-22T12:00:00.005000Z",
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
            "completedAt": "2026-11-22T12:00:00.005000Z",
        },
    ),
    (
        PaymentReversed(Proof.DECLINED, "no such meter", 50_000),
        NotificationKind.PAYMENT_REVERSED,
        BILL
        | {
            "status": "reversed",
            "reversal": {
                "proof": "declined",
                "reason": "no such meter",
                "at": "2026-11-22T12:00:00.005000Z",
            },
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
                "provider": "acme",
                "amount": "492.50",
                "detail": "the provider says now: reversed",
            },
        },
    ),
]
SILENT = sorted(set(EVENT_TYPES) - {type(event).__name__ for event, _, _ in TOLD} - {WalletFunded.__name__})


def stored(event: Event, *, stream: str = "T1", seq: int = 3, user: str = "ada") -> StoredEvent:
    return chain_event(StreamKey(user, stream), seq, AT, event, "key", "before")


def told(event: Event, payment: Payment = PAYMENT, *, stream: str = "T1") -> Notification:
    notification = notification_for(stored(event, stream=stream), payment)
    assert notification is not None
    return notification


@pytest.mark.parametrize(("event", "kind", "document"), TOLD)
def test_what_is_told_of_a_payment(event: Event, kind: NotificationKind, document: dict[str, Any]) -> None:
    notification = told(event)
    assert (notification.kind, notification.transaction_id) == (kind, "T1")
    assert json.loads(notification.data) == document


def test_what_is_told_of_money_that_came_in() -> None:
    funded = WalletFunded("F1", 100_050, "paystack", "ref-7")
    notification = notification_for(stored(funded, stream="wallet:NGN"), None)
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
        "createdAt": "2026-11-22T12:00:00.005000Z",
    }


@pytest.mark.parametrize("name", SILENT)
def test_nothing_is_told_of_the_rest(name: str) -> None:
    @given(values(EVENT_TYPES[name]))
    def silent(event: Event) -> None:
        assert notification_for(stored(event), PAYMENT) is None

    silent()


@pytest.mark.parametrize(("event", "_kind", "_document"), TOLD)
def test_what_became_of_the_payment_later_changes_nothing(
    event: Event, _kind: NotificationKind, _document: object
) -> None:
    """In one transaction several events are written, and the payment is at hand only as the last one left it."""
    later = replace(
        PAYMENT, updated_at=AT.replace(day=23), in_doubt_since=AT, review_reason="why", completion=COMPLETED
    )
    assert told(event, later) == told(event)


@pytest.mark.parametrize("text", ["NUL \0", "half \ud800", "₦ and \u2028"])
def test_what_a_provider_wrote_is_json_for_everybody(text: str) -> None:
    data = told(PaymentReversed(Proof.DECLINED, text, 50_000)).data
    assert data.isascii()
    assert "\\u0000" not in data
    reason = json.loads(data)["reversal"]["reason"]
    reason.encode()
    assert reason == text.replace("\0", "?").replace("\ud800", "?")


def test_a_name_of_a_message_is_of_one_event_and_one_channel() -> None:
    here = stored(COMPLETED)
    others = [
        stored(COMPLETED, seq=4),
        stored(COMPLETED, stream="T2"),
        stored(COMPLETED, user="ben"),
        stored(replace(COMPLETED, units="12.6")),  # at the same place, in books that were restored
    ]
    names = [message_id(one, channel) for one in (here, *others) for channel in Channel]
    assert len(set(names)) == len(names)
    assert message_id(stored(COMPLETED), Channel.WEBHOOK) == message_id(here, Channel.WEBHOOK)
    assert names[0].startswith("msg_")
    assert "." not in names[0]  # which is what a signature puts behind it


def test_a_body() -> None:
    body = webhook_body(NotificationKind.PAYMENT_COMPLETED, AT, told(COMPLETED).data)
    assert json.loads(body) == {
        "type": "payment.completed",
        "timestamp": "2026-11-22T12:00:00.005000Z",
        "data": TOLD[0][2],
    }


def test_the_examples_of_the_documentation_are_of_this_shape() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    shown = [json.loads(example) for example in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    funded = notification_for(stored(WalletFunded("F1", 1, "manual", "r"), stream="wallet:NGN"), None)
    assert funded is not None
    real = {funded.kind: set(json.loads(funded.data))} | {kind: set(document) for _, kind, document in TOLD}
    assert [example["type"] for example in shown] == list(NotificationKind)
    for example in shown:
        assert set(example) == {"type", "timestamp", "data"}
        assert set(example["data"]) == real[example["type"]]


@pytest.mark.parametrize("kind", NotificationKind)
def test_who_is_told_what(kind: NotificationKind) -> None:
    is_for_customers = kind in (
        NotificationKind.WALLET_FUNDED,
        NotificationKind.PAYMENT_COMPLETED,
        NotificationKind.PAYMENT_REVERSED,
    )
    assert {channel for channel in Channel if channel.accepts(kind)} == (
        set(Channel) if is_for_customers else {Channel.WEBHOOK}
    )
