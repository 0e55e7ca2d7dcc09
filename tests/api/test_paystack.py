"""Paystack over HTTP: a deposit, and the webhook that credits it."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.config import Settings
from tests.api.client import Client, application, code_of, data_of
from tests.support.paystack import SECRET, FakePaystack, fake_paystack

DEPOSIT_REQUEST = {"userId": "ada", "amount": "500", "email": "ada@example.com"}


@pytest.fixture
def paystack_api(settings: Settings) -> Iterator[tuple[Client, Billvend, FakePaystack]]:
    with fake_paystack() as (paystack, _):
        with_paystack = settings.model_copy(
            update={"paystack_secret_key": SecretStr(SECRET), "paystack_api_url": paystack.url}
        )
        with open_billvend(with_paystack) as bv:
            yield Client(application(bv, with_paystack)), bv, paystack


def test_deposit_is_credited_once_by_webhook(paystack_api: tuple[Client, Billvend, FakePaystack]) -> None:
    client, bv, paystack = paystack_api
    response = client.post("/wallet/fund/intent", DEPOSIT_REQUEST, "deposit-1")
    assert response.status_code == 201
    deposit = data_of(response)
    assert deposit["authorizationUrl"] == f"{paystack.url}/pay/{deposit['reference']}"
    assert paystack.initialize_requests[0]["amount"] in (50_000, "50000")
    assert data_of(client.post("/wallet/fund/intent", DEPOSIT_REQUEST, "deposit-1")) == deposit
    assert len(paystack.initialize_requests) == 1
    paystack.mark_paid(deposit["reference"])
    body, signature = paystack.webhook(deposit["reference"])
    for _ in range(5):
        answer = client.post("/hooks/paystack", body, X_Paystack_Signature=signature)
        assert answer.status_code == 200
    assert str(bv.balance("ada").available) == "500.00"
    (funding,) = data_of(client.get("/transactions/user/ada"))["items"]
    assert (funding["source"], funding["reference"]) == ("paystack", deposit["reference"])
    assert bv.audit().ok


@pytest.mark.parametrize("signature", [None, "", "0" * 128, "\u00e4" * 4])
def test_webhook_with_invalid_signature_is_rejected(
    paystack_api: tuple[Client, Billvend, FakePaystack], signature: str | None
) -> None:
    client, _, paystack = paystack_api
    deposit = data_of(client.post("/wallet/fund/intent", DEPOSIT_REQUEST))
    paystack.mark_paid(deposit["reference"])
    body, _ = paystack.webhook(deposit["reference"])
    headers = {} if signature is None else {"X_Paystack_Signature": signature}
    answer = client.post("/hooks/paystack", body, **headers)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert paystack.verified_references == []
    assert client.get("/wallet/balance/ada").status_code == 404


def test_webhook_with_changed_body_is_rejected(paystack_api: tuple[Client, Billvend, FakePaystack]) -> None:
    client, _, paystack = paystack_api
    deposit = data_of(client.post("/wallet/fund/intent", DEPOSIT_REQUEST))
    body, signature = paystack.webhook(deposit["reference"])
    assert client.post("/hooks/paystack", body + b" ", X_Paystack_Signature=signature).status_code == 401


def test_webhook_with_unknown_reference_logs_warning(
    paystack_api: tuple[Client, Billvend, FakePaystack], caplog: pytest.LogCaptureFixture
) -> None:
    """A customer paid, but no wallet was credited: the deposit belongs to another system, or its row is lost."""
    client, _, paystack = paystack_api
    body, signature = paystack.webhook("of-another-shop")
    assert client.post("/hooks/paystack", body, X_Paystack_Signature=signature).status_code == 200
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.context == {"reference": "'of-another-shop'"}  # type: ignore[attr-defined]  # an extra
    assert paystack.verified_references == []


def test_webhook_gets_503_when_paystack_is_down(paystack_api: tuple[Client, Billvend, FakePaystack]) -> None:
    client, _, paystack = paystack_api
    deposit = data_of(client.post("/wallet/fund/intent", DEPOSIT_REQUEST))
    body, signature = paystack.webhook(deposit["reference"])
    paystack.verify_response = b""
    answer = client.post("/hooks/paystack", body, X_Paystack_Signature=signature)
    assert (answer.status_code, code_of(answer)) == (503, "unavailable")
    assert client.get("/wallet/balance/ada").status_code == 404


def test_deposit_replay_in_other_process_returns_409(
    paystack_api: tuple[Client, Billvend, FakePaystack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process handles the first request. This process does not see it."""
    monkeypatch.setattr("billvend.usecases.start_deposit.REPEAT_WAIT_SECONDS", 0.0)
    client, bv, _ = paystack_api
    assert client.post("/wallet/fund/intent", DEPOSIT_REQUEST, "order-1").status_code == 201
    with bv._deps.deposits._database.write_transaction() as connection:  # type: ignore[attr-defined]  # as if Paystack had not answered yet
        connection.exec_driver_sql("UPDATE deposits SET authorization_url = NULL")
    answer = client.post("/wallet/fund/intent", DEPOSIT_REQUEST, "order-1")
    assert (answer.status_code, code_of(answer)) == (409, "request_in_progress")
    assert answer.headers["Retry-After"] == "1"


def test_deposit_without_paystack_is_unavailable(client: Client) -> None:
    for answer in (
        client.post("/wallet/fund/intent", DEPOSIT_REQUEST),
        client.post("/hooks/paystack", b"{}"),
    ):
        assert (answer.status_code, code_of(answer)) == (503, "unavailable")


@pytest.mark.parametrize("email", ["", "a", "no at sign", "a@b\r\nBcc: c@d", 5, None])
def test_deposit_with_invalid_email_is_rejected(
    paystack_api: tuple[Client, Billvend, FakePaystack], email: object
) -> None:
    client, _, paystack = paystack_api
    answer = client.post("/wallet/fund/intent", {**DEPOSIT_REQUEST, "email": email})
    assert (answer.status_code, code_of(answer)) == (422, "validation_failed")
    assert paystack.initialize_requests == []
