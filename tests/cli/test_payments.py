"""The commands fund, pay and cancel: effects, output and replays."""

import re

from tests.cli.console import LOST_ANSWER_METER, Console

GROUPED = re.compile(r"\d{4}-\d{4}-\d{4}-\d{4}-\d{4}")


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
    assert "nothing was added now" in billvend("fund", "ada", "1000.50", "--key", "fund-1").out


def test_fund_in_another_currency(billvend: Console) -> None:
    assert billvend.json("fund", "ada", "7.125", "--currency", "KWD")["balance"] == "7.125"
    assert billvend.json("balance", "ada", "--currency", "KWD")["balance"] == "7.125"
    assert billvend("balance", "ada").status == 3
    assert billvend("fund", "ada", "500").status == 0
    (recent,) = billvend.json("balance", "ada", "--currency", "KWD")["recentTransactions"]
    assert recent["amount"] == "7.125"


def test_completed_payment_shows_token(funded: Console) -> None:
    shown = funded.pay("12345678901")
    assert (shown.status, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert "Paid: NGN 500.00 to EKEDC for meter 12345678901." in lines
    (token,) = GROUPED.findall(shown.out)
    assert any(re.fullmatch(rf"Token +{token}", line) for line in lines)
    assert any(re.fullmatch(r"Units +2\.22 kWh", line) for line in lines)
    assert any(re.fullmatch(r"Receipt +R\d{12}", line) for line in lines)
    assert any(re.fullmatch(r"VAT +34\.88", line) for line in lines)
    (payment,) = funded.json("payments")["items"]
    assert payment["token"] == token.replace("-", "")


def test_completed_payment_prints_json(funded: Console) -> None:
    paid = funded.pay_json("12345678901", "--key", "order-1", "--phone", "+2348011111111")
    assert {name: paid[name] for name in ("type", "status", "amount", "currency", "userId", "vendType")} == {
        "type": "payment",
        "status": "completed",
        "amount": "500.00",
        "currency": "NGN",
        "userId": "ada",
        "vendType": "prepaid",
    }
    assert (paid["meterNumber"], paid["provider"], paid["units"]) == ("12345678901", "EKEDC", "2.22")
    assert re.fullmatch(r"\d{20}", paid["token"])
    assert paid["receipt"]["tax"] == "34.88"
    assert (paid["reversal"], paid["incidents"], paid["nextCheckAt"], paid["replayed"]) == (
        None,
        [],
        None,
        False,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", paid["createdAt"])
    (attempt,) = paid["attempts"]
    assert attempt["aggregator"] == "sandbox"
    assert attempt["sends"][0]["answer"]["outcome"] == "delivered"
    assert [event["type"] for event in paid["events"]] == [
        "payment_accepted",
        "send_started",
        "send_answered",
        "payment_completed",
    ]
    assert paid["token"] not in paid["message"]


def test_postpaid_has_no_token(funded: Console) -> None:
    paid = funded.pay_json("1010101010101", "--vend-type", "postpaid")
    assert (paid["status"], paid["token"], paid["units"]) == ("completed", None, None)
    assert "There is no token" in paid["message"]


def test_declined_payment_returns_money(funded: Console) -> None:
    shown = funded.pay("600000000001")
    assert (shown.status, shown.err) == (6, "")
    assert "Reversed: NGN 500.00 to EKEDC for meter 600000000001." in shown.out
    assert "Your money is back." in shown.out
    assert re.search(r"^Proof +declined$", shown.out, re.MULTILINE)
    document = funded.pay_json("600000000001", "--allow-duplicate", status=6)
    assert document["reversal"]["proof"] == "declined"
    assert document["reversal"]["at"] is not None
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_payment_in_doubt_says_money_is_held(funded: Console) -> None:
    doubtful = funded.in_doubt("order-1")
    shown = funded.pay(LOST_ANSWER_METER, "--key", "order-1", "--wait", "0")
    assert (shown.status, shown.err) == (7, "")
    assert "Your money is held." in shown.out
    assert re.search(r"^Next check +at \d\d:\d\d:\d\d UTC \(in \d+ s\)$", shown.out, re.MULTILINE)
    assert f"billvend show {doubtful}" in shown.out
    document = funded.pay_json(LOST_ANSWER_METER, "--key", "order-1", "--wait", "0", status=7)
    assert (document["transactionId"], document["status"]) == (doubtful, "in_doubt")
    assert re.fullmatch(r".* Your money is held\. Next check \d\d:\d\d UTC\.", document["message"])
    wallet = funded.json("balance", "ada")
    assert (wallet["balance"], wallet["held"]) == ("4500.00", "500.00")


def test_progress_is_printed_as_plain_lines(funded: Console) -> None:
    lines = funded.pay("600000000001").out.splitlines()
    assert lines[0] == "Your payment is accepted and about to be sent. Your money is held."
    assert lines[1] == "No electricity was sold. Your money is on its way back."
    assert lines[2].startswith("Reversed")
    assert all(line.isprintable() for line in lines)


def test_pay_counts_other_pending_payments(funded: Console) -> None:
    for meter in ("11111111111", "22222222222"):
        assert funded.pay(meter, "--no-wait").status == 0
    assert "2 other payments wait for a worker." in funded.pay("12345678901").out


def test_pay_no_wait_leaves_payment_pending(funded: Console) -> None:
    accepted = funded.pay_json("600000000001", "--no-wait")
    assert (accepted["status"], accepted["attempts"]) == ("pending", [])
    assert funded.json("balance", "ada")["held"] == "500.00"
    screen = funded.pay("600000000001", "--allow-duplicate", "--no-wait").out
    assert screen.startswith("Accepted: NGN 500.00 to EKEDC for meter 600000000001.\n")
    assert "See: billvend show " in screen


def test_pay_replay_pays_nothing(funded: Console) -> None:
    first = funded.pay_json("12345678901", "--key", "order-1")
    again = funded.pay_json("12345678901", "--idempotency-key", "order-1")
    assert again == {**first, "replayed": True}
    shown = funded.pay("12345678901", "--key", "order-1")
    assert "nothing is paid twice" in shown.out
    assert GROUPED.search(shown.out)
    assert funded.json("balance", "ada")["balance"] == "4500.00"


def test_pay_replay_returns_current_status(funded: Console) -> None:
    assert funded.pay_json("600000000001", "--key", "order-1", "--no-wait")["status"] == "pending"
    assert funded.pay_json("600000000001", "--key", "order-1", status=6)["status"] == "reversed"
    assert funded.pay_json("600000000001", "--key", "order-1", "--no-wait")["status"] == "reversed"


def test_cancel_releases_money(funded: Console) -> None:
    accepted = funded.pay_json("12345678901", "--no-wait")["transactionId"]
    shown = funded("cancel", accepted)
    assert (shown.status, shown.err) == (0, "")
    assert "Your money is back." in shown.out
    document = funded.json("show", accepted)
    assert (document["status"], document["reversal"]["proof"]) == ("reversed", "not_sent")
    assert funded.json("balance", "ada")["balance"] == "5000.00"


def test_pay_waits_for_running_call_after_timeout(funded: Console) -> None:
    assert (
        funded.pay_json("600000000005", "--wait", "2")["status"] == "completed"
    )  # the provider answers after 3 s
