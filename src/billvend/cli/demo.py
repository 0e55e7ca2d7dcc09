"""All kinds of payments on a temporary database, with a text for each step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypedDict

import typer

from billvend.cli.context import Session, command
from billvend.cli.exits import Exit
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, print_blocks, result
from billvend.domain.errors import ConfigurationError, InsufficientFunds, LikelyDuplicate

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.config import Settings
    from billvend.domain.payment.state import Payment

commands = typer.Typer()

USER: Final = "ada"
FAST_SETTINGS: Final = {"bill_provider_timeout": 1, "lease_seconds": 10, "requery_schedule": "1,2,5"}
"""Seconds instead of minutes, so that the demo is short."""
MAX_WAIT_SECONDS: Final = 15


class Step(TypedDict):
    """A step of the demo, as in the JSON document."""

    title: str
    lines: list[str]


@command(commands, "billvend demo")
def demo(session: Session) -> Exit:
    """Show all kinds of payments on a temporary database.

    Delivered, declined and reversed, in doubt and confirmed, rejected; then an audit. It needs no server and no settings,
    and leaves nothing behind. With --database-url it runs on that database, which must be empty.
    """
    from billvend.bootstrap import count_sandbox_sales, open_billvend
    from billvend.domain.enums import Status
    from billvend.presentation.operator_models import AuditResponse

    with _new_database(session.database_url) as settings:
        with open_billvend(settings) as bv:
            if bv.payments(limit=1):
                raise ConfigurationError(
                    "This database has payments already. The demo needs an empty one. Nothing was done."
                )
            story = Story(bv, is_printed=not session.as_json)
            story.run()
            audit, completed = bv.audit(), len(bv.payments(Status.COMPLETED))
        sold = count_sandbox_sales(settings)
    ok = audit.ok and sold == completed
    story.step("Audit", f"Every event was replayed: {audit.events} events, {audit.transfers} transfers.")
    for difference in audit.differences:
        story.write(difference, BAD)
    story.write(
        f"The sandbox's own records, which billvend never reads: {sold} sold. Here: {completed} completed."
    )
    story.write(
        "No differences: nothing lost, nothing bought twice." if ok else "They differ.", GOOD if ok else BAD
    )
    document = {
        "ok": ok,
        "steps": story.steps,
        "audit": AuditResponse.model_validate(audit).to_json(),
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


class Story:
    """Makes the payments. Prints what happens at once, unless it is only kept for the JSON document."""

    def __init__(self, bv: "Billvend", *, is_printed: bool) -> None:
        self.steps: list[Step] = []
        self._bv = bv
        self._is_printed = is_printed

    def step(self, title: str, text: str = "") -> None:
        """Begin the next step."""
        self.steps.append({"title": title, "lines": []})
        if self._is_printed:
            print_blocks(Line(""), Line(f"{len(self.steps)}. {title}", "bold"))
        if text:
            self.write(text)

    def write(self, text: str, style: str = "") -> None:
        """Add a line to the current step."""
        self.steps[-1]["lines"].append(text)
        if self._is_printed:
            print_blocks(Line(f"   {text}", style))

    def run(self) -> None:
        """Make all payments, step by step."""
        self.step("Funding")
        self._bv.fund(USER, "5000", key="till-7-0001")
        self.write(f"{USER} pays cash. {self._balances()}")

        self.step("A delivered payment")
        self._pay("1000", "12345678901")
        self.write(self._balances())

        self.step("A declined payment")
        self._pay("500", "600000000001")
        self.write(f"No guess: the money was released on proof. {self._balances()}")

        self.step("A lost answer")
        self._pay("700", "300000000000", watch=self._watch_doubt())
        self.write("It was delivered, and this time the answer came: confirmed by a requery, not by a guess.")
        self.write(self._balances())

        self.step("A double click")
        self._pay("300", "1111111111111")
        self._pay("300", "1111111111111")

        self.step("A client repeats its request, with its key")
        first = self._pay("200", "22222222222", key="order-42")
        repeated = self._bv.pay(USER, "200", meter="22222222222", biller="EKEDC", key="order-42")
        if first and first.transaction_id == repeated.transaction_id:
            self.write("Sent twice, paid once: the second response is the first payment.")
        self.write(self._balances())

        self.step("Too little money")
        self._pay("90000", "12345678901")

    def _pay(
        self,
        amount: str,
        meter: str,
        key: str | None = None,
        watch: "Callable[[Payment], None] | None" = None,
    ) -> "Payment | None":
        """Pay, wait for the end, and write what happened. Returns None if the payment was rejected."""
        from billvend.domain.enums import Status
        from billvend.presentation.text import customer_message, group_digits

        try:
            accepted = self._bv.pay(USER, amount, meter=meter, biller="EKEDC", key=key)
        except (LikelyDuplicate, InsufficientFunds) as error:
            self.write(f"Rejected: {error}", QUIET)
            return None
        payment = self._bv.wait(accepted, timeout=MAX_WAIT_SECONDS, on_poll=watch)
        result = f"{payment.amount.display} for meter {meter}: {payment.status}. {customer_message(payment)}"
        self.write(result, {Status.COMPLETED: GOOD, Status.REVERSED: BAD}.get(payment.status, DOUBT))
        if payment.token:
            self.write(f"Token {group_digits(payment.token)}, {payment.units} kWh")
        if payment.proof:
            self.write(f"Proof: {payment.proof}")
        return payment

    def _watch_doubt(self) -> "Callable[[Payment], None]":
        """Explains once what it means that a payment is in doubt."""
        explained: list[str] = []

        def watch(payment: "Payment") -> None:
            if payment.status == "in_doubt" and not explained:
                explained.append(payment.transaction_id)
                self.write("No answer came in time. The outcome is unknown: the payment is in doubt.", DOUBT)
                self.write("A refund now might give electricity for free. To send again might buy twice.")
                self.write(
                    f"So the money stays held, and billvend asks the provider again. {self._balances()}"
                )

        return watch

    def _balances(self) -> str:
        wallet = self._bv.balance(USER)
        return f"Available: {wallet.available.display}, held: {wallet.held.display}."
