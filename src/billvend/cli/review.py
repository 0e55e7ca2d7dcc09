"""Commands for decisions of operators: review, resolve."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from billvend.cli.blocks import Block, Item, KeyValues, Line, Table, bad, doubt, good, money, quiet, words
from billvend.cli.context import Session, command
from billvend.cli.options import TRANSACTION, option
from billvend.cli.output import Output

if TYPE_CHECKING:
    from billvend.domain.payment.state import Payment
    from billvend.ports.repositories import Deposit
    from billvend.usecases.review import ReviewList

commands = typer.Typer()


@command(commands, "billvend review")
def review(session: Session) -> Output:
    """List what needs a decision.

    Payments in manual review, with the provider's answers, and open incidents. The money of payments in review stays
    held, and requeries continue.
    """
    from billvend.presentation.operator_models import ReviewResponse

    review_list = session.bv.review()
    return Output(
        lambda: ReviewResponse.of(review_list),
        lambda: _render(review_list, ReviewResponse.of(review_list).to_json()),
    )


@command(
    commands,
    'billvend resolve 019a0b5c-7d3e-7000-8000-1234567890ab --delivered 12345678901234567890 --reason "by phone"',
    'billvend resolve 019a0b5c-7d3e-7000-8000-1234567890ab --reverse --reason "EKEDC has no such sale, mail of today"',
)
def resolve(
    session: Session,
    transaction: str = TRANSACTION,
    delivered: str | None = option("--delivered TOKEN: It was delivered with this token (20 digits).", None),
    delivered_postpaid: bool = option("--delivered-postpaid: It was delivered without a token.", False),
    reverse: bool = option("--reverse: It was not delivered: release the money.", False),
    acknowledge: bool = option("--acknowledge: Close its incidents.", False),
    reason: str | None = option("--reason TEXT: Why. Required, except with --delivered.", None),
    operator: str | None = option("--operator NAME: The operator's name. Default: the login name.", None),
) -> Output:
    """Resolve a payment in doubt or in review.

    The decision, the reason and the operator are stored for ever. If a later answer contradicts the decision, an incident
    is opened.
    """
    from getpass import getuser

    from billvend.cli.rendering import payment_output
    from billvend.domain.enums import OperatorDecision
    from billvend.domain.errors import ValidationFailed

    decisions = [OperatorDecision.DELIVERED] * ((delivered is not None) + delivered_postpaid)
    decisions += [OperatorDecision.REVERSE] * reverse + [OperatorDecision.ACKNOWLEDGED] * acknowledge
    if len(decisions) != 1:
        raise ValidationFailed(
            "Give exactly one of --delivered TOKEN, --delivered-postpaid, --reverse or --acknowledge. Nothing was done."
        )
    if reason is None and delivered is None:
        raise ValidationFailed(
            "Give a --reason. It is stored with the decision. Nothing was done.",
            fields={"reason": "is required"},
        )
    bv = session.bv
    payment = bv.resolve(
        transaction,
        operator=operator or getuser(),
        reason=reason or "the operator gave the token",
        token=delivered,
        decision=decisions[0],
    )
    return payment_output(bv, payment)


def _render(review_list: "ReviewList", document: Item) -> Iterator[Block]:
    for item in document["items"]:
        yield from _render_review(item)
    for payment in review_list.payments_with_incidents:
        yield from _render_incidents(payment)
    for deposit in review_list.deposits_with_problems:
        yield from _render_deposit_problem(deposit)
    if not (document["items"] or document["incidents"]):
        yield good("Nothing to review.")


def _render_review(item: Item) -> Iterator[Block]:
    from billvend.cli.rendering import calls_table

    purchase = f"{money(item)} to {item['biller']} for meter {item['meterNumber']}"
    transaction_id = item["transactionId"]
    yield doubt(f"In manual review: {purchase}, of {item['userId']}.")
    yield KeyValues([("Why", item["reason"] or ""), ("Transaction", transaction_id)])
    yield calls_table(item["evidence"])
    command = f"billvend resolve {transaction_id} --delivered TOKEN | --reverse --reason TEXT"
    yield quiet(f"Resolve it with: {command}")


def _render_incidents(payment: "Payment") -> Iterator[Block]:
    from billvend.domain.money import Money

    currency, transaction_id = payment.amount.currency, payment.transaction_id
    what = f"payment {transaction_id} of {payment.user_id}, {payment.amount.display}, {payment.status}"
    yield bad(f"Incident: {what}.")
    rows = [
        (
            words(incident.kind),
            Money(incident.amount_minor, currency).display,
            incident.provider,
            incident.detail,
        )
        for incident in payment.open_incidents
    ]
    yield Table(("Incident", "Amount", "Provider", "Detail"), rows)
    command = f"billvend resolve {transaction_id} --acknowledge --reason TEXT"
    yield quiet(f"When this is settled, run: {command}")


def _render_deposit_problem(deposit: "Deposit") -> Iterator[Block]:
    what = f"Deposit {deposit.reference} of {deposit.user_id}"
    yield bad(f"{what}: {deposit.amount.display} by {deposit.source}.")
    yield Line(deposit.problem or "")
    command = f"billvend deposits check {deposit.reference} --acknowledge"
    yield quiet(f"When this is settled, run: {command}")
