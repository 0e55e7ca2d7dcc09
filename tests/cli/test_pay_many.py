"""pay-many: each row is paid once, however often and in whatever order the file is run, and each is told what came of it."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend import Payment, Status, open_billvend
from billvend.app import Billvend
from billvend.cli.bill_batch import DiskCounter, batch_key, bill_digest
from billvend.cli.bill_csv import open_result_file
from billvend.domain.decisions.commands import Pay
from billvend.domain.enums import VendType
from billvend.domain.errors import OutcomeUnknown, Unavailable
from billvend.domain.money import Money
from billvend.usecases.pay import MAX_BILLS_PER_TRANSACTION
from tests.cli.console import PATIENCE_SECONDS, PROGRAM, Console, environment, run
from tests.cli.test_following import funded_on
from tests.cli.test_terminal import on_a_terminal
from tests.support.servers import PostgresServer, postgres

HEADER = "user,amount,meter,biller"
METER = 12345678901


def sheet(console: Console, *rows: str, header: str = HEADER, name: str = "bills.csv") -> str:
    (console.folder / name).write_text("".join(f"{row}\n" for row in (header, *rows)))
    return name


def ada(number: int, amount: int = 100, biller: str = "EKEDC") -> str:
    """A row of ada's, for the meter of this number."""
    return f"ada,{amount},{METER + number},{biller}"


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def results(console: Console, name: str = "bills.results.csv") -> list[dict[str, str]]:
    return rows_in(console.folder / name)


