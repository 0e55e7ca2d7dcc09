"""Commands that read: balance, history, show, find, payments, meter, billers."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from billvend.cli.context import billvend_context
from billvend.cli.exits import Exit
from billvend.cli.options import Currency, DatabaseUrl, Json, MaxItems, Transaction, User, example
from billvend.cli.output import GOOD, QUIET, KeyValues, Line, Table, print_result
from billvend.domain.enums import Status

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.ports.queries import Search
    from billvend.ports.queries import Transaction as TransactionRecord
    from billvend.presentation import JsonObject

RECENT_TRANSACTIONS = 10
"""Transactions that are shown with a balance."""

commands = typer.Typer()


class TransactionType(StrEnum):
    """The type of a transaction."""

    FUNDING = "funding"
    PAYMENT = "payment"


StatusOption = Annotated[
    list[Status] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help=f"Only transactions with this status: {', '.join(Status)}. May be repeated.",
        show_default=False,
    ),
]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", metavar="ID", help="Only transactions older than this one.", show_default=False),
]


@commands.command(epilog=example("billvend balance ada"))
def balance(
    user: User, currency: Currency = None, as_json: Json = False, database_url: DatabaseUrl = None
) -> Exit:
    """Show the balance of a wallet.

    The available and held amounts, and the latest transactions.
    """
    from billvend.cli.rendering import transactions_table
    from billvend.presentation import balance_json

    with billvend_context(database_url) as bv:
        wallet = bv.balance(user, currency=currency)
        recent = [
            t
            for t in bv.history(user, limit=RECENT_TRANSACTIONS)
            if t.amount.currency == wallet.available.currency
        ]
        document = balance_json(wallet, _transactions_json(bv, recent))
    amounts = KeyValues([("Available", wallet.available.display), ("Held", wallet.held.display)])
    print_result(
        as_json, document, Line(f"The wallet of {wallet.user_id}", GOOD), amounts, transactions_table(recent)
    )
    return Exit.DONE


@commands.command(epilog=example("billvend history ada --limit 50 --type payment"))
def history(
    user: User,
    status: StatusOption = None,
    kind: Annotated[
        TransactionType | None,
        typer.Option("--type", help="Only transactions of this type.", show_default=False),
    ] = None,
    limit: MaxItems = 20,
    cursor: CursorOption = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List a user's fundings and payments, newest first."""
    from billvend.domain.ids import parse_user_id
    from billvend.ports.queries import Search

    criteria = Search(parse_user_id(user), tuple(status or ()), kind, before=cursor, limit=limit)
    return _print_transactions(criteria, as_json, database_url)


@commands.command(epilog=example("billvend find --meter 12345678901"))
def find(
    meter: Annotated[
        str | None, typer.Option("--meter", metavar="NUMBER", help="The meter number.", show_default=False)
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="R",
            help="The reference sent to a provider, or of a funding.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            "--key",
            metavar="K",
            help="The idempotency key of the request.",
            show_default=False,
        ),
    ] = None,
    limit: MaxItems = 20,
    cursor: CursorOption = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Find transactions of any user by meter, reference or key."""
    from billvend.domain.errors import ValidationFailed
    from billvend.domain.ids import parse_meter
    from billvend.ports.queries import Search

    if meter is reference is key is None:
        raise ValidationFailed("Nothing to search for. Give --meter, --reference or --idempotency-key.")
    number = None if meter is None else parse_meter(meter)
    criteria = Search(meter=number, reference=reference, key=key, before=cursor, limit=limit)
    return _print_transactions(criteria, as_json, database_url)


@commands.command(epilog=example("billvend payments --status in_doubt --status in_review"))
def payments(
    status: StatusOption = None,
    limit: MaxItems = 100,
    cursor: CursorOption = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """List payments of all users, newest first."""
    from billvend.ports.queries import Search

    criteria = Search(kind=TransactionType.PAYMENT, statuses=tuple(status or ()), before=cursor, limit=limit)
    return _print_transactions(criteria, as_json, database_url)


@commands.command("show", epilog=example("billvend show 019a0b5c-7d3e-7000-8000-1234567890ab --refresh"))
def show_transaction(
    transaction: Transaction,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Requery the provider first, if anything was sent.")
    ] = False,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Show a transaction.

    Its status, the provider's answers, the events and the proof.
    """
    from billvend.cli.rendering import render_funding, render_payment
    from billvend.domain.ledger.wallet import Funding
    from billvend.presentation import funding_json, payment_json

    with billvend_context(database_url) as bv:
        record = bv.refresh(transaction) if refresh else bv.transaction(transaction)
        if isinstance(record, Funding):
            print_result(as_json, funding_json(record), *render_funding(record))
            return Exit.DONE
        events, next_check_at = bv.events(record), bv.next_check_at(record)
    print_result(
        as_json, payment_json(record, events, next_check_at), *render_payment(record, events, next_check_at)
    )
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
    """Look up a meter at the provider.

    Shows the customer and the minimum amount. Nothing is bought.
    """
    from billvend.presentation import meter_json

    with billvend_context(database_url) as bv:
        details = bv.meter(number, biller=biller, vend_type=vend_type)
        document = meter_json(details, number, biller, vend_type, bv.currency)
    minimum = document["minimumAmount"]
    facts = [
        ("Customer", details.customer_name),
        *([("Address", details.address)] if details.address else []),
        *([("Minimum", f"{bv.currency} {minimum}")] if minimum else []),
    ]
    print_result(
        as_json, document, Line(f"Meter {number} of {biller} can be paid for.", GOOD), KeyValues(facts)
    )
    return Exit.DONE


@commands.command(epilog=example("billvend billers"))
def billers(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """List the billers that can be paid."""
    from billvend.presentation import biller_json

    with billvend_context(database_url) as bv:
        all_billers = bv.billers()
    rows = [(biller.code, biller.name, ", ".join(biller.vend_types)) for biller in all_billers]
    document = {"items": [biller_json(biller) for biller in all_billers]}
    print_result(as_json, document, Table(("Code", "Name", "Meters"), rows))
    return Exit.DONE


def _print_transactions(criteria: "Search", as_json: bool, database_url: str | None) -> Exit:
    from dataclasses import replace

    from billvend.cli.rendering import transactions_table

    with billvend_context(database_url) as bv:
        transactions = bv.search(replace(criteria, limit=criteria.limit + 1))
        page = transactions[: criteria.limit]
        cursor = page[-1].transaction_id if len(transactions) > len(page) else None
        document = {"items": _transactions_json(bv, page), "nextCursor": cursor}
    blocks = [transactions_table(page, with_user=criteria.user_id is None)]
    if cursor:
        blocks.append(Line(f"Older transactions: --cursor {cursor}", QUIET))
    print_result(as_json, document, *blocks)
    return Exit.DONE


def _transactions_json(bv: "Billvend", transactions: "Sequence[TransactionRecord]") -> "list[JsonObject]":
    from billvend.domain.payment.state import Payment
    from billvend.presentation import transaction_json

    return [
        transaction_json(t, bv.next_check_at(t) if isinstance(t, Payment) else None) for t in transactions
    ]
