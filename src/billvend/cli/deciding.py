"""Commands for what a person decides: review, resolve."""

from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import opened
from billvend.cli.options import DatabaseUrl, Json, Transaction, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, Facts, Line, Table, show

if TYPE_CHECKING:
    from billvend.domain.payment import Payment
    from billvend.ports.intents import Intent

commands = typer.Typer()


@commands.command(epilog=example("billvend review"))
def review(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List what waits for a person.

    Payments that the provider gives no clear answer about, with all that it said of them, and incidents: what turned up
    after a payment's end. The money of the former stays reserved, and the provider goes on being asked.
    """
    from billvend.views import review_document

    with opened(database_url) as bv:
        waiting = bv.review()
    blocks: list[Block] = []
    for payment in waiting.payments:
        blocks += _in_review(payment)
    for payment in waiting.with_incidents:
        blocks += _incidents(payment)
    for intent in waiting.fundings:
        blocks += _funding_problem(intent)
    if not blocks:
        blocks = [Line("Nothing waits for a person.", GOOD)]
    show(as_json, review_document(waiting), *blocks)
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
        typer.Option("--delivered", metavar="TOKEN", help="It was sold: 20 digits.", show_default=False),
    ] = None,
    delivered_postpaid: Annotated[
        bool, typer.Option("--delivered-postpaid", help="It was sold, and there is no token.")
    ] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="It was not sold: the money goes back.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Its incidents have been dealt with.")] = False,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="How that is known. Needed, but for --delivered."),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option("--operator", metavar="NAME", help="Who decides, instead of the one who is logged in."),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Decide about a payment in doubt or in review.

    The decision, the reason and who decided stand in the payment's events for ever. What the provider says later is
    still taken down, and contradicts in the open: as an incident.
    """
    from getpass import getuser

    from billvend.cli.screens import outcome
    from billvend.domain.errors import ValidationFailed
    from billvend.domain.words import Verdict
    from billvend.views import payment_document

    verdicts = [Verdict.DELIVERED] * ((delivered is not None) + delivered_postpaid)
    verdicts += [Verdict.REVERSE] * reverse + [Verdict.SEEN] * seen
    if len(verdicts) != 1:
        raise ValidationFailed("Give one of --delivered TOKEN, --delivered-postpaid, --reverse and --seen.")
    if reason is None and delivered is None:
        raise ValidationFailed(
            "Give the --reason: it stands in the events for ever.", fields={"reason": "is needed"}
        )
    with opened(database_url) as bv:
        payment = bv.resolve(
            transaction,
            operator=operator or getuser(),
            reason=reason or "the operator gave the token",
            token=delivered,
            verdict=verdicts[0],
        )
        events, next_look_at = bv.events(payment), bv.next_look_at(payment)
    show(as_json, payment_document(payment, events, next_look_at), *outcome(payment, next_look_at))
    return Exit.DONE


def _in_review(payment: "Payment") -> list[Block]:
    from billvend.cli.screens import calls_table

    head = f"{payment.amount.display} to {payment.biller} for meter {payment.meter}, of {payment.user_id}."
    facts = [("Why", payment.review_reason or ""), ("Transaction", payment.transaction_id)]
    how = (
        f"Decide with: billvend resolve {payment.transaction_id} --delivered TOKEN | --reverse --reason TEXT"
    )
    return [Line(f"In review: {head}", DOUBT), Facts(facts), calls_table(payment), Line(how, QUIET)]


def _funding_problem(intent: "Intent") -> list[Block]:
    head = f"Funding {intent.reference} of {intent.user_id}, {intent.amount.display} by {intent.source}."
    how = f"When it is dealt with: billvend fund-check {intent.reference} --seen"
    return [Line(head, BAD), Line(intent.problem or ""), Line(how, QUIET)]


def _incidents(payment: "Payment") -> list[Block]:
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
    how = f"When it is dealt with: billvend resolve {payment.transaction_id} --seen --reason TEXT"
    return [Line(head, BAD), Table(("What", "Ours", "Provider", ""), rows), Line(how, QUIET)]
