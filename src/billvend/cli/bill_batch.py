"""Paying the bills of a file, many in one transaction, with a result for each row."""

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

from billvend.app import Billvend
from billvend.cli.bill_csv import BillFile, BillRow, ResultFile
from billvend.cli.exits import Exit
from billvend.cli.output import BAD, DOUBT, GOOD, QUIET, Block, Line, Table, is_terminal, terminal
from billvend.cli.progress import Interrupt
from billvend.domain.decisions.commands import Pay
from billvend.domain.errors import (
    BillvendError,
    DependencyError,
    OutcomeUnknown,
    ValidationFailed,
    WalletNotFound,
)
from billvend.domain.money import Money
from billvend.presentation import JsonObject
from billvend.usecases.pay import MAX_BILLS_PER_TRANSACTION, PaymentResult

ACCEPTED, REPLAYED, REFUSED, OK, NOT_TRIED = "accepted", "replayed", "refused", "ok", "not_tried"
MAX_SHOWN: Final = 10
"""Rows, and wallets, on the screen. The results have all rows."""
MAX_LISTED_WALLETS: Final = 1_000
"""Wallets in the JSON of a dry run."""
CACHE_KIB: Final = 16_384
"""Memory for sums. Larger ones go to a temporary file."""


def bill_digest(batch: str, bill: Pay) -> bytes:
    """Identifies equal bills of a batch: the SHA-256 of the JSON list `[batch, user, request hash]`.

    It uses the parsed values, not their text: a spreadsheet turns 500.00 into 500.
    """
    return hashlib.sha256(json.dumps([batch, bill.user_id, bill.request_hash]).encode()).digest()


def batch_key(digest: bytes, nth: int) -> str:
    """The key of a bill without its own key that is the nth of its equals in the file. The first is number 1.

    `pay-many-` and the first 40 hexadecimal digits of the SHA-256 of `digest` and the number in decimal. This must never
    change: another key is another payment.
    """
    return f"pay-many-{hashlib.sha256(digest + b'%d' % nth).hexdigest()[:40]}"


