"""The endpoints: statuses, bodies and replays."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask

from billvend import Billvend, Payment, open_billvend
from billvend.adapters.clock import SystemClock
from billvend.api import blueprint
from billvend.config import Settings
from billvend.domain import errors
from billvend.domain.meter_lookup import MeterFound, MeterLookupResult
from tests.api.client import BILL, Client, application, code_of, data_of


def pay(client: Client, key: str | None = None, **changed: object) -> str:
    response = client.post("/bills/pay", {**BILL, **changed}, key)
    assert response.status_code == 202, response.get_json()
    return str(data_of(response)["transactionId"])


def test_fund_credits_wallet_and_replays_same_key(client: Client) -> None:
    response = client.post("/wallet/fund", {"userId": "eve", "amount": "25.5", "currency": "NGN"}, "fund-1")
    assert response.status_code == 201
    data = data_of(response)
    assert list(data) == ["transactionId", "userId", "amount", "currency", "balance"]
    assert (data["userId"], data["amount"], data["balance"]) == ("eve", "25.50", "25.50")
    repeat = client.post("/wallet/fund", {"userId": "eve", "amount": 25.5}, "fund-1")
    assert (repeat.status_code, data_of(repeat)) == (201, data)
    assert repeat.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in response.headers


def test_pay_accepts_then_completes_with_token(client: Client, bv: Billvend) -> None:
    response = client.post("/bills/pay", BILL, "order-1")
    assert response.status_code == 202
    data = data_of(response)
    assert data["status"] == "pending"
    assert data["message"].endswith("Your money is held.")
    assert response.headers["Location"] == f"/transactions/{data['transactionId']}"
    bv.wait(data["transactionId"], timeout=20)
    payment = data_of(client.get(response.headers["Location"]))
    assert (payment["status"], payment["provider"], payment["type"]) == ("completed", "EKEDC", "payment")
    assert re.fullmatch("[0-9]{20}", payment["token"])
    assert [event["type"] for event in payment["events"]][-1] == "payment_completed"
    assert len(payment["attempts"]) == 1
    repeat = client.post("/bills/pay", BILL, "order-1")
    assert (repeat.status_code, data_of(repeat)) == (202, data)
    assert repeat.headers["Idempotency-Replayed"] == "true"
    assert data_of(client.get("/wallet/balance/ada"))["balance"] == "4500.00"


def test_pay_replay_after_30_days_returns_current_payment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(SystemClock):
        shift = timedelta(0)

        def now(self) -> object:  # type: ignore[override]  # a datetime, shifted
            return super().now() + self.shift

    clock = Later()
    with open_billvend(settings, clock=clock) as bv:  # type: ignore[arg-type]  # see above
        bv.fund("ada", "5000")
        client = Client(application(bv, settings))
        transaction_id = pay(client, "order-1")
        bv.wait(transaction_id, timeout=20)
        clock.shift = timedelta(days=29)
        assert data_of(client.post("/bills/pay", BILL, "order-1"))["status"] == "pending"
        clock.shift = timedelta(days=31)
        repeat = client.post("/bills/pay", BILL, "order-1")
        assert data_of(repeat)["status"] == "completed"
        assert repeat.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("changed", "key", "status", "code"),
    [
        ({"userId": "unknown"}, None, 404, "wallet_not_found"),
        ({"amount": "5000.01"}, None, 402, "insufficient_funds"),
        ({"meterNumber": "000000000000"}, None, 422, "meter_not_found"),
        ({"amount": "600"}, "used", 422, "idempotency_mismatch"),
    ],
)
def test_rejected_payment_holds_no_money(
    client: Client, bv: Billvend, changed: dict[str, object], key: str | None, status: int, code: str
) -> None:
    pay(client, "used")
    response = client.post("/bills/pay", {**BILL, **changed}, key)
    assert (response.status_code, code_of(response)) == (status, code)
    assert str(bv.balance("ada").held) == "500.00"


def test_likely_duplicate_is_rejected_unless_allowed(client: Client) -> None:
    pay(client)
    response = client.post("/bills/pay", BILL)
    assert (response.status_code, code_of(response)) == (409, "likely_duplicate")
    assert "allowDuplicate" in response.get_json()["message"]
    pay(client, allowDuplicate=True)


def test_concurrent_replays_pay_once(client: Client, bv: Billvend) -> None:
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: client.post("/bills/pay", BILL, "order-1"), range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({data_of(answer)["transactionId"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert str(bv.balance("ada").held) == "500.00"


def test_replay_during_first_request_times_out_with_409(
    bv: Billvend, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request waits for the provider to verify the meter."""
    monkeypatch.setattr(
        "billvend.api.idempotency.KeyedLock.__init__.__kwdefaults__", {"timeout_seconds": 0.05}
    )
    bv.fund("ada", "5000")
    client = Client(application(bv, settings))
    is_called, may_go_on = threading.Event(), threading.Event()
    (provider,) = bv._deps.providers.values()

    def verify_slowly(*_: object) -> MeterLookupResult:
        is_called.set()
        assert may_go_on.wait(20)
        return MeterFound("Ada Obi")

    monkeypatch.setattr(provider, "verify", verify_slowly)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/bills/pay", BILL, "order-1")
        assert is_called.wait(20)
        repeat = client.post("/bills/pay", BILL, "order-1")
        other = client.post("/wallet/fund", {"userId": "ada", "amount": 5}, "order-1")
        may_go_on.set()
    assert (repeat.status_code, code_of(repeat)) == (409, "request_in_progress")
    assert repeat.headers["Retry-After"] == "1"
    assert other.status_code == 201  # another operation
    assert first.result().status_code == 202
    assert client.post("/bills/pay", BILL, "order-1").status_code == 202


