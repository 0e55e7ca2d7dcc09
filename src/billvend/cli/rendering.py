"""Transactions for people."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from billvend.cli.output import BAD, DOUBT, GOOD, Block, KeyValues, Line, Table
from billvend.domain.enums import Status
from billvend.domain.journal.events import load_event
from billvend.domain.ledger.wallet import Funding
from billvend.domain.payment.state import Payment, Requery, Send
from billvend.ports.queries import RawEvent, Transaction
from billvend.presentation import (
    customer_message,
    describe_answer,
    describe_event,
    describe_time,
    token_lines,
)

RECEIPT_LABELS: Final = {
    "receiptNumber": "Receipt",
    "netAmount": "Net amount",
    "tax": "VAT",
    "tariff": "Tariff",
}
"""Labels of known entries of a receipt. Other entries keep the provider's name."""

_HIDDEN_FIELDS: Final = {"kct1", "kct2", "units"}

_STYLES: Final = {Status.COMPLETED: GOOD, Status.REVERSED: BAD}


def format_time(at: datetime | None) -> str:
    """A moment for people: `2026-11-22 12:00:00`, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else ""


def transactions_table(transactions: Sequence[Transaction], *, with_user: bool = False) -> Block:
    """A table of transactions."""
    if not transactions:
        return Line("No transactions.")
    headings = ["When (UTC)", "Status", "Amount", "Meter", "Biller", "Transaction"]
    rows = [_transaction_row(transaction) for transaction in transactions]
    if with_user:
        headings.insert(1, "User")
        rows = [
            [row[0], transaction.user_id, *row[1:]]
            for row, transaction in zip(rows, transactions, strict=True)
        ]
    return Table(headings, rows)


def _transaction_row(transaction: Transaction) -> list[str]:
    if isinstance(transaction, Funding):
        return [
            format_time(transaction.at),
            "funded",
            transaction.amount.display,
            "",
            "",
            transaction.transaction_id,
        ]
    row = [
        format_time(transaction.accepted_at),
        _status_text(transaction.status),
        transaction.amount.display,
        transaction.meter,
        transaction.biller,
    ]
    return [*row, transaction.transaction_id]


def _status_text(status: Status) -> str:
    return status.value.replace("_", " ")


def render_payment_summary(payment: Payment, next_check_at: datetime | None) -> Iterator[Block]:
    """The result of a payment, or why it has none yet."""
    purchase = f"{payment.amount.display} to {payment.biller} for meter {payment.meter}"
    heads = {Status.PENDING: "Accepted", Status.COMPLETED: "Paid", Status.REVERSED: "Reversed"}
    head = heads.get(payment.status, f"In progress ({_status_text(payment.status)})")
    yield Line(f"{head}: {purchase}.", _STYLES.get(payment.status, DOUBT))
    yield Line(customer_message(payment))
    yield KeyValues(
        [
            *_receipt(payment),
            *_reversal(payment),
            *_next_check(next_check_at),
            ("Transaction", payment.transaction_id),
        ]
    )


def render_funding(funding: Funding) -> Iterator[Block]:
    """A funding with all details."""
    yield Line(f"Funding: {funding.amount.display} for {funding.user_id}.", GOOD)
    yield KeyValues(
        [
            ("From", funding.source),
            ("Reference", funding.reference),
            ("When (UTC)", format_time(funding.at)),
            ("Transaction", funding.transaction_id),
        ]
    )


def render_payment(
    payment: Payment, events: Sequence[RawEvent], next_check_at: datetime | None
) -> Iterator[Block]:
    """A payment with all details: its status, the calls to providers, the events and the proof."""
    yield from render_payment_summary(payment, next_check_at)
    yield KeyValues(
        [
            ("User", payment.user_id),
            ("Meter type", payment.vend_type.value),
            *([("Key", payment.key)] if payment.key else []),
            *([("In review", payment.review_reason)] if payment.review_reason else []),
        ]
    )
    for incident in payment.incidents:
        yield Line(f"Incident {incident.kind}, attempt {incident.attempt}: {incident.detail}", BAD)
    if payment.attempts:
        yield calls_table(payment)
    event_rows = [(str(e.seq), format_time(e.at), describe_event(load_event(e.kind, e.data))) for e in events]
    yield Table(("#", "When (UTC)", "Event"), event_rows)


def calls_table(payment: Payment) -> Table:
    """The calls to providers, with their answers."""
    return Table(("Attempt", "Provider", "Reference", "Sent (UTC)", "Answer"), list(_call_rows(payment)))


def _call_rows(payment: Payment) -> Iterator[list[str]]:
    for attempt in payment.attempts:
        calls: list[tuple[str, Send | Requery]] = [("send", send) for send in attempt.sends]
        calls += [("requery", requery) for requery in attempt.requeries]
        for name, call in calls:
            answer = (
                "lost: it may have been delivered"
                if isinstance(call, Send) and call.lease_expired
                else describe_answer(call.answer)
            )
            number = f"{attempt.number}, {name} {call.number}"
            yield [number, attempt.provider, attempt.reference, format_time(call.started_at), answer]


def _receipt(payment: Payment) -> Iterator[tuple[str, str]]:
    yield from token_lines(payment)
    if payment.units:
        yield "Units", f"{payment.units} kWh"
    if payment.completion:
        receipt = {
            name: value
            for name, value in payment.completion.receipt.items()
            if name.lower() not in _HIDDEN_FIELDS
        }
        for name in sorted(receipt, key=lambda name: (name not in RECEIPT_LABELS, name)):
            yield RECEIPT_LABELS.get(name, name), receipt[name]


def _reversal(payment: Payment) -> Iterator[tuple[str, str]]:
    if payment.reversal is not None:
        yield "Reason", payment.reversal.reason
        yield "Proof", payment.reversal.proof.value


def _next_check(at: datetime | None) -> Iterator[tuple[str, str]]:
    if at is not None:
        yield "Next check", describe_time(at, datetime.now(UTC))