class DiskCounter:
    """A sum for each name, for any number of names in little memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE sums (name PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, name: str | bytes, number: int) -> int:
        """Add to the sum of this name. Returns the new sum."""
        (total,) = self._database.execute(
            "INSERT INTO sums VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET total = total + excluded.total RETURNING total",
            (name, number),
        ).fetchone()
        return int(total)

    def close(self) -> None:
        """Delete all sums."""
        self._database.close()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every name with its sum, in order."""
        yield from self._database.execute("SELECT name, total FROM sums ORDER BY name")


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of a row."""

    result: str
    paid: PaymentResult | None = None
    error: BillvendError | None = None


class Batch:
    """One run through a file of bills."""

    action = "Paying"

    def __init__(self, bv: Billvend, name: str | None, interrupt: Interrupt) -> None:
        self._bv = bv
        self._name = name
        self._interrupt = interrupt
        self._occurrences = DiskCounter()
        self._stop_error: BillvendError | None = None
        """The error that ended the run."""
        self._counts: Counter[str] = Counter()
        """Rows by result."""
        self._first_rejections: list[tuple[str, str]] = []
        """Lines, each with the reason of its rejection."""

    def close(self) -> None:
        """Free the counters."""
        self._occurrences.close()

    def process(self, bill_file: BillFile, total: int, result_file: ResultFile) -> None:
        """Process each row and write its result. Raises `Unavailable` when no row could be processed."""
        row_iterator = bill_file.rows()
        with _progress_bar(self.action, total, self._interrupt) as advance:
            while chunk := list(islice(row_iterator, MAX_BILLS_PER_TRANSACTION)):
                bills = [self._parse_row(row) for row in chunk]
                row_results = self._results(bills)
                rows = list(zip(chunk, bills, row_results, strict=True))
                result_file.write([_result_row(*one) for one in rows])
                self._counts.update(result.result for result in row_results)
                rejections = (
                    (str(row.line), result.error.message)
                    for row, _, result in rows
                    if result.error and result.result == REFUSED
                )
                self._first_rejections += islice(rejections, MAX_SHOWN - len(self._first_rejections))
                if self._stop_error and self._counts.keys() == {"unavailable"}:
                    raise self._stop_error
                advance(len(chunk))

    def report(self, path: Path) -> tuple[Exit, JsonObject, list[Block]]:
        """The exit status, the JSON document and the blocks of the finished run."""
        counts = self._counts
        document: JsonObject = {name: counts[name] for name in (ACCEPTED, REPLAYED, REFUSED)}
        document |= {"results": str(path), **self._unprocessed()}
        is_whole = counts.total() == counts[ACCEPTED] + counts[REPLAYED]
        summary = f"{counts[ACCEPTED]:,} accepted, {counts[REPLAYED]:,} already processed, {counts[REFUSED]:,} rejected."
        blocks: list[Block] = [Line(summary, GOOD if is_whole else DOUBT), *self._rejections()]
        repeat_text = "Run the same command again: it processes only what is missing."
        if counts["outcome_unknown"]:
            blocks.append(
                Line(f"The outcome of {counts['outcome_unknown']:,} rows is unknown. {repeat_text}", BAD)
            )
        if self._stop_error:
            missing = counts["unavailable"] + counts[NOT_TRIED]
            blocks.append(
                Line(f"The database is down: {missing:,} rows were not processed. {repeat_text}", BAD)
            )
        elif counts[NOT_TRIED]:
            blocks.append(
                Line(f"Interrupted: {counts[NOT_TRIED]:,} rows were not processed. {repeat_text}", BAD)
            )
        elif counts["unavailable"]:
            blocks.append(
                Line(f"The database did not answer for {counts['unavailable']:,} rows. {repeat_text}", BAD)
            )
        blocks.append(Line(f"Results: {path}", QUIET))
        if counts[ACCEPTED]:
            blocks.append(Line("Workers buy the electricity: billvend worker", QUIET))
        return self._exit_status(is_whole), document, blocks

    def _exit_status(self, is_whole: bool) -> Exit:
        if self._counts[NOT_TRIED] and not self._stop_error:
            return Exit.INTERRUPTED
        return Exit.DONE if is_whole else Exit.USAGE

    def _unprocessed(self) -> JsonObject:
        names = {"unavailable": "unavailable", "outcome_unknown": "outcomeUnknown", NOT_TRIED: "notTried"}
        return {name: self._counts[result] for result, name in names.items() if self._counts[result]}

    def _rejections(self) -> list[Block]:
        if not self._first_rejections:
            return []
        more = self._counts[REFUSED] - len(self._first_rejections)
        rest = [Line(f"And {more:,} more.", QUIET)] if more else []
        return [Table(("Line", "Rejected because"), self._first_rejections), *rest]

    def _parse_row(self, row: BillRow) -> Pay | BillvendError:
        """The payment command of the row, with its key."""
        try:
            bill = self._bv.build_command(row.bill())
        except BillvendError as error:
            return error
        if bill.has_caller_key:
            return bill
        if self._name is None:
            return ValidationFailed("The row has no key and the batch has no name. Nothing was done.")
        digest = bill_digest(self._name, bill)
        return replace(
            bill, key=batch_key(digest, self._occurrences.add(digest[:16], 1)), has_caller_key=True
        )

    def _results(self, commands: Sequence[Pay | BillvendError]) -> list[RowResult]:
        if self._stop_error or self._interrupt.is_requested:
            return [RowResult(NOT_TRIED) for _ in commands]
        bills = [bill for bill in commands if isinstance(bill, Pay)]
        results = self._execute(bills)
        if results and all(isinstance(result.error, DependencyError) for result in results):
            self._stop_error = results[0].error  # the remaining rows would fail in the same way
        remaining = iter(results)
        return [
            next(remaining) if isinstance(bill, Pay) else RowResult(REFUSED, error=bill) for bill in commands
        ]

    def _execute(self, bills: Sequence[Pay]) -> list[RowResult]:
        return [_row_result(result) for result in self._bv.pay_many(bills)]


class DryRun(Batch):
    """A run that pays nothing: which rows would be rejected, and whether the wallets have enough for the others."""

    action = "Checking"

    def __init__(self, bv: Billvend, name: str | None, interrupt: Interrupt) -> None:
        super().__init__(bv, name, interrupt)
        self._requested = DiskCounter()

    def close(self) -> None:
        """Free the counters."""
        super().close()
        self._requested.close()

    def report(self, path: Path) -> tuple[Exit, JsonObject, list[Block]]:
        """What would be paid, from which wallets."""
        counts = self._counts
        total: Counter[str] = Counter()
        short_wallets, funded_wallets = _FirstWallets(), _FirstWallets()
        for name, minor in self._requested:
            currency, _, user_id = name.partition(" ")
            total[currency] += minor
            requested = Money(minor, currency)
            try:
                available = self._bv.balance(user_id, currency=currency).available
            except WalletNotFound:
                available = Money(0, currency)
            (funded_wallets if requested <= available else short_wallets).add((user_id, requested, available))
        sums = {currency: Money(minor, currency) for currency, minor in total.items()}
        document: JsonObject = {
            **{name: counts[name] for name in (ACCEPTED, REPLAYED, REFUSED)},
            "results": str(path),
            "dryRun": True,
            "ok": counts[OK],
            **self._unprocessed(),
            "totals": {currency: str(amount) for currency, amount in sums.items()},
            "shortWallets": short_wallets.count,
            "wallets": [
                _wallet_json(*wallet)
                for wallet in (*short_wallets.first, *funded_wallets.first)[:MAX_LISTED_WALLETS]
            ],
        }
        is_whole = not short_wallets.count and counts.total() == counts[OK] + counts[REPLAYED]
        requested_text = ", ".join(amount.display for amount in sums.values()) or "nothing"
        summary = (
            f"{counts[OK]:,} payable ({requested_text}), {counts[REPLAYED]:,} already processed, "
            f"{counts[REFUSED]:,} rejected. Nothing was done."
        )
        blocks: list[Block] = [Line(summary, GOOD if is_whole else DOUBT), *self._rejections()]
        if wallets := [*short_wallets.first, *funded_wallets.first][:MAX_SHOWN]:
            lines = [
                (user, requested.display, available.display, "yes" if requested <= available else "no")
                for user, requested, available in wallets
            ]
            blocks.append(Table(("Wallet", "Requested", "Available", "Enough"), lines))
        if more := short_wallets.count + funded_wallets.count - len(wallets):
            blocks.append(Line(f"And {more:,} more wallets.", QUIET))
        if short_wallets.count:
            blocks.append(Line(f"{short_wallets.count:,} wallets have too little money.", BAD))
        if counts[NOT_TRIED]:
            blocks.append(Line(f"Interrupted: {counts[NOT_TRIED]:,} rows were not checked.", BAD))
        blocks.append(Line(f"Results: {path}", QUIET))
        return self._exit_status(is_whole), document, blocks

    def _execute(self, bills: Sequence[Pay]) -> list[RowResult]:
        pairs = zip(bills, self._bv.preview(bills), strict=True)
        return [self._preview(bill, result) for bill, result in pairs]

    def _preview(self, bill: Pay, result: bool | BillvendError) -> RowResult:
        if isinstance(result, BillvendError):
            return RowResult(REFUSED, error=result)
        if result:
            return RowResult(REPLAYED)
        self._requested.add(f"{bill.amount.currency} {bill.user_id}", bill.amount.amount_minor)
        return RowResult(OK)  # `report` compares the sums with the balances


class _FirstWallets:
    """Counts all wallets, and keeps the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[str, Money, Money]] = []

    def add(self, wallet: tuple[str, Money, Money]) -> None:
        """Add a wallet."""
        self.count += 1
        if self.count <= MAX_LISTED_WALLETS:
            self.first.append(wallet)


