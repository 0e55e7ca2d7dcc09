"""The commands meter, review and resolve."""

import pytest

from tests.cli.console import METER, Console

PENDING_METER = "201000000000"
"""A payment of this meter is pending until its second requery."""
TOKEN = "12345678901234567890"


@pytest.fixture
def in_review(funded: Console, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a payment that needs manual review. Returns its id."""
    monkeypatch.setenv("REVIEW_AFTER", "0.01")
    transaction_id: str = funded.pay_json(PENDING_METER, "--wait", "1", status=7)["transactionId"]
    assert funded.json("show", transaction_id)["status"] == "in_review"
    return transaction_id


def test_meter_command_shows_customer(funded: Console) -> None:
    found = funded.json("meter", METER, "--biller", "EKEDC")
    assert (found["meterNumber"], found["provider"], found["minimumAmount"]) == (METER, "EKEDC", None)
    assert f"Customer of the meter: {found['customerName']}" in funded.pay(METER).out


@pytest.mark.parametrize(
    ("number", "biller", "code"),
    [
        ("000000000000", "EKEDC", "meter_not_found"),
        ("1010101010101", "EKEDC", "wrong_meter_type"),
        (METER, "NEPA", "unknown_biller"),
        ("1234", "EKEDC", "invalid_meter"),
    ],
)
def test_meter_command_rejects_invalid_meter(billvend: Console, number: str, biller: str, code: str) -> None:
    billvend.error(2, code, "meter", number, "--biller", biller)


def test_pay_verifies_meter_before_hold(funded: Console) -> None:
    refused = funded.pay_json("000000000000", status=2)
    assert refused["error"]["code"] == "meter_not_found"
    assert "meterNumber" in refused["error"]["fields"]
    assert funded.json("payments")["items"] == []
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_review_without_payments_is_empty(funded: Console) -> None:
    assert funded.json("review") == {"items": [], "incidents": []}


def test_review_shows_payment_with_evidence(funded: Console, in_review: str) -> None:
    (item,) = funded.json("review")["items"]
    shown = (item["transactionId"], item["amount"], item["meterNumber"], item["reason"])
    assert shown == (in_review, "500.00", PENDING_METER, "it has been in doubt for too long")
    assert item["since"]
    assert item["evidence"][0]["sends"][0]["answer"]["outcome"] == "unknown"
    screen = funded("review").out.splitlines()
    assert screen[0] == f"In manual review: NGN 500.00 to EKEDC for meter {PENDING_METER}, of ada."
    assert f"billvend resolve {in_review}" in screen[-1]


def test_resolve_delivered_completes_payment(funded: Console, in_review: str) -> None:
    grouped = "1234-5678-9012-3456-7890"
    resolved = funded.json("resolve", in_review, "--delivered", grouped, "--operator", "ngozi")
    assert (resolved["status"], resolved["token"]) == ("completed", TOKEN)
    (decided,) = [e["text"] for e in resolved["events"] if e["type"] == "operator_decided"]
    assert decided.startswith("ngozi decided (delivered)")
    assert funded.json("review")["items"] == []
    assert funded.json("balance", "ada")["balance"] == "4500.00"
    assert funded("audit").status == 0


def test_resolve_reverse_then_late_delivery_raises_incident(funded: Console, in_review: str) -> None:
    reason = "EKEDC knows nothing of it"
    resolved = funded.json("resolve", in_review, "--reverse", "--reason", reason, "--operator", "ngozi")
    assert resolved["status"] == "reversed"
    assert (resolved["reversal"]["proof"], resolved["reversal"]["reason"]) == ("operator", f"ngozi: {reason}")
    assert funded.json("balance", "ada")["balance"] == "5000.00"
    funded.json("show", in_review, "--refresh")
    found = funded.json("show", in_review, "--refresh")  # the sandbox reports the sale on the second requery
    assert (found["status"], [i["kind"] for i in found["incidents"]]) == (
        "reversed",
        ["delivered_after_reversal"],
    )
    (incident,) = funded.json("review")["incidents"]
    assert (incident["transactionId"], incident["amount"]) == (in_review, "492.50")
    assert f"billvend resolve {in_review} --acknowledge" in funded("review").out
    funded.json("resolve", in_review, "--acknowledge", "--reason", "EKEDC pays it back to us")
    assert funded.json("review") == {"items": [], "incidents": []}
    assert funded("audit").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ((), 2, "validation_failed"),
        (("--reverse",), 2, "validation_failed"),
        (("--reverse", "--acknowledge", "--reason", "why"), 2, "validation_failed"),
        (("--reverse", "--reason", " "), 2, "validation_failed"),
        (("--delivered", "1234"), 2, "validation_failed"),
        (("--delivered", "9" * 20), 2, "validation_failed"),
        (("--delivered-postpaid", "--reason", "why"), 2, "validation_failed"),
        (("--acknowledge", "--reason", "why"), 5, "not_in_review"),
    ],
)
def test_resolve_with_invalid_decision_is_rejected(
    funded: Console, in_review: str, arguments: tuple[str, ...], status: int, code: str
) -> None:
    funded.error(status, code, "resolve", in_review, *arguments)
    assert funded.json("show", in_review)["status"] == "in_review"


def test_resolve_twice_is_rejected(funded: Console, in_review: str) -> None:
    funded.json("resolve", in_review, "--delivered", TOKEN)
    funded.error(5, "not_in_review", "resolve", in_review, "--reverse", "--reason", "why")
    funded.error(3, "transaction_not_found", "resolve", "unknown", "--delivered", TOKEN)
