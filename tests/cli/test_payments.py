"""The commands fund, pay and cancel: effects, documents and replays. tests/golden/screens.txt shows their text."""

import re

from tests.cli.console import LOST_ANSWER_METER, METER, SLOW_METER, Console

DECLINED_METER = "600000000001"


def test_fund_creates_wallet_and_adds_money(billvend: Console) -> None:
    first = billvend.json("fund", "ada", "1000.50", "--key", "fund-1")
    assert first == {
        "transactionId": first["transactionId"],
        "userId": "ada",
        "amount": "1000.50",
        "currency": "NGN",
        "balance": "1000.50",
        "replayed": False,
    }
    again = billvend.json("fund", "ada", "1000.50", "--idempotency-key", "fund-1")
    assert again == {**first, "replayed": True}
    assert billvend.json("fund", "ada", "1", "--source", "cash")["balance"] == "1001.50"


def test_fund_in_another_currency(billvend: Console) -> None:
    assert billvend.json("fund", "ada", "7.125", "--currency", "KWD")["balance"] == "7.125"
    assert billvend("balance", "ada").status == 3
    assert billvend("fund", "ada", "500").status == 0
    wallet = billvend.json("balance", "ada", "--currency", "KWD")
    assert (wallet["balance"], [each["amount"] for each in wallet["recentTransactions"]]) == (
        "7.125",
        ["7.125"],
    )


def test_completed_payment_prints_json(funded: Console) -> None:
    paid = funded.pay_json(METER, "--key", "order-1", "--phone", "+2348011111111")
    expected: dict[str, object] = {
        "type": "payment",
        "status": "completed",
        "amount": "500.00",
        "currency": "NGN",
        "userId": "ada",
        "vendType": "prepaid",
        "meterNumber": METER,
        "provider": "EKEDC",
        "units": "2.22",
        "reversal": None,
        "incidents": [],
        "nextCheckAt": None,
        "replayed": False,
    }
    assert {name: paid[name] for name in expected} == expected
    assert re.fullmatch(r"\d{20}", paid["token"])
    assert paid["token"] not in paid["message"]
    assert paid["receipt"]["tax"] == "34.88"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", paid["createdAt"])
    (attempt,) = paid["attempts"]
    assert (attempt["aggregator"], attempt["sends"][0]["answer"]["outcome"]) == ("sandbox", "delivered")
    assert [event["type"] for event in paid["events"]] == [
        "payment_accepted",
        "send_started",
        "send_answered",
        "payment_completed",
    ]
    grouped = "-".join(paid["token"][start : start + 4] for start in range(0, 20, 4))
    assert re.search(rf"^Token +{grouped}$", funded("show", paid["transactionId"]).out, re.MULTILINE)


def test_postpaid_has_no_token(funded: Console) -> None:
    paid = funded.pay_json("1010101010101", "--vend-type", "postpaid")
    assert (paid["status"], paid["token"], paid["units"]) == ("completed", None, None)
    assert "There is no token" in paid["message"]


def test_declined_payment_returns_money(funded: Console) -> None:
    document = funded.pay_json(DECLINED_METER, status=6)
    assert document["reversal"]["proof"] == "declined"
    assert document["reversal"]["at"] is not None
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_payment_in_doubt_says_money_is_held(funded: Console) -> None:
    doubtful = funded.in_doubt("order-1")
    document = funded.pay_json(LOST_ANSWER_METER, "--key", "order-1", "--wait", "0", status=7)
    assert (document["transactionId"], document["status"]) == (doubtful, "in_doubt")
    assert re.fullmatch(r".* Your money is held\. Next check \d\d:\d\d UTC\.", document["message"])
    wallet = funded.json("balance", "ada")
    assert (wallet["balance"], wallet["held"]) == ("4500.00", "500.00")


def test_pay_no_wait_leaves_payment_pending(funded: Console) -> None:
    accepted = funded.pay_json(DECLINED_METER, "--no-wait")
    assert (accepted["status"], accepted["attempts"]) == ("pending", [])
    assert funded.json("balance", "ada")["held"] == "500.00"


def test_pay_replay_pays_nothing(funded: Console) -> None:
    first = funded.pay_json(METER, "--key", "order-1")
    assert funded.pay_json(METER, "--idempotency-key", "order-1") == {**first, "replayed": True}
    assert funded.json("balance", "ada")["balance"] == "4500.00"


def test_pay_replay_returns_current_status(funded: Console) -> None:
    assert funded.pay_json(DECLINED_METER, "--key", "order-1", "--no-wait")["status"] == "pending"
    assert funded.pay_json(DECLINED_METER, "--key", "order-1", status=6)["status"] == "reversed"
    assert funded.pay_json(DECLINED_METER, "--key", "order-1", "--no-wait")["status"] == "reversed"


def test_cancel_releases_money(funded: Console) -> None:
    accepted = funded.pay_json(METER, "--no-wait")["transactionId"]
    document = funded.json("cancel", accepted)
    assert (document["status"], document["reversal"]["proof"]) == ("reversed", "not_sent")
    assert funded.json("show", accepted) == document
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_pay_waits_for_running_call_after_timeout(funded: Console) -> None:
    assert funded.pay_json(SLOW_METER, "--wait", "2")["status"] == "completed"
