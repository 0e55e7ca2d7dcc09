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
from tests.cli.console import METER, PATIENCE_SECONDS, Console, process, run
from tests.cli.test_terminal import run_on_terminal
from tests.support.servers import PostgresServer, postgres

pytestmark = pytest.mark.long

HEADER = "user,amount,meter,biller"
FILE, RESULTS = "bills.csv", "bills.results.csv"
PAY = ("pay-many", FILE, "--batch", "b")


def write_bills(console: Console, *rows: str, header: str = HEADER) -> None:
    (console.folder / FILE).write_text("".join(f"{row}\n" for row in (header, *rows)))


def pay_rows(console: Console, *rows: str, status: int = 0) -> tuple[int, int, int]:
    """Pay these rows in the batch `b`. Returns how many were accepted, replayed and refused."""
    write_bills(console, *rows)
    summary = console.json(*PAY, status=status)
    return summary["accepted"], summary["replayed"], summary["refused"]


def ada_row(number: int, amount: int = 100) -> str:
    """A row of ada, for a meter with this offset."""
    return f"ada,{amount},{int(METER) + number},EKEDC"


def read_results(console: Console, name: str = RESULTS) -> list[dict[str, str]]:
    with (console.folder / name).open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def column(console: Console, name: str) -> list[str]:
    """A column of the results."""
    return [row[name] for row in read_results(console)]


def balance(console: Console) -> str:
    return str(console.json("balance", "ada")["balance"])


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
    write_bills(
        funded,
        f"ada,500,{METER},EKEDC,prepaid,,first",
        f"ada,200.50,{METER},IKEDC,POSTPAID,+2348011111111,",
        "ada,100,1010101010101,KEDCO,,,",
        header=f"{HEADER},vend_type,phone,key",
    )
    assert funded.json(*PAY) == {"accepted": 3, "replayed": 0, "refused": 0, "results": RESULTS}
    assert balance(funded) == "4199.50"
    results = read_results(funded)
    assert list(results[0]) == [
        "line", "user", "amount", "meter", "biller", "key", "result", "transactionId", "status", "code", "message",
    ]  # fmt: skip
    assert [(row["line"], row["amount"], row["result"], row["status"]) for row in results] == [
        ("2", "500", "accepted", "pending"),
        ("3", "200.50", "accepted", "pending"),
        ("4", "100", "accepted", "pending"),
    ]
    assert results[0]["key"] == "first"
    with open_billvend("sqlite:///billvend.db") as bv:
        payments = [bv.transaction(row["transactionId"]) for row in results]
    assert [(p.key, p.biller, p.vend_type, p.phone) for p in payments if isinstance(p, Payment)] == [
        (results[0]["key"], "EKEDC", "prepaid", None),
        (results[1]["key"], "IKEDC", "postpaid", "+2348011111111"),
        (results[2]["key"], "KEDCO", "prepaid", None),
    ]
    assert not (funded.folder / f"{RESULTS}.part").exists()


def test_rerun_pays_only_missing_rows(funded: Console) -> None:
    assert pay_rows(funded, ada_row(1), ada_row(2), ada_row(3)) == (3, 0, 0)
    before = dict(zip(column(funded, "meter"), column(funded, "transactionId"), strict=True))
    # A row added, a row removed, another order.
    assert pay_rows(funded, ada_row(4), ada_row(3), ada_row(1)) == (1, 2, 0)
    assert column(funded, "result") == ["accepted", "replayed", "replayed"]
    _, *replayed = read_results(funded)
    assert [row["transactionId"] for row in replayed] == [before[row["meter"]] for row in replayed]
    assert balance(funded) == "4600.00"


def test_equal_rows_are_separate_bills(funded: Console) -> None:
    equal = (ada_row(1), ada_row(1), ada_row(1).replace(",100,", ",100.00,"))
    assert pay_rows(funded, *equal) == (3, 0, 0)
    assert len(set(column(funded, "key"))) == 3
    assert pay_rows(funded, *equal) == (0, 3, 0)
    assert pay_rows(funded, *equal, ada_row(1)) == (1, 3, 0)
    assert balance(funded) == "4600.00"


