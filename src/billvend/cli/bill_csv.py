"""CSV files: one with bills, and one with the result of each row."""

import csv
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NoReturn, TypeAlias

from billvend.domain.enums import VendType
from billvend.domain.errors import BillvendError, ValidationFailed
from billvend.domain.safe_text import safe_repr
from billvend.usecases.pay import Bill

REQUIRED_COLUMNS: Final = ("user", "amount", "meter", "biller")
OPTIONAL_COLUMNS: Final = ("vend_type", "phone", "key")
RESULT_COLUMNS: Final = (
    "line", *REQUIRED_COLUMNS, "key", "result", "transactionId", "status", "code", "message",
)  # fmt: skip
BUFFER_BYTES: Final = 1 << 20
"""Bytes, more than most chunks of results have. So a killed process leaves only complete rows."""

WriteResults: TypeAlias = Callable[[Sequence[Mapping[str, object]]], None]
"""Adds rows to a file of results. The file has them when it returns."""


@dataclass(frozen=True, slots=True)
class BillRow:
    """A row, not yet parsed."""

    line: int
    """The line in the file where it begins. The header is line 1."""
    cells: Mapping[str, str]
    """Texts by column."""
    problem: str | None
    """The reason why it cannot be parsed."""

    def bill(self) -> Bill:
        """The row as a bill. Raises `ValidationFailed`."""
        if self.problem is not None:
            raise ValidationFailed(self.problem)
        user, amount, meter, biller = (self.cells[column] for column in REQUIRED_COLUMNS)
        vend_type, phone, key = (self.cells.get(column) or None for column in OPTIONAL_COLUMNS)
        return Bill(user, amount, meter, biller, vend_type or VendType.PREPAID, phone, key)


class BillFile:
    """A CSV file of bills, read twice, row by row: nothing is paid before all of it was checked once."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file
        self._is_checked = False

    def check(self, *, with_keys: bool) -> int:
        """Read all of it. Returns the number of rows.

        Raises `ValidationFailed` if it is not CSV, or if every row must have a key and one has none.
        """
        count = 0
        for row in self.rows():
            count += 1
            if with_keys and row.problem is None and not row.cells.get("key"):
                self._reject(
                    f"has no key in line {row.line}: give the batch a name with --batch, from which the keys are made, "
                    "or every row a key of its own"
                )
        self._is_checked = True
        return count

    def rows(self) -> Iterator[BillRow]:
        """Every row, without empty lines. Raises `ValidationFailed`."""
        self._file.seek(0)
        reader = csv.reader(self._file, strict=True)
        try:
            columns = self._columns(next(reader, []))
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    message = (
                        f"The row has {len(cells)} cells, and the header {len(columns)}. Nothing was done."
                    )
                    problem = None if len(cells) == len(columns) else message
                    yield BillRow(line, dict(zip(columns, cells, strict=False)), problem)
                line = reader.line_num + 1
        except UnicodeDecodeError:
            self._reject("is not UTF-8: save it as UTF-8")
        except csv.Error as error:
            self._reject(f"is not CSV, in line {reader.line_num}: {error}")

    def _columns(self, names: Sequence[str]) -> Sequence[str]:
        required, optional = ",".join(REQUIRED_COLUMNS), ",".join(OPTIONAL_COLUMNS)
        header = f"The first line must name the columns: {required} and optionally {optional}"
        if not names:
            self._reject(f"has no header. {header}")
        for name in names:
            if name not in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
                self._reject(f"has an unknown column {safe_repr(name)}. {header}")
            if names.count(name) > 1:
                self._reject(f"has the column {name} twice")
        if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
            self._reject(f"has no column {','.join(missing)}. {header}")
        return names

    def _reject(self, reason: str) -> NoReturn:
        if self._is_checked:
            raise BillvendError(
                f"{self._path} was changed while it was paid: it {reason}. Accepted payments continue. Run it again."
            )
        raise _invalid_file(self._path, reason)


@contextmanager
def open_bill_file(path: Path) -> Iterator[BillFile]:
    """Open a file of bills. Raises `ValidationFailed` if it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise _invalid_file(path, "is not a file")
        text_file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise _invalid_file(path, f"can't be read: {error.strerror}") from error
    with text_file:
        yield BillFile(path, text_file)


def result_path_for(path: Path) -> Path:
    """The default path of results: bills.results.csv for bills.csv."""
    return path.with_name(f"{path.name.removesuffix('.csv')}.results.csv")


@contextmanager
def open_result_file(path: Path, *, bill_path: Path) -> Iterator[WriteResults]:
    """Open a file for the result of each row, as CSV. Yields the function that adds results.

    Its name ends in .part until it is complete. It keeps its rows if the run is cut off. Raises `ValidationFailed` if it
    cannot be written.
    """
    partial_path = path.parent / f"{path.name}.part"
    file = _open_exclusively(path, partial_path, bill_path)
    writer = csv.DictWriter(file, RESULT_COLUMNS, restval="", extrasaction="ignore")

    def write(entries: Sequence[Mapping[str, object]]) -> None:
        with _write_errors(path):
            writer.writerows(entries)
            file.flush()

    try:
        with _write_errors(path):
            file.truncate(0)
            writer.writeheader()
        yield write
        with _write_errors(path):
            file.flush()
            partial_path.replace(path)
    finally:
        with suppress(OSError):  # a full disk was reported already
            file.close()


def _open_exclusively(path: Path, partial_path: Path, bill_path: Path) -> IO[str]:
    try:
        if any(existing.exists() and existing.samefile(bill_path) for existing in (path, partial_path)):
            raise _invalid_file(path, "is the file of bills itself: name another one with --results")
        if path.is_dir():
            raise _invalid_file(path, "is a folder: name a file with --results")
        file = partial_path.open("a", BUFFER_BYTES, encoding="utf-8", newline="")
    except OSError as error:
        raise _invalid_file(path, f"can't be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise _invalid_file(path, "is being written by another billvend: wait until it ends") from None
    return file


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BillvendError(
            f"{path} can't be written: {error.strerror}. Accepted payments continue. Run it again."
        ) from error


def _invalid_file(path: Path, reason: str) -> ValidationFailed:
    return ValidationFailed(f"{path} {reason}. Nothing was done.", fields={"file": reason})
