"""One store with concurrent threads, processes, and killed processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from threading import Barrier

import pytest

from billvend.adapters.providers.sandbox.sale import SaleStatus
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.domain.outcome import Delivered, NotFound, Pending, Unknown
from tests.provider.sandbox_harness import SandboxHarness, order

CONCURRENT_PROGRAM = """
import sys
from collections import Counter
from pathlib import Path
from tests.provider.sandbox_harness import SandboxHarness, order

print("ready", flush=True)
sys.stdin.readline()
harness = SandboxHarness(Path(sys.argv[1]))
answers = Counter(type(harness.vend(order(reference=f"R{number}"))).__name__ for number in range(20))
print(harness.provider.account.account_id, answers["Delivered"], answers["Unknown"])
harness.provider.close()
"""

KILLED_PROGRAM = """
import os, sys
from pathlib import Path
from signal import SIGKILL
from tests.provider.sandbox_harness import SandboxHarness, order

def die(*_):
    os.kill(os.getpid(), SIGKILL)

moment, path = sys.argv[1], Path(sys.argv[2])
harness = SandboxHarness(path, on_pause=die)
harness.vend(order(reference="BEFORE"))
if moment == "send guard":
    harness.provider.vend(order(reference="R"), may_send=die)
if moment == "during update":
    with harness.store.transaction():
        harness.store._connection.execute("DELETE FROM sale")
        die()
if moment == "before answer":
    harness.vend(order("300000000000", reference="R"))
"""


def start_program(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_concurrent_processes_sell_each_reference_once(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    processes = [start_program(CONCURRENT_PROGRAM, path) for _ in range(4)]
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
    store = SalesStore(path)
    assert [(entry.vends, entry.sends) for entry in store.records()] == [(1, 4)] * 20
    store.close()


@pytest.mark.parametrize(
    ("moment", "sold"),
    [("send guard", False), ("during update", False), ("before answer", True)],
)
def test_killed_process_leaves_only_committed_sales(tmp_path: Path, moment: str, sold: bool) -> None:
    process = start_program(KILLED_PROGRAM, moment, tmp_path / "sandbox.db")
    process.communicate(timeout=60)
    assert process.returncode == -SIGKILL
    survivor = SandboxHarness(tmp_path / "sandbox.db")
    assert survivor.store.sale_count("BEFORE") == 1
    assert survivor.store.sale_count("R") == sold
    assert isinstance(survivor.requery(order(reference="R")), Delivered if sold else NotFound)
    survivor.provider.close()


def test_concurrent_threads_sell_one_reference_once(harness: SandboxHarness) -> None:
    barrier = Barrier(16)

    def vend_together(_: int) -> str:
        barrier.wait()
        return type(harness.vend(order())).__name__

    with ThreadPoolExecutor(16) as pool:
        answers = sorted(pool.map(vend_together, range(16)))
    assert answers == ["Delivered"] + ["Unknown"] * 15
    assert harness.store.sale_count(order().reference) == 1
    assert harness.call_counts(order().reference) == (16, 0)


def test_requery_count_is_shared_by_processes(harness: SandboxHarness) -> None:
    pending = order("201000000000")
    harness.vend(pending)
    assert isinstance(harness.requery(pending), Pending)
    harness.provider.close()
    another = SandboxHarness(harness.path)
    assert isinstance(another.requery(pending), Delivered)
    assert another.call_counts(pending.reference) == (1, 2)
    another.provider.close()


def test_failed_update_is_rolled_back(harness: SandboxHarness) -> None:
    harness.vend(order())

    def fail_during_update() -> None:
        with harness.store.transaction():
            (record,) = harness.store.records()
            harness.store.save(replace(record, status=SaleStatus.DECLINED))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail_during_update()
    assert [entry.status for entry in harness.store.records()] == [SaleStatus.VENDED]
    assert isinstance(harness.vend(order(reference="NEXT")), Delivered)


def test_locked_store_gives_unknown_outcome(harness: SandboxHarness) -> None:
    harness.vend(order())
    impatient = SandboxHarness(harness.path, timeout_seconds=0.05)
    with harness.store.transaction():
        answer = impatient.vend(order(reference="R"))
    assert isinstance(answer, Unknown)
    assert "locked" in answer.reason
    assert isinstance(impatient.requery(order(reference="R")), NotFound)
    impatient.provider.close()


def test_sales_are_ordered_by_arrival(harness: SandboxHarness) -> None:
    for reference in ("C", "A", "B"):
        harness.vend(order("201000000000", reference=reference))
    harness.requery(order(reference="C"))
    harness.requery(order(reference="C"))
    assert [entry.reference for entry in harness.store.records()] == ["C", "A", "B"]
    assert [entry.reference for entry in harness.store.sales()] == ["C"]
