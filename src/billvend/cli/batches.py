"""Paying the bills of a file: many at once, and each row is told what came of it."""

import hashlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from billvend.cli.exits import Exit
from billvend.cli.following import Interrupt
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, Line, Table, is_terminal, terminal
from billvend.cli.sheets import Results, Row, Sheet
from billvend.domain.commands import Pay
from billvend.domain.decide import Result
from billvend.domain.errors import (
    BillvendError,
    IdempotencyMismatch,
    OutcomeUnknown,
    Unreachable,
    ValidationFailed,
    WalletNotFound,
)
from billvend.domain.money import Money
from billvend.library import Billvend
from billvend.usecases.pay import ACCEPTED_AT_ONCE, Paid
from billvend.views import Document

ACCEPTED, REPLAYED, REFUSED, OK, NOT_TRIED = "accepted", "replayed", "refused", "ok", "not_tried"
MOST_SHOWN: Final = 10
"""Rows, and wallets, that people are shown; the results have all rows."""
MOST_LISTED: Final = 1_000
"""Wallets in the document of a dry run."""
CACHE_KIB: Final = 16_384
"""Memory for sums; what is more goes to a file without a name."""


def asked_for(batch: str, bill: Pay) -> bytes:
    """What makes bills of a batch alike: the SHA-256 of the JSON list `[batch, user, request hash]`.

    It is about what was understood, not how it is written: a spreadsheet makes 500 of 500.00.
    """
    return hashlib.sha256(json.dumps([batch, bill.user_id, bill.request_hash]).encode()).digest()


def key_in_batch(asked: bytes, nth: int) -> str:
    """The key of a bill that was given none, and is the nth of those alike in its file; the first is number 1.

    `pay-many-` and the first 40 hexadecimal digits of the SHA-256 of `asked_for` and the number in decimal. Neither must
    ever change: another key is another payment.
    """
    return f"pay-many-{hashlib.sha256(asked + b'%d' % nth).hexdigest()[:40]}"