def test_equivalent_formatting_is_the_same_bill(funded: Console) -> None:
    assert pay_rows(funded, f"ada,500.00,{METER},EKEDC") == (1, 0, 0)
    write_bills(funded, f"EKEDC,{METER},prepaid,,500,ada", header="biller,meter,vend_type,phone,amount,user")
    assert funded.json(*PAY)["replayed"] == 1
    assert funded.json("pay-many", FILE, "--batch", "another")["accepted"] == 1


def test_invalid_rows_do_not_stop_the_rest(funded: Console) -> None:
    invalid = {
        f"ada,5,{METER},EKEDC": "invalid_amount",
        f'ada,"1,000",{METER},EKEDC': "invalid_amount",
        "ada,500,12345,EKEDC": "invalid_meter",
        f"ada,500,{METER},NEPA": "unknown_biller",
        f",500,{METER},EKEDC": "validation_failed",
        "ada,500": "validation_failed",
        f"ada,500,{METER},EKEDC,more": "validation_failed",
        f"unknown,500,{METER},EKEDC": "wallet_not_found",
        f"ada,6000,{METER},EKEDC": "insufficient_funds",
        f'"=cmd()\n2",5,{METER},EKEDC': "validation_failed",
    }
    rows = (ada_row(1), "", *invalid, ada_row(2))
    assert pay_rows(funded, *rows, status=2) == (2, 0, 10)
    assert column(funded, "result") == ["accepted", *["refused"] * 10, "accepted"]
    assert column(funded, "line") == ["2", *map(str, range(4, 14)), "15"]
    assert column(funded, "code") == ["", *invalid.values(), ""]
    assert column(funded, "user")[-2] == "=cmd()\n2"  # unchanged from the file
    assert all(column(funded, "message")[1:-1])
    assert pay_rows(funded, *rows, status=2) == (0, 2, 10)


def test_only_first_rejections_are_shown(funded: Console) -> None:
    write_bills(funded, *["ada,500"] * 12)
    shown = funded(*PAY).out
    assert shown.count("The row has 2 cells") == 10
    assert "And 2 more." in shown


def test_reused_key_with_other_bill_is_rejected(funded: Console) -> None:
    write_bills(funded, f"{ada_row(1)},k", f"{ada_row(2)},k", f"{ada_row(1)},k", header=f"{HEADER},key")
    assert funded.json("pay-many", FILE, status=2)["accepted"] == 1
    assert column(funded, "code") == ["", "idempotency_mismatch", ""]
    assert column(funded, "result") == ["accepted", "refused", "replayed"]
    assert funded.json("pay-many", FILE, "--dry-run", status=2)["refused"] == 1
    assert column(funded, "result") == ["replayed", "refused", "replayed"]


def test_large_file_is_paid_in_chunks(funded: Console, fail_pay_many: Any) -> None:
    tried = fail_pay_many(2, all_unavailable)
    rows = [ada_row(n % 7, 101) for n in range(MAX_BILLS_PER_TRANSACTION + 1)]
    assert pay_rows(funded, *rows, status=2) == (49, 0, MAX_BILLS_PER_TRANSACTION + 1 - 49)
    assert tried == [MAX_BILLS_PER_TRANSACTION, 1]
    assert len(read_results(funded)) == MAX_BILLS_PER_TRANSACTION + 1


# --- files that are rejected as a whole -------------------------------------------------------------------------------


def assert_rejected(console: Console, words: str, *arguments: str) -> None:
    before = {path.name for path in console.folder.iterdir()}
    result = console("pay-many", *arguments)
    assert (result.status, result.out) == (2, "")
    (line,) = result.err.splitlines()
    assert words in line
    assert line.endswith("Nothing was done.")
    assert {path.name for path in console.folder.iterdir()} <= before
    assert console.json("payments")["items"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no header"),
        (b"\n", "has no header"),
        (b"user,amount,meter\n", "has no column biller"),
        (b"user,amount,meter,biller,colour\n", "an unknown column 'colour'"),
        (b"user;amount;meter;biller\n", "an unknown column 'user;amount;meter;biller'"),
        (b"user,amount,meter,biller,user\n", "the column user twice"),
        (b"user,amount,meter,biller\nada,100,1,EKEDC\n\xe9,100,1,EKEDC\n", "is not UTF-8"),
        (b'user,amount,meter,biller\nada,100,1,EKEDC\n"ada,100,1,EKEDC\n', "is not CSV"),
        (b'user,amount,meter,biller\nada,100,1,EKEDC\n"a"b,100,1,E\n', "is not CSV, in line 3"),
    ],
)
def test_malformed_file_is_rejected(funded: Console, content: bytes, words: str) -> None:
    (funded.folder / FILE).write_bytes(content)
    assert_rejected(funded, words, FILE, "--batch", "b")


