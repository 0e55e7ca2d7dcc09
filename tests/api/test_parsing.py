"""Request parsing: numbers are exact. Ambiguous and invalid input gets a clear 4xx, and nothing is done."""

import pytest

from billvend import Billvend
from billvend.config import Settings
from tests.api.client import BILL, Client, application, code_of, data_of

TOO_DEEP = b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"


def fund(client: Client, amount: str) -> tuple[int, str]:
    """Fund with an amount in raw JSON. Returns the status, and the balance or the error code."""
    response = client.post("/wallet/fund", b'{"userId": "ada", "amount": ' + amount.encode() + b"}")
    return response.status_code, (
        data_of(response)["balance"] if response.status_code == 201 else code_of(response)
    )


@pytest.mark.parametrize(
    ("amount", "balance"),
    [
        ("0.1", "5000.10"), ('"0.10"', "5000.10"), ("500", "5500.00"), ('"500.00"', "5500.00"), ("1e3", "6000.00"),
        ("5.00", "5005.00"), ("0.29", "5000.29"), ("100000.07", "105000.07"),
    ],
)  # fmt: skip
def test_amount_is_parsed_exactly(client: Client, amount: str, balance: str) -> None:
    assert fund(client, amount) == (201, balance)


@pytest.mark.parametrize("amount", ["null", "[5]", '{"a": 5}', "true"])
def test_invalid_amount_message_is_plain(client: Client, amount: str) -> None:
    body = b'{"userId": "ada", "amount": %s}' % amount.encode()
    error = client.post("/wallet/fund", body).get_json()["error"]
    assert (
        error["message"]
        == "The amount is invalid: it must be a number or a plain decimal string. Nothing was done."
    )
    assert error["fields"].keys() == {"amount"}


def test_adding_decimal_amounts_is_exact(client: Client) -> None:
    balances = [fund(client, "0.1")[1] for _ in range(3)]
    assert balances == ["5000.10", "5000.20", "5000.30"]


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        ("1e-7", 422, "invalid_amount"), ("1e15", 422, "invalid_amount"), ("1e400", 422, "invalid_amount"),
        ("NaN", 400, "malformed_json"), ("Infinity", 400, "malformed_json"), ("-0", 422, "invalid_amount"),
        ("-0.0", 422, "invalid_amount"), ("-5", 422, "invalid_amount"), ("true", 422, "invalid_amount"),
        ("null", 422, "invalid_amount"), ("[5]", 422, "invalid_amount"), ('{"a": 5}', 422, "invalid_amount"),
        ("1" * 10_000, 422, "invalid_amount"), ("0." + "1" * 10_000, 422, "invalid_amount"),
        ("1e" + "9" * 100, 400, "malformed_json"), ("0x10", 400, "malformed_json"), ("05", 400, "malformed_json"),
        ('"1,000"', 422, "invalid_amount"), ('" 5"', 422, "invalid_amount"), ('"5e2"', 422, "invalid_amount"),
        ('"\\u0665"', 422, "invalid_amount"), ('""', 422, "invalid_amount"), ("0.005", 422, "invalid_amount"),
    ],
)  # fmt: skip
def test_invalid_amount_is_rejected(
    client: Client, bv: Billvend, amount: str, status: int, code: str
) -> None:
    assert fund(client, amount) == (status, code)
    assert str(bv.balance("ada").available) == "5000.00"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"), (b"", 400, "malformed_json"), (b"\xff{}", 400, "malformed_json"),
        (b"\xef\xbb\xbf{}", 400, "malformed_json"), (b'{"userId": "ada", "userId": "eve"}', 400, "malformed_json"),
        (b'{"userId": "ada", "amount": {"a": 1, "a": 2}}', 400, "malformed_json"), (TOO_DEEP, 400, "malformed_json"),
        (b"[1]", 422, "validation_failed"), (b"5", 422, "validation_failed"), (b"null", 422, "validation_failed"),
        (b" " * 70_000, 413, "body_too_large"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_body_not_a_json_object_is_rejected(client: Client, body: bytes, status: int, code: str) -> None:
    response = client.post("/wallet/fund", body)
    assert (response.status_code, code_of(response)) == (status, code)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201), ("application/json; charset=utf-8", 201), ("APPLICATION/JSON", 201),
        ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json; charset=utf-16", 415),
        ("", 415), ("application/jsonx", 415),
    ],
)  # fmt: skip
def test_content_type_must_be_json(client: Client, content_type: str, status: int) -> None:
    response = client.post("/wallet/fund", {"userId": "ada", "amount": 5}, Content_Type=content_type)
    assert response.status_code == status
    if status != 201:
        assert code_of(response) == "unsupported_media_type"


