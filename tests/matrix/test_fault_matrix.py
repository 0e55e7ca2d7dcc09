"""The fault matrix: every fault of `cells` at every moment, over real HTTP, held against both sides' books.

Rewrite the table of docs/fault-matrix.md with

python -m tests.matrix.test_fault_matrix
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest

from billvend import Status
from tests.matrix.cells import ANOTHERS_TOKEN, MATRIX, Cell, Row
from tests.matrix.shop import NOON, SHORT_TIMEOUT_SECONDS, TIMEOUT_SECONDS, Shop, Town
from tests.matrix.street import ASK, SEND

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
FIRST, REFUSED, PUT_OFF, ASKING = "first send", "second send, refused", "second send, put off", "requery"


COLUMNS = {
    "vtpass": (FIRST, REFUSED, PUT_OFF, ASKING),
    "buypower": (FIRST, ASKING),  # the core decides what a second send proves, whose dialect it is
}


def cells() -> Iterator[object]:
    for row in MATRIX:
        cell = {FIRST: row.first, REFUSED: row.second, PUT_OFF: row.second, ASKING: row.asking}
        for dialect in row.dialects:
            for when in COLUMNS[dialect]:
                if isinstance(cell[when], Cell):
                    yield pytest.param(row, dialect, when, cell[when], id=f"{row.fault}-{when}-{dialect}")


class Stalls:
    """A shop for each row and dialect. It takes long to open, and so serves all of the row's cells, one open at a time."""

    def __init__(self, town: Town, folder: Path) -> None:
        self._town = town
        self._folder = folder
        self._days = (NOON + timedelta(days=30 * number) for number in count())
        self._open: tuple[Row, Shop] | None = None

    def shop(self, row: Row, dialect: str) -> Shop:
        """The row's shop, on a day that no cell had before."""
        self._town.reset(next(self._days))
        if self._open is None or self._open[0] is not row or self._open[1].dialect != dialect:
            self.close()
            folder = self._folder / str(self._town.clock.new_id())
            folder.mkdir()
            timeout_seconds = SHORT_TIMEOUT_SECONDS if row.stalls else TIMEOUT_SECONDS
            self._open = row, Shop(self._town, folder, dialect, bill_provider_timeout=timeout_seconds)
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].bv.close()


@pytest.fixture(scope="module")
def stalls(whole_town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stalls]:
    with closing(Stalls(whole_town, tmp_path_factory.mktemp("stalls"))) as stalls:
        yield stalls


@pytest.mark.parametrize(("row", "dialect", "when", "cell"), list(cells()))
def test_a_cell(stalls: Stalls, row: Row, dialect: str, when: str, cell: Cell) -> None:
    shop, user = stalls.shop(row, dialect), f"ada-{when.replace(' ', '-').replace(',', '')}"
    if row.planned == "low_float":
        shop.bv.refresh_account_status()  # the cell before stopped the selling
    if row.on_send is ANOTHERS_TOKEN:
        shop.street.plan(SEND, ANOTHERS_TOKEN)
        assert shop.settled(shop.paid(f"eve{user}")).token == "0" * 20
    hint = shop.paid(user)
    if when == REFUSED:
        with shop.street.shut():
            shop.settled(hint)
    if when == PUT_OFF:
        shop.town.plan("likely_duplicate")
        shop.settled(hint)
    before = shop.street.count(SEND)
    shop.town.plan(row.planned, **({"minimum_minor": 100_000} if row.planned == "minimum" else {}))
    shop.street.plan(SEND, row.lost if when == ASKING else row.on_send)
    asked = shop.street.count(ASK)
    if when == ASKING and row.on_asking:
        shop.street.plan(ASK, row.on_asking)
    (shop.settled if when in (FIRST, ASKING) else shop.step)(hint)
    shop.street.has_told(row.hooks)
    if row.taken_back:
        take_back(shop, shop.payment(hint).attempts[-1].reference)
    payment = shop.carried_on(hint)
    shop.check(hint)
    entry = shop.entry(hint)
    found = Cell(
        status=payment.status.value,
        proof=payment.proof and payment.proof.value,
        book=entry.status.value if entry else "nothing",
        wallet=str(shop.bv.balance(user).available),
        incidents=tuple(incident.kind.value for incident in payment.incidents),
        sends=shop.street.count(SEND) - before,
        doubted=None if cell.doubted is None else payment.in_doubt_since is not None,
    )
    assert found == cell
    if when == ASKING and row.on_asking not in (None, ANOTHERS_TOKEN):
        assert shop.street.count(ASK) - asked > 1, "what the struck requery said was believed"
    if payment.status is Status.COMPLETED and "token_of_another" not in cell.incidents:
        assert entry is not None
        assert payment.token == entry.token


def take_back(shop: Shop, reference: str) -> None:
    """As somebody at the provider does. VTpass tells us by hook."""
    url = f"{shop.town.sandbox.control_url}/take-back"
    assert httpx.post(url, json={"reference": reference}, trust_env=False).status_code == 200
    if shop.dialect == "vtpass":
        shop.street.has_told(1)


# --- the page ---------------------------------------------------------------------------------------------------------


def table() -> list[str]:
    lines = [f"| fault | {FIRST} | second send | {ASKING} |", "| --- | --- | --- | --- |"]
    for row in MATRIX:
        told = (
            cell.told if isinstance(cell, Cell) else f"({cell})"
            for cell in (row.first, row.second, row.asking)
        )
        lines.append(f"| {row.fault} | {' | '.join(told)} |")
    return lines


def test_the_page_has_this_table() -> None:
    assert [line for line in PAGE.read_text().splitlines() if line.startswith("|")] == table()


if __name__ == "__main__":
    kept = PAGE.read_text().splitlines()
    at = next(number for number, line in enumerate(kept) if line.startswith("|"))
    rest = [line for line in kept[at:] if not line.startswith("|")]
    PAGE.write_text("\n".join([*kept[:at], *table(), *rest, ""]))
