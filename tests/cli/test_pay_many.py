"""pay-many: each row is paid once, however often and in whatever order the file is run. Each row gets a result."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend import Payment, Status, open_billvend
from billvend.app import Billvend
from billvend.cli.bill_batch import batch_key, bill_digest
from billvend.cli.bill_csv import open_result_file
from billvend.domain.decisions.commands import Pay
from billvend.domain.enums import VendType
from billvend.domain.errors import OutcomeUnknown, Unavailable
from billvend.domain.money import Money
from billvend.usecases.pay import MAX_BILLS_PER_TRANSACTION
from tests.cli.console import PATIENCE_SECONDS, PROGRAM, Console, environment, run
from tests.cli.test_progress import funded_database
from tests.cli.test_terminal import run_on_terminal
from tests.support.servers import PostgresServer, postgres

pytestmark = pytest.mark.long

HEADER = "user,amount,meter,biller"
METER = 12345678901


def write_bills(console: Console, *rows: str, header: str = HEADER, name: str = "bills.csv") -> str:
    (console.folder / name).write_text("".join(f"{row}\n" for row in (header, *rows)))
    return name


def ada_row(number: int, amount: int = 100, biller: str = "EKEDC") -> str:
    """A row of ada, for a meter with this offset."""
    return f"ada,{amount},{METER + number},{biller}"


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_results(console: Console, name: str = "bills.results.csv") -> list[dict[str, str]]:
    return read_rows(console.folder / name)


def column(rows: Sequence[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def balance(console: Console, user: str = "ada", *database_option: str) -> str:
    return str(console.json("balance", user, *database_option)["balance"])


PayMany = Callable[[Billvend, Sequence[Pay]], list[Any]]


@pytest.fixture
def fail_pay_many(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, PayMany], list[int]]:
    """Replaces the answer to each chunk after the first `chunks`. Returns the sizes of all chunks that were tried."""

    def fail_after(chunks: int, then: PayMany) -> list[int]:
        tried: list[int] = []
        original = Billvend.pay_many

        def pay_many(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
            tried.append(len(bills))
            return original(bv, bills) if len(tried) <= chunks else then(bv, bills)

        monkeypatch.setattr(Billvend, "pay_many", pay_many)
        return tried

    return fail_after


UNAVAILABLE = Unavailable("The database is down. Nothing was done.")


def all_unavailable(_: Billvend, bills: Sequence[Pay]) -> list[Any]:
    return [UNAVAILABLE for _ in bills]


def all_unknown(_: Billvend, bills: Sequence[Pay]) -> list[Any]:
    return [OutcomeUnknown("?", transaction_id=b.transaction_id, idempotency_key=b.key) for b in bills]


# --- payments and results ---------------------------------------------------------------------------------------------


def test_each_row_is_paid(funded: Console) -> None:
    file = write_bills(
        funded,
        f"ada,500,{METER},EKEDC,prepaid,,first",
        f"ada,200.50,{METER},IKEDC,POSTPAID,+2348011111111,",
        "ada,100,1010101010101,KEDCO,,,",
        header=f"{HEADER},vend_type,phone,key",
    )
    summary = funded.json("pay-many", file, "--batch", "october")
    assert summary == {"accepted": 3, "replayed": 0, "refused": 0, "results": "bills.results.csv"}
    assert balance(funded) == "4199.50"
    results = read_results(funded)
    assert list(results[0]) == [
        "line", "user", "amount", "meter", "biller", "key", "result", "transactionId", "status", "code", "message",
    ]  # fmt: skip
    assert column(results, "line") == ["2", "3", "4"]
    assert column(results, "amount") == ["500", "200.50", "100"]
    assert column(results, "result") == ["accepted"] * 3
    assert column(results, "status") == ["pending"] * 3
    assert results[0]["key"] == "first"
    for row, (biller, kind) in zip(
        results, [("EKEDC", "prepaid"), ("IKEDC", "postpaid"), ("KEDCO", "prepaid")], strict=True
    ):
        payment = funded.json("show", row["transactionId"])
        assert (payment["provider"], payment["vendType"]) == (biller, kind)
        (found,) = funded.json("find", "--key", row["key"])["items"]
        assert found["transactionId"] == row["transactionId"]
    with open_billvend("sqlite:///billvend.db") as bv:
        payments = [bv.transaction(row["transactionId"]) for row in results]
    assert [payment.phone for payment in payments if isinstance(payment, Payment)] == [
        None, "+2348011111111", None,
    ]  # fmt: skip
    assert not (funded.folder / "bills.results.csv.part").exists()


def test_rerun_pays_only_missing_rows(funded: Console) -> None:
    first = write_bills(funded, ada_row(1), ada_row(2), ada_row(3))
    assert funded("pay-many", first, "--batch", "b").status == 0
    before = {row["meter"]: row["transactionId"] for row in read_results(funded)}
    again = write_bills(
        funded, ada_row(4), ada_row(3), ada_row(1)
    )  # a row added, a row removed, another order
    summary = funded.json("pay-many", again, "--batch", "b")
    assert (summary["accepted"], summary["replayed"], summary["refused"]) == (1, 2, 0)
    assert column(read_results(funded), "result") == ["accepted", "replayed", "replayed"]
    assert [before.get(row["meter"]) for row in read_results(funded)][1:] == column(
        read_results(funded), "transactionId"
    )[1:]
    assert balance(funded) == "4600.00"


def test_equal_rows_are_separate_bills(funded: Console) -> None:
    file = write_bills(funded, ada_row(1), ada_row(1), f"ada,100.00,{METER + 1},EKEDC")
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 3
    assert len(set(column(read_results(funded), "key"))) == 3
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == 3
    write_bills(funded, ada_row(1), ada_row(1), ada_row(1), ada_row(1))
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 1
    assert balance(funded) == "4600.00"


def test_equivalent_formatting_is_the_same_bill(funded: Console) -> None:
    file = write_bills(funded, f"ada,500.00,{METER},EKEDC")
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 1
    write_bills(funded, f"EKEDC,{METER},prepaid,,500,ada", header="biller,meter,vend_type,phone,amount,user")
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == 1


def test_same_row_in_another_batch_is_paid_again(funded: Console) -> None:
    file = write_bills(funded, ada_row(1))
    assert funded.json("pay-many", file, "--batch", "october")["accepted"] == 1
    assert funded.json("pay-many", file, "--batch", "november")["accepted"] == 1


def test_invalid_rows_do_not_stop_the_rest(funded: Console) -> None:
    bad = [
        f"ada,5,{METER},EKEDC",
        f'ada,"1,000",{METER},EKEDC',
        "ada,500,12345,EKEDC",
        f"ada,500,{METER},NEPA",
        f",500,{METER},EKEDC",
        "ada,500",
        f"ada,500,{METER},EKEDC,more",
        f"unknown,500,{METER},EKEDC",
        f"ada,6000,{METER},EKEDC",
        f'"=cmd()\n2",5,{METER},EKEDC',
    ]
    file = write_bills(funded, ada_row(1), "", *bad, ada_row(2))
    result = funded("pay-many", file, "--batch", "b")
    assert (result.status, result.err) == (2, "")
    results = read_results(funded)
    assert column(results, "result") == ["accepted", *["refused"] * len(bad), "accepted"]
    assert column(results, "line") == ["2", *map(str, range(4, 14)), "15"]
    assert column(results, "code") == [
        "", "invalid_amount", "invalid_amount", "invalid_meter", "unknown_biller", "validation_failed", "validation_failed",
        "validation_failed", "wallet_not_found", "insufficient_funds", "validation_failed", "",
    ]  # fmt: skip
    assert results[-2]["user"] == "=cmd()\n2"  # unchanged from the file
    assert all(row["message"] for row in results[1:-1])
    assert result.out.startswith("2 accepted, 0 already processed, 10 rejected.\n")
    assert "\n4     The amount '5' is not accepted: it must be at least NGN 100.00.\n" in result.out
    document = funded.json("pay-many", file, "--batch", "b", status=2)
    assert document == {"accepted": 0, "replayed": 2, "refused": 10, "results": "bills.results.csv"}


def test_only_first_rejections_are_shown(funded: Console) -> None:
    shown = funded("pay-many", write_bills(funded, *["ada,500"] * 12), "--batch", "b").out
    assert shown.count("The row has 2 cells") == 10
    assert "And 2 more." in shown


def test_reused_key_with_other_bill_is_rejected(funded: Console) -> None:
    file = write_bills(
        funded, f"{ada_row(1)},k", f"{ada_row(2)},k", f"{ada_row(1)},k", header=f"{HEADER},key"
    )
    assert funded.json("pay-many", file, status=2)["accepted"] == 1
    assert column(read_results(funded), "code") == ["", "idempotency_mismatch", ""]
    assert column(read_results(funded), "result") == ["accepted", "refused", "replayed"]
    assert funded.json("pay-many", file, "--dry-run", status=2)["refused"] == 1
    assert column(read_results(funded), "result") == ["replayed", "refused", "replayed"]


def test_large_file_is_paid_in_chunks(funded: Console, fail_pay_many: Any) -> None:
    file = write_bills(funded, *(ada_row(n % 7, 101) for n in range(MAX_BILLS_PER_TRANSACTION + 1)))
    tried = fail_pay_many(2, all_unavailable)
    summary = funded.json("pay-many", file, "--batch", "b", status=2)
    assert tried == [MAX_BILLS_PER_TRANSACTION, 1]
    assert (summary["accepted"], summary["refused"]) == (49, MAX_BILLS_PER_TRANSACTION + 1 - 49)
    assert len(read_results(funded)) == MAX_BILLS_PER_TRANSACTION + 1


# --- files that are rejected as a whole -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no header"),
        (b"\n", "has no header"),
        (b"user,amount,meter\n", "has no column biller"),
        (b"user,amount,meter,biller,colour\n", "an unknown column 'colour'"),
        (b"user;amount;meter;biller\n", "an unknown column 'user;amount;meter;biller'"),
        (b"user,amount,meter,biller,user\n", "the column user twice"),
        (
            b"user,amount,meter,biller\nada,100,12345678901,EKEDC\n\xe9,100,12345678901,EKEDC\n",
            "is not UTF-8",
        ),
        (b'user,amount,meter,biller\nada,100,12345678901,EKEDC\n"ada,100,12345678901,EKEDC\n', "is not CSV"),
        (b'user,amount,meter,biller\nada,100,12345678901,EKEDC\n"a"b,100,1,E\n', "is not CSV, in line 3"),
    ],
)
def test_malformed_file_is_rejected(funded: Console, content: bytes, words: str) -> None:
    (funded.folder / "bills.csv").write_bytes(content)
    assert_rejected(funded, "bills.csv", "--batch", "b", words=words)


def assert_rejected(console: Console, *arguments: str, words: str) -> None:
    before = {path.name for path in console.folder.iterdir()}
    result = console("pay-many", *arguments)
    assert (result.status, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert words in line
    assert line.endswith("Nothing was done.")
    assert {path.name for path in console.folder.iterdir()} <= before
    assert console.json("payments")["items"] == []


def test_missing_file_is_rejected(funded: Console) -> None:
    (funded.folder / "folder.csv").mkdir()
    assert_rejected(funded, "nowhere.csv", words="No such file")
    assert_rejected(funded, "folder.csv", words="is not a file")
    assert_rejected(funded, ".", words="is not a file")


def test_rows_without_a_key_need_a_batch(funded: Console) -> None:
    file = write_bills(funded, f"{ada_row(1)},k", f"{ada_row(2)},", header=f"{HEADER},key")
    assert_rejected(funded, file, words="has no key in line 3: give the batch a name with --batch")
    assert_rejected(funded, write_bills(funded, ada_row(1)), words="in line 2")
    assert_rejected(funded, file, "--batch", " ", words="name of the batch is empty")
    assert funded("pay-many", write_bills(funded, f"{ada_row(1)},k", header=f"{HEADER},key")).status == 0


def test_byte_order_mark_and_empty_file_are_accepted(funded: Console) -> None:
    (funded.folder / "bills.csv").write_text(f"{HEADER}\r\n{ada_row(1)}\r\n", encoding="utf-8-sig")
    assert funded.json("pay-many", "bills.csv", "--batch", "b")["accepted"] == 1
    assert funded.json("pay-many", write_bills(funded), "--batch", "b")["accepted"] == 0
    assert read_results(funded) == []


def test_results_path_is_validated(funded: Console) -> None:
    file = write_bills(funded, ada_row(1))
    (funded.folder / "link.csv").symlink_to("bills.csv")
    assert_rejected(funded, file, "--batch", "b", "--results", file, words="is the file of bills itself")
    assert_rejected(
        funded, file, "--batch", "b", "--results", "link.csv", words="is the file of bills itself"
    )
    assert_rejected(funded, file, "--batch", "b", "--results", ".", words="is a folder")
    assert_rejected(funded, file, "--batch", "b", "--results", "no/where.csv", words="can't be written")
    part = write_bills(funded, ada_row(1), name="x.part")
    assert_rejected(funded, part, "--batch", "b", "--results", "x", words="is the file of bills itself")
    assert (funded.folder / file).read_text() == f"{HEADER}\n{ada_row(1)}\n"
    assert funded.json("pay-many", file, "--batch", "b", "--results", "out.csv")["results"] == "out.csv"
    assert column(read_results(funded, "out.csv"), "result") == ["accepted"]


def test_concurrent_runs_on_one_results_file_are_rejected(funded: Console) -> None:
    file = write_bills(funded, ada_row(1))
    with open_result_file(funded.folder / "bills.results.csv", bill_path=funded.folder / file):
        result = funded("pay-many", file, "--batch", "b")
    assert result.status == 2
    assert "another billvend" in result.err
    assert funded.json("payments")["items"] == []


# --- dry runs ---------------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    file = write_bills(funded, ada_row(1), ada_row(2), ada_row(3, 5), f"bob,100,{METER},EKEDC")
    assert funded.json("pay-many", file, "--batch", "b", "--dry-run", status=2) == {
        "accepted": 0,
        "replayed": 0,
        "refused": 1,
        "results": "bills.results.csv",
        "dryRun": True,
        "ok": 3,
        "totals": {"NGN": "300.00"},
        "shortWallets": 0,
        "wallets": [
            {"userId": "ada", "currency": "NGN", "amount": "200.00", "balance": "5000.00", "enough": True},
            {"userId": "bob", "currency": "NGN", "amount": "100.00", "balance": "150.00", "enough": True},
        ],
    }
    assert column(read_results(funded), "result") == ["ok", "ok", "refused", "ok"]
    planned_keys = column(read_results(funded), "key")
    assert funded.json("payments")["items"] == []
    assert funded("pay-many", file, "--batch", "b").status == 2
    assert column(read_results(funded), "key") == planned_keys


def test_dry_run_reports_insufficient_wallets(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    bob = f"bob,100,{METER},EKEDC"
    file = write_bills(funded, ada_row(1), bob, f"eve,100,{METER},EKEDC")
    assert funded("pay-many", write_bills(funded, ada_row(1), bob), "--batch", "b").status == 0
    write_bills(funded, ada_row(1), bob, bob, f"eve,100,{METER},EKEDC")
    shown = funded("pay-many", file, "--batch", "b", "--dry-run")
    assert (shown.status, shown.err) == (2, "")
    assert shown.out.splitlines()[:5] == [
        "2 payable (NGN 200.00), 2 already processed, 0 rejected. Nothing was done.",
        "Wallet  Requested   Available  Enough",
        "bob     NGN 100.00  NGN 50.00  no",
        "eve     NGN 100.00  NGN 0.00   no",
        "2 wallets have too little money.",
    ]
    assert (
        funded("pay-many", write_bills(funded, ada_row(1), ada_row(2)), "--batch", "b", "--dry-run").status
        == 0
    )


# --- interruptions and outages ----------------------------------------------------------------------------------------


MANY = 4 * MAX_BILLS_PER_TRANSACTION


@contextmanager
def pay_many_process(console: Console, file: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A running pay-many that has just written its first results."""
    part = console.folder / "bills.results.csv.part"
    with subprocess.Popen(
        [*PROGRAM, "pay-many", file, "--batch", "b", *arguments],
        cwd=console.folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while not (part.exists() and part.stat().st_size > 1_000):
                assert process.poll() is None
                assert time.monotonic() < give_up_at
                time.sleep(0.005)
            yield process
        finally:
            process.kill()


def write_many_bills(console: Console, *database_option: str) -> str:
    assert console("fund", "ada", str(MANY * 100), *database_option).status == 0
    return write_bills(console, *(ada_row(n % 50) for n in range(MANY)))


def assert_each_paid_once(console: Console, url: str) -> None:
    """Each row has its own payment, and the wallet holds exactly their sum."""
    results = read_results(console)
    assert (
        len(results) == len(set(column(results, "transactionId"))) == len(set(column(results, "key"))) == MANY
    )
    with open_billvend(url) as bv:
        assert bv.backlog().payments == {Status.PENDING: MANY}
        wallet = bv.balance("ada")
        assert (str(wallet.available), str(wallet.held)) == ("5000.00", f"{MANY * 100}.00")
        assert bv.audit().ok


def test_rerun_after_kill_pays_each_row_once(funded: Console) -> None:
    kill_and_rerun(funded, "--database-url", "sqlite:///billvend.db")


@pytest.mark.integration
def test_rerun_after_kill_on_postgresql_pays_each_row_once(
    billvend: Console, postgres_server: PostgresServer
) -> None:
    kill_and_rerun(billvend, *funded_database(billvend, postgres_server))


def kill_and_rerun(console: Console, *database_option: str) -> None:
    file = write_many_bills(console, *database_option)
    with pay_many_process(console, file, *database_option) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    written = read_rows(console.folder / "bills.results.csv.part")[:-1]  # the last row may be incomplete
    assert 0 < len(written) < MANY
    assert not (console.folder / "bills.results.csv").exists()
    summary = console.json("pay-many", file, "--batch", "b", *database_option)
    assert summary["accepted"] + summary["replayed"] == MANY
    assert summary["replayed"] >= len(written)
    assert summary["accepted"] > 0
    results = read_results(console)
    assert column(results, "transactionId")[: len(written)] == column(written, "transactionId")
    assert_each_paid_once(console, database_option[1])


def test_ctrl_c_finishes_current_chunk(funded: Console) -> None:
    file = write_many_bills(funded)
    with pay_many_process(funded, file, "--json") as process:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (130, "")
    results = read_results(funded)
    tried = [row for row in results if row["result"] == "accepted"]
    assert 0 < len(tried) < len(results) == MANY
    assert len(tried) % MAX_BILLS_PER_TRANSACTION == 0
    assert f'"accepted": {len(tried)}' in out
    assert f'"notTried": {MANY - len(tried)}' in out
    assert set(column(results[len(tried) :], "result")) == {"not_tried"}
    assert column(results[len(tried) :], "transactionId") == [""] * (MANY - len(tried))
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == len(tried)
    assert_each_paid_once(funded, "sqlite:///billvend.db")


def test_database_outage_stops_remaining_rows(funded: Console, fail_pay_many: Any) -> None:
    file = write_many_bills(funded)
    tried = fail_pay_many(1, all_unavailable)
    shown = funded("pay-many", file, "--batch", "b")
    assert (shown.status, shown.err) == (2, "")
    assert len(tried) == 2
    assert "Rejected because" not in shown.out  # the reason is printed once, not for each row
    (line,) = [line for line in shown.out.splitlines() if "The database is down" in line]
    assert f"{MANY - 500:,} rows were not processed. Run the same command again" in line
    assert column(read_results(funded), "result") == [
        *["accepted"] * 500, *["unavailable"] * 500, *["not_tried"] * (MANY - 1_000),
    ]  # fmt: skip
    fail_pay_many(0, all_unknown)
    document = funded.json("pay-many", file, "--batch", "b", status=2)
    assert document == {
        "accepted": 0,
        "replayed": 0,
        "refused": 0,
        "results": "bills.results.csv",
        "outcomeUnknown": 500,
        "notTried": MANY - 500,
    }
    first = read_results(funded)[0]
    assert (first["result"], first["code"]) == ("outcome_unknown", "outcome_unknown")
    assert first["transactionId"]


@pytest.mark.integration
def test_rerun_after_database_outage_pays_each_row_once(billvend: Console) -> None:
    with postgres() as server:
        _, url = database_option = funded_database(billvend, server)
        file = write_many_bills(billvend, *database_option)
        with pay_many_process(billvend, file, *database_option) as process:
            server.kill()
            out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, errors) == (2, "")
        assert "The database is down" in out
        results = column(read_results(billvend), "result")
        assert results[:500] == ["accepted"] * 500
        assert set(results[500:]) <= {"accepted", "unavailable", "outcome_unknown", "not_tried"}
        assert set(results[-500:]) == {"not_tried"}
        server.start()
        summary = billvend.json("pay-many", file, "--batch", "b", *database_option)
        assert summary["accepted"] + summary["replayed"] == MANY
        assert_each_paid_once(billvend, url)