def test_batch_accepts_and_rejects_each_entry_separately(client: Client) -> None:
    entries: list[object] = [
        {**BILL, "amount": "100"}, 5, {**BILL, "amount": "99999"}, {**BILL, "idempotencyKey": "own"},
        {**BILL, "idempotencyKey": ""}, {**BILL, "meterNumber": "1"},
    ]  # fmt: skip
    response = client.post("/bills/pay/batch", {"payments": entries}, "batch-1")
    assert response.status_code == 207
    data = data_of(response)
    results = [
        result["status"] if result["error"] is None else result["error"]["code"] for result in data["results"]
    ]
    assert results == [
        202,
        "validation_failed",
        "insufficient_funds",
        202,
        "validation_failed",
        "invalid_meter",
    ]
    assert (data["accepted"], data["replayed"], data["refused"]) == (2, 0, 4)
    assert data["results"][1]["error"]["fields"] == {"payments.1": "must be a JSON object"}
    repeat = data_of(client.post("/bills/pay/batch", {"payments": entries}, "batch-1"))
    assert (repeat["accepted"], repeat["replayed"], repeat["refused"]) == (0, 2, 4)
    assert repeat["results"][0]["data"] == data["results"][0]["data"]
    assert data_of(client.get("/wallet/balance/ada"))["held"] == "600.00"


def test_batch_replay_sets_replayed_header(client: Client) -> None:
    batch = {"payments": [{**BILL, "amount": "100"}, {**BILL, "amount": "200"}]}
    first, again = (
        client.post("/bills/pay/batch", batch, "b-1"),
        client.post("/bills/pay/batch", batch, "b-1"),
    )
    assert ["Idempotency-Replayed" in answer.headers for answer in (first, again)] == [False, True]
    more = {"payments": [*batch["payments"], {**BILL, "amount": "300"}]}
    assert "Idempotency-Replayed" not in client.post("/bills/pay/batch", more, "b-1").headers


def test_recent_transactions_are_filtered_by_currency(client: Client, bv: Billvend) -> None:
    bv.fund("ada", "1", currency="USD")
    for _ in range(12):
        bv.fund("ada", "1")
    recent = data_of(client.get("/wallet/balance/ada?currency=USD"))["recentTransactions"]
    assert [(each["amount"], each["currency"]) for each in recent] == [("1.00", "USD")]
    assert len(data_of(client.get("/wallet/balance/ada"))["recentTransactions"]) == 10


@pytest.mark.parametrize("payments", [[], [BILL] * 1_001, {}, None, "x"])
def test_invalid_batch_body_is_rejected(client: Client, payments: object) -> None:
    response = client.post("/bills/pay/batch", {"payments": payments})
    assert (response.status_code, code_of(response)) == (422, "validation_failed")