class Sums:
    """A sum for each of as many names as there may be, in little memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE sums (name PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, name: str | bytes, number: int) -> int:
        """Add to the sum of this name; returns it."""
        (total,) = self._database.execute(
            "INSERT INTO sums VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET total = total + excluded.total RETURNING total",
            (name, number),
        ).fetchone()
        return int(total)

    def close(self) -> None:
        """Forget them."""
        self._database.close()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every name with its sum, in order."""
        yield from self._database.execute("SELECT name, total FROM sums ORDER BY name")


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a row."""

    result: str
    paid: Paid | None = None
    error: BillvendError | None = None


class Batch:
    """One run through a file of bills."""

    doing = "Paying"

    def __init__(self, bv: Billvend, name: str | None, interrupt: Interrupt) -> None:
        self._bv = bv
        self._name = name
        self._interrupt = interrupt
        self._alike = Sums()
        self._stopped: BillvendError | None = None
        """Why nothing more was tried."""
        self._counts: Counter[str] = Counter()
        """Rows, by result."""
        self._first_refusals: list[tuple[str, str]] = []
        """Lines, and why nothing is paid for them."""

    def close(self) -> None:
        """Give back what counting took."""
        self._alike.close()

    def go_through(self, sheet: Sheet, total: int, results: Results) -> None:
        """Have each row done, and write down what came of it. Raises `Unavailable` where nothing could be begun."""
        rows = sheet.rows()
        with _progress(self.doing, total, self._interrupt) as advance:
            while chunk := list(islice(rows, ACCEPTED_AT_ONCE)):
                bills = [self._read(row) for row in chunk]
                told = self._all_told(bills)
                found = list(zip(chunk, bills, told, strict=True))
                results.write([_entry(*one) for one in found])
                self._counts.update(what.result for what in told)
                refusals = (
                    (str(row.line), what.error.message)
                    for row, _, what in found
                    if what.error and what.result == REFUSED
                )
                self._first_refusals += islice(refusals, MOST_SHOWN - len(self._first_refusals))
                if self._stopped and self._counts.keys() == {"unavailable"}:
                    raise self._stopped
                advance(len(chunk))

    def report(self, path: Path) -> tuple[Exit, Document, list[Block]]:
        """How it ended."""
        counts = self._counts
        document: Document = {name: counts[name] for name in (ACCEPTED, REPLAYED, REFUSED)}
        document |= {"results": str(path), **self._left_over()}
        is_whole = counts.total() == counts[ACCEPTED] + counts[REPLAYED]
        summary = (
            f"{counts[ACCEPTED]:,} accepted, {counts[REPLAYED]:,} were before, {counts[REFUSED]:,} refused."
        )
        blocks: list[Block] = [Line(summary, GOOD if is_whole else DOUBT), *self._refusals()]
        again = "Run the same again: it does what is missing, and nothing twice."
        if counts["outcome_unknown"]:
            blocks.append(Line(f"Of {counts['outcome_unknown']:,} it is not known. {again}", BAD))
        if self._stopped:
            missing = counts["unavailable"] + counts[NOT_TRIED]
            blocks.append(Line(f"The books don't answer: {missing:,} were not done. {again}", BAD))
        elif counts[NOT_TRIED]:
            blocks.append(Line(f"Interrupted: {counts[NOT_TRIED]:,} were not tried. {again}", BAD))
        elif counts["unavailable"]:
            blocks.append(Line(f"The books did not answer for {counts['unavailable']:,}. {again}", BAD))
        blocks.append(Line(f"What came of each row: {path}", QUIET))
        if counts[ACCEPTED]:
            blocks.append(Line("Workers buy the electricity: billvend worker", QUIET))
        return self._exit(is_whole), document, blocks

    def _exit(self, is_whole: bool) -> Exit:
        if self._counts[NOT_TRIED] and not self._stopped:
            return Exit.INTERRUPTED
        return Exit.DONE if is_whole else Exit.USAGE

    def _left_over(self) -> Document:
        names = {"unavailable": "unavailable", "outcome_unknown": "outcomeUnknown", NOT_TRIED: "notTried"}
        return {name: self._counts[result] for result, name in names.items() if self._counts[result]}

    def _refusals(self) -> list[Block]:
        if not self._first_refusals:
            return []
        more = self._counts[REFUSED] - len(self._first_refusals)
        rest = [Line(f"And {more:,} more.", QUIET)] if more else []
        return [Table(("Line", "Why it is not paid"), self._first_refusals), *rest]

    def _read(self, row: Row) -> Pay | BillvendError:
        """What the row asks for, with its key."""
        try:
            bill = self._bv.read(row.bill())
        except BillvendError as refusal:
            return refusal
        if bill.key_is_given:
            return bill
        if self._name is None:
            return ValidationFailed("The row has no key, and the batch no name: nothing was done.")
        asked = asked_for(self._name, bill)
        return replace(bill, key=key_in_batch(asked, self._alike.add(asked[:16], 1)), key_is_given=True)

    def _all_told(self, read: Sequence[Pay | BillvendError]) -> list[Told]:
        if self._stopped or self._interrupt.noted:
            return [Told(NOT_TRIED) for _ in read]
        bills = [bill for bill in read if isinstance(bill, Pay)]
        done = self._done(bills)
        if done and all(isinstance(what.error, Unreachable) for what in done):
            self._stopped = done[0].error  # nobody would answer for a million rows more either
        told = iter(done)
        return [next(told) if isinstance(bill, Pay) else Told(REFUSED, error=bill) for bill in read]

    def _done(self, bills: Sequence[Pay]) -> list[Told]:
        return [_told(result) for result in self._bv.pay_many(bills)]


class DryRun(Batch):
    """The same, with nothing done: what would be refused, and whether the wallets hold enough for the rest."""

    doing = "Checking"

    def __init__(self, bv: Billvend, name: str | None, interrupt: Interrupt) -> None:
        super().__init__(bv, name, interrupt)
        self._asked = Sums()

    def close(self) -> None:
        """Give back what counting took."""
        super().close()
        self._asked.close()

    def report(self, path: Path) -> tuple[Exit, Document, list[Block]]:
        """What would be paid, from which wallets."""
        counts = self._counts
        total: Counter[str] = Counter()
        short, rich = _Listed(), _Listed()
        for name, minor in self._asked:
            currency, _, user_id = name.partition(" ")
            total[currency] += minor
            asked = Money(minor, currency)
            try:
                holds = self._bv.balance(user_id, currency=currency).balance
            except WalletNotFound:
                holds = Money(0, currency)
            (rich if asked <= holds else short).add((user_id, asked, holds))
        sums = {currency: Money(minor, currency) for currency, minor in total.items()}
        document: Document = {
            **{name: counts[name] for name in (ACCEPTED, REPLAYED, REFUSED)},
            "results": str(path),
            "dryRun": True,
            "ok": counts[OK],
            **self._left_over(),
            "totals": {currency: str(amount) for currency, amount in sums.items()},
            "shortWallets": short.count,
            "wallets": [_wallet(*wallet) for wallet in (*short.first, *rich.first)[:MOST_LISTED]],
        }
        is_whole = not short.count and counts.total() == counts[OK] + counts[REPLAYED]
        asked_for = ", ".join(amount.display for amount in sums.values()) or "nothing"
        summary = (
            f"{counts[OK]:,} can be paid, for {asked_for}; {counts[REPLAYED]:,} were before, "
            f"{counts[REFUSED]:,} are refused. Nothing was done."
        )
        blocks: list[Block] = [Line(summary, GOOD if is_whole else DOUBT), *self._refusals()]
        if wallets := [*short.first, *rich.first][:MOST_SHOWN]:
            lines = [
                (user, asked.display, holds.display, "yes" if asked <= holds else "no")
                for user, asked, holds in wallets
            ]
            blocks.append(Table(("Wallet", "Asked for", "To spend", "Enough"), lines))
        if more := short.count + rich.count - len(wallets):
            blocks.append(Line(f"And {more:,} more wallets.", QUIET))
        if short.count:
            blocks.append(Line(f"{short.count:,} of the wallets hold too little.", BAD))
        if counts[NOT_TRIED]:
            blocks.append(Line(f"Interrupted: {counts[NOT_TRIED]:,} were not looked at.", BAD))
        blocks.append(Line(f"What was found of each row: {path}", QUIET))
        return self._exit(is_whole), document, blocks

    def _done(self, bills: Sequence[Pay]) -> list[Told]:
        found = zip(bills, self._bv.rehearse(bills), strict=True)
        return [self._foretold(bill, result) for bill, result in found]

    def _foretold(self, bill: Pay, result: Result) -> Told:
        if isinstance(result, IdempotencyMismatch):
            return Told(REFUSED, error=result)
        if not isinstance(result, BillvendError) and result.replayed:
            return Told(REPLAYED)
        self._asked.add(f"{bill.amount.currency} {bill.user_id}", bill.amount.amount_minor)
        return Told(OK)  # whether the wallet holds enough is seen when all is added up


class _Listed:
    """Wallets: all are counted, and the first are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[str, Money, Money]] = []

    def add(self, wallet: tuple[str, Money, Money]) -> None:
        """One more."""
        self.count += 1
        if self.count <= MOST_LISTED:
            self.first.append(wallet)


