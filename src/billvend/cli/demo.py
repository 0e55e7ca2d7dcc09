"""All kinds of payments on a temporary database, with a text for each step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import typer

from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, print_blocks, print_result
from billvend.domain.errors import ConfigurationError, InsufficientFunds, LikelyDuplicate

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.config import Settings
    from billvend.domain.payment.state import Payment

commands = typer.Typer()

USER: Final = "ada"
BILLER: Final = "EKEDC"
FAST_SETTINGS: Final = {"bill_provider_timeout": 1, "lease_seconds": 10, "requery_schedule": "1,2,5"}
"""Seconds instead of minutes, so that the demo is short."""
MAX_WAIT_SECONDS: Final = 15


@dataclass
class DemoStep:
    """A step of the demo."""

    title: str
    lines: list[str] = field(default_factory=list)


class Narrator:
    """Prints the steps as they happen, and keeps them for the JSON document."""

    def __init__(self, *, prints: bool) -> None:
        self.steps: list[DemoStep] = []
        self._prints = prints

    def add_step(self, title: str) -> None:
        """Begin the next step."""
        self.steps.append(DemoStep(title))
        if self._prints:
            print_blocks(Line(""), Line(f"{len(self.steps)}. {title}", "bold"))

    def write(self, text: str, style: str = "") -> None:
        """Add a line to the current step."""
        self.steps[-1].lines.append(text)
        if self._prints:
            print_blocks(Line(f"   {text}", style))


@commands.command(epilog=example("billvend demo"))
def demo(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Show all kinds of payments on a temporary database.

    Delivered, declined and reversed, in doubt and confirmed, rejected; then an audit. It needs no server and no settings,
    and leaves nothing behind. With --database-url it runs on that database, which must be empty.
    """
    from billvend.bootstrap import count_sandbox_sales, open_billvend
    from billvend.domain.enums import Status
    from billvend.presentation import audit_json

    narrator = Narrator(prints=not as_json)
    with _setup(database_url) as settings:
        with open_billvend(settings) as bv:
            if bv.payments(limit=1):
                raise ConfigurationError(
                    "This database has payments already. The demo needs an empty one. Nothing was done."
                )
            _run(bv, narrator)
            audit, completed_count = bv.audit(), len(bv.payments(Status.COMPLETED))
            narrator.add_step("Audit")
            narrator.write(f"Every event was replayed: {audit.events} events, {audit.transfers} transfers.")
            for difference in audit.differences:
                narrator.write(difference, BAD)
        sold_count = count_sandbox_sales(settings)
    agrees = sold_count == completed_count
    narrator.write(
        f"The sandbox's own records, which billvend never reads: {sold_count} sold. Here: {completed_count} completed."
    )
    ok = audit.ok and agrees
    narrator.write(
        "No differences: nothing lost, nothing bought twice." if ok else "They differ.", GOOD if ok else BAD
    )
    if as_json:
        document = {
            "ok": ok,
            "steps": [asdict(step) for step in narrator.steps],
            "audit": audit_json(audit),
            "sandbox": {"vended": sold_count, "completedHere": completed_count},
        }
        print_result(True, document)
    return Exit.DONE if ok else Exit.DIFFERENCE


@contextmanager
def _setup(database_url: str | None) -> "Iterator[Settings]":
    """The demo's own settings and a new database. The user's settings are not read."""
    from billvend.bootstrap import upgrade_schema
    from billvend.config import settings_from_values
    from billvend.logs import log_to_stderr

    with TemporaryDirectory(prefix="billvend-demo-") as folder, log_to_stderr("error"):
        url = database_url or f"sqlite:///{Path(folder, 'demo.db')}"
        settings = settings_from_values(
            database_url=url, sandbox_book=Path(folder, "sandbox.db"), **FAST_SETTINGS
        )
        upgrade_schema(settings)
        yield settings


def _run(bv: "Billvend", narrator: Narrator) -> None:
    narrator.add_step("Funding")
    bv.fund(USER, "5000", key="till-7-0001")
    narrator.write(f"{USER} pays cash. {_wallet_text(bv)}")

    narrator.add_step("A delivered payment")
    _write_payment(narrator, _pay(bv, "1000", meter="12345678901"))
    narrator.write(_wallet_text(bv))

    narrator.add_step("A declined payment")
    _write_payment(narrator, _pay(bv, "500", meter="600000000001"))
    narrator.write(f"No guess: the money was released on proof. {_wallet_text(bv)}")

    narrator.add_step("A lost answer")
    _show_in_doubt(bv, narrator)
    narrator.write(_wallet_text(bv))

    narrator.add_step("A double click")
    _write_payment(narrator, _pay(bv, "300", meter="1111111111111"))
    try:
        _pay(bv, "300", meter="1111111111111")
    except LikelyDuplicate as error:
        narrator.write(f"Rejected: {error}", QUIET)

    narrator.add_step("A client repeats its request, with its key")
    first = _pay(bv, "200", meter="22222222222", key="order-42")
    repeated = _pay(bv, "200", meter="22222222222", key="order-42")
    _write_payment(narrator, first)
    if first.transaction_id == repeated.transaction_id:
        narrator.write("Sent twice, paid once: the second response is the first payment.")
    narrator.write(_wallet_text(bv))

    narrator.add_step("Too little money")
    try:
        _pay(bv, "90000", meter="12345678901")
    except InsufficientFunds as error:
        narrator.write(f"Rejected: {error}", QUIET)


def _show_in_doubt(bv: "Billvend", narrator: Narrator) -> None:
    reported: list[str] = []

    def watch(payment: "Payment") -> None:
        if payment.status.value == "in_doubt" and not reported:
            reported.append(payment.status)
            narrator.write("No answer came in time. The outcome is unknown: the payment is in doubt.", DOUBT)
            narrator.write("A refund now might give electricity for free. To send again might buy twice.")
            narrator.write(
                f"So the money stays held, and billvend asks the provider again. {_wallet_text(bv)}"
            )

    _write_payment(narrator, _pay(bv, "700", meter="300000000000", watch=watch))
    narrator.write("It was delivered, and this time the answer came: confirmed by a requery, not by a guess.")


def _pay(
    bv: "Billvend",
    amount: str,
    *,
    meter: str,
    key: str | None = None,
    watch: "Callable[[Payment], None] | None" = None,
) -> "Payment":
    payment = bv.pay(USER, amount, meter=meter, biller=BILLER, key=key)
    return bv.wait(payment.transaction_id, timeout=MAX_WAIT_SECONDS, on_poll=watch)


def _write_payment(narrator: Narrator, payment: "Payment") -> None:
    from billvend.domain.enums import Status
    from billvend.presentation import customer_message, group_digits

    style = {Status.COMPLETED: GOOD, Status.REVERSED: BAD}.get(payment.status, DOUBT)
    narrator.write(
        f"{payment.amount.display} for meter {payment.meter}: {payment.status}. {customer_message(payment)}",
        style,
    )
    if payment.token:
        narrator.write(f"Token {group_digits(payment.token)}, {payment.units} kWh")
    if payment.proof:
        narrator.write(f"Proof: {payment.proof}")


def _wallet_text(bv: "Billvend") -> str:
    wallet = bv.balance(USER)
    return f"Available: {wallet.available.display}, held: {wallet.held.display}."