def column(rows: Sequence[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def balance(console: Console, user: str = "ada", *there: str) -> str:
    return str(console.json("balance", user, *there)["balance"])


Pays = Callable[[Billvend, Sequence[Pay]], list[Any]]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Pays], list[int]]:
    """From so many chunks on, the books answer otherwise; gives the sizes of those that were tried."""

    def go_away(chunks: int, pays: Pays) -> list[int]:
        tried: list[int] = []
        whole = Billvend.pay_many

        def pay_many(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
            tried.append(len(bills))
            return whole(bv, bills) if len(tried) <= chunks else pays(bv, bills)

        monkeypatch.setattr(Billvend, "pay_many", pay_many)
        return tried

    return go_away


GONE = Unavailable("The database is away. Nothing was done.")


def gone(_: Billvend, bills: Sequence[Pay]) -> list[Any]:
    return [GONE for _ in bills]


def unknown(_: Billvend, bills: Sequence[Pay]) -> list[Any]:
    return [OutcomeUnknown("?", transaction_id=b.transaction_id, idempotency_key=b.key) for b in bills]


# --- what is done -----------------------------------------------------------------------------------------------------


def test_each_row_is_paid(funded: Console) -> None:
    file = sheet(
        funded,
        f"ada,500,{METER},EKEDC,prepaid,,first",
        f"ada,200.50,{METER},IKEDC,POSTPAID,+2348011111111,",
        "ada,100,1010101010101,KEDCO,,,",
        header=f"{HEADER},vend_type,phone,key",
    )
    done = funded.json("pay-many", file, "--batch", "october")
    assert done == {"accepted": 3, "replayed": 0, "refused": 0, "results": "bills.results.csv"}
    assert balance(funded) == "4199.50"
    told = results(funded)
    assert list(told[0]) == [
        "line", "user", "amount", "meter", "biller", "key", "result", "transactionId", "status", "code", "message",
    ]  # fmt: skip
    assert column(told, "line") == ["2", "3", "4"]
    assert column(told, "amount") == ["500", "200.50", "100"]
    assert column(told, "result") == ["accepted"] * 3
    assert column(told, "status") == ["pending"] * 3
    assert told[0]["key"] == "first"
    for row, (biller, kind) in zip(
        told, [("EKEDC", "prepaid"), ("IKEDC", "postpaid"), ("KEDCO", "prepaid")], strict=True
    ):
        payment = funded.json("show", row["transactionId"])
        assert (payment["provider"], payment["vendType"]) == (biller, kind)
        (found,) = funded.json("find", "--key", row["key"])["items"]
        assert found["transactionId"] == row["transactionId"]
    with open_billvend("sqlite:///billvend.db") as bv:
        payments = [bv.transaction(row["transactionId"]) for row in told]
    assert [payment.phone for payment in payments if isinstance(payment, Payment)] == [
        None, "+2348011111111", None,
    ]  # fmt: skip
    assert not (funded.folder / "bills.results.csv.part").exists()


def test_a_repeat_does_only_what_is_missing(funded: Console) -> None:
    first = sheet(funded, ada(1), ada(2), ada(3))
    assert funded("pay-many", first, "--batch", "b").status == 0
    before = {row["meter"]: row["transactionId"] for row in results(funded)}
    again = sheet(funded, ada(4), ada(3), ada(1))  # one added, one removed, in another order
    done = funded.json("pay-many", again, "--batch", "b")
    assert (done["accepted"], done["replayed"], done["refused"]) == (1, 2, 0)
    assert column(results(funded), "result") == ["accepted", "replayed", "replayed"]
    assert [before.get(row["meter"]) for row in results(funded)][1:] == column(
        results(funded), "transactionId"
    )[1:]
    assert balance(funded) == "4600.00"


def test_rows_that_are_equal_are_as_many_bills(funded: Console) -> None:
    file = sheet(funded, ada(1), ada(1), f"ada,100.00,{METER + 1},EKEDC")
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 3
    assert len(set(column(results(funded), "key"))) == 3
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == 3
    sheet(funded, ada(1), ada(1), ada(1), ada(1))
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 1
    assert balance(funded) == "4600.00"


def test_what_a_spreadsheet_writes_otherwise_is_the_same_bill(funded: Console) -> None:
    file = sheet(funded, f"ada,500.00,{METER},EKEDC")
    assert funded.json("pay-many", file, "--batch", "b")["accepted"] == 1
    sheet(funded, f"EKEDC,{METER},prepaid,,500,ada", header="biller,meter,vend_type,phone,amount,user")
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == 1


def test_another_batch_is_another_bill(funded: Console) -> None:
    file = sheet(funded, ada(1))
    assert funded.json("pay-many", file, "--batch", "october")["accepted"] == 1
    assert funded.json("pay-many", file, "--batch", "november")["accepted"] == 1


def test_a_bad_row_stops_nothing(funded: Console) -> None:
    bad = [
        f"ada,5,{METER},EKEDC",
        f'ada,"1,000",{METER},EKEDC',
        "ada,500,12345,EKEDC",
        f"ada,500,{METER},NEPA",
        f",500,{METER},EKEDC",
        "ada,500",
        f"ada,500,{METER},EKEDC,more",
        f"nobody,500,{METER},EKEDC",
        f"ada,6000,{METER},EKEDC",
        f'"=cmd()\n2",5,{METER},EKEDC',
    ]
    file = sheet(funded, ada(1), "", *bad, ada(2))
    ended = funded("pay-many", file, "--batch", "b")
    assert (ended.status, ended.err) == (2, "")
    told = results(funded)
    assert column(told, "result") == ["accepted", *["refused"] * len(bad), "accepted"]
    assert column(told, "line") == ["2", *map(str, range(4, 14)), "15"]
    assert column(told, "code") == [
        "", "invalid_amount", "invalid_amount", "invalid_meter", "unknown_biller", "validation_failed", "validation_failed",
        "validation_failed", "wallet_not_found", "insufficient_funds", "validation_failed", "",
    ]  # fmt: skip
    assert told[-2]["user"] == "=cmd()\n2"  # as it came
    assert all(row["message"] for row in told[1:-1])
    assert ended.out.startswith("2 accepted, 0 were before, 10 refused.\n")
    assert "\n4     The amount '5' is not accepted: it must be at least NGN 100.00.\n" in ended.out
    document = funded.json("pay-many", file, "--batch", "b", status=2)
    assert document == {"accepted": 0, "replayed": 2, "refused": 10, "results": "bills.results.csv"}


def test_only_the_first_refusals_are_shown(funded: Console) -> None:
    shown = funded("pay-many", sheet(funded, *["ada,500"] * 12), "--batch", "b").out
    assert shown.count("The row has 2 cells") == 10
    assert "And 2 more." in shown


def test_a_key_that_was_used_for_something_else_is_refused(funded: Console) -> None:
    file = sheet(funded, f"{ada(1)},k", f"{ada(2)},k", f"{ada(1)},k", header=f"{HEADER},key")
    assert funded.json("pay-many", file, status=2)["accepted"] == 1
    assert column(results(funded), "code") == ["", "idempotency_mismatch", ""]
    assert column(results(funded), "result") == ["accepted", "refused", "replayed"]
    assert funded.json("pay-many", file, "--dry-run", status=2)["refused"] == 1
    assert column(results(funded), "result") == ["replayed", "refused", "replayed"]


def test_more_rows_than_one_transaction_takes(funded: Console, away: Any) -> None:
    file = sheet(funded, *(ada(n % 7, 101) for n in range(MAX_BILLS_PER_TRANSACTION + 1)))
    tried = away(2, gone)
    done = funded.json("pay-many", file, "--batch", "b", status=2)
    assert tried == [MAX_BILLS_PER_TRANSACTION, 1]
    assert (done["accepted"], done["refused"]) == (49, MAX_BILLS_PER_TRANSACTION + 1 - 49)
    assert len(results(funded)) == MAX_BILLS_PER_TRANSACTION + 1


# --- files that are refused as a whole --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no header"),
        (b"\n", "has no header"),
        (b"user,amount,meter\n", "lacks the column biller"),
        (b"user,amount,meter,biller,colour\n", "a column 'colour'"),
        (b"user;amount;meter;biller\n", "a column 'user;amount;meter;biller'"),
        (b"user,amount,meter,biller,user\n", "the column user twice"),
        (
            b"user,amount,meter,biller\nada,100,12345678901,EKEDC\n\xe9,100,12345678901,EKEDC\n",
            "is not UTF-8",
        ),
        (b'user,amount,meter,biller\nada,100,12345678901,EKEDC\n"ada,100,12345678901,EKEDC\n', "is not CSV"),
        (b'user,amount,meter,biller\nada,100,12345678901,EKEDC\n"a"b,100,1,E\n', "is not CSV, in line 3"),
    ],
)
def test_a_file_that_can_t_be_understood(funded: Console, content: bytes, words: str) -> None:
    (funded.folder / "bills.csv").write_bytes(content)
    refused(funded, "bills.csv", "--batch", "b", words=words)


