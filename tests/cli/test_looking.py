"""balance, history, show, find, payments and billers."""

import re
import sqlite3

import pytest

from tests.cli.console import Console


@pytest.fixture
def busy(funded: Console) -> Console:
    """Paid, reversed, in doubt and pending, in this order; and another user's."""
    assert funded.pay("12345678901", "--key", "order-1").status == 0
    assert funded.pay("600000000001").status == 6
    funded.in_doubt()
    assert funded.pay("1111111111111", "--no-wait").status == 0
    assert funded("fund", "bola", "900", "--key", "till-9").status == 0
    assert funded.pay("12345678901", user="bola").status == 0
    return funded


def test_balance_with_what_happened_last(busy: Console) -> None:
    wallet = busy.json("balance", "ada")
    assert (wallet["userId"], wallet["currency"], wallet["balance"], wallet["held"]) == (
        "ada",
        "NGN",
        "3500.00",
        "1000.00",
    )
    recent = wallet["recentTransactions"]
    assert [(t["type"], t["status"]) for t in recent] == [
        ("payment", "pending"),
        ("payment", "in_doubt"),
        ("payment", "reversed"),
        ("payment", "completed"),
        ("funding", "completed"),
    ]
    shown = busy("balance", "ada")
    assert re.search(r"^To spend +NGN 3,500\.00$", shown.out, re.MULTILINE)
    assert re.search(r"^Reserved +NGN 1,000\.00$", shown.out, re.MULTILINE)
    assert all(t["transactionId"] in shown.out for t in recent)


def test_history_page_by_page(busy: Console) -> None:
    everything = busy.json("history", "ada")
    assert everything["nextCursor"] is None
    ids = [t["transactionId"] for t in everything["items"]]
    assert len(ids) == 5
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = busy.json("history", "ada", "--limit", "2", *cursor)
        seen += [t["transactionId"] for t in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = ["--cursor", page["nextCursor"]]
    assert seen == ids
    assert f"--cursor {ids[1]}" in busy("history", "ada", "--limit", "2").out


def test_the_largest_page(busy: Console) -> None:
    assert len(busy.json("history", "ada", "--limit", "500")["items"]) == 5
    assert busy("history", "ada", "--limit", "501").status == 2


def test_history_by_status_and_type(busy: Console) -> None:
    def statuses(*arguments: str) -> list[tuple[str, str]]:
        return [(t["type"], t["status"]) for t in busy.json("history", "ada", *arguments)["items"]]

    assert statuses("--type", "funding") == [("funding", "completed")]
    assert statuses("--status", "reversed", "--status", "in_doubt") == [
        ("payment", "in_doubt"),
        ("payment", "reversed"),
    ]
    assert busy.json("history", "nobody") == {"items": [], "nextCursor": None}
    assert busy("history", "nobody").out == "There are none.\n"


def test_payments_by_status(busy: Console) -> None:
    (doubtful,) = busy.json("payments", "--status", "in_doubt")["items"]
    assert doubtful["meterNumber"] == "600000000003"
    assert len(busy.json("payments")["items"]) == 5
    shown = busy("payments", "--status", "completed").out
    assert "ada" in shown
    assert "bola" in shown


def test_find_by_meter_reference_and_key(busy: Console) -> None:
    by_meter = busy.json("find", "--meter", "12345678901")["items"]
    assert [t["userId"] for t in by_meter] == ["bola", "ada"]
    (by_key,) = busy.json("find", "--key", "order-1")["items"]
    assert by_key == by_meter[1]
    reference = busy.json("show", by_key["transactionId"])["attempts"][0]["reference"]
    assert busy.json("find", "--reference", reference)["items"] == [by_key]
    (funding,) = busy.json("find", "--reference", "till-9")["items"]
    assert (funding["type"], funding["userId"]) == ("funding", "bola")
    assert busy.json("find", "--key", "order-1", "--meter", "1111111111111")["items"] == []


def test_show_tells_all_about_a_payment(busy: Console) -> None:
    (found,) = busy.json("payments", "--status", "in_doubt")["items"]
    shown = busy("show", found["transactionId"])
    document = busy.json("show", found["transactionId"])
    assert (shown.status, shown.err) == (0, "")
    assert document["attempts"][0]["reference"] in shown.out
    assert "unknown, it may have been sold: the connection was closed before an answer" in shown.out
    assert all(event["text"] in shown.out for event in document["events"])
    assert {**found, "attempts": document["attempts"], "events": document["events"]} == document


def test_show_asks_first_where_that_is_wanted(busy: Console) -> None:
    (found,) = busy.json("payments", "--status", "in_doubt")["items"]
    assert busy.json("show", found["transactionId"])["status"] == "in_doubt"
    refreshed = busy.json("show", found["transactionId"], "--refresh")
    assert refreshed["status"] == "completed"
    assert refreshed["token"]


def test_show_gives_the_money_back_where_the_answer_proves_that_it_may(busy: Console) -> None:
    books = sqlite3.connect(busy.folder / "sandbox.db")
    with books:
        books.execute("UPDATE sale SET status = 'declined' WHERE meter = '600000000003'")
    books.close()
    (found,) = busy.json("payments", "--status", "in_doubt")["items"]
    assert busy.json("show", found["transactionId"], "--refresh")["status"] == "reversed"


@pytest.mark.parametrize("status", ["pending", "reversed", "completed"])
def test_show_sends_nothing(busy: Console, status: str) -> None:
    found = busy.json("payments", "--status", status)["items"][0]
    shown = busy.json("show", found["transactionId"], "--refresh")
    sends = [len(attempt["sends"]) for attempt in shown["attempts"]]
    assert (shown["status"], sends, shown["incidents"]) == (status, [1] * len(sends), [])


def test_show_a_funding(busy: Console) -> None:
    (funding,) = busy.json("history", "bola", "--type", "funding")["items"]
    assert busy.json("show", funding["transactionId"]) == funding
    assert busy.json("show", funding["transactionId"], "--refresh") == funding
    shown = busy("show", funding["transactionId"]).out
    assert "Funding: NGN 900.00 for bola." in shown
    assert "till-9" in shown


def test_billers(billvend: Console) -> None:
    items = billvend.json("billers")["items"]
    assert {"code": "IKEDC", "name": "Ikeja Electric", "vendTypes": ["prepaid", "postpaid"]} in items
    assert "Ikeja Electric" in billvend("billers").out


def test_what_a_provider_says_controls_no_terminal(busy: Console) -> None:
    books = sqlite3.connect(busy.folder / "sandbox.db")
    with books:
        books.execute(
            "UPDATE sale SET status = 'declined', reason = 'no\x1b[2J\x07\n[red]x' WHERE meter = '600000000003'"
        )
    books.close()
    (found,) = busy.json("payments", "--status", "in_doubt")["items"]
    shown = busy("show", found["transactionId"], "--refresh").out
    assert "no?[2J? [red]x" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    (attempt,) = busy.json("show", found["transactionId"])["attempts"]
    assert attempt["requeries"][0]["answer"]["text"] == "declined: no\x1b[2J\x07\n[red]x"
