"""Commands that look: balance, history, show, find, payments, meter, billers."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import opened
from billvend.cli.options import Currency, DatabaseUrl, Json, Limit, Transaction, User, example
from billvend.cli.output import GOOD, QUIET, Facts, Line, Table, show
from billvend.domain.words import Status

if TYPE_CHECKING:
    from billvend.library import Billvend
    from billvend.ports.books import Search
    from billvend.ports.books import Transaction as Found
    from billvend.views import Document

RECENT = 10
"""Transactions that are shown with a balance."""

commands = typer.Typer()


class Kind(StrEnum):
    """What a transaction is."""

    FUNDING = "funding"
    PAYMENT = "payment"


Statuses = Annotated[
    list[Status] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help=f"Only in this one: {', '.join(Status)}. May be given more than once.",
        show_default=False,
    ),
]
Cursor = Annotated[
    str | None,
    typer.Option(
        "--cursor", metavar="ID", help="Only what is older than this transaction.", show_default=False
    ),
]


@commands.command(epilog=example("billvend balance ada"))
def balance(
    user: User, currency: Currency = None, as_json: Json = False, database_url: DatabaseUrl = None
) -> Exit:
    """Show what a wallet holds.

    What can be spent, what is reserved for payments under way, and what happened last.
    """
    from billvend.cli.screens import transactions_table
    from billvend.views import balance_document

    with opened(database_url) as bv:
        wallet = bv.balance(user, currency=currency)
        recent = [t for t in bv.history(user, limit=RECENT) if t.amount.currency == wallet.balance.currency]
        document = balance_document(wallet, _documents(bv, recent))
    amounts = Facts([("To spend", wallet.balance.display), ("Reserved", wallet.held.display)])
    show(
        as_json, document, Line(f"The wallet of {wallet.user_id}", GOOD), amounts, transactions_table(recent)
    )
    return Exit.DONE


@commands.command(epilog=example("billvend history ada --limit 50 --type payment"))
def history(
    user: User,
    status: Statuses = None,
    kind: Annotated[
        Kind | None, typer.Option("--type", help="Only of this type.", show_default=False)
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List a user's fundings and payments, newest first."""
    from billvend.domain.names import parse_user_id
    from billvend.ports.books import Search

    wanted = Search(parse_user_id(user), tuple(status or ()), kind, before=cursor, limit=limit)
    return _list(wanted, as_json, database_url)


@commands.command(epilog=example("billvend find --meter 12345678901"))
def find(
    meter: Annotated[
        str | None, typer.Option("--meter", metavar="NUMBER", help="Paid for this meter.", show_default=False)
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="R", help="As sent to a provider, or of a funding.", show_default=False
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="K", help="The caller's idempotency key.", show_default=False),
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Find transactions of any user by meter, reference or key."""
    from billvend.domain.errors import ValidationFailed
    from billvend.domain.meter import parse_meter
    from billvend.ports.books import Search

    if meter is reference is key is None:
        raise ValidationFailed("There is nothing to find: give --meter, --reference or --key.")
    number = None if meter is None else parse_meter(meter)
    wanted = Search(meter=number, reference=reference, key=key, before=cursor, limit=limit)
    return _list(wanted, as_json, database_url)


@commands.command(epilog=example("billvend payments --status in_doubt --status in_review"))
def payments(
    status: Statuses = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List payments of all users, newest first."""
    from billvend.ports.books import Search

    wanted = Search(kind=Kind.PAYMENT, statuses=tuple(status or ()), before=cursor, limit=limit)
    return _list(wanted, as_json, database_url)


@commands.command("show", epilog=example("billvend show 019a0b5c-7d3e-7000-8000-1234567890ab --refresh"))
def show_transaction(
    transaction: Transaction,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the provider first, where anything was sent.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Show all about a transaction.

    How it stands, what the provider said, what happened when, and what proves it.
    """
    from billvend.cli.screens import funding_screen, payment_screen
    from billvend.domain.wallet import Funding
    from billvend.views import funding_document, payment_document

    with opened(database_url) as bv:
        found = bv.refresh(transaction) if refresh else bv.transaction(transaction)
        if isinstance(found, Funding):
            show(as_json, funding_document(found), *funding_screen(found))
            return Exit.DONE
        events, next_look_at = bv.events(found), bv.next_look_at(found)
    show(as_json, payment_document(found, events, next_look_at), *payment_screen(found, events, next_look_at))
    return Exit.DONE


@commands.command("meter", epilog=example("billvend meter 12345678901 --biller EKEDC"))
def show_meter(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="10 to 16 digits.")],
    biller: Annotated[str, typer.Option("--biller", metavar="CODE", help="One of `billvend billers`.")],
    vend_type: Annotated[
        str, typer.Option("--vend-type", metavar="KIND", help="prepaid or postpaid.")
    ] = "prepaid",
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Show whose meter it is, as the provider says.

    And the smallest amount that it takes. Nothing is sold.
    """
    from billvend.views import meter_document

    with opened(database_url) as bv:
        found = bv.meter(number, biller=biller, vend_type=vend_type)
        document = meter_document(found, number, biller, vend_type, bv.currency)
    least = document["minimumAmount"]
    facts = [
        ("Customer", found.customer_name),
        *([("Address", found.address)] if found.address else []),
        *([("At least", f"{bv.currency} {least}")] if least else []),
    ]
    show(as_json, document, Line(f"Meter {number} at {biller} may be paid for.", GOOD), Facts(facts))
    return Exit.DONE


@commands.command(epilog=example("billvend billers"))
def billers(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List the electricity companies that can be paid."""
    from billvend.views import biller_document

    with opened(database_url) as bv:
        known = bv.billers()
    rows = [(biller.code, biller.name, ", ".join(biller.vend_types)) for biller in known]
    document = {"items": [biller_document(biller) for biller in known]}
    show(as_json, document, Table(("Code", "Name", "Sells"), rows))
    return Exit.DONE


def _list(wanted: "Search", as_json: bool, database_url: str | None) -> Exit:
    from dataclasses import replace

    from billvend.cli.screens import transactions_table

    with opened(database_url) as bv:
        found = bv.search(replace(wanted, limit=wanted.limit + 1))
        page = found[: wanted.limit]
        cursor = page[-1].transaction_id if len(found) > len(page) else None
        document = {"items": _documents(bv, page), "nextCursor": cursor}
    blocks = [transactions_table(page, with_user=wanted.user_id is None)]
    if cursor:
        blocks.append(Line(f"There are older ones: --cursor {cursor}", QUIET))
    show(as_json, document, *blocks)
    return Exit.DONE


def _documents(bv: "Billvend", found: "Sequence[Found]") -> "list[Document]":
    from billvend.domain.payment import Payment
    from billvend.views import transaction_document

    return [transaction_document(t, bv.next_look_at(t) if isinstance(t, Payment) else None) for t in found]