def _wallet(user_id: str, asked: Money, holds: Money) -> Document:
    return {
        "userId": user_id,
        "currency": asked.currency,
        "amount": str(asked),
        "balance": str(holds),
        "enough": asked <= holds,
    }


def _told(result: Paid | BillvendError) -> Told:
    match result:
        case Paid(replayed=replayed):
            return Told(REPLAYED if replayed else ACCEPTED, paid=result)
        case Unreachable():
            return Told(result.code, error=result)
        case _:
            return Told(REFUSED, error=result)


def _entry(row: Row, bill: Pay | BillvendError, told: Told) -> dict[str, object]:
    """A row of the results."""
    entry: dict[str, object] = {**row.cells, "line": row.line, "result": told.result}
    if isinstance(bill, Pay):
        entry["key"] = bill.key
    if told.paid is not None:
        payment = told.paid.payment
        entry |= {"transactionId": payment.transaction_id, "status": payment.status.value}
    if isinstance(told.error, OutcomeUnknown):
        entry["transactionId"] = told.error.transaction_id
    if told.error is not None:
        entry |= {"code": told.error.code, "message": told.error.message}
    return entry


@contextmanager
def _progress(doing: str, total: int, interrupt: Interrupt) -> Iterator[Callable[[int], None]]:
    """A moving bar for whoever looks at stderr; to be told of each row that is done."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=terminal(sys.stderr), transient=True) as bar:
        task = bar.add_task(doing, total=total, rate=0)
        leaving = "Leaving as soon as the rows in hand are done. Ctrl-C again leaves at once."
        interrupt.tell = lambda: bar.update(task, description=leaving)
        yield lambda rows: bar.update(task, advance=rows, rate=bar.tasks[0].speed or 0)
