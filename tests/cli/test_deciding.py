"""What a person is shown and decides: meter, review, resolve."""

import pytest

from tests.cli.console import Console

PENDING = "201000000000"
"""The meter that is pending until it was asked about twice."""
TOKEN = "12345678901234567890"


@pytest.fixture
def waiting(funded: Console, monkeypatch: pytest.MonkeyPatch) -> str:
    """A payment that waits for a person; returns its id."""
    monkeypatch.setenv("REVIEW_AFTER", "0.01")
    transaction_id: str = funded.paid(PENDING, "--wait", "1", status=7)["transactionId"]
    assert funded.json("show", transaction_id)["status"] == "in_review"
    return transaction_id


def test_whose_meter_it_is(billvend: Console) -> None:
    found = billvend.json("meter", "12345678901", "--biller", "EKEDC")
    assert found["customerName"]
    assert (found["meterNumber"], found["provider"], found["minimumAmount"]) == ("12345678901", "EKEDC", None)
    assert found["customerName"] in billvend("meter", "12345678901", "--biller", "EKEDC").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("000000000000", "--biller", "EKEDC"), "meter_not_found"),
        (("1010101010101", "--biller", "EKEDC"), "wrong_meter_type"),
        (("12345678901", "--biller", "NEPA"), "unknown_biller"),
        (("1234", "--biller", "EKEDC"), "invalid_meter"),
    ],
)
def test_a_meter_that_is_not_sold_to(billvend: Console, arguments: tuple[str, ...], code: str) -> None:
    assert billvend.json("meter", *arguments, status=2)["error"]["code"] == code


def test_the_meter_is_asked_about_before_money_is_held(funded: Console) -> None:
    refused = funded.paid("000000000000", status=2)
    assert refused["error"]["code"] == "meter_not_found"
    assert "meterNumber" in refused["error"]["fields"]
    assert funded.json("payments")["items"] == []
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_the_buyer_is_shown_whose_meter_it_is(funded: Console) -> None:
    name = funded.json("meter", "12345678901", "--biller", "EKEDC")["customerName"]
    assert f"The meter is that of {name}" in funded.pay("12345678901").out


def test_nothing_waits(funded: Console) -> None:
    assert funded.json("review") == {"items": [], "incidents": []}
    assert funded("review").out == "Nothing waits for a person.\n"


def test_what_waits_is_shown_with_its_evidence(funded: Console, waiting: str) -> None:
    (item,) = funded.json("review")["items"]
    assert (item["transactionId"], item["amount"], item["meterNumber"]) == (waiting, "500.00", PENDING)
    assert item["reason"] == "it has been in doubt for too long"
    assert item["since"]
    assert item["evidence"][0]["sends"][0]["answer"]["outcome"] == "unknown"
    shown = funded("review").out
    assert waiting in shown
    assert f"billvend resolve {waiting}" in shown


def test_it_was_sold(funded: Console, waiting: str) -> None:
    grouped = "1234-5678-9012-3456-7890"
    resolved = funded.json("resolve", waiting, "--delivered", grouped, "--operator", "ngozi")
    assert (resolved["status"], resolved["token"]) == ("completed", TOKEN)
    (decided,) = [e["text"] for e in resolved["events"] if e["type"] == "operator_decided"]
    assert decided.startswith("ngozi decided (delivered)")
    assert funded.json("review")["items"] == []
    assert funded.json("balance", "ada")["balance"] == "4500.00"
    assert funded("audit").status == 0


def test_it_was_not_sold_and_then_it_was(funded: Console, waiting: str) -> None:
    reason = "EKEDC knows nothing of it"
    resolved = funded.json("resolve", waiting, "--reverse", "--reason", reason, "--operator", "ngozi")
    assert resolved["status"] == "reversed"
    assert (resolved["reversal"]["proof"], resolved["reversal"]["reason"]) == ("operator", f"ngozi: {reason}")
    assert funded.json("balance", "ada")["balance"] == "5000.00"
    funded.json("show", waiting, "--refresh")
    found = funded.json(
        "show", waiting, "--refresh"
    )  # the second time that it is asked, the sandbox sells it
    assert (found["status"], [i["kind"] for i in found["incidents"]]) == (
        "reversed",
        ["delivered_after_reversal"],
    )
    (incident,) = funded.json("review")["incidents"]
    assert (incident["transactionId"], incident["amount"]) == (waiting, "492.50")
    assert f"billvend resolve {waiting} --seen" in funded("review").out
    funded.json("resolve", waiting, "--seen", "--reason", "EKEDC pays it back to us")
    assert funded.json("review") == {"items": [], "incidents": []}
    assert funded("audit").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ((), 2, "validation_failed"),
        (("--reverse",), 2, "validation_failed"),
        (("--reverse", "--seen", "--reason", "why"), 2, "validation_failed"),
        (("--reverse", "--reason", " "), 2, "validation_failed"),
        (("--delivered", "1234"), 2, "validation_failed"),
        (("--delivered", "9" * 20), 2, "validation_failed"),
        (("--delivered-postpaid", "--reason", "why"), 2, "validation_failed"),
        (("--seen", "--reason", "why"), 5, "not_in_review"),
    ],
)
def test_what_is_no_decision(
    funded: Console, waiting: str, arguments: tuple[str, ...], status: int, code: str
) -> None:
    assert funded.json("resolve", waiting, *arguments, status=status)["error"]["code"] == code
    assert funded.json("show", waiting)["status"] == "in_review"


def test_what_is_decided_is_not_decided_again(funded: Console, waiting: str) -> None:
    funded.json("resolve", waiting, "--delivered", TOKEN)
    again = funded.json("resolve", waiting, "--reverse", "--reason", "why", status=5)
    assert again["error"]["code"] == "not_in_review"
    assert funded.json("resolve", "nobody", "--delivered", TOKEN, status=3)["error"]["code"] == (
        "transaction_not_found"
    )
