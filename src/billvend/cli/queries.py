"""Commands that read: balance, history, show, find, payments, meter, billers."""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from billvend.cli.blocks import Block, Columns, Item, KeyValues, good, money, quiet, short_time, table, words
from billvend.cli.context import Session, command
from billvend.cli.options import BILLER, CURRENCY, TRANSACTION, USER, VEND_TYPE, argument, max_items, option
from billvend.cli.output import Output, listing, result
from billvend.domain.enums import Status

if TYPE_CHECKING:
    from billvend.ports.queries import Search

RECENT_TRANSACTIONS = 10
"""Transactions that are shown with a balance."""


def _status(transaction: Item) -> str:
    return "funded" if transaction["type"] == "funding" else words(transaction["status"])


TRANSACTION_COLUMNS: Columns = {
    "When (UTC)": lambda transaction: short_time(transaction["createdAt"]),
    "User": "userId",
    "Status": _status,
    "Amount": money,
    "Meter": "meterNumber",
    "Biller": "biller",
    "Transaction": "transactionId",
}
COLUMNS_OF_ONE_USER: Columns = {
    heading: column for heading, column in TRANSACTION_COLUMNS.items() if heading != "User"
}
NO_TRANSACTIONS = "No transactions."

commands = typer.Typer()


class TransactionType(StrEnum):
    """The type of a transaction."""

    FUNDING = "funding"
    PAYMENT = "payment"


STATUS = option(
    f"--status STATUS: Only transactions with this status: {', '.join(Status)}. May be repeated.", None
)
CURSOR = option("--cursor ID: Only transactions older than this one.", None)


@command(commands, "billvend balance ada")
def balance(session: Session, user: str = USER, currency: str | None = CURRENCY) -> Output:
    """Show the balance of a wallet.

    The available and held amounts, and the latest transactions.
    """
    from billvend.ports.queries import Search
    from billvend.presentation.transaction_models import BalanceResponse

    bv = session.bv
    wallet = bv.balance(user, currency=currency)
    newest = bv.search(Search(wallet.user_id, limit=RECENT_TRANSACTIONS))
    recent = [each for each in newest if each.transaction.amount.currency == wallet.available.currency]
    document = BalanceResponse.of(wallet, recent).to_json()
    return result(
        document,
        good(f"The wallet of {wallet.user_id}"),
        KeyValues([("Available", wallet.available.display), ("Held", wallet.held.display)]),
        table(document["recentTransactions"], COLUMNS_OF_ONE_USER, empty=NO_TRANSACTIONS),
    )


@command(commands, "billvend history ada --limit 50 --type payment")
def history(
    session: Session,
    user: str = USER,
    status: list[Status] | None = STATUS,
    kind: TransactionType | None = option("--type: Only transactions of this type.", None),
    limit: int = max_items(20),
    cursor: str | None = CURSOR,
) -> Output:
    """List a user's fundings and payments, newest first."""
    from billvend.domain.ids import parse_user_id
    from billvend.ports.queries import Search

    criteria = Search(parse_user_id(user), tuple(status or ()), kind, before=cursor, limit=limit)
    return _search(session, criteria)


@command(commands, "billvend find --meter 12345678901")
def find(
    session: Session,
    meter: str | None = option("--meter NUMBER: The meter number.", None),
    reference: str | None = option("--reference R: The reference sent to a provider, or of a funding.", None),
    key: str | None = option("--idempotency-key --key K: The idempotency key of the request.", None),
    limit: int = max_items(20),
    cursor: str | None = CURSOR,
) -> Output:
    """Find transactions of any user by meter, reference or key."""
    from billvend.domain.errors import ValidationFailed
    from billvend.domain.ids import parse_meter
    from billvend.ports.queries import Search

    if meter is reference is key is None:
        raise ValidationFailed("Nothing to search for. Give --meter, --reference or --idempotency-key.")
    number = None if meter is None else parse_meter(meter)
    return _search(session, Search(meter=number, reference=reference, key=key, before=cursor, limit=limit))


@command(commands, "billvend payments --status in_doubt --status in_review")
def payments(
    session: Session,
    status: list[Status] | None = STATUS,
    limit: int = max_items(100),
    cursor: str | None = CURSOR,
) -> Output:
    """List payments of all users, newest first."""
    from billvend.ports.queries import Search

    criteria = Search(kind=TransactionType.PAYMENT, statuses=tuple(status or ()), before=cursor, limit=limit)
    return _search(session, criteria)


@command(commands, "billvend show 019a0b5c-7d3e-7000-8000-1234567890ab --refresh", name="show")
def show_transaction(
    session: Session,
    transaction: str = TRANSACTION,
    refresh: bool = option("--refresh: Requery the provider first, if anything was sent.", False),
) -> Output:
    """Show a transaction.

    Its status, the provider's answers, the events and the proof.
    """
    from billvend.cli.rendering import render_funding, render_payment
    from billvend.domain.ledger.wallet import Funding
    from billvend.presentation.transaction_models import TransactionDetailResponse, TransactionResponse

    bv = session.bv
    if refresh:
        bv.refresh(transaction)
    record = bv.record(transaction)
    if isinstance(record.transaction, Funding):
        document = TransactionResponse.of(record.transaction).to_json()
        return result(document, *render_funding(document))
    shown = (record.transaction, record.events, record.next_check_at)
    return Output(lambda: TransactionDetailResponse.with_events(*shown), lambda: render_payment(*shown))


@command(commands, "billvend meter 12345678901 --biller EKEDC", name="meter")
def show_meter(
    session: Session,
    number: str = argument("NUMBER: 10 to 16 digits."),
    biller: str = BILLER,
    vend_type: str = VEND_TYPE,
) -> Output:
    """Look up a meter at the provider.

    Shows the customer and the minimum amount. Nothing is bought.
    """
    from billvend.presentation.models import MeterResponse

    details = session.bv.meter(number, biller=biller, vend_type=vend_type)
    document = MeterResponse.of(details, number, biller, vend_type, session.bv.currency).to_json()
    facts = [("Customer", details.customer_name)]
    if details.address:
        facts.append(("Address", details.address))
    if minimum := document["minimumAmount"]:
        facts.append(("Minimum", f"{document['currency']} {minimum}"))
    title = good(f"Meter {number} of {biller} can be paid for.")
    return result(document, title, KeyValues(facts))


@command(commands, "billvend billers")
def billers(session: Session) -> Output:
    """List the billers that can be paid."""
    from billvend.presentation.models import BillerResponse

    columns = {"Code": "code", "Name": "name", "Meters": "vendTypes"}
    return listing(BillerResponse, session.bv.billers(), columns)


def _search(session: Session, criteria: "Search") -> Output:
    from billvend.presentation.transaction_models import TransactionResponse

    bv = session.bv
    transactions = bv.search(replace(criteria, limit=criteria.limit + 1))
    page = transactions[: criteria.limit]
    items = [TransactionResponse.of(each.transaction, each.next_check_at).to_json() for each in page]
    cursor = page[-1].transaction.transaction_id if len(transactions) > len(page) else None
    columns = TRANSACTION_COLUMNS if criteria.user_id is None else COLUMNS_OF_ONE_USER
    text: list[Block] = [table(items, columns, empty=NO_TRANSACTIONS)]
    if cursor:
        text.append(quiet(f"Older transactions: --cursor {cursor}"))
    return result({"items": items, "nextCursor": cursor}, *text)
