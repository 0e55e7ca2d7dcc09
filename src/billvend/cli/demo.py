"""The whole story on a throw-away database, told while it happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import typer

from billvend.cli.exits import Exit
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Line, say, show
from billvend.domain.errors import BadSetting, InsufficientFunds, LikelyDuplicate

if TYPE_CHECKING:
    from billvend.config import Settings
    from billvend.domain.payment import Payment
    from billvend.library import Billvend

commands = typer.Typer()

USER: Final = "ada"
BILLER: Final = "EKEDC"
HASTE: Final = {"bill_provider_timeout": 1, "lease_seconds": 10, "requery_schedule": "1,2,5"}
"""Seconds where there would be minutes: nobody wants to watch those."""
LONGEST_SECONDS: Final = 15


@dataclass
class Chapter:
    """A piece of the story."""

    title: str
    lines: list[str] = field(default_factory=list)


class Teller:
    """Tells the story as it happens, and remembers it."""

    def __init__(self, *, aloud: bool) -> None:
        self.chapters: list[Chapter] = []
        self._aloud = aloud

    def chapter(self, title: str) -> None:
        """Begin the next piece."""
        self.chapters.append(Chapter(title))
        if self._aloud:
            say(Line(""), Line(f"{len(self.chapters)}. {title}", "bold"))

    def tell(self, text: str, style: str = "") -> None:
        """What happened."""
        self.chapters[-1].lines.append(text)
        if self._aloud:
            say(Line(f"   {text}", style))


@commands.command(epilog=example("billvend demo"))
def demo(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Watch the whole story on a throw-away database.

    Funded, delivered, declined and reversed, in doubt and confirmed, refused: and audited at the end. It needs neither
    server nor settings, and leaves nothing behind. With --database-url it plays on that database, which must be empty.
    """
    from billvend.bootstrap import open_billvend, sandbox_sales
    from billvend.domain.words import Status
    from billvend.views import audit_document

    teller = Teller(aloud=not as_json)
    with _stage(database_url) as settings:
        with open_billvend(settings) as bv:
            if bv.payments(limit=1):
                raise BadSetting("There are payments in this database: the demo plays on an empty one alone.")
            _play(bv, teller)
            audit, completed = bv.audit(), len(bv.payments(Status.COMPLETED))
            teller.chapter("The books are audited")
            teller.tell(f"Every event was replayed: {audit.events} events, {audit.transfers} transfers.")
            for difference in audit.differences:
                teller.tell(difference, BAD)
        sold = sandbox_sales(settings)
    same = sold == completed
    teller.tell(
        f"The provider's own book, which billvend never reads: {sold} sold. Here: {completed} completed."
    )
    ok = audit.ok and same
    teller.tell(
        "All agrees: nothing lost, nothing bought twice." if ok else "They differ.", GOOD if ok else BAD
    )
    if as_json:
        document = {
            "ok": ok,
            "steps": [asdict(chapter) for chapter in teller.chapters],
            "audit": audit_document(audit),
            "sandbox": {"vended": sold, "completedHere": completed},
        }
        show(True, document)
    return Exit.DONE if ok else Exit.DIFFERENCE


@contextmanager
def _stage(database_url: str | None) -> "Iterator[Settings]":
    """Settings of our own for a database that is not there yet: whatever the user has set stays out of it."""
    from billvend.bootstrap import upgrade_tables
    from billvend.config import settings_from_values
    from billvend.logs import logging_to_stderr

    with TemporaryDirectory(prefix="billvend-demo-") as folder, logging_to_stderr("error"):
        url = database_url or f"sqlite:///{Path(folder, 'demo.db')}"
        settings = settings_from_values(database_url=url, sandbox_book=Path(folder, "sandbox.db"), **HASTE)
        upgrade_tables(settings)
        yield settings


def _play(bv: "Billvend", teller: Teller) -> None:
    teller.chapter("Money comes in")
    bv.fund(USER, "5000", key="till-7-0001")
    teller.tell(f"{USER} hands over cash. {_wallet(bv)}")

    teller.chapter("A meter is paid")
    _told(teller, _pay(bv, "1000", meter="12345678901"))
    teller.tell(_wallet(bv))

    teller.chapter("The electricity company says no")
    _told(teller, _pay(bv, "500", meter="600000000001"))
    teller.tell(f"No guess: the money came back on proof. {_wallet(bv)}")

    teller.chapter("The answer is lost on its way")
    _doubtful(bv, teller)
    teller.tell(_wallet(bv))

    teller.chapter("Somebody clicks twice")
    _told(teller, _pay(bv, "300", meter="1111111111111"))
    try:
        _pay(bv, "300", meter="1111111111111")
    except LikelyDuplicate as refusal:
        teller.tell(f"Refused: {refusal}", QUIET)

    teller.chapter("A shop's till repeats its request, with its key")
    first = _pay(bv, "200", meter="22222222222", key="order-42")
    again = _pay(bv, "200", meter="22222222222", key="order-42")
    _told(teller, first)
    if first.transaction_id == again.transaction_id:
        teller.tell("Asked for twice, paid once: the second answer is the first payment.")
    teller.tell(_wallet(bv))

    teller.chapter("Somebody asks for more than there is")
    try:
        _pay(bv, "90000", meter="12345678901")
    except InsufficientFunds as refusal:
        teller.tell(f"Refused: {refusal}", QUIET)


def _doubtful(bv: "Billvend", teller: Teller) -> None:
    told: list[str] = []

    def watch(payment: "Payment") -> None:
        if payment.status.value == "in_doubt" and not told:
            told.append(payment.status)
            teller.tell("No answer came in time. Was it sold? Nobody knows: it is in doubt.", DOUBT)
            teller.tell(
                "To give the money back now might give away electricity; to send again might buy twice."
            )
            teller.tell(f"So the money stays reserved, and the company is asked. {_wallet(bv)}")

    _told(teller, _pay(bv, "700", meter="300000000000", watch=watch))
    teller.tell("It had been sold, and this time the answer came: confirmed by asking, not by guessing.")


def _pay(
    bv: "Billvend",
    amount: str,
    *,
    meter: str,
    key: str | None = None,
    watch: "Callable[[Payment], None] | None" = None,
) -> "Payment":
    payment = bv.pay(USER, amount, meter=meter, biller=BILLER, key=key)
    return bv.wait(payment.transaction_id, timeout=LONGEST_SECONDS, watch=watch)


def _told(teller: Teller, payment: "Payment") -> None:
    from billvend.domain.words import Status
    from billvend.views import grouped, message

    style = {Status.COMPLETED: GOOD, Status.REVERSED: BAD}.get(payment.status, DOUBT)
    teller.tell(
        f"{payment.amount.display} for meter {payment.meter}: {payment.status}. {message(payment)}", style
    )
    if payment.token:
        teller.tell(f"Token {grouped(payment.token)}, {payment.units} kWh")
    if payment.proof:
        teller.tell(f"Proof: {payment.proof}")


def _wallet(bv: "Billvend") -> str:
    wallet = bv.balance(USER)
    return f"In the wallet: {wallet.balance.display}, reserved: {wallet.held.display}."