def refused(console: Console, *arguments: str, words: str) -> None:
    before = {path.name for path in console.folder.iterdir()}
    ended = console("pay-many", *arguments)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert words in line
    assert line.endswith("Nothing was done.")
    assert {path.name for path in console.folder.iterdir()} <= before
    assert console.json("payments")["items"] == []


def test_a_file_that_is_none(funded: Console) -> None:
    (funded.folder / "folder.csv").mkdir()
    refused(funded, "nowhere.csv", words="No such file")
    refused(funded, "folder.csv", words="is not a file")
    refused(funded, ".", words="is not a file")


def test_rows_without_a_key_need_a_batch(funded: Console) -> None:
    file = sheet(funded, f"{ada(1)},k", f"{ada(2)},", header=f"{HEADER},key")
    refused(funded, file, words="has no key in line 3: give the batch a name with --batch")
    refused(funded, sheet(funded, ada(1)), words="in line 2")
    refused(funded, file, "--batch", " ", words="empty name")
    assert funded("pay-many", sheet(funded, f"{ada(1)},k", header=f"{HEADER},key")).status == 0


def test_a_byte_order_mark_and_no_rows(funded: Console) -> None:
    (funded.folder / "bills.csv").write_text(f"{HEADER}\r\n{ada(1)}\r\n", encoding="utf-8-sig")
    assert funded.json("pay-many", "bills.csv", "--batch", "b")["accepted"] == 1
    assert funded.json("pay-many", sheet(funded), "--batch", "b")["accepted"] == 0
    assert results(funded) == []


