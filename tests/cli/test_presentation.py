"""A payment as text and as a JSON document, at each status."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import cast

import pytest

from billvend.cli.blocks import KeyValues, Table
from billvend.cli.rendering import render_payment, render_payment_summary
from billvend.domain import outcome as answers
from billvend.domain.enums import IncidentKind, Proof, Status, VendType
from billvend.domain.journal.events import (
    EVENT_TYPES,
    Event,
    IncidentRaised,
    PaymentCompleted,
    PaymentReversed,
    ReversalDecided,
)
from billvend.domain.money import Money
from billvend.domain.payment.state import Attempt, Payment, Requery, Send
from billvend.presentation.models import iso_time
from billvend.presentation.text import (
    customer_message,
    describe_answer,
    describe_event,
    describe_time,
    group_digits,
    token_lines,
)
from billvend.presentation.transaction_models import TransactionDetailResponse

AT = datetime(2026, 11, 22, 12, 0, 5, 987_654, tzinfo=UTC)
TOKEN = "12345678901234567890"
PAYMENT = Payment(
    "ada", "tx-1", Money(50_000, "NGN"), "12345678901", "EKEDC", VendType.PREPAID, None, "order-1", Status.PENDING,
    accepted_at=AT, updated_at=AT,
)  # fmt: skip


def payment(
    status: Status, *, proof: Proof = Proof.DECLINED, vend_type: VendType = VendType.PREPAID
) -> Payment:
    at_status = replace(PAYMENT, status=status, vend_type=vend_type)
    match status:
        case Status.COMPLETED:
            token = TOKEN if vend_type is VendType.PREPAID else None
            completion = PaymentCompleted(
                1, "sandbox", 50_000, 49_250, token, "2.22", {"receiptNumber": "R1"}
            )
            return replace(at_status, completion=completion, ended_at=AT)
        case Status.REVERSING:
            return replace(at_status, reversal=ReversalDecided(proof, "no such meter", 1))
        case Status.REVERSED:
            return replace(at_status, reversal=PaymentReversed(proof, "no such meter", 50_000), ended_at=AT)
        case _:
            return at_status


@pytest.mark.parametrize("status", Status)
def test_message_says_where_the_money_is(status: Status) -> None:
    message = customer_message(payment(status))
    ends = {
        Status.COMPLETED: "is paid",
        Status.REVERSED: "money is back",
        Status.REVERSING: "on its way back",
    }
    assert ends.get(status, "Your money is held") in message
    assert TOKEN not in message


@pytest.mark.parametrize("proof", Proof)
def test_message_gives_reason_only_for_declined(proof: Proof) -> None:
    message = customer_message(payment(Status.REVERSED, proof=proof))
    assert ("no such meter" in message) == (proof is Proof.DECLINED)


def test_message_shows_next_check_only_in_future() -> None:
    doubtful = payment(Status.IN_DOUBT)
    at = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
    assert customer_message(doubtful, at, now=at - timedelta(seconds=1)).endswith("Next check 14:05 UTC.")
    assert "Next check" not in customer_message(doubtful, at, now=at)
    lagos = at.astimezone(timezone(timedelta(hours=1)))
    assert customer_message(doubtful, lagos, now=AT).endswith("Next check 14:05 UTC.")


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (timedelta(seconds=-1), "now"),
        (timedelta(seconds=18), "at 12:00:23 UTC (in 18 s)"),
        (timedelta(hours=2), "at 14:00:05 UTC"),
        (timedelta(days=2), "at 12:00:05 UTC on 24 November"),
    ],
)
def test_future_time_is_described(ahead: timedelta, text: str) -> None:
    assert describe_time(AT + ahead, AT) == text


def test_tokens_are_listed_in_typing_order() -> None:
    sale = PaymentCompleted(
        1, "vtpass", 50_000, None, TOKEN, "2.22", {"Kct2": "2" * 20, "kct1": "1" * 20, "tax": "1"}
    )
    assert list(token_lines(replace(PAYMENT, status=Status.COMPLETED, completion=sale))) == [
        ("Key change token 1", "1111-1111-1111-1111-1111"),
        ("Key change token 2", "2222-2222-2222-2222-2222"),
        ("Token", "1234-5678-9012-3456-7890"),
    ]
    assert list(token_lines(PAYMENT)) == []
    facts = next(
        block
        for block in render_payment_summary(replace(PAYMENT, completion=sale), None)
        if isinstance(block, KeyValues)
    )
    assert [name for name, _ in facts.rows][:4] == [
        "Key change token 1",
        "Key change token 2",
        "Token",
        "Units",
    ]
    assert "Kct2" not in dict(facts.rows)


@pytest.mark.parametrize("odd", ["123", "1234567890123456789x", ""])
def test_invalid_token_is_not_grouped(odd: str) -> None:
    assert group_digits(odd) == odd


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2026-11-22T12:00:05.987Z"),
        (AT.astimezone(timezone(timedelta(hours=1))), "2026-11-22T12:00:05.987Z"),
        (AT.replace(microsecond=0), "2026-11-22T12:00:05.000Z"),
    ],
)
def test_timestamps_are_utc_iso(at: datetime, text: str) -> None:
    assert iso_time(at) == text


def all_answers() -> Sequence[answers.Answer]:
    return [
        answers.Delivered(TOKEN, "2.22", provider_reference="P1"),
        answers.Declined("no", "016"),
        answers.Declined("no", provider_reversed=True),
        answers.NotSent("refused"),
        answers.Deferred("later", 30),
        answers.Misconfigured("float", "low"),
        answers.Unknown("no answer"),
        answers.Pending("working"),
        answers.NotFound("who?"),
    ]


@pytest.mark.parametrize("answer", all_answers(), ids=lambda answer: type(answer).__name__)
def test_answer_has_text_and_json(answer: answers.Answer) -> None:
    send = Send(1, AT, AT, AT, AT, answer=answer, answered_at=AT)
    attempt = Attempt(
        1,
        "REF",
        "sandbox",
        "account",
        AT,
        None,
        (send,),
        (Requery(1, AT, AT, 20, answer=answer, answered_at=AT),),
    )
    document = TransactionDetailResponse.with_events(replace(PAYMENT, attempts=(attempt,)), []).to_json()
    (shown,) = cast(list[dict[str, list[dict[str, dict[str, object]]]]], document["attempts"])
    json_answer = shown["sends"][0]["answer"]
    assert json_answer == shown["requeries"][0]["answer"]
    assert json_answer["text"] == describe_answer(answer)
    assert TOKEN not in describe_answer(answer)
    assert all("_" not in name for name in json_answer)


def test_every_event_has_a_description() -> None:
    samples: list[Event] = [
        IncidentRaised(IncidentKind.ANOTHER_TOKEN, 1, "sandbox", 0, f"token {TOKEN}"),
        PaymentCompleted(1, "sandbox", 50_000, None, TOKEN, None),
        PaymentReversed(Proof.OPERATOR, "said so", 1),
    ]
    assert all(TOKEN not in describe_event(sample) for sample in samples)
    assert all(type(sample).__name__ in EVENT_TYPES for sample in samples)
    assert all(describe_event(sample) != type(sample).__name__ for sample in samples)


def test_incidents_and_expired_sends_are_shown() -> None:
    lost = Attempt(1, "REF", "sandbox", "account", AT, AT, (Send(1, AT, AT, AT, AT, lease_expired=True),))
    incident = IncidentRaised(
        IncidentKind.DELIVERED_AFTER_REVERSAL, 1, "sandbox", 49_250, f"token {TOKEN} arrived"
    )
    reversed_payment = replace(
        payment(Status.REVERSED, proof=Proof.NOT_FOUND), attempts=(lost,), incidents=(incident,)
    )
    document = TransactionDetailResponse.with_events(reversed_payment, []).to_json()
    assert document["incidents"] == [
        {
            "kind": "delivered_after_reversal",
            "attempt": 1,
            "aggregator": "sandbox",
            "amount": "492.50",
            "detail": f"token {TOKEN} arrived",
        }
    ]
    assert document["reversal"] == {
        "proof": "not_found",
        "reason": "no such meter",
        "at": "2026-11-22T12:00:05.987Z",
    }
    blocks = list(render_payment(reversed_payment, [], None))
    assert any(
        isinstance(block, Table) and "lost: it may have been delivered" in block.rows[0] for block in blocks
    )
