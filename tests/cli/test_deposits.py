"""Deposits, with a fake Paystack on a real socket."""

from collections.abc import Iterator

import pytest

from tests.cli.console import Console
from tests.support.paystack import SECRET, FakePaystack, fake_paystack, json_response

EMAIL = ("--email", "ada@example.com")


@pytest.fixture
def paystack(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePaystack]:
    with fake_paystack() as (paystack, _):
        monkeypatch.setenv("PAYSTACK_SECRET_KEY", SECRET)
        monkeypatch.setenv("PAYSTACK_API_URL", paystack.url)
        yield paystack


def test_deposit_is_created_checked_and_credited(billvend: Console, paystack: FakePaystack) -> None:
    started = billvend.json("deposits", "create", "ada", "500", *EMAIL, "--key", "order-1")
    reference = started["reference"]
    assert started == {
        "reference": reference,
        "authorizationUrl": f"{paystack.url}/pay/{reference}",
        "replayed": False,
    }
    again = billvend.json("deposits", "create", "ada", "500", *EMAIL, "--idempotency-key", "order-1")
    assert again == {**started, "replayed": True}
    waiting = billvend.json("deposits", "check", reference, status=7)
    assert (waiting["status"], waiting["transactionId"]) == ("not_paid", None)
    paystack.mark_paid(reference)
    paid = billvend.json("deposits", "check", reference)
    assert (paid["status"], paid["amount"], paid["userId"]) == ("credited", "500.00", "ada")
    assert billvend.json("deposits", "check", reference)["transactionId"] == paid["transactionId"]
    shown = billvend.json("show", paid["transactionId"])
    assert (shown["source"], shown["reference"]) == ("paystack", reference)
    assert billvend.json("balance", "ada")["balance"] == "500.00"
    assert billvend.json("audit")["ok"] is True


def test_deposit_commands_print_next_step(billvend: Console, paystack: FakePaystack) -> None:
    screen = billvend("deposits", "create", "ada", "500", *EMAIL).out
    (reference,) = paystack.transactions
    assert f"{paystack.url}/pay/{reference}\n" in screen
    assert f"billvend deposits check {reference}" in screen
    assert "Paystack says: abandoned" in billvend("deposits", "check", reference).out
    paystack.mark_paid(reference)
    assert "NGN 500.00 was credited" in billvend("deposits", "check", reference).out


def test_deposit_with_wrong_amount_goes_to_review(billvend: Console, paystack: FakePaystack) -> None:
    reference = billvend.json("deposits", "create", "ada", "500", *EMAIL)["reference"]
    paystack.mark_paid(reference, amount=100)
    assert billvend.json("deposits", "check", reference, status=8)["status"] == "problem"
    (incident,) = billvend.json("review")["incidents"]
    assert (incident["kind"], incident["reference"], incident["amount"]) == (
        "deposit_problem",
        reference,
        "500.00",
    )
    assert "a payment of NGN 1.00" in incident["detail"]
    assert f"billvend deposits check {reference} --acknowledge" in billvend("review").out
    assert billvend.json("deposits", "check", reference, "--acknowledge")["acknowledgedAt"] is not None
    assert billvend.json("review") == {"items": [], "incidents": []}
    billvend.error(5, "not_in_review", "deposits", "check", reference, "--acknowledge")


def test_deposits_are_listed_newest_first(billvend: Console, paystack: FakePaystack) -> None:
    assert billvend.json("deposits", "list") == {"items": []}
    credited, wrong, unpaid = (
        billvend.json("deposits", "create", "ada", "500", *EMAIL)["reference"] for _ in range(3)
    )
    paystack.mark_paid(credited)
    transaction_id = billvend.json("deposits", "check", credited)["transactionId"]
    paystack.mark_paid(wrong, amount=100)
    billvend.json("deposits", "check", wrong, status=8)
    items = billvend.json("deposits", "list")["items"]
    assert [(item["reference"], item["status"], item["transactionId"]) for item in items] == [
        (unpaid, "not_paid", None),
        (wrong, "problem", None),
        (credited, "credited", transaction_id),
    ]
    assert billvend.json("deposits", "list", "--limit", "1")["items"] == items[:1]
    table = billvend("deposits", "list").out
    assert [line.split()[2] for line in table.splitlines()[1:]] == [unpaid, wrong, credited]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("create", "ada", "0", *EMAIL), 2, "invalid_amount"),
        (("create", "ada", "500", "--email", "ada"), 2, "validation_failed"),
        (("create", "ada", "500"), 2, "validation_failed"),
        (("create", "ada", "500", *EMAIL, "--currency", "KWD"), 2, "unsupported_currency"),
        (("create", "ada", "501", *EMAIL, "--key", "order-1"), 5, "idempotency_mismatch"),
        (("check", "unknown"), 3, "not_found"),
    ],
)
def test_invalid_deposit_command_is_rejected(
    billvend: Console, paystack: FakePaystack, arguments: tuple[str, ...], status: int, code: str
) -> None:
    billvend.json("deposits", "create", "ada", "500", *EMAIL, "--key", "order-1")
    billvend.error(status, code, "deposits", *arguments)
    assert len(paystack.transactions) == 1


def test_deposit_fails_when_paystack_is_down(billvend: Console, paystack: FakePaystack) -> None:
    reference = billvend.json("deposits", "create", "ada", "500", *EMAIL)["reference"]
    paystack.initialize_response = paystack.verify_response = json_response({}, "503 Service Unavailable")
    for arguments in (("create", "ada", "500", *EMAIL), ("check", reference)):
        billvend.error(9, "unavailable", "deposits", *arguments)


def test_deposit_without_paystack_key_is_rejected(billvend: Console) -> None:
    message = billvend.error(2, "bad_setting", "deposits", "create", "ada", "500", *EMAIL)
    assert "PAYSTACK_SECRET_KEY" in message


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:4000"])
def test_live_paystack_key_with_sandbox_is_rejected(
    billvend: Console, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Live money must not be credited where the provider is a sandbox, nor the other way round."""
    monkeypatch.setenv("PAYSTACK_API_URL", url)
    monkeypatch.setenv("PAYSTACK_SECRET_KEY", "sk_live_hunter2")
    refused = billvend("balance", "ada")
    assert refused.status == 2
    assert "PAYSTACK_SECRET_KEY is for live money" in refused.err
    assert "hunter2" not in refused.err
