"""The commands balance, history, show, find, payments and billers. tests/golden/screens.txt shows their tables."""

import sqlite3

import pytest

from tests.cli.console import METER, Console


@pytest.fixture
def populated(funded: Console) -> Console:
    """Payments of ada: completed, reversed, in doubt and pending, in this order. A completed one of bola."""
    assert funded.pay(METER, "--key", "order-1").status == 0
    assert funded.pay("600000000001").status == 6
    funded.in_doubt()
    assert funded.pay("1111111111111", "--no-wait").status == 0
    assert funded("fund", "bola", "900", "--key", "fund-9").status == 0
    assert funded.pay(METER, user="bola").status == 0
    return funded


def change_sale(console: Console, assignments: str) -> str:
    """Change the sale of the payment in doubt in the sandbox's records. Returns the payment's id."""
    connection = sqlite3.connect(console.folder / "sandbox.db")
    with connection:
        connection.execute(f"UPDATE sale SET {assignments} WHERE meter = '600000000003'")
    connection.close()
    (payment,) = console.json("payments", "--status", "in_doubt")["items"]
    return str(payment["transactionId"])


def test_balance_shows_recent_transactions(populated: Console) -> None:
    wallet = populated.json("balance", "ada")
    recent = wallet.pop("recentTransactions")
    assert wallet == {"userId": "ada", "currency": "NGN", "balance": "3500.00", "held": "1000.00"}
    assert [(t["type"], t["status"]) for t in recent] == [
        ("payment", "pending"),
        ("payment", "in_doubt"),
        ("payment", "reversed"),
        ("payment", "completed"),
        ("funding", "completed"),
    ]


def test_history_is_paged(populated: Console) -> None:
    everything = populated.json("history", "ada", "--limit", "500")
    ids = [t["transactionId"] for t in everything["items"]]
    assert (len(ids), everything["nextCursor"]) == (5, None)
    listed: list[str] = []
    cursor = None
    for _ in range(3):
        page = populated.json("history", "ada", "--limit", "2", *(["--cursor", cursor] if cursor else []))
        listed += [t["transactionId"] for t in page["items"]]
        cursor = page["nextCursor"]
    assert (listed, cursor) == (ids, None)
    assert populated("history", "ada", "--limit", "501").status == 2


CRITERIA = {
    "history ada --type funding": ["ada completed"],
    "history ada --status reversed --status in_doubt": ["ada in_doubt", "ada reversed"],
    "history unknown": [],
    "payments --status in_doubt": ["ada in_doubt"],
    "payments --status completed": ["bola completed", "ada completed"],
    "find --meter 12345678901": ["bola completed", "ada completed"],
    "find --idempotency-key order-1": ["ada completed"],
    "find --reference fund-9": ["bola completed"],
    "find --key order-1 --meter 1111111111111": [],
}


def test_criteria_select_transactions(populated: Console) -> None:
    found = {command: populated.json(*command.split())["items"] for command in CRITERIA}
    assert CRITERIA == {
        command: [f"{item['userId']} {item['status']}" for item in items] for command, items in found.items()
    }


def test_show_prints_attempts_and_events(populated: Console) -> None:
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    document = populated.json("show", payment["transactionId"])
    assert document == {**payment, "attempts": document["attempts"], "events": document["events"]}
    (attempt,) = document["attempts"]
    assert populated.json("find", "--reference", attempt["reference"])["items"] == [payment]
    shown = populated("show", payment["transactionId"]).out
    assert all(text in shown for text in (attempt["reference"], *(e["text"] for e in document["events"])))


def test_show_refresh_requeries_first(populated: Console) -> None:
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    assert populated.json("show", payment["transactionId"])["status"] == "in_doubt"
    refreshed = populated.json("show", payment["transactionId"], "--refresh")
    assert refreshed["status"] == "completed"
    assert refreshed["token"]


def test_show_refresh_reverses_on_proof(populated: Console) -> None:
    payment = change_sale(populated, "status = 'declined'")
    assert populated.json("show", payment, "--refresh")["status"] == "reversed"


@pytest.mark.parametrize("status", ["pending", "reversed", "completed"])
def test_show_refresh_never_sends(populated: Console, status: str) -> None:
    payment = populated.json("payments", "--status", status)["items"][0]
    shown = populated.json("show", payment["transactionId"], "--refresh")
    sends = [len(attempt["sends"]) for attempt in shown["attempts"]]
    assert (shown["status"], sends, shown["incidents"]) == (status, [1] * len(sends), [])


def test_show_prints_deposit(populated: Console) -> None:
    (funding,) = populated.json("history", "bola", "--type", "funding")["items"]
    assert populated.json("show", funding["transactionId"]) == funding
    assert populated.json("show", funding["transactionId"], "--refresh") == funding
    shown = populated("show", funding["transactionId"]).out
    assert "Funding: NGN 900.00 for bola." in shown
    assert "fund-9" in shown


def test_billers_are_listed(billvend: Console) -> None:
    items = billvend.json("billers")["items"]
    assert {"code": "IKEDC", "name": "Ikeja Electric", "vendTypes": ["prepaid", "postpaid"]} in items


def test_provider_text_is_sanitized_for_terminal(populated: Console) -> None:
    payment = change_sale(populated, "status = 'declined', reason = 'no\x1b[2J\x07\n[red]x'")
    shown = populated("show", payment, "--refresh").out
    assert "no?[2J? [red]x" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    (attempt,) = populated.json("show", payment)["attempts"]
    assert attempt["requeries"][0]["answer"]["text"] == "declined: no\x1b[2J\x07\n[red]x"
