"""Paystack over HTTP: an intent, and the hook that settles it."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.config import Settings
from tests.api.client import Client, application, code_of, data_of
from tests.support.paystack import SECRET, Paystack, standing_in

WANTED = {"userId": "ada", "amount": "500", "email": "ada@example.com"}


@pytest.fixture
def counter(settings: Settings) -> Iterator[tuple[Client, Billvend, Paystack]]:
    with standing_in() as (paystack, _):
        known = settings.model_copy(
            update={"paystack_secret_key": SecretStr(SECRET), "paystack_api_url": paystack.url}
        )
        with open_billvend(known) as bv:
            yield Client(application(bv, known)), bv, paystack


def test_from_the_intent_to_the_money(counter: tuple[Client, Billvend, Paystack]) -> None:
    client, bv, paystack = counter
    response = client.post("/wallet/fund/intent", WANTED, "till-1")
    assert response.status_code == 201
    intent = data_of(response)
    assert intent["authorizationUrl"] == f"{paystack.url}/pay/{intent['reference']}"
    assert paystack.announced[0]["amount"] in (50_000, "50000")
    assert data_of(client.post("/wallet/fund/intent", WANTED, "till-1")) == intent
    assert len(paystack.announced) == 1
    paystack.pays(intent["reference"])
    body, signature = paystack.hook(intent["reference"])
    for _ in range(5):
        answer = client.post("/hooks/paystack", body, X_Paystack_Signature=signature)
        assert answer.status_code == 200
    assert str(bv.balance("ada").available) == "500.00"
    (funding,) = data_of(client.get("/transactions/user/ada"))["items"]
    assert (funding["source"], funding["reference"]) == ("paystack", intent["reference"])
    assert bv.audit().ok


@pytest.mark.parametrize("signature", [None, "", "0" * 128, "\u00e4" * 4])
def test_a_forged_hook_does_nothing(
    counter: tuple[Client, Billvend, Paystack], signature: str | None
) -> None:
    client, _, paystack = counter
    intent = data_of(client.post("/wallet/fund/intent", WANTED))
    paystack.pays(intent["reference"])
    body, _ = paystack.hook(intent["reference"])
    headers = {} if signature is None else {"X_Paystack_Signature": signature}
    answer = client.post("/hooks/paystack", body, **headers)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert paystack.verified == []
    assert client.get("/wallet/balance/ada").status_code == 404


def test_a_hook_is_signed_over_its_bytes(counter: tuple[Client, Billvend, Paystack]) -> None:
    client, _, paystack = counter
    intent = data_of(client.post("/wallet/fund/intent", WANTED))
    body, signature = paystack.hook(intent["reference"])
    assert client.post("/hooks/paystack", body + b" ", X_Paystack_Signature=signature).status_code == 401


def test_a_hook_about_nobodys_money_is_told_to_whoever_watches(
    counter: tuple[Client, Billvend, Paystack], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has paid, and no wallet was credited: another system's payment, or one whose intent is lost."""
    client, _, paystack = counter
    body, signature = paystack.hook("of-another-shop")
    assert client.post("/hooks/paystack", body, X_Paystack_Signature=signature).status_code == 200
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.context == {"reference": "'of-another-shop'"}  # type: ignore[attr-defined]  # an extra
    assert paystack.verified == []


def test_a_paystack_that_is_away_is_told_to_come_again(counter: tuple[Client, Billvend, Paystack]) -> None:
    client, _, paystack = counter
    intent = data_of(client.post("/wallet/fund/intent", WANTED))
    body, signature = paystack.hook(intent["reference"])
    paystack.verify_says = b""
    answer = client.post("/hooks/paystack", body, X_Paystack_Signature=signature)
    assert (answer.status_code, code_of(answer)) == (503, "unavailable")
    assert client.get("/wallet/balance/ada").status_code == 404


def test_a_repeat_elsewhere_while_the_first_is_at_work(
    counter: tuple[Client, Billvend, Paystack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through another process, whose requests this one does not see."""
    monkeypatch.setattr("billvend.usecases.deposits.REPEAT_WAIT_SECONDS", 0.0)
    client, bv, _ = counter
    assert client.post("/wallet/fund/intent", WANTED, "order-1").status_code == 201
    with bv._deps.deposits._database.write_transaction() as connection:  # type: ignore[attr-defined]  # as if it had not been answered
        connection.exec_driver_sql("UPDATE deposits SET authorization_url = NULL")
    answer = client.post("/wallet/fund/intent", WANTED, "order-1")
    assert (answer.status_code, code_of(answer)) == (409, "request_in_progress")
    assert answer.headers["Retry-After"] == "1"


def test_without_paystack_nothing_is_started(client: Client) -> None:
    for answer in (client.post("/wallet/fund/intent", WANTED), client.post("/hooks/paystack", b"{}")):
        assert (answer.status_code, code_of(answer)) == (503, "unavailable")


@pytest.mark.parametrize("email", ["", "a", "no at sign", "a@b\r\nBcc: c@d", 5, None])
def test_an_address_that_is_none(counter: tuple[Client, Billvend, Paystack], email: object) -> None:
    client, _, paystack = counter
    answer = client.post("/wallet/fund/intent", {**WANTED, "email": email})
    assert (answer.status_code, code_of(answer)) == (422, "validation_failed")
    assert paystack.announced == []