def test_results_go_where_they_should(funded: Console) -> None:
    file = sheet(funded, ada(1))
    (funded.folder / "link.csv").symlink_to("bills.csv")
    refused(funded, file, "--batch", "b", "--results", file, words="is the file of bills itself")
    refused(funded, file, "--batch", "b", "--results", "link.csv", words="is the file of bills itself")
    refused(funded, file, "--batch", "b", "--results", ".", words="is a folder")
    refused(funded, file, "--batch", "b", "--results", "no/where.csv", words="can't be written")
    part = sheet(funded, ada(1), name="x.part")
    refused(funded, part, "--batch", "b", "--results", "x", words="is the file of bills itself")
    assert (funded.folder / file).read_text() == f"{HEADER}\n{ada(1)}\n"
    assert funded.json("pay-many", file, "--batch", "b", "--results", "out.csv")["results"] == "out.csv"
    assert column(results(funded, "out.csv"), "result") == ["accepted"]


def test_two_at_once_write_no_results_together(funded: Console) -> None:
    file = sheet(funded, ada(1))
    with open_result_file(funded.folder / "bills.results.csv", bill_path=funded.folder / file):
        ended = funded("pay-many", file, "--batch", "b")
    assert ended.status == 2
    assert "another billvend" in ended.err
    assert funded.json("payments")["items"] == []


# --- dry runs ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_does_nothing(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    file = sheet(funded, ada(1), ada(2), ada(3, 5), f"bob,100,{METER},EKEDC")
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
    assert column(results(funded), "result") == ["ok", "ok", "refused", "ok"]
    foretold = column(results(funded), "key")
    assert funded.json("payments")["items"] == []
    assert funded("pay-many", file, "--batch", "b").status == 2
    assert column(results(funded), "key") == foretold


def test_a_dry_run_says_whether_wallets_hold_enough(funded: Console) -> None:
    assert funded("fund", "bob", "150").status == 0
    bob = f"bob,100,{METER},EKEDC"
    file = sheet(funded, ada(1), bob, f"eve,100,{METER},EKEDC")
    assert funded("pay-many", sheet(funded, ada(1), bob), "--batch", "b").status == 0
    sheet(funded, ada(1), bob, bob, f"eve,100,{METER},EKEDC")
    shown = funded("pay-many", file, "--batch", "b", "--dry-run")
    assert (shown.status, shown.err) == (2, "")
    assert shown.out.splitlines()[:5] == [
        "2 can be paid, for NGN 200.00; 2 were before, 0 are refused. Nothing was done.",
        "Wallet  Asked for   To spend   Enough",
        "bob     NGN 100.00  NGN 50.00  no",
        "eve     NGN 100.00  NGN 0.00   no",
        "2 of the wallets hold too little.",
    ]
    assert funded("pay-many", sheet(funded, ada(1), ada(2)), "--batch", "b", "--dry-run").status == 0


# --- what comes between -----------------------------------------------------------------------------------------------


MANY = 4 * MAX_BILLS_PER_TRANSACTION