def _wallet_json(user_id: str, requested: Money, available: Money) -> JsonObject:
    return {
        "userId": user_id,
        "currency": requested.currency,
        "amount": str(requested),
        "balance": str(available),
        "enough": requested <= available,
    }


def _row_result(result: PaymentResult | BillvendError) -> RowResult:
    match result:
        case PaymentResult(replayed=replayed):
            return RowResult(REPLAYED if replayed else ACCEPTED, paid=result)
        case DependencyError():
            return RowResult(result.code, error=result)
        case _:
            return RowResult(REFUSED, error=result)


def _result_row(row: BillRow, bill: Pay | BillvendError, row_result: RowResult) -> dict[str, object]:
    """A row of the result file."""
    entry: dict[str, object] = {**row.cells, "line": row.line, "result": row_result.result}
    if isinstance(bill, Pay):
        entry["key"] = bill.key
    if row_result.paid is not None:
        payment = row_result.paid.payment
        entry |= {"transactionId": payment.transaction_id, "status": payment.status.value}
    if isinstance(row_result.error, OutcomeUnknown):
        entry["transactionId"] = row_result.error.transaction_id
    if row_result.error is not None:
        entry |= {"code": row_result.error.code, "message": row_result.error.message}
    return entry


@contextmanager
def _progress_bar(action: str, total: int, interrupt: Interrupt) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr. Call the result with the number of finished rows."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=terminal(sys.stderr), transient=True) as bar:
        task = bar.add_task(action, total=total, rate=0)
        interrupted_text = "Stopping after the current rows. Press Ctrl-C again to stop now."
        interrupt.on_interrupt = lambda: bar.update(task, description=interrupted_text)
        yield lambda rows: bar.update(task, advance=rows, rate=bar.tasks[0].speed or 0)