def test_compressed_body_is_rejected(client: Client) -> None:
    response = client.post("/wallet/fund", b"\x1f\x8b", Content_Encoding="gzip")
    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"userId": None}, "validation_failed", "userId"),
        ({"userId": ""}, "validation_failed", "userId"),
        ({"userId": "a\x00b"}, "validation_failed", "userId"),
        ({"userId": "\ud800"}, "validation_failed", "userId"),
        ({"userId": "x" * 65}, "validation_failed", "userId"),
        ({"billType": "water"}, "validation_failed", "billType"),
        ({"meterNumber": 12345678901}, "invalid_meter", "meterNumber"),
        ({"meterNumber": "123"}, "invalid_meter", "meterNumber"),
        ({"meterNumber": ["1"]}, "invalid_meter", "meterNumber"),
        ({"provider": "NOPE"}, "unknown_biller", "provider"),
        ({"provider": ["EKEDC"]}, "validation_failed", "provider"),
        ({"provider": "EKEDC\x00"}, "unknown_biller", "provider"),
        ({"vendType": "prepay"}, "validation_failed", "vendType"),
        ({"vendType": {}}, "validation_failed", "vendType"),
        ({"phone": 8030000000}, "validation_failed", "phone"),
        ({"allowDuplicate": "yes"}, "validation_failed", "allowDuplicate"),
        ({"amount": "99.99"}, "invalid_amount", "amount"),
        ({"amount": 1_000_001}, "invalid_amount", "amount"),
        ({"colour": "blue"}, "validation_failed", "colour"),
    ],
)
def test_invalid_field_is_named(
    client: Client, bv: Billvend, changed: dict[str, object], code: str, field: str
) -> None:
    response = client.post("/bills/pay", {**BILL, **changed})
    assert (response.status_code, code_of(response)) == (422, code)
    assert list(response.get_json()["error"]["fields"]) == [field]
    assert str(bv.balance("ada").held) == "0.00"


def test_payment_takes_biller_as_well_as_provider(client: Client) -> None:
    without = {name: value for name, value in BILL.items() if name != "provider"}
    for body in ({**without, "biller": "EKEDC"}, {**BILL, "biller": "EKEDC"}):
        response = client.post("/bills/pay", {**body, "allowDuplicate": True})
        assert response.status_code == 202, response.get_json()
        data = data_of(response)
        assert (data["provider"], data["biller"]) == ("EKEDC", "EKEDC")
        whole = data_of(client.get(f"/transactions/{data['transactionId']}"))
        assert (whole["provider"], whole["biller"]) == ("EKEDC", "EKEDC")
    meter = data_of(client.post("/bills/verify", {"meterNumber": "12345678901", "biller": "EKEDC"}))
    assert (meter["provider"], meter["biller"]) == ("EKEDC", "EKEDC")
    batch = client.post("/bills/pay/batch", {"payments": [{**without, "biller": "EKEDC"}]}, "batch-1")
    assert data_of(batch)["accepted"] == 1


@pytest.mark.parametrize("biller", ["IKEDC", None, ["EKEDC"]])
def test_payment_with_different_biller_and_provider_is_rejected(
    client: Client, bv: Billvend, biller: object
) -> None:
    response = client.post("/bills/pay", {**BILL, "biller": biller})
    assert (response.status_code, code_of(response)) == (422, "validation_failed")
    assert list(response.get_json()["error"]["fields"]) == ["biller"]
    assert str(bv.balance("ada").held) == "0.00"


def test_every_missing_field_is_named(client: Client) -> None:
    response = client.post("/bills/pay", {})
    required = {"userId", "billType", "amount", "meterNumber", "provider"}
    assert response.get_json()["error"]["fields"] == dict.fromkeys(required, "is required")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/transactions/user/ada?limit=0", 422), ("/transactions/user/ada?limit=101", 422),
        ("/transactions/user/ada?limit=x", 422), ("/transactions/user/ada?limit=1&limit=2", 422),
        ("/transactions/user/ada?status=gone", 422), ("/transactions/user/ada?type=loan", 422),
        ("/transactions/user/ada?cursor=%00", 422), ("/transactions/user/ada?cursor=zzz", 422),
        ("/transactions/user/ada?colour=1", 422),
        ("/transactions/user/%00", 422), ("/transactions/user/ada?limit=1", 200),
        ("/wallet/balance/ada?currency=XXX", 422), ("/wallet/balance/ada?currency=USD", 404),
        ("/wallet/balance/unknown", 404), ("/wallet/balance/%ff%fe", 422), ("/wallet/balance/a%0Ab", 422),
        ("/transactions/nothing", 404), ("/transactions/%00", 404), ("/transactions/" + "x" * 5_000, 404),
        ("/nothing", 404), ("/bills/pay", 405),
    ],
)  # fmt: skip
def test_invalid_path_or_query_is_rejected(client: Client, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status, response.get_data(as_text=True)
    if status != 200:
        code_of(response)


def test_unknown_field_is_accepted_without_strict_validation(bv: Billvend, settings: Settings) -> None:
    loose = settings.model_copy(update={"strict_validation": False})
    client = Client(application(bv, loose))
    assert client.post("/wallet/fund", {"userId": "ada", "amount": 500, "colour": 1}).status_code == 201
    bill = {name: value for name, value in BILL.items() if name != "provider"}
    assert client.post("/bills/pay", {**bill, "biller": "EKEDC", "colour": 1}).status_code == 202


@pytest.mark.parametrize("key", ["", " ", "a" * 256, "a\u00e4b", "a\tb"])
def test_invalid_idempotency_key_is_rejected(client: Client, bv: Billvend, key: str) -> None:
    response = client.post("/wallet/fund", {"userId": "ada", "amount": 5}, key=key)
    assert (response.status_code, code_of(response)) == (400, "invalid_idempotency_key")
    assert str(bv.balance("ada").available) == "5000.00"
