"""Transactions with all details, for people."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from billvend.app import Billvend
from billvend.cli.blocks import (
    Block,
    Columns,
    Item,
    KeyValues,
    Line,
    Table,
    bad,
    doubt,
    good,
    money,
    short_time,
    table,
    words,
)
from billvend.cli.output import Output
from billvend.domain.enums import Status
from billvend.domain.payment.state import Payment
from billvend.ports.queries import RawEvent
from billvend.presentation.text import customer_message, describe_time, token_lines
from billvend.presentation.transaction_models import TransactionDetailResponse

HEADS: Final = {Status.PENDING: "Accepted", Status.COMPLETED: "Paid", Status.REVERSED: "Reversed"}
STYLES: Final = {Status.COMPLETED: good, Status.REVERSED: bad}
RECEIPT_LABELS: Final = {
    "receiptNumber": "Receipt",
    "netAmount": "Net amount",
    "tax": "VAT",
    "tariff": "Tariff",
}
"""Labels of known entries of a receipt. Other entries keep the provider's name, and come after them."""
SHOWN_ELSEWHERE: Final = {"kct1", "kct2", "units"}
"""Entries of a receipt that have a line of their own."""
EVENT_COLUMNS: Final[Columns] = {
    "#": "seq",
    "When (UTC)": lambda event: short_time(event["at"]),
    "Event": "text",
}
CALL_HEADINGS: Final = ("Attempt", "Provider", "Reference", "Sent (UTC)", "Answer")


def payment_output(bv: Billvend, payment: Payment) -> Output:
    """The output of a command that changed a payment."""
    next_check_at = bv.next_check_at(payment)
    return Output(
        lambda: TransactionDetailResponse.with_events(payment, bv.events(payment), next_check_at),
        lambda: render_payment_summary(payment, next_check_at),
    )


def render_payment_summary(payment: Payment, next_check_at: datetime | None) -> Iterator[Block]:
    """The result of a payment, or why it has none yet."""
    head = HEADS.get(payment.status, f"In progress ({words(payment.status)})")
    purchase = f"{payment.amount.display} to {payment.biller} for meter {payment.meter}"
    yield STYLES.get(payment.status, doubt)(f"{head}: {purchase}.")
    yield Line(customer_message(payment))
    facts = list(_receipt(payment))
    if payment.reversal is not None:
        facts += [("Reason", payment.reversal.reason), ("Proof", payment.reversal.proof)]
    if next_check_at is not None:
        facts.append(("Next check", describe_time(next_check_at, datetime.now(UTC))))
    yield KeyValues([*facts, ("Transaction", payment.transaction_id)])


def render_funding(funding: Item) -> Iterator[Block]:
    """A funding with all details."""
    yield good(f"Funding: {money(funding)} for {funding['userId']}.")
    yield KeyValues(
        [
            ("From", funding["source"]),
            ("Reference", funding["reference"]),
            ("When (UTC)", short_time(funding["createdAt"])),
            ("Transaction", funding["transactionId"]),
        ]
    )


def render_payment(
    payment: Payment, events: Sequence[RawEvent], next_check_at: datetime | None
) -> Iterator[Block]:
    """A payment with all details: its status, the calls to providers, the events and the proof."""
    document: Item = TransactionDetailResponse.with_events(payment, events, next_check_at).to_json()
    yield from render_payment_summary(payment, next_check_at)
    facts = {
        "User": payment.user_id,
        "Meter type": payment.vend_type,
        "Key": payment.key,
        "In review": payment.review_reason,
    }
    yield KeyValues([(name, value) for name, value in facts.items() if value])
    for incident in document["incidents"]:
        head = f"Incident {incident['kind']}, attempt {incident['attempt']}"
        yield bad(f"{head}: {incident['detail']}")
    if document["attempts"]:
        yield calls_table(document["attempts"])
    yield table(document["events"], EVENT_COLUMNS)


def calls_table(attempts: Sequence[Item]) -> Table:
    """The calls to providers, with their answers."""
    return Table(CALL_HEADINGS, [row for attempt in attempts for row in _call_rows(attempt)])


def _call_rows(attempt: Item) -> Iterator[Sequence[str]]:
    for name, calls in (("send", attempt["sends"]), ("requery", attempt["requeries"])):
        for call in calls:
            number = f"{attempt['number']}, {name} {call['number']}"
            answer = call["answer"]["text"] if call["answer"] else "no answer yet"
            if call.get("lost"):
                answer = "lost: it may have been delivered"
            sent = short_time(call["startedAt"])
            yield number, attempt["aggregator"], attempt["reference"], sent, answer


def _receipt(payment: Payment) -> Iterator[tuple[str, str]]:
    yield from token_lines(payment)
    if payment.units:
        yield "Units", f"{payment.units} kWh"
    receipt = payment.completion.receipt if payment.completion else {}
    for name in sorted(receipt, key=lambda name: (name not in RECEIPT_LABELS, name)):
        if name.lower() not in SHOWN_ELSEWHERE:
            yield RECEIPT_LABELS.get(name, name), receipt[name]
