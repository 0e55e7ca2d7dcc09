"""One book, many hands: threads, processes, and processes that are killed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from threading import Barrier

import pytest

from billvend.adapters.providers.sandbox.sale_record import SaleStatus
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.domain.outcome import Delivered, NotFound, Pending, Unknown
from tests.provider.sandbox_rig import Rig, order

MANY_HANDS = """
import sys
from collections import Counter
from pathlib import Path
from tests.provider.sandbox_rig import Rig, order

print("ready", flush=True)
sys.stdin.readline()
rig = Rig(Path(sys.argv[1]))
answers = Counter(type(rig.vend(order(reference=f"R{number}"))).__name__ for number in range(20))
print(rig.provider.account.account_id, answers["Delivered"], answers["Unknown"])
rig.provider.close()
"""

KILLED = """
import os, sys
from pathlib import Path
from signal import SIGKILL
from tests.provider.sandbox_rig import Rig, order

def die(*_):
    os.kill(os.getpid(), SIGKILL)

where, path = sys.argv[1], Path(sys.argv[2])
rig = Rig(path, on_pause=die)
rig.vend(order(reference="BEFORE"))
if where == "asked whether it may send":
    rig.provider.vend(order(reference="R"), may_send=die)
if where == "page being written":
    with rig.book.update("BEFORE") as page:
        page.record = None
        rig.book._connection.execute("DELETE FROM sale")
        die()
if where == "answer under way":
    rig.vend(order("300000000000", reference="R"))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_make_and_use_one_book_together_sell_each_reference_once(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    processes = [start(MANY_HANDS, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        outputs.append(output.split())
    assert len({account for account, _, _ in outputs}) == 1
    assert sum(int(delivered) for _, delivered, _ in outputs) == 20
    assert sum(int(unknown) for _, _, unknown in outputs) == 3 * 20
    book = SalesStore(path)
    assert [(entry.vends, entry.sends) for entry in book.records()] == [(1, 4)] * 20
    assert {entry.account for entry in book.records()} == {book.account}
    book.close()


@pytest.mark.parametrize(
    ("where", "sold"),
    [("asked whether it may send", False), ("page being written", False), ("answer under way", True)],
)
def test_what_was_sold_when_a_process_is_killed_stays_sold_and_nothing_else(
    tmp_path: Path, where: str, sold: bool
) -> None:
    process = start(KILLED, where, tmp_path / "sandbox.db")
    process.communicate(timeout=60)
    assert process.returncode == -SIGKILL
    survivor = Rig(tmp_path / "sandbox.db")
    assert survivor.book.sale_count("BEFORE") == 1
    assert survivor.book.sale_count("R") == sold
    assert isinstance(survivor.requery(order(reference="R")), Delivered if sold else NotFound)
    survivor.provider.close()


def test_threads_that_hammer_one_reference_get_one_sale(rig: Rig) -> None:
    barrier = Barrier(16)

    def hammer(_: int) -> str:
        barrier.wait()
        return type(rig.vend(order())).__name__

    with ThreadPoolExecutor(16) as pool:
        answers = sorted(pool.map(hammer, range(16)))
    assert answers == ["Delivered"] + ["Unknown"] * 15
    assert rig.book.sale_count(order().reference) == 1
    assert rig.book.call_counts(order().reference) == (16, 0)


def test_requeries_are_counted_in_the_book_so_that_another_process_goes_on_with_them(rig: Rig) -> None:
    pending = order("201000000000")
    rig.vend(pending)
    assert isinstance(rig.requery(pending), Pending)
    rig.provider.close()
    another = Rig(rig.path)
    assert isinstance(another.requery(pending), Delivered)
    assert another.book.call_counts(pending.reference) == (1, 2)
    another.provider.close()


def test_a_page_that_raises_changes_nothing_and_leaves_the_book_usable(rig: Rig) -> None:
    rig.vend(order())

    def spoil() -> None:
        with rig.book.update(order().reference) as page:
            assert page.record is not None
            page.record = replace(page.record, status=SaleStatus.DECLINED)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        spoil()
    assert [entry.status for entry in rig.book.records()] == [SaleStatus.VENDED]
    assert isinstance(rig.vend(order(reference="NEXT")), Delivered)


def test_a_book_that_somebody_else_keeps_busy_leaves_the_outcome_unknown(rig: Rig) -> None:
    rig.vend(order())
    hurried = Rig(rig.path, timeout_seconds=0.05)
    with rig.book.update("OTHER"):
        answer = hurried.vend(order(reference="R"))
    assert isinstance(answer, Unknown)
    assert "locked" in answer.reason
    assert isinstance(hurried.requery(order(reference="R")), NotFound)
    hurried.provider.close()


def test_entries_come_in_the_order_in_which_they_came_in(rig: Rig) -> None:
    for reference in ("C", "A", "B"):
        rig.vend(order("201000000000", reference=reference))
    rig.requery(order(reference="C"))
    rig.requery(order(reference="C"))
    assert [entry.reference for entry in rig.book.records()] == ["C", "A", "B"]
    assert [entry.reference for entry in rig.book.sales()] == ["C"]
    assert rig.book.sales("12345678901") == []