def test_missing_file_is_rejected(funded: Console) -> None:
    (funded.folder / "folder.csv").mkdir()
    assert_rejected(funded, "No such file", "nowhere.csv")
    assert_rejected(funded, "is not a file", "folder.csv")
    assert_rejected(funded, "is not a file", ".")


def test_rows_without_a_key_need_a_batch(funded: Console) -> None:
    write_bills(funded, ada_row(1))
    assert_rejected(funded, "in line 2", FILE)
    write_bills(funded, f"{ada_row(1)},k", f"{ada_row(2)},", header=f"{HEADER},key")
    assert_rejected(funded, "has no key in line 3: give the batch a name with --batch", FILE)
    assert_rejected(funded, "name of the batch is empty", FILE, "--batch", " ")
    write_bills(funded, f"{ada_row(1)},k", header=f"{HEADER},key")
    assert funded("pay-many", FILE).status == 0


def test_byte_order_mark_and_empty_file_are_accepted(funded: Console) -> None:
    (funded.folder / FILE).write_text(f"{HEADER}\r\n{ada_row(1)}\r\n", encoding="utf-8-sig")
    assert funded.json(*PAY)["accepted"] == 1
    assert pay_rows(funded) == (0, 0, 0)
    assert read_results(funded) == []


def test_results_path_is_validated(funded: Console) -> None:
    write_bills(funded, ada_row(1))
    (funded.folder / "link.csv").symlink_to(FILE)
    for path, words in (
        (FILE, "is the file of bills itself"),
        ("link.csv", "is the file of bills itself"),
        (".", "is a folder"),
        ("no/where.csv", "can't be written"),
    ):
        assert_rejected(funded, words, FILE, "--batch", "b", "--results", path)
    (funded.folder / FILE).rename(funded.folder / "x.part")
    assert_rejected(funded, "is the file of bills itself", "x.part", "--batch", "b", "--results", "x")
    (funded.folder / "x.part").rename(funded.folder / FILE)
    assert (funded.folder / FILE).read_text() == f"{HEADER}\n{ada_row(1)}\n"
    assert funded.json(*PAY, "--results", "out.csv")["results"] == "out.csv"
    assert [row["result"] for row in read_results(funded, "out.csv")] == ["accepted"]


def test_concurrent_runs_on_one_results_file_are_rejected(funded: Console) -> None:
    write_bills(funded, ada_row(1))
    with open_result_file(funded.folder / RESULTS, bill_path=funded.folder / FILE):
        assert "another billvend" in funded.error(2, "validation_failed", *PAY)
    assert funded.json("payments")["items"] == []


# --- dry runs ---------------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    write_bills(funded, ada_row(1), ada_row(2), ada_row(3, 5), f"bob,100,{METER},EKEDC")
    assert funded.json(*PAY, "--dry-run", status=2) == {
        "accepted": 0,
        "replayed": 0,
        "refused": 1,
        "results": RESULTS,
        "dryRun": True,
        "ok": 3,
        "totals": {"NGN": "300.00"},
        "shortWallets": 0,
        "wallets": [
            {"userId": "ada", "currency": "NGN", "amount": "200.00", "balance": "5000.00", "enough": True},
            {"userId": "bob", "currency": "NGN", "amount": "100.00", "balance": "150.00", "enough": True},
        ],
    }
    assert column(funded, "result") == ["ok", "ok", "refused", "ok"]
    planned_keys = column(funded, "key")
    assert funded.json("payments")["items"] == []
    assert funded(*PAY).status == 2
    assert column(funded, "key") == planned_keys