@contextmanager
def paying(console: Console, file: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has just written the first results."""
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


def many(console: Console, *there: str) -> str:
    assert console("fund", "ada", str(MANY * 100), *there).status == 0
    return sheet(console, *(ada(n % 50) for n in range(MANY)))


def paid_once_each(console: Console, url: str) -> None:
    """Each row has a payment of its own, and the money is what is left."""
    told = results(console)
    assert len(told) == len(set(column(told, "transactionId"))) == len(set(column(told, "key"))) == MANY
    with open_billvend(url) as bv:
        assert bv.backlog().payments == {Status.PENDING: MANY}
        wallet = bv.balance("ada")
        assert (str(wallet.available), str(wallet.held)) == ("5000.00", f"{MANY * 100}.00")
        assert bv.audit().ok


def test_killed_and_run_again(funded: Console) -> None:
    killed_and_run_again(funded, "--database-url", "sqlite:///billvend.db")


@pytest.mark.integration
def test_killed_and_run_again_on_postgresql(billvend: Console, postgres_server: PostgresServer) -> None:
    killed_and_run_again(billvend, *funded_on(billvend, postgres_server))


def killed_and_run_again(console: Console, *there: str) -> None:
    file = many(console, *there)
    with paying(console, file, *there) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    written = rows_in(console.folder / "bills.results.csv.part")[:-1]  # the last may be half a row
    assert 0 < len(written) < MANY
    assert not (console.folder / "bills.results.csv").exists()
    done = console.json("pay-many", file, "--batch", "b", *there)
    assert done["accepted"] + done["replayed"] == MANY
    assert done["replayed"] >= len(written)
    assert done["accepted"] > 0
    told = results(console)
    assert column(told, "transactionId")[: len(written)] == column(written, "transactionId")
    paid_once_each(console, there[1])


def test_control_c_ends_with_the_rows_in_hand(funded: Console) -> None:
    file = many(funded)
    with paying(funded, file, "--json") as process:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (130, "")
    told = results(funded)
    tried = [row for row in told if row["result"] == "accepted"]
    assert 0 < len(tried) < len(told) == MANY
    assert len(tried) % MAX_BILLS_PER_TRANSACTION == 0
    assert f'"accepted": {len(tried)}' in out
    assert f'"notTried": {MANY - len(tried)}' in out
    assert set(column(told[len(tried) :], "result")) == {"not_tried"}
    assert column(told[len(tried) :], "transactionId") == [""] * (MANY - len(tried))
    assert funded.json("pay-many", file, "--batch", "b")["replayed"] == len(tried)
    paid_once_each(funded, "sqlite:///billvend.db")


def test_when_the_books_go_away_the_rest_is_not_tried(funded: Console, away: Any) -> None:
    file = many(funded)
    tried = away(1, gone)
    shown = funded("pay-many", file, "--batch", "b")
    assert (shown.status, shown.err) == (2, "")
    assert len(tried) == 2
    assert "Why it is not paid" not in shown.out  # it is said once, and not for each
    (line,) = [line for line in shown.out.splitlines() if "The books don't answer" in line]
    assert f"{MANY - 500:,} were not done. Run the same again" in line
    assert column(results(funded), "result") == [
        *["accepted"] * 500, *["unavailable"] * 500, *["not_tried"] * (MANY - 1_000),
    ]  # fmt: skip
    away(0, unknown)
    document = funded.json("pay-many", file, "--batch", "b", status=2)
    assert document == {
        "accepted": 0,
        "replayed": 0,
        "refused": 0,
        "results": "bills.results.csv",
        "outcomeUnknown": 500,
        "notTried": MANY - 500,
    }
    first = results(funded)[0]
    assert (first["result"], first["code"]) == ("outcome_unknown", "outcome_unknown")
    assert first["transactionId"]


@pytest.mark.integration
def test_a_database_that_dies_and_comes_back(billvend: Console) -> None:
    with postgres() as server:
        _, url = there = funded_on(billvend, server)
        file = many(billvend, *there)
        with paying(billvend, file, *there) as process:
            server.kill()
            out, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, errors) == (2, "")
        assert "The books don't answer" in out
        told = column(results(billvend), "result")
        assert told[:500] == ["accepted"] * 500
        assert set(told[500:]) <= {"accepted", "unavailable", "outcome_unknown", "not_tried"}
        assert set(told[-500:]) == {"not_tried"}
        server.start()
        done = billvend.json("pay-many", file, "--batch", "b", *there)
        assert done["accepted"] + done["replayed"] == MANY
        paid_once_each(billvend, url)


def test_nothing_could_be_begun(funded: Console, away: Any) -> None:
    file = sheet(funded, ada(1))
    away(0, gone)
    error = funded.json("pay-many", file, "--batch", "b", status=9)["error"]
    assert error == {"code": "unavailable", "message": GONE.message}
    there = ("--database-url", "postgresql://127.0.0.1:1/none")
    assert funded("pay-many", file, "--batch", "b", *there).status == 9
    assert not (funded.folder / "bills.results.csv").exists()


def test_one_row_that_the_books_did_not_answer_stops_nothing(funded: Console, away: Any) -> None:
    whole = Billvend.pay_many
    tried = away(0, lambda bv, bills: [GONE, *whole(bv, bills[1:])])
    document = funded.json("pay-many", many(funded), "--batch", "b", status=2)
    assert len(tried) == 4
    assert (document["accepted"], document["unavailable"]) == (MANY - 4, 4)


def test_a_file_that_changes_while_it_is_paid(funded: Console, away: Any) -> None:
    file = many(funded)

    def spoilt(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
        (funded.folder / file).write_bytes(b"\xff" * 500_000)
        return gone(bv, bills)

    away(1, spoilt)
    ended = funded("pay-many", file, "--batch", "b")
    assert ended.status == 1
    assert "was changed while it was paid" in ended.err
    assert "What was accepted stands: run it again." in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_results_that_can_t_be_written_any_more(funded: Console, away: Any) -> None:
    whole = Billvend.pay_many

    def fill_the_disk(bv: Billvend, bills: Sequence[Pay]) -> list[Any]:
        (part,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if leads_to(fd)]
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, part)
        os.close(full)
        return whole(bv, bills)

    away(0, fill_the_disk)
    ended = funded("pay-many", sheet(funded, ada(1)), "--batch", "b")
    assert ended.status == 1
    (line,) = ended.err.splitlines()
    assert "bills.results.csv can't be written: No space left" in line
    assert line.endswith("What was accepted stands: run it again.")


def leads_to(fd: Path) -> bool:
    """Whether an open file is that of the results."""
    with suppress(FileNotFoundError):
        return fd.readlink().name == "bills.results.csv.part"
    return False


# --- what people see --------------------------------------------------------------------------------------------------


def test_a_bar_on_a_terminal_and_none_in_a_pipe(funded: Console) -> None:
    file = many(funded)
    status, screen = on_a_terminal(funded.folder, "pay-many", file, "--batch", "b")
    assert status == 0
    assert "Paying" in screen
    assert f"{MANY}/{MANY}" in screen
    assert "/s" in screen
    assert f"{MANY:,} accepted, 0 were before, 0 refused." in screen
    piped = run(funded.folder, "pay-many", file, "--batch", "b")
    assert (piped.status, piped.err) == (0, "")
    assert piped.out.splitlines()[0] == f"0 accepted, {MANY:,} were before, 0 refused."


# --- keys -------------------------------------------------------------------------------------------------------------


def bill(user: str, minor: int, meter: str, kind: VendType, phone: str | None) -> Pay:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return Pay(user, "?", False, "?", now, Money(minor, "NGN"), meter, "EKEDC", kind, phone)


BILLS = st.builds(
    bill,
    st.sampled_from(["ada", "bob", "ада"]),
    st.integers(10_000, 10_002),
    st.sampled_from(["12345678901", "12345678902"]),
    st.sampled_from(VendType),
    st.sampled_from([None, "+2348011111111"]),
)


def keys(batch: str, bills: Sequence[Pay]) -> list[str]:
    with closing(DiskCounter()) as alike:
        return [
            batch_key(asked, alike.add(asked[:16], 1))
            for asked in (bill_digest(batch, each) for each in bills)
        ]


@given(st.lists(BILLS, max_size=30).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_keys_don_t_depend_on_the_order(lists: tuple[list[Pay], list[Pay]]) -> None:
    bills, shuffled = lists
    made, again = keys("b", bills), keys("b", shuffled)
    assert len(set(made)) == len(bills)  # the nth of its kind too has one of its own
    assert sorted(zip(made, map(repr, bills), strict=True)) == sorted(
        zip(again, map(repr, shuffled), strict=True)
    )
    assert not set(made) & set(keys("c", bills))
    assert all(len(key) <= 255 and key.isascii() and key.isprintable() for key in made)


@given(st.lists(BILLS, min_size=1, max_size=20), st.data())
def test_what_stays_in_a_file_keeps_its_key(bills: list[Pay], data: st.DataObject) -> None:
    without = data.draw(st.integers(0, len(bills) - 1))
    rest = [*bills[:without], *bills[without + 1 :]]
    assert set(keys("b", rest)) < set(keys("b", bills))


def test_keys_stay_what_they_are_for_ever() -> None:
    known = bill("ada", 10_000, "12345678901", VendType.PREPAID, None)
    assert keys("october", [known, known]) == [
        "pay-many-d5e4bdf3b1e83382436cda0023f8e42d0d125707",
        "pay-many-d557c5339c7613131b9cdf067d9d039899a56ada",
    ]
