"""Commands for decisions of operators: review, resolve."""

from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, Transaction, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, KeyValues, Line, Table, print_result

if TYPE_CHECKING:
    from billvend.domain.payment.state import Payment
    from billvend.ports.repositories import Deposit

commands = typer.Typer()


@commands.command(epilog=example("billvend review"))
def review(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List what needs a decision.

    Payments in manual review, with the provider's answers, and open incidents. The money of payments in review stays
    held, and requeries continue.
    """
    from billvend.presentation import review_json

    with billvend_context(database_url) as bv:
        review_list = bv.review()
    blocks: list[Block] = []
    for payment in review_list.payments_in_review:
        blocks += _render_review(payment)
    for payment in review_list.payments_with_incidents:
        blocks += _render_incidents(payment)
    for deposit in review_list.deposits_with_problems:
        blocks += _render_deposit_problem(deposit)
    if not blocks:
        blocks = [Line("Nothing to review.", GOOD)]
    print_result(as_json, review_json(review_list), *blocks)
    return Exit.DONE


@commands.command(
    epilog=example(
        'billvend resolve 019a0b5c-7d3e-7000-8000-1234567890ab --delivered 12345678901234567890 --reason "by phone"',
        'billvend resolve 019a0b5c-7d3e-7000-8000-1234567890ab --reverse --reason "EKEDC has no such sale, mail of today"',
    )
)
def resolve(
    transaction: Transaction,
    delivered: Annotated[
        str | None,
        typer.Option(
            "--delivered",
            metavar="TOKEN",
            help="It was delivered with this token (20 digits).",
            show_default=False,
        ),
    ] = None,
    delivered_postpaid: Annotated[
        bool, typer.Option("--delivered-postpaid", help="It was delivered without a token.")
    ] = False,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="It was not delivered: release the money.")
    ] = False,
    acknowledge: Annotated[bool, typer.Option("--acknowledge", help="Close its incidents.")] = False,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why. Required, except with --delivered."),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option("--operator", metavar="NAME", help="The operator's name. Default: the login name."),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Resolve a payment in doubt or in review.

    The decision, the reason and the operator are stored for ever. If a later answer contradicts the decision, an incident
    is opened.
    """
    from getpass import getuser

    from billvend.cli.rendering import render_payment_summary
    from billvend.domain.enums import OperatorDecision
    from billvend.domain.errors import ValidationFailed
    from billvend.presentation import payment_json

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
    with billvend_context(database_url) as bv:
        payment = bv.resolve(
            transaction,
            operator=operator or getuser(),
            reason=reason or "the operator gave the token",
            token=delivered,
            decision=decisions[0],
        )
        events, next_check_at = bv.events(payment), bv.next_check_at(payment)
    print_result(
        as_json,
        payment_json(payment, events, next_check_at),
        *render_payment_summary(payment, next_check_at),
    )
    return Exit.DONE


def _render_review(payment: "Payment") -> list[Block]:
    from billvend.cli.rendering import calls_table

    head = f"{payment.amount.display} to {payment.biller} for meter {payment.meter}, of {payment.user_id}."
    facts = [("Why", payment.review_reason or ""), ("Transaction", payment.transaction_id)]
    instruction = f"Resolve it with: billvend resolve {payment.transaction_id} --delivered TOKEN | --reverse --reason TEXT"
    return [
        Line(f"In manual review: {head}", DOUBT),
        KeyValues(facts),
        calls_table(payment),
        Line(instruction, QUIET),
    ]


def _render_deposit_problem(deposit: "Deposit") -> list[Block]:
    head = f"Deposit {deposit.reference} of {deposit.user_id}: {deposit.amount.display} by {deposit.source}."
    instruction = f"When this is settled, run: billvend deposits check {deposit.reference} --acknowledge"
    return [Line(head, BAD), Line(deposit.problem or ""), Line(instruction, QUIET)]


def _render_incidents(payment: "Payment") -> list[Block]:
    from billvend.domain.money import Money

    rows = [
        (
            incident.kind.value.replace("_", " "),
            Money(incident.amount_minor, payment.amount.currency).display,
            incident.provider,
            incident.detail,
        )
        for incident in payment.open_incidents
    ]
    head = f"Incident: payment {payment.transaction_id} of {payment.user_id}, {payment.amount.display}, {payment.status}."
    instruction = (
        f"When this is settled, run: billvend resolve {payment.transaction_id} --acknowledge --reason TEXT"
    )
    return [
        Line(head, BAD),
        Table(("Incident", "Amount", "Provider", "Detail"), rows),
        Line(instruction, QUIET),
    ]