def test_dry_run_reports_insufficient_wallets(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    bob = f"bob,100,{METER},EKEDC"
    assert pay_rows(funded, ada_row(1), bob) == (2, 0, 0)
    write_bills(funded, ada_row(1), bob, bob, f"eve,100,{METER},EKEDC")
    document = funded.json(*PAY, "--dry-run", status=2)
    assert (document["ok"], document["replayed"], document["shortWallets"]) == (2, 2, 2)
    assert [(wallet["userId"], wallet["balance"]) for wallet in document["wallets"]] == [
        ("bob", "50.00"),
        ("eve", "0.00"),
    ]
    write_bills(funded, ada_row(1), ada_row(2))
    assert funded(*PAY, "--dry-run").status == 0


# --- interruptions and outages ----------------------------------------------------------------------------------------


MANY = 4 * MAX_BILLS_PER_TRANSACTION
SQLITE = ("--database-url", "sqlite:///billvend.db")


@contextmanager
def pay_many_process(console: Console, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A running pay-many that has just written its first results."""
    part = console.folder / f"{RESULTS}.part"
    with process(console.folder, *PAY, *arguments) as paying:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not (part.exists() and part.stat().st_size > 1_000):
            assert paying.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
        yield paying


def write_many_bills(console: Console, *database_option: str) -> None:
    assert console("fund", "ada", str(MANY * 100), *database_option).status == 0
    write_bills(console, *(ada_row(n % 50) for n in range(MANY)))


def rerun_and_check(console: Console, _: str, url: str) -> dict[str, int]:
    """Run the file again. Then each row has its own payment, and the wallet holds exactly their sum."""
    summary: dict[str, int] = console.json(*PAY, "--database-url", url)
    assert summary["accepted"] + summary["replayed"] == MANY
    assert len(set(column(console, "transactionId"))) == len(set(column(console, "key"))) == MANY
    with open_billvend(url) as bv:
        assert bv.backlog().payments == {Status.PENDING: MANY}
        wallet = bv.balance("ada")
        assert (str(wallet.available), str(wallet.held)) == ("5000.00", f"{MANY * 100}.00")
        assert bv.audit().ok
    return summary


def test_rerun_after_kill_pays_each_row_once(funded: Console) -> None:
    kill_and_rerun(funded, *SQLITE)


@pytest.mark.integration
def test_rerun_after_kill_on_postgresql_pays_each_row_once(
    billvend: Console, postgres_server: PostgresServer
) -> None:
    kill_and_rerun(billvend, *billvend.funded_database(postgres_server))


def kill_and_rerun(console: Console, *database_option: str) -> None:
    write_many_bills(console, *database_option)
    with pay_many_process(console, *database_option) as paying:
        paying.send_signal(signal.SIGKILL)
        assert paying.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    written = read_results(console, f"{RESULTS}.part")[:-1]  # the last row may be incomplete
    assert 0 < len(written) < MANY
    assert not (console.folder / RESULTS).exists()
    summary = rerun_and_check(console, *database_option)
    assert summary["replayed"] >= len(written)
    assert summary["accepted"] > 0
    ids = [row["transactionId"] for row in written]
    assert column(console, "transactionId")[: len(written)] == ids


def test_ctrl_c_finishes_current_chunk(funded: Console) -> None:
    write_many_bills(funded)
    with pay_many_process(funded, "--json") as paying:
        paying.send_signal(signal.SIGINT)
        out, errors = paying.communicate(timeout=PATIENCE_SECONDS)
    assert (paying.returncode, errors) == (130, "")
    results = column(funded, "result")
    paid = results.count("accepted")
    assert 0 < paid < MANY
    assert paid % MAX_BILLS_PER_TRANSACTION == 0
    assert results == ["accepted"] * paid + ["not_tried"] * (MANY - paid)
    assert f'"accepted": {paid}' in out
    assert f'"notTried": {MANY - paid}' in out
    assert column(funded, "transactionId")[paid:] == [""] * (MANY - paid)
    assert rerun_and_check(funded, *SQLITE)["replayed"] == paid


def test_database_outage_stops_remaining_rows(funded: Console, fail_pay_many: Any) -> None:
    write_many_bills(funded)
    tried = fail_pay_many(1, all_unavailable)
    shown = funded(*PAY)
    assert (shown.status, shown.err) == (2, "")
    assert len(tried) == 2
    assert "Rejected because" not in shown.out  # the reason is printed once, not for each row
    (line,) = [line for line in shown.out.splitlines() if "The database is down" in line]
    assert f"{MANY - 500:,} rows were not processed. Run the same command again" in line
    assert column(funded, "result") == [
        *["accepted"] * 500, *["unavailable"] * 500, *["not_tried"] * (MANY - 1_000),
    ]  # fmt: skip
    fail_pay_many(0, all_unknown)
    counts = {"accepted": 0, "replayed": 0, "refused": 0, "outcomeUnknown": 500, "notTried": MANY - 500}
    assert funded.json(*PAY, status=2) == {**counts, "results": RESULTS}
    first = read_results(funded)[0]
    assert (first["result"], first["code"]) == ("outcome_unknown", "outcome_unknown")
    assert first["transactionId"]


@pytest.mark.integration
def test_rerun_after_database_outage_pays_each_row_once(billvend: Console) -> None:
    with postgres() as server:
        database_option = billvend.funded_database(server)
        write_many_bills(billvend, *database_option)
        with pay_many_process(billvend, *database_option) as paying:
            server.kill()
            out, errors = paying.communicate(timeout=PATIENCE_SECONDS)
        assert (paying.returncode, errors) == (2, "")
        assert "The database is down" in out
        results = column(billvend, "result")
        assert results[:500] == ["accepted"] * 500
        assert set(results[500:]) <= {"accepted", "unavailable", "outcome_unknown", "not_tried"}
        assert set(results[-500:]) == {"not_tried"}
        server.start()
        rerun_and_check(billvend, *database_option)


def test_database_down_at_start_exits_with_9(funded: Console, fail_pay_many: Any) -> None:
    write_bills(funded, ada_row(1))
    fail_pay_many(0, all_unavailable)
    assert funded.error(9, "unavailable", *PAY) == UNAVAILABLE.message
    assert funded(*PAY, "--database-url", "postgresql://127.0.0.1:1/none").status == 9
    assert not (funded.folder / RESULTS).exists()


def test_single_unavailable_row_does_not_stop_the_rest(funded: Console, fail_pay_many: Any) -> None:
    original = Billvend.pay_many
    tried = fail_pay_many(0, lambda bv, bills: [UNAVAILABLE, *original(bv, bills[1:])])
    write_many_bills(funded)
    document = funded.json(*PAY, status=2)
    assert len(tried) == 4
    assert (document["accepted"], document["unavailable"]) == (MANY - 4, 4)


def test_file_changed_during_run_is_an_error(funded: Console, fail_pay_many: Any) -> None:
    write_many_bills(funded)

    def spoil_file(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
        (funded.folder / FILE).write_bytes(b"\xff" * 500_000)
        return all_unavailable(bv, bills)

    fail_pay_many(1, spoil_file)
    message = funded.error(1, "internal", *PAY)
    assert "was changed while it was paid" in message
    assert "Accepted payments continue. Run it again." in message


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
    write_bills(funded, ada_row(1))
    message = funded.error(1, "internal", *PAY)
    assert f"{RESULTS} can't be written: No space left" in message
    assert message.endswith("Accepted payments continue. Run it again.")


def is_results_file(fd: Path) -> bool:
    """Whether this descriptor is the open file of results."""
    with suppress(FileNotFoundError):
        return fd.readlink().name == f"{RESULTS}.part"
    return False


def test_progress_bar_only_on_terminal(funded: Console) -> None:
    write_many_bills(funded)
    status, screen = run_on_terminal(funded.folder, *PAY)
    assert status == 0
    for text in ("Paying", f"{MANY}/{MANY}", "/s", f"{MANY:,} accepted, 0 already processed, 0 rejected."):
        assert text in screen
    piped = run(funded.folder, *PAY)
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