def test_database_down_at_start_exits_with_9(funded: Console, fail_pay_many: Any) -> None:
    file = write_bills(funded, ada_row(1))
    fail_pay_many(0, all_unavailable)
    error = funded.json("pay-many", file, "--batch", "b", status=9)["error"]
    assert error == {"code": "unavailable", "message": UNAVAILABLE.message}
    database_option = ("--database-url", "postgresql://127.0.0.1:1/none")
    assert funded("pay-many", file, "--batch", "b", *database_option).status == 9
    assert not (funded.folder / "bills.results.csv").exists()


def test_single_unavailable_row_does_not_stop_the_rest(funded: Console, fail_pay_many: Any) -> None:
    original = Billvend.pay_many
    tried = fail_pay_many(0, lambda bv, bills: [UNAVAILABLE, *original(bv, bills[1:])])
    document = funded.json("pay-many", write_many_bills(funded), "--batch", "b", status=2)
    assert len(tried) == 4
    assert (document["accepted"], document["unavailable"]) == (MANY - 4, 4)


def test_file_changed_during_run_is_an_error(funded: Console, fail_pay_many: Any) -> None:
    file = write_many_bills(funded)

    def spoil_file(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
        (funded.folder / file).write_bytes(b"\xff" * 500_000)
        return all_unavailable(bv, bills)

    fail_pay_many(1, spoil_file)
    result = funded("pay-many", file, "--batch", "b")
    assert result.status == 1
    assert "was changed while it was paid" in result.err
    assert "Accepted payments continue. Run it again." in result.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_unwritable_results_file_is_an_error(funded: Console, fail_pay_many: Any) -> None:
    original = Billvend.pay_many

    def fill_the_disk(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
        (part,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if is_results_file(fd)]
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, part)
        os.close(full)
        return original(bv, bills)

    fail_pay_many(0, fill_the_disk)
    result = funded("pay-many", write_bills(funded, ada_row(1)), "--batch", "b")
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert "bills.results.csv can't be written: No space left" in line
    assert line.endswith("Accepted payments continue. Run it again.")


def is_results_file(fd: Path) -> bool:
    """Whether this descriptor is the open file of results."""
    with suppress(FileNotFoundError):
        return fd.readlink().name == "bills.results.csv.part"
    return False


# --- screens ----------------------------------------------------------------------------------------------------------


def test_progress_bar_only_on_terminal(funded: Console) -> None:
    file = write_many_bills(funded)
    status, screen = run_on_terminal(funded.folder, "pay-many", file, "--batch", "b")
    assert status == 0
    assert "Paying" in screen
    assert f"{MANY}/{MANY}" in screen
    assert "/s" in screen
    assert f"{MANY:,} accepted, 0 already processed, 0 rejected." in screen
    piped = run(funded.folder, "pay-many", file, "--batch", "b")
    assert (piped.status, piped.err) == (0, "")
    assert piped.out.splitlines()[0] == f"0 accepted, {MANY:,} already processed, 0 rejected."


# --- keys -------------------------------------------------------------------------------------------------------------


def bill(user: str, minor: int, meter: str, kind: VendType, phone: str | None) -> Pay:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return Pay(user, "?", "?", now, False, Money(minor, "NGN"), meter, "EKEDC", kind, phone)


BILLS = st.builds(
    bill,
    st.sampled_from(["ada", "bob", "ада"]),
    st.integers(10_000, 10_002),
    st.sampled_from(["12345678901", "12345678902"]),
    st.sampled_from(VendType),
    st.sampled_from([None, "+2348011111111"]),
)


def batch_keys(batch: str, bills: Sequence[Pay]) -> list[str]:
    digests = [bill_digest(batch, each) for each in bills]
    return [batch_key(digest, digests[: nth + 1].count(digest)) for nth, digest in enumerate(digests)]


@given(st.lists(BILLS, max_size=30).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_generated_keys_do_not_depend_on_order(lists: tuple[list[Pay], list[Pay]]) -> None:
    bills, shuffled = lists
    keys, again = batch_keys("b", bills), batch_keys("b", shuffled)
    assert len(set(keys)) == len(bills)  # equal bills have different keys too
    assert sorted(zip(keys, map(repr, bills), strict=True)) == sorted(
        zip(again, map(repr, shuffled), strict=True)
    )
    assert not set(keys) & set(batch_keys("c", bills))
    assert all(len(key) <= 255 and key.isascii() and key.isprintable() for key in keys)


@given(st.lists(BILLS, min_size=1, max_size=20), st.data())
def test_generated_keys_survive_removed_rows(bills: list[Pay], data: st.DataObject) -> None:
    without = data.draw(st.integers(0, len(bills) - 1))
    rest = [*bills[:without], *bills[without + 1 :]]
    assert set(batch_keys("b", rest)) < set(batch_keys("b", bills))


def test_generated_keys_never_change() -> None:
    bill_of_ada = bill("ada", 10_000, "12345678901", VendType.PREPAID, None)
    assert batch_keys("october", [bill_of_ada, bill_of_ada]) == [
        "pay-many-d5e4bdf3b1e83382436cda0023f8e42d0d125707",
        "pay-many-d557c5339c7613131b9cdf067d9d039899a56ada",
    ]
