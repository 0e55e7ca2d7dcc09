"""All kinds of payments on a temporary database, with a text for each step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import typer

from billvend.cli.blocks import Line, bad, doubt, good, quiet
from billvend.cli.context import Session, command
from billvend.cli.exits import Exit
from billvend.cli.output import print_blocks, result
from billvend.domain.errors import ConfigurationError, InsufficientFunds, LikelyDuplicate

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.config import Settings
    from billvend.domain.payment.state import Payment

commands = typer.Typer()

USER: Final = "ada"
CONFIRMED: Final = "It was delivered, and this time the answer came: confirmed by a requery, not by a guess."
STORY: Final[tuple[tuple[str, list[tuple[str, ...]], list[str]], ...]] = (
    ("A delivered payment", [("1000", "12345678901")], ["{balances}"]),
    ("A declined payment", [("500", "600000000001")], ["No guess: the money was released on proof. {balances}"]),
    ("A lost answer", [("700", "300000000000")], [CONFIRMED, "{balances}"]),
    ("A double click", [("300", "1111111111111")] * 2, []),
    ("A client repeats its request, with its key", [("200", "22222222222", "order-42")] * 2, ["{balances}"]),
    ("Too little money", [("90000", "12345678901")], []),
)  # fmt: skip
"""Steps: the title, the bills (amount, meter, perhaps a key), and what is added at the end."""
IN_DOUBT: Final = (
    "A refund now might give electricity for free. To send again might buy twice.",
    "So the money stays held, and billvend asks the provider again. {balances}",
)
FAST_SETTINGS: Final = {"bill_provider_timeout": 1, "lease_seconds": 10, "requery_schedule": "1,2,5"}
"""Seconds instead of minutes, so that the demo is short."""
MAX_WAIT_SECONDS: Final = 15


@command(commands, "billvend demo")
def demo(session: Session) -> Exit:
    """Show all kinds of payments on a temporary database.

    Delivered, declined and reversed, in doubt and confirmed, rejected; then an audit. It needs no server and no settings,
    and leaves nothing behind. With --database-url it runs on that database, which must be empty.
    """
    from billvend.bootstrap import count_sandbox_sales, open_billvend
    from billvend.domain.enums import Status
    from billvend.presentation.operator_models import AuditResponse

    with _new_database(session.database_url) as settings, open_billvend(settings) as bv:
        if bv.payments(limit=1):
            raise ConfigurationError(
                "This database has payments already. The demo needs an empty one. Nothing was done."
            )
        narrator = Narrator(bv, is_printed=not session.as_json)
        narrator.run()
        audit, completed = bv.audit(), len(bv.payments(Status.COMPLETED))
        sold = count_sandbox_sales(settings)
    ok = audit.ok and sold == completed
    narrator.begin("Audit")
    narrator.write(Line(f"Every event was replayed: {audit.events} events, {audit.transfers} transfers."))
    narrator.write(*map(bad, audit.differences))
    sales = (
        f"The sandbox's own records, which billvend never reads: {sold} sold. Here: {completed} completed."
    )
    verdict = good("No differences: nothing lost, nothing bought twice.") if ok else bad("They differ.")
    narrator.write(Line(sales), verdict)
    document = {
        "ok": ok,
        "steps": narrator.steps,
        "audit": AuditResponse.model_validate(audit),
        "sandbox": {"vended": sold, "completedHere": completed},
    }
    return session.print(result(document, status=Exit.DONE if ok else Exit.DIFFERENCE))


@contextmanager
def _new_database(database_url: str | None) -> "Iterator[Settings]":
    """The demo's own settings and a new database. The user's settings are not read."""
    from billvend.bootstrap import upgrade_schema
    from billvend.config import settings_from_values
    from billvend.logs import log_to_stderr

    with TemporaryDirectory(prefix="billvend-demo-") as folder, log_to_stderr("error"):
        url = database_url or f"sqlite:///{Path(folder, 'demo.db')}"
        sales = Path(folder, "sandbox.db")
        settings = settings_from_values(database_url=url, sandbox_book=sales, **FAST_SETTINGS)
        upgrade_schema(settings)
        yield settings


class Narrator:
    """Makes the payments of the story. Prints what happens, unless it is only kept for the JSON document."""

    def __init__(self, bv: "Billvend", *, is_printed: bool) -> None:
        self.steps: list[dict[str, Any]] = []
        self._bv = bv
        self._is_printed = is_printed
        self._has_explained_doubt = False

    def begin(self, title: str) -> None:
        """Begin the next step."""
        self.steps.append({"title": title, "lines": []})
        if self._is_printed:
            print_blocks(Line(""), Line(f"{len(self.steps)}. {title}", "bold"))

    def write(self, *lines: Line) -> None:
        """Add lines to the current step."""
        for line in lines:
            self.steps[-1]["lines"].append(line.text)
            if self._is_printed:
                print_blocks(Line(f"   {line.text}", line.style))

    def run(self) -> None:
        """Make all payments, step by step."""
        self.begin("Funding")
        self._bv.fund(USER, "5000", key="till-7-0001")
        self._remark(f"{USER} pays cash. {{balances}}")
        for title, bills, remarks in STORY:
            self.begin(title)
            for bill in bills:
                self._pay(*bill)
            self._remark(*remarks)

    def _remark(self, *texts: str) -> None:
        for text in texts:
            wallet = self._bv.balance(USER)
            balances = f"Available: {wallet.available.display}, held: {wallet.held.display}."
            self.write(Line(text.format(balances=balances)))

    def _pay(self, amount: str, meter: str, key: str | None = None) -> None:
        from billvend.domain.enums import Status
        from billvend.presentation.text import customer_message, group_digits
        from billvend.usecases.pay import Bill

        try:
            accepted = self._bv.accept(Bill(USER, amount, meter, "EKEDC", key=key))
        except (LikelyDuplicate, InsufficientFunds) as error:
            self.write(quiet(f"Rejected: {error}"))
            return
        if accepted.replayed:
            self.write(Line("Sent twice, paid once: the second response is the first payment."))
            return
        payment = self._bv.wait(accepted.payment, timeout=MAX_WAIT_SECONDS, on_poll=self._explain_doubt)
        style = {Status.COMPLETED: good, Status.REVERSED: bad}.get(payment.status, doubt)
        sale = f"{payment.amount.display} for meter {payment.meter}: {payment.status}"
        self.write(style(f"{sale}. {customer_message(payment)}"))
        if payment.token:
            self.write(Line(f"Token {group_digits(payment.token)}, {payment.units} kWh"))
        if payment.proof:
            self.write(Line(f"Proof: {payment.proof}"))

    def _explain_doubt(self, payment: "Payment") -> None:
        if payment.status == "in_doubt" and not self._has_explained_doubt:
            self._has_explained_doubt = True
            self.write(doubt("No answer came in time. The outcome is unknown: the payment is in doubt."))
            self._remark(*IN_DOUBT)
