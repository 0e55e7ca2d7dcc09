"""fund-intent and fund-check, with Paystack's part played on a real socket."""

from collections.abc import Iterator

import pytest

from tests.cli.console import Console
from tests.support.paystack import SECRET, Paystack, spoken, standing_in

EMAIL = ("--email", "ada@example.com")


@pytest.fixture
def paystack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paystack]:
    with standing_in() as (paystack, _):
        monkeypatch.setenv("PAYSTACK_SECRET_KEY", SECRET)
        monkeypatch.setenv("PAYSTACK_API_URL", paystack.url)
        yield paystack


def test_the_story_of_a_funding(billvend: Console, paystack: Paystack) -> None:
    started = billvend.json("fund-intent", "ada", "500", *EMAIL, "--key", "order-1")
    reference = started["reference"]
    assert started == {
        "reference": reference,
        "authorizationUrl": f"{paystack.url}/pay/{reference}",
        "replayed": False,
    }
    again = billvend.json("fund-intent", "ada", "500", *EMAIL, "--key", "order-1")
    assert again == {**started, "replayed": True}
    waiting = billvend.json("fund-check", reference, status=7)
    assert (waiting["status"], waiting["transactionId"]) == ("not_paid", None)
    paystack.pays(reference)
    paid = billvend.json("fund-check", reference)
    assert (paid["status"], paid["amount"], paid["userId"]) == ("credited", "500.00", "ada")
    assert billvend.json("fund-check", reference)["transactionId"] == paid["transactionId"]
    shown = billvend.json("show", paid["transactionId"])
    assert (shown["source"], shown["reference"]) == ("paystack", reference)
    assert billvend.json("balance", "ada")["balance"] == "500.00"
    assert billvend.json("audit")["ok"] is True


def test_what_people_are_told(billvend: Console, paystack: Paystack) -> None:
    told = billvend("fund-intent", "ada", "500", *EMAIL).out
    (reference,) = paystack.book
    assert f"{paystack.url}/pay/{reference}\n" in told
    assert f"billvend fund-check {reference}" in told
    assert "Paystack says: abandoned" in billvend("fund-check", reference).out
    paystack.pays(reference)
    assert "NGN 500.00 was credited" in billvend("fund-check", reference).out


def test_what_is_not_what_was_asked_for_waits_for_a_person(billvend: Console, paystack: Paystack) -> None:
    reference = billvend.json("fund-intent", "ada", "500", *EMAIL)["reference"]
    paystack.pays(reference, amount=100)
    assert billvend.json("fund-check", reference, status=8)["status"] == "problem"
    (incident,) = billvend.json("review")["incidents"]
    assert (incident["kind"], incident["reference"], incident["amount"]) == (
        "deposit_problem",
        reference,
        "500.00",
    )
    assert "NGN 1.00 was paid" in incident["detail"]
    assert f"billvend fund-check {reference} --seen" in billvend("review").out
    assert billvend.json("fund-check", reference, "--seen")["acknowledgedAt"] is not None
    assert billvend.json("review") == {"items": [], "incidents": []}
    again = billvend.json("fund-check", reference, "--seen", status=5)
    assert again["error"]["code"] == "not_in_review"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("fund-intent", "ada", "0", *EMAIL), 2, "invalid_amount"),
        (("fund-intent", "ada", "500", "--email", "ada"), 2, "validation_failed"),
        (("fund-intent", "ada", "500"), 2, "validation_failed"),
        (("fund-intent", "ada", "500", *EMAIL, "--currency", "XOF"), 2, "unsupported_currency"),
        (("fund-intent", "ada", "501", *EMAIL, "--key", "order-1"), 5, "idempotency_mismatch"),
        (("fund-check", "nobody-s"), 3, "not_found"),
    ],
)
def test_what_is_refused(
    billvend: Console, paystack: Paystack, arguments: tuple[str, ...], status: int, code: str
) -> None:
    billvend.json("fund-intent", "ada", "500", *EMAIL, "--key", "order-1")
    assert billvend.json(*arguments, status=status)["error"]["code"] == code
    assert len(paystack.book) == 1


def test_paystack_is_away(billvend: Console, paystack: Paystack) -> None:
    reference = billvend.json("fund-intent", "ada", "500", *EMAIL)["reference"]
    paystack.initialise_says = paystack.verify_says = spoken({}, "503 Away")
    for arguments in (("fund-intent", "ada", "500", *EMAIL), ("fund-check", reference)):
        assert billvend.json(*arguments, status=9)["error"]["code"] == "unavailable"


def test_it_is_not_set_up(billvend: Console) -> None:
    refused = billvend.json("fund-intent", "ada", "500", *EMAIL, status=2)
    assert "PAYSTACK_SECRET_KEY" in refused["error"]["message"]


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:4000"])
def test_a_key_for_real_money_does_not_go_with_the_sandbox(
    billvend: Console, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Money that is real must not be credited where nothing else is; nor the other way round."""
    monkeypatch.setenv("PAYSTACK_API_URL", url)
    monkeypatch.setenv("PAYSTACK_SECRET_KEY", "sk_live_hunter2")
    refused = billvend("balance", "ada")
    assert refused.status == 2
    assert "PAYSTACK_SECRET_KEY is for live money" in refused.err
    assert "hunter2" not in refused.err
