"""Paying the bills of a file, many in one transaction, with a result for each row."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from billvend.app import Billvend
from billvend.cli.bill_csv import BillFile, BillRow, WriteResults
from billvend.cli.blocks import Block, Columns, Table, bad, doubt, good, money, quiet, table
from billvend.cli.exits import Exit
from billvend.cli.output import Output, is_terminal, terminal
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
from billvend.usecases.pay import MAX_BILLS_PER_TRANSACTION, PaymentResult

ACCEPTED, REPLAYED, REFUSED, OK, NOT_TRIED = "accepted", "replayed", "refused", "ok", "not_tried"
UNAVAILABLE, OUTCOME_UNKNOWN = "unavailable", "outcome_unknown"
UNPROCESSED: Final = {UNAVAILABLE: "unavailable", OUTCOME_UNKNOWN: "outcomeUnknown", NOT_TRIED: "notTried"}
"""Results of rows that a repeated run processes, with their names in the JSON document."""
MAX_SHOWN: Final = 10
"""Rows, and wallets, on the screen. The results have all rows."""
MAX_LISTED_WALLETS: Final = 1_000
"""Wallets in the JSON of a dry run."""
WALLET_COLUMNS: Final[Columns] = {
    "Wallet": "userId",
    "Requested": money,
    "Available": lambda wallet: money(wallet, "balance"),
    "Enough": lambda wallet: "yes" if wallet["enough"] else "no",
}
REPEAT: Final = "Run the same command again: it processes only what is missing."

RowResult: TypeAlias = PaymentResult | BillvendError | str
"""A payment, an error, or the result as a word."""


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


class Batch:
    """One run through a file of bills. A dry run pays nothing: it checks the rows, and what the wallets have."""

    def __init__(self, bv: Billvend, name: str | None, interrupt: Interrupt, *, is_dry_run: bool) -> None:
        self._bv = bv
        self._name = name
        self._interrupt = interrupt
        self._is_dry_run = is_dry_run
        self._equal_bills: Counter[bytes] = Counter()
        """How often each bill without its own key came so far, by its digest."""
        self._requested: Counter[tuple[str, str]] = Counter()
        """The money in minor units that a dry run would take, by currency and user."""
        self._counts: Counter[str] = Counter()
        """Rows by result."""
        self._rejections: list[tuple[str, str]] = []
        """The first lines that were rejected, each with its reason."""
        self._stop_error: BillvendError | None = None
        """The error that ended the run."""

    def process(self, bill_file: BillFile, total: int, write_results: WriteResults) -> None:
        """Process each row and write its result. Raises `Unavailable` when no row could be processed."""
        rows = bill_file.rows()
        with _progress_bar("Checking" if self._is_dry_run else "Paying", total, self._interrupt) as advance:
            while chunk := list(islice(rows, MAX_BILLS_PER_TRANSACTION)):
                bills = [self._parse(row) for row in chunk]
                entries = list(map(_result_entry, chunk, bills, self._results(bills)))
                write_results(entries)
                self._counts.update(str(entry["result"]) for entry in entries)
                rejected = (entry for entry in entries if entry["result"] == REFUSED)
                for entry in islice(rejected, MAX_SHOWN - len(self._rejections)):
                    self._rejections.append((str(entry["line"]), str(entry["message"])))
                if self._stop_error and self._counts.keys() == {UNAVAILABLE}:
                    raise self._stop_error
                advance(len(chunk))

    def output(self, path: Path) -> Output:
        """The summary of the finished run, whose results are at this path."""
        counts, wallets = self._counts, self._wallets()
        short_count = sum(not wallet["enough"] for wallet in wallets)
        is_complete = not short_count and counts.total() == sum(
            counts[word] for word in (ACCEPTED, REPLAYED, OK)
        )
        document: dict[str, object] = {word: counts[word] for word in (ACCEPTED, REPLAYED, REFUSED)}
        document["results"] = str(path)
        if self._is_dry_run:
            document |= {"dryRun": True, "ok": counts[OK]}
        document |= {name: counts[word] for word, name in UNPROCESSED.items() if counts[word]}
        if self._is_dry_run:
            document["totals"] = {amount.currency: str(amount) for amount in self._totals()}
            document |= {"shortWallets": short_count, "wallets": wallets[:MAX_LISTED_WALLETS]}

        def text() -> Iterator[Block]:
            yield (good if is_complete else doubt)(self._summary())
            if self._rejections:
                yield Table(("Line", "Rejected because"), self._rejections)
            if more := counts[REFUSED] - len(self._rejections):
                yield quiet(f"And {more:,} more.")
            if wallets:
                yield table(wallets[:MAX_SHOWN], WALLET_COLUMNS)
            if len(wallets) > MAX_SHOWN:
                yield quiet(f"And {len(wallets) - MAX_SHOWN:,} more wallets.")
            if short_count:
                yield bad(f"{short_count:,} wallets have too little money.")
            yield from map(bad, self._problems())
            yield quiet(f"Results: {path}")
            if counts[ACCEPTED]:
                yield quiet("Workers buy the electricity: billvend worker")

        was_interrupted = counts[NOT_TRIED] and not self._stop_error
        status = Exit.INTERRUPTED if was_interrupted else Exit.DONE if is_complete else Exit.USAGE
        return Output(lambda: document, text, status)

    def _parse(self, row: BillRow) -> Pay | BillvendError:
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
        self._equal_bills[digest] += 1
        return replace(bill, key=batch_key(digest, self._equal_bills[digest]), has_caller_key=True)

    def _results(self, bills: Sequence[Pay | BillvendError]) -> list[RowResult]:
        if self._stop_error or self._interrupt.is_requested:
            return [NOT_TRIED] * len(bills)
        valid_bills = [bill for bill in bills if isinstance(bill, Pay)]
        results = self._preview(valid_bills) if self._is_dry_run else self._bv.pay_many(valid_bills)
        failures = [result for result in results if isinstance(result, DependencyError)]
        if failures and len(failures) == len(results):
            self._stop_error = failures[0]  # the remaining rows would fail in the same way
        remaining = iter(results)
        return [next(remaining) if isinstance(bill, Pay) else bill for bill in bills]

    def _preview(self, bills: Sequence[Pay]) -> list[RowResult]:
        results: list[RowResult] = []
        for bill, is_replay in zip(bills, self._bv.preview(bills), strict=True):
            if isinstance(is_replay, BillvendError):
                results.append(is_replay)
            elif is_replay:
                results.append(REPLAYED)
            else:  # `output` compares the sums with the balances
                self._requested[bill.amount.currency, bill.user_id] += bill.amount.amount_minor
                results.append(OK)
        return results

    def _wallets(self) -> list[dict[str, object]]:
        """The wallets of a dry run with the requested and the available money, those that have too little first."""
        wallets: list[dict[str, object]] = []
        for (currency, user_id), minor in sorted(self._requested.items()):
            requested, available = Money(minor, currency), Money(0, currency)
            with suppress(WalletNotFound):
                available = self._bv.balance(user_id, currency=currency).available
            wallet = {"userId": user_id, "currency": currency, "amount": str(requested)}
            wallets.append({**wallet, "balance": str(available), "enough": requested <= available})
        return sorted(wallets, key=lambda wallet: bool(wallet["enough"]))

    def _totals(self) -> list[Money]:
        totals: Counter[str] = Counter()
        for (currency, _), minor in sorted(self._requested.items()):
            totals[currency] += minor
        return [Money(minor, currency) for currency, minor in totals.items()]

    def _summary(self) -> str:
        counts = self._counts
        rest = f"{counts[REPLAYED]:,} already processed, {counts[REFUSED]:,} rejected."
        if not self._is_dry_run:
            return f"{counts[ACCEPTED]:,} accepted, {rest}"
        requested = ", ".join(amount.display for amount in self._totals()) or "nothing"
        return f"{counts[OK]:,} payable ({requested}), {rest} Nothing was done."

    def _problems(self) -> Iterator[str]:
        """Why rows were not processed, and what to do."""
        counts = self._counts
        if self._is_dry_run:
            if counts[NOT_TRIED]:
                yield f"Interrupted: {counts[NOT_TRIED]:,} rows were not checked."
            return
        if counts[OUTCOME_UNKNOWN]:
            yield f"The outcome of {counts[OUTCOME_UNKNOWN]:,} rows is unknown. {REPEAT}"
        if self._stop_error:
            missing = counts[UNAVAILABLE] + counts[NOT_TRIED]
            yield f"The database is down: {missing:,} rows were not processed. {REPEAT}"
        elif counts[NOT_TRIED]:
            yield f"Interrupted: {counts[NOT_TRIED]:,} rows were not processed. {REPEAT}"
        elif counts[UNAVAILABLE]:
            yield f"The database did not answer for {counts[UNAVAILABLE]:,} rows. {REPEAT}"


def _result_entry(row: BillRow, bill: Pay | BillvendError, result: RowResult) -> dict[str, object]:
    """A row of the result file."""
    entry: dict[str, object] = {**row.cells, "line": row.line}
    if isinstance(bill, Pay):
        entry["key"] = bill.key
    match result:
        case str():
            return entry | {"result": result}
        case PaymentResult(payment, replayed):
            entry |= {"transactionId": payment.transaction_id, "status": payment.status.value}
            return entry | {"result": REPLAYED if replayed else ACCEPTED}
        case OutcomeUnknown():
            entry["transactionId"] = result.transaction_id
    word = result.code if isinstance(result, DependencyError) else REFUSED
    return entry | {"result": word, "code": result.code, "message": result.message}


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
