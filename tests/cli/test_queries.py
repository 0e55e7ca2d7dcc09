"""The commands balance, history, show, find, payments and billers."""

import re
import sqlite3

import pytest

from tests.cli.console import Console


@pytest.fixture
def populated(funded: Console) -> Console:
    """Payments of ada: completed, reversed, in doubt and pending, in this order. A completed one of bola."""
    assert funded.pay("12345678901", "--key", "order-1").status == 0
    assert funded.pay("600000000001").status == 6
    funded.in_doubt()
    assert funded.pay("1111111111111", "--no-wait").status == 0
    assert funded("fund", "bola", "900", "--key", "fund-9").status == 0
    assert funded.pay("12345678901", user="bola").status == 0
    return funded


def test_balance_shows_recent_transactions(populated: Console) -> None:
    wallet = populated.json("balance", "ada")
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
    shown = populated("balance", "ada")
    assert re.search(r"^Available +NGN 3,500\.00$", shown.out, re.MULTILINE)
    assert re.search(r"^Held +NGN 1,000\.00$", shown.out, re.MULTILINE)
    assert all(t["transactionId"] in shown.out for t in recent)


def test_history_is_paged(populated: Console) -> None:
    everything = populated.json("history", "ada")
    assert everything["nextCursor"] is None
    ids = [t["transactionId"] for t in everything["items"]]
    assert len(ids) == 5
    listed: list[str] = []
    cursor: list[str] = []
    while True:
        page = populated.json("history", "ada", "--limit", "2", *cursor)
        listed += [t["transactionId"] for t in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = ["--cursor", page["nextCursor"]]
    assert listed == ids
    assert f"--cursor {ids[1]}" in populated("history", "ada", "--limit", "2").out


def test_history_limit_has_a_maximum(populated: Console) -> None:
    assert len(populated.json("history", "ada", "--limit", "500")["items"]) == 5
    assert populated("history", "ada", "--limit", "501").status == 2


def test_history_filters_by_status_and_type(populated: Console) -> None:
    def statuses(*arguments: str) -> list[tuple[str, str]]:
        return [(t["type"], t["status"]) for t in populated.json("history", "ada", *arguments)["items"]]

    assert statuses("--type", "funding") == [("funding", "completed")]
    assert statuses("--status", "reversed", "--status", "in_doubt") == [
        ("payment", "in_doubt"),
        ("payment", "reversed"),
    ]
    assert populated.json("history", "unknown") == {"items": [], "nextCursor": None}
    assert populated("history", "unknown").out == "No transactions.\n"


def test_payments_filters_by_status(populated: Console) -> None:
    (doubtful,) = populated.json("payments", "--status", "in_doubt")["items"]
    assert doubtful["meterNumber"] == "600000000003"
    assert len(populated.json("payments")["items"]) == 5
    shown = populated("payments", "--status", "completed").out
    assert "ada" in shown
    assert "bola" in shown


def test_find_by_meter_reference_and_key(populated: Console) -> None:
    by_meter = populated.json("find", "--meter", "12345678901")["items"]
    assert [t["userId"] for t in by_meter] == ["bola", "ada"]
    (by_key,) = populated.json("find", "--idempotency-key", "order-1")["items"]
    assert by_key == by_meter[1]
    reference = populated.json("show", by_key["transactionId"])["attempts"][0]["reference"]
    assert populated.json("find", "--reference", reference)["items"] == [by_key]
    (funding,) = populated.json("find", "--reference", "fund-9")["items"]
    assert (funding["type"], funding["userId"]) == ("funding", "bola")
    assert populated.json("find", "--key", "order-1", "--meter", "1111111111111")["items"] == []


def test_show_prints_attempts_and_events(populated: Console) -> None:
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    shown = populated("show", payment["transactionId"])
    document = populated.json("show", payment["transactionId"])
    assert (shown.status, shown.err) == (0, "")
    assert document["attempts"][0]["reference"] in shown.out
    assert "unknown, it may have been delivered: the connection was closed before an answer" in shown.out
    assert all(event["text"] in shown.out for event in document["events"])
    assert {**payment, "attempts": document["attempts"], "events": document["events"]} == document


def test_show_refresh_requeries_first(populated: Console) -> None:
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    assert populated.json("show", payment["transactionId"])["status"] == "in_doubt"
    refreshed = populated.json("show", payment["transactionId"], "--refresh")
    assert refreshed["status"] == "completed"
    assert refreshed["token"]


def test_show_refresh_reverses_on_proof(populated: Console) -> None:
    connection = sqlite3.connect(populated.folder / "sandbox.db")
    with connection:
        connection.execute("UPDATE sale SET status = 'declined' WHERE meter = '600000000003'")
    connection.close()
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    assert populated.json("show", payment["transactionId"], "--refresh")["status"] == "reversed"


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
    assert "Ikeja Electric" in billvend("billers").out


def test_provider_text_is_sanitized_for_terminal(populated: Console) -> None:
    connection = sqlite3.connect(populated.folder / "sandbox.db")
    with connection:
        connection.execute(
            "UPDATE sale SET status = 'declined', reason = 'no\x1b[2J\x07\n[red]x' WHERE meter = '600000000003'"
        )
    connection.close()
    (payment,) = populated.json("payments", "--status", "in_doubt")["items"]
    shown = populated("show", payment["transactionId"], "--refresh").out
    assert "no?[2J? [red]x" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    (attempt,) = populated.json("show", payment["transactionId"])["attempts"]
    assert attempt["requeries"][0]["answer"]["text"] == "declined: no\x1b[2J\x07\n[red]x"