def test_transactions_are_paged_and_filtered(client: Client) -> None:
    for number in range(4):
        pay(client, f"order-{number}")
    listed: list[str] = []
    cursor = ""
    while True:
        page = data_of(client.get(f"/transactions/user/ada?limit=2{cursor}"))
        assert len(page["items"]) <= 2
        listed += [item["transactionId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert len(set(listed)) == len(listed) == 5
    assert listed == sorted(listed, reverse=True)
    assert [item["type"] for item in data_of(client.get("/transactions/user/ada?type=funding"))["items"]] == [
        "funding"
    ]
    assert len(data_of(client.get("/transactions/user/ada?status=pending"))["items"]) == 4
    assert data_of(client.get("/transactions/user/unknown")) == {"items": [], "nextCursor": None}


@pytest.mark.parametrize("user_id", ["/ada", "a//b", "a/b", "a b", "../ada", ".", "ad%C3%A1", "ada/"])
def test_user_id_with_odd_characters_is_addressable(client: Client, user_id: str) -> None:
    data_of(client.post("/wallet/fund", {"userId": user_id, "amount": 7}))
    path = quote(user_id, safe="")
    balance = client.get(f"/wallet/balance/{path}")
    assert (data_of(balance)["userId"], data_of(balance)["balance"]) == (user_id, "7.00")
    assert len(data_of(client.get(f"/transactions/user/{path}"))["items"]) == 1


def test_verify_meter_and_list_billers(client: Client) -> None:
    meter = data_of(client.post("/bills/verify", {"meterNumber": "12345678901", "provider": "EKEDC"}))
    assert meter["customerName"]
    response = client.post("/bills/verify", {"meterNumber": "000000000000", "provider": "EKEDC"})
    assert (response.status_code, code_of(response)) == (422, "meter_not_found")
    assert "EKEDC" in [biller["code"] for biller in data_of(client.get("/billers"))["items"]]


def test_vtpass_webhook_always_gets_success_response(client: Client) -> None:
    for body in (b'{"type": "transaction-update"}', b"", b"\xff", b"[" * 9_000):
        response = client.post("/hooks/vtpass", body)
        assert (response.status_code, response.get_json()["response"]) == (200, "success")


def test_get_transaction_requests_requery(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hinted: list[str] = []
    with open_billvend(settings) as bv:
        bv.fund("ada", "5000")
        client = Client(application(bv, settings))
        monkeypatch.setattr(
            Billvend, "request_requery", lambda _self, payment: hinted.append(payment.transaction_id)
        )
        transaction_id = pay(client)
        client.get(f"/transactions/{transaction_id}")
        assert hinted == [transaction_id]


def test_health_reports_each_check(client: Client, bv: Billvend) -> None:
    checks = data_of(client.get("/health"))["checks"]
    assert checks["database"]["status"] == "up"
    assert all(check["latencyMs"] > 0 for name, check in checks.items() if name != "queue"), checks
    assert data_of(client.get("/health/live")) == {"status": "ok"}


def test_unknown_outcome_returns_transaction_and_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = errors.OutcomeUnknown("It is not known.", transaction_id="t-1", idempotency_key="k-1")

    def fails(*_: object, **__: object) -> Payment:
        raise unknown

    monkeypatch.setattr(Billvend, "accept", fails)
    response = client.post("/bills/pay", BILL)
    error = response.get_json()["error"]
    assert (response.status_code, code_of(response)) == (503, "outcome_unknown")
    assert (error["transactionId"], error["idempotencyKey"]) == ("t-1", "k-1")
    assert response.headers["Retry-After"] == "5"


def test_internal_error_hides_details(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object, **__: object) -> Payment:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(Billvend, "accept", breaks)
    response = client.post("/bills/pay", BILL)
    assert (response.status_code, code_of(response)) == (500, "internal")
    assert "hunter2" not in response.get_data(as_text=True)
    assert "A request failed" in caplog.messages


@pytest.mark.parametrize("named", [{}, {"name": "bills"}], ids=["default name", "other name"])
def test_blueprint_works_in_another_application(
    bv: Billvend, settings: Settings, named: dict[str, str]
) -> None:
    bv.fund("ada", "5000")
    app = Flask("host_application")
    app.register_blueprint(blueprint(bv, settings), url_prefix="/electricity", **named)
    client = Client(app)
    response = client.post("/electricity/bills/pay", BILL)
    assert response.status_code == 202
    assert response.headers["Location"].startswith("/electricity/transactions/")
    assert data_of(client.get(response.headers["Location"]))["status"] == "pending"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    refused = client.post("/electricity/bills/pay", {**BILL, "amount": "x"})
    assert (refused.status_code, code_of(refused)) == (422, "invalid_amount")
    assert client.get("/theirs").status_code == 404
    assert response.headers["X-Request-Id"]


def test_request_has_id_and_log_line(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "billvend")
    echoed = client.get("/wallet/balance/ada", X_Request_Id="till-7.42")
    assert echoed.headers["X-Request-Id"] == "till-7.42"
    generated = client.get("/nothing", X_Request_Id="no good\u00e4")
    assert re.fullmatch("[0-9a-f]{32}", generated.headers["X-Request-Id"])
    lines = [record.__dict__["context"] for record in caplog.records if record.message == "Request"]
    assert lines[0]["requestId"] == "till-7.42"
    assert lines[0]["path"] == "/wallet/balance/{userId}"
    assert (lines[0]["status"], lines[0]["userId"]) == (200, "ada")
    assert lines[1]["status"] == 404
    assert lines[0]["durationMs"] >= 0


def test_responses_have_security_headers(client: Client) -> None:
    headers = client.get("/billers").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers
