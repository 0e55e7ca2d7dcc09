"""VTpass: requests byte for byte, and the classification of every answer."""

import json
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.billers import BILLERS, SERVICE_ID_BY_BILLER
from billvend.adapters.providers.http_body import parse_json
from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.vtpass.codes import CODES
from billvend.adapters.providers.vtpass.delivery import TOKEN_WARNING
from billvend.adapters.providers.vtpass.provider import VtpassProvider, make_reference
from billvend.adapters.providers.vtpass.response_parser import (
    Endpoint,
    parse_answer,
    parse_balance,
    parse_meter,
    parse_references,
)
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
)
from billvend.domain.policy.accounts import Mode
from billvend.ports.provider import Order, Provider
from tests.provider.recorded import provider_setup, recorded
from tests.provider.vtpass_answers import (
    BONUS,
    METER,
    REFERENCE,
    TOKEN,
    answer,
    delivered,
    eko,
    meter,
    order,
    postpaid,
    to_bytes,
    transaction,
)

URL = "https://sandbox.vtpass.com/api"
ENDPOINTS = (Endpoint.PAY, Endpoint.REQUERY)


def provider(**more: Any) -> VtpassProvider:
    keys = {"api_key": "the-api-key", "public_key": "PK_public", "secret_key": "SK_secret"}
    return VtpassProvider(provider_setup(**(keys | more)))


@pytest.fixture(scope="module")  # it has no state
def vtpass() -> Iterator[Provider]:
    vtpass = provider()
    yield vtpass
    vtpass.close()


def call(vtpass: Provider, endpoint: Endpoint, order: Order) -> Answer:
    answer = vtpass.vend(order, lambda: True) if endpoint is Endpoint.PAY else vtpass.requery(order)
    return recorded(answer, order)


def answer_for(
    vtpass: Provider,
    endpoint: Endpoint,
    body: object,
    http_status: int = 200,
    vend_type: VendType = VendType.PREPAID,
) -> Answer:
    """The classification of these bytes on the wire."""
    with respx.mock:
        respx.post(URL + endpoint.value).respond(http_status, content=to_bytes(body))
        return call(vtpass, endpoint, order(vend_type=vend_type))


# --- every code with every status -------------------------------------------------------------------------------------

STATUSES = (None, "delivered", "successful", "initiated", "pending", "failed", "reversed", "resolved", "odd")

DELIVERED, DEFERRED, MISCONFIGURED, PENDING, NOT_FOUND = (
    "delivered",
    "deferred",
    "misconfigured",
    "pending",
    "not found",
)
REQUEST_DECLINED, SALE_DECLINED, REVERSED, SALE_REVERSED = (
    "declined",
    "declined it",
    "taken back",
    "taken it back",
)  # of the transaction itself
UNKNOWN, ACKNOWLEDGED = "unknown", "unknown, but acknowledged"


def kind_of(answer: Answer) -> str:
    match answer:
        case Declined():
            return {
                (False, False): REQUEST_DECLINED, (True, False): SALE_DECLINED,
                (False, True): REVERSED, (True, True): SALE_REVERSED,
            }[answer.about_transaction, answer.provider_reversed]  # fmt: skip
        case Unknown():
            return ACKNOWLEDGED if answer.known_to_provider else UNKNOWN
        case Deferred():
            return DEFERRED
        case _:
            words = {
                Delivered: DELIVERED,
                Misconfigured: MISCONFIGURED,
                Pending: PENDING,
                NotFound: NOT_FOUND,
            }
            return words.get(type(answer), repr(answer))


# Columns: no status, delivered (successful), initiated or pending, failed, reversed, anything else.
TO_PAY = {
    "000 001 099": (ACKNOWLEDGED, DELIVERED, ACKNOWLEDGED, SALE_DECLINED, SALE_REVERSED, ACKNOWLEDGED),
    "010 011 012 013 017 025 026 030 031 032 034 035": (
        REQUEST_DECLINED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        SALE_DECLINED,
        SALE_REVERSED,
        ACKNOWLEDGED,
    ),
    "016 091": (REQUEST_DECLINED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_DECLINED, SALE_REVERSED, ACKNOWLEDGED),
    "040": (REVERSED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_REVERSED, SALE_REVERSED, ACKNOWLEDGED),
    "044": (ACKNOWLEDGED, DELIVERED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_REVERSED, ACKNOWLEDGED),
    "018 021 022 023 024 027 028 085 087": (
        MISCONFIGURED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        MISCONFIGURED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
    ),
    "019": (DEFERRED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED),
    "014 089": (ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED),
    "015 020 083 777 0 -": (UNKNOWN, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED),
}
TO_REQUERY = {
    "000 001 099": (ACKNOWLEDGED, DELIVERED, PENDING, SALE_DECLINED, SALE_REVERSED, ACKNOWLEDGED),
    "010 011 012 013 017 025 026 030 031 032 034 035": (
        UNKNOWN,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        SALE_DECLINED,
        SALE_REVERSED,
        ACKNOWLEDGED,
    ),
    "016 091": (SALE_DECLINED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_DECLINED, SALE_REVERSED, ACKNOWLEDGED),
    "040": (SALE_REVERSED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_REVERSED, SALE_REVERSED, ACKNOWLEDGED),
    "044": (ACKNOWLEDGED, DELIVERED, ACKNOWLEDGED, ACKNOWLEDGED, SALE_REVERSED, ACKNOWLEDGED),
    "014 089": (ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED),
    "015": (NOT_FOUND, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED, ACKNOWLEDGED),
    "018 019 020 021 022 023 024 027 028 083 085 087 777 0 -": (
        UNKNOWN,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
        ACKNOWLEDGED,
    ),
}
ROWS = [
    (endpoint, code, expected)
    for endpoint, table in zip(ENDPOINTS, (TO_PAY, TO_REQUERY), strict=True)
    for codes, expected in table.items()
    for code in codes.split()
]


@pytest.mark.parametrize(("endpoint", "code", "expected"), ROWS)
def test_code_and_status_are_classified(
    vtpass: Provider, endpoint: Endpoint, code: str, expected: tuple[str, ...]
) -> None:
    none, done, under_way, failed, back, other = expected
    expected_by_status = dict(
        zip(STATUSES, (none, done, done, under_way, under_way, failed, back, other, other), strict=True)
    )
    classified = {}
    for status in STATUSES:
        body = delivered(**answer(code, status)) if status else answer(code)
        if code == "-":
            del body["code"]
        classified[status] = kind_of(answer_for(vtpass, endpoint, body))
    assert classified == expected_by_status


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("000", "failed", "the transaction failed"),
        ("001", "reversed", "the transaction was reversed"),
        ("016", "failed", "the transaction failed"),
        ("040", None, "the transaction was reversed"),
        ("044", "reversed", "the transaction was reversed"),
        ("013", None, "the amount is below the minimum"),
        ("030", "failed", "the electricity company can't be reached"),
    ],
)
def test_decline_has_reason(vtpass: Provider, code: str, status: str | None, reason: str) -> None:
    declined = answer_for(vtpass, Endpoint.PAY, answer(code, status))
    assert isinstance(declined, Declined)
    assert (declined.reason, declined.code) == (reason, code)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_code_is_covered(endpoint: Endpoint) -> None:
    assert {code for where, code, _ in ROWS if where is endpoint} == {*CODES, "777", "0", "-"}


@pytest.mark.parametrize(
    "code", [0, 16, 40, 1.5, True, None, ["016"], {"016": "016"}, "16", "+16", "SK_secret"]
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_code_not_in_table_is_ignored(vtpass: Provider, endpoint: Endpoint, code: object) -> None:
    assert kind_of(answer_for(vtpass, endpoint, answer(code))) == UNKNOWN
    assert kind_of(answer_for(vtpass, endpoint, answer(code, "delivered"))) == ACKNOWLEDGED


@pytest.mark.parametrize("http_status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.PAY, delivered(), ACKNOWLEDGED),
        (Endpoint.PAY, answer("016", "failed"), ACKNOWLEDGED),
        (Endpoint.PAY, answer("011"), UNKNOWN),
        (Endpoint.PAY, answer("018"), UNKNOWN),
        (Endpoint.PAY, answer("019"), UNKNOWN),
        (Endpoint.REQUERY, answer("015"), UNKNOWN),
        (Endpoint.REQUERY, answer("040", "reversed"), ACKNOWLEDGED),
    ],
)
def test_server_error_proves_nothing(
    vtpass: Provider, endpoint: Endpoint, body: object, expected: str, http_status: int
) -> None:
    assert kind_of(answer_for(vtpass, endpoint, body, http_status)) == expected


@pytest.mark.parametrize("http_status", [201, 202, 400, 401, 403, 404, 422])
@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.PAY, delivered(), DELIVERED),
        (Endpoint.PAY, answer("011"), REQUEST_DECLINED),
        (Endpoint.PAY, answer("087"), MISCONFIGURED),
        (Endpoint.PAY, {"message": "Unauthenticated."}, UNKNOWN),
        (Endpoint.PAY, {"code": "unauthorized"}, UNKNOWN),
        (Endpoint.REQUERY, answer("015"), NOT_FOUND),
        (Endpoint.REQUERY, {"error": "not found"}, UNKNOWN),
    ],
)
def test_code_takes_precedence_over_http_status(
    vtpass: Provider, endpoint: Endpoint, body: object, expected: str, http_status: int
) -> None:
    assert kind_of(answer_for(vtpass, endpoint, body, http_status)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"true", b"16", b'"016"', b"[]", b'[{"code": "016"}]', b"{}", b'{"code": "016"',
        b"<html>016</html>", b"\xff\xfe", b'{"code": NaN}', b"[" * 100_000, b'{"content": ' * 20_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("http_status", [200, 400, 500])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_malformed_answer_proves_nothing(
    vtpass: Provider, endpoint: Endpoint, http_status: int, body: bytes
) -> None:
    assert kind_of(answer_for(vtpass, endpoint, body, http_status)) == UNKNOWN


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, REQUEST_DECLINED),
        ([], REQUEST_DECLINED),
        ("", REQUEST_DECLINED),
        ({"errors": ["a field is missing"]}, REQUEST_DECLINED),
        ({"transactions": None}, REQUEST_DECLINED),
        ({"transactions": []}, REQUEST_DECLINED),
        ({"transactions": {"status": "N/A"}}, REQUEST_DECLINED),
        ({"transactions": {"status": ""}}, REQUEST_DECLINED),
        ({"transactions": "delivered"}, ACKNOWLEDGED),
        ({"transactions": [{"status": "delivered"}]}, ACKNOWLEDGED),
        ({"transactions": {"status": ["delivered"]}}, ACKNOWLEDGED),
        ({"transactions": {"status": 1}}, ACKNOWLEDGED),
    ],
)
def test_unreadable_status_is_not_treated_as_missing(
    vtpass: Provider, content: object, expected: str
) -> None:
    assert kind_of(answer_for(vtpass, Endpoint.PAY, answer("011", content=content))) == expected


# --- answers about another transaction --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.PAY, answer("011")),
        (Endpoint.PAY, answer("016", "failed")),
        (Endpoint.PAY, answer("018")),
        (Endpoint.PAY, answer("019")),
        (Endpoint.PAY, answer("099", "pending")),
        (Endpoint.REQUERY, answer("000", "pending")),
        (Endpoint.REQUERY, answer("015")),
        (Endpoint.REQUERY, answer("016", "failed")),
        (Endpoint.REQUERY, answer("040", "reversed")),
    ],
)
def test_answer_for_foreign_reference_is_unknown(
    vtpass: Provider, endpoint: Endpoint, body: dict[str, Any]
) -> None:
    assert kind_of(answer_for(vtpass, endpoint, body)) != UNKNOWN
    for foreign in (REFERENCE[:-1], REFERENCE.lower(), 42):
        assert kind_of(answer_for(vtpass, endpoint, body | {"requestId": foreign})) == UNKNOWN


@pytest.mark.parametrize("missing", [None, "", "N/A"])
def test_answer_without_reference_must_match_meter(vtpass: Provider, missing: object) -> None:
    def classify(**more: Any) -> str:
        content = {"transactions": transaction(status="failed", **more)}
        return kind_of(
            answer_for(vtpass, Endpoint.REQUERY, answer("016", requestId=missing, content=content))
        )

    assert classify() == classify(unique_element="N/A") == SALE_DECLINED
    assert classify(unique_element="45087654321") == UNKNOWN


@pytest.mark.parametrize(
    ("change", "acknowledged"),
    [
        ({"requestId": "202611220000ZZZZZZZZZZZZZZZZZZZZ"}, False),
        ({"requestId": "202611220000ZZZZZZZZZZZZZZZZZZZZ", "token": None, "purchased_code": None}, False),
        ({"content": {"transactions": transaction(unique_element="45087654321")}}, True),
        ({"content": {"transactions": transaction(amount="1999.99")}}, True),
        ({"content": {"transactions": transaction(amount=None, unit_price="20")}}, True),
    ],
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_mismatching_delivery_is_rejected_by_core(
    vtpass: Provider, endpoint: Endpoint, change: dict[str, Any], acknowledged: bool
) -> None:
    core = answer_for(vtpass, endpoint, delivered(**change))
    assert isinstance(core, Unknown)
    assert core.known_to_provider is acknowledged


# --- details of a sale ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_sale_in_current_format_is_parsed(vtpass: Provider, endpoint: Endpoint) -> None:
    assert answer_for(vtpass, endpoint, delivered()) == Delivered(
        token=TOKEN,
        units="79.9",
        cost_minor=1970_00,
        receipt={
            "exchangeReference": "16000000000001",
            "netAmount": "1860.47",
            "tax": "139.53",
            "tariff": "Rate: 23.28/kWh",
        },
        provider_reference="17600000000000000000000042",
        reference=REFERENCE,
        meter=METER,
        amount_minor=2000_00,
    )


def test_sale_in_eko_format_is_parsed(vtpass: Provider) -> None:
    sale = answer_for(vtpass, Endpoint.PAY, eko())
    assert isinstance(sale, Delivered)
    assert (sale.token, sale.units, sale.meter) == (TOKEN, "41.2", METER)
    assert sale.receipt == {
        "kct1": "11112222333344445555",
        "kct2": "11112222333344446666",
        "bonusToken": BONUS,
        "netAmount": "1860.47",
        "tax": "139.53",
        "tariff": "52",
        "description": "Normal Sale",
        "bonusUnits": "2.0",
        "bonusAmount": "0",
        "bonusDescription": "FBE Token",
        "debtDescription": "1",
    }


def test_postpaid_sale_has_no_token(vtpass: Provider) -> None:
    for body in (postpaid(), postpaid() | {"purchased_code": "Receipt 160000000000"}):
        sale = answer_for(vtpass, Endpoint.PAY, body, vend_type=VendType.POSTPAID)
        assert isinstance(sale, Delivered)
        assert (sale.token, sale.units, sale.meter, sale.amount_minor) == (None, None, METER, 2000_00)
        assert sale.receipt == {
            "exchangeReference": "16000000000002", "utilityName": "Made Up Electric", "balance": "500.00",
        }  # fmt: skip


def test_token_of_postpaid_order_is_returned(vtpass: Provider) -> None:
    sale = answer_for(vtpass, Endpoint.PAY, delivered(), vend_type=VendType.POSTPAID)
    assert isinstance(sale, Delivered)
    assert sale.token == TOKEN


NO_TOKEN_FIELDS = {"token": None, "purchased_code": None}
EXTRAS = {"transactions": transaction(extras=f"Token : {TOKEN}")}


@pytest.mark.parametrize(
    ("change", "token"),
    [
        ({"token": TOKEN, "purchased_code": "Token : 11111111111111111111"}, TOKEN),
        (NO_TOKEN_FIELDS | {"mainToken": "1234 5678 9012 3456 7890"}, TOKEN),
        (NO_TOKEN_FIELDS | {"Token": "tokens: 1234-5678-9012-3456-7890"}, TOKEN),
        (NO_TOKEN_FIELDS | {"tokenValue": TOKEN, "purchased_code": "Token : 11111111111111111111"}, TOKEN),
        (NO_TOKEN_FIELDS | {"tokenValue": "1860.47", "purchased_code": f"Token:{TOKEN}"}, TOKEN),
        ({"token": "N/A", "purchased_code": f"Token : {TOKEN}"}, TOKEN),
        ({"token": "Token : N/A", "purchased_code": f"Token : {TOKEN}"}, TOKEN),
        ({"token": "pending", "purchased_code": 0, "content": EXTRAS}, TOKEN),
        ({"token": [TOKEN], "purchased_code": {"a": TOKEN}, "content": EXTRAS}, TOKEN),
        (NO_TOKEN_FIELDS | {"token": int(TOKEN)}, TOKEN),
        ({"token": "01234567890123456789"}, "01234567890123456789"),
    ],
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_token_is_read_from_any_field(
    vtpass: Provider, endpoint: Endpoint, change: dict[str, Any], token: str
) -> None:
    sale = answer_for(vtpass, endpoint, delivered(**change))
    assert isinstance(sale, Delivered)
    assert sale.token == token
    assert "tokenWarning" not in sale.receipt


def test_bonus_token_is_read_from_text(vtpass: Provider) -> None:
    body = delivered(purchased_code=f"Token : {TOKEN} Bonus Token : {BONUS}")
    sale = answer_for(vtpass, Endpoint.PAY, body)
    assert isinstance(sale, Delivered)
    assert (sale.token, sale.receipt["bonusToken"]) == (TOKEN, BONUS)


@pytest.mark.parametrize(
    ("received", "token"),
    [
        ("Token : 1234-5678-9012-3456-7890-1234", "123456789012345678901234"),
        ("99999999999999999999", "99999999999999999999"),  # 20 digits, but not below 2**66
        ("1234567890123456789", "1234567890123456789"),
        ("1234 5678 9012 3456 789O", "1234 5678 9012 3456 789O"),
    ],
)
def test_malformed_token_is_returned_with_warning(vtpass: Provider, received: str, token: str) -> None:
    sale = answer_for(vtpass, Endpoint.PAY, delivered(token=received))
    assert isinstance(sale, Delivered)
    assert sale.token == token
    assert sale.receipt["tokenWarning"] == TOKEN_WARNING


@pytest.mark.parametrize("nothing", [None, "", "N/A", "Token : ", "Token : N/A", "pending", 0, [], {}, False])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_prepaid_sale_without_token_is_unknown(vtpass: Provider, endpoint: Endpoint, nothing: object) -> None:
    body = delivered(token=nothing, purchased_code=nothing)
    assert kind_of(answer_for(vtpass, endpoint, body)) == ACKNOWLEDGED


@pytest.mark.parametrize(
    ("change", "cost_minor", "amount_minor"),
    [
        ({"total_amount": "1970.00", "amount": 2000, "unit_price": "1"}, 1970_00, 2000_00),
        ({"total_amount": 985.985, "amount": "N/A", "unit_price": "2,000.00"}, 985_99, 2000_00),
        ({"total_amount": None, "amount": "2000.50"}, None, 2000_50),
        ({"total_amount": "N/A", "amount": None, "unit_price": None}, None, None),
        ({"total_amount": [1], "amount": {"a": 1}, "unit_price": True}, None, None),
    ],
)
def test_amounts_are_parsed_from_text_or_numbers(
    change: dict[str, Any], cost_minor: int | None, amount_minor: int | None
) -> None:
    body = parse_json(to_bytes(delivered(content={"transactions": transaction(**change)})))
    sale = parse_answer(Endpoint.PAY, Response(200, body), order())
    assert isinstance(sale, Delivered)
    assert (sale.cost_minor, sale.amount_minor) == (cost_minor, amount_minor)


# --- requests ---------------------------------------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    ("amount_minor", "naira"),
    [
        (2000_00, b"2000"),
        (100, b"1"),
        (500_50, b'"500.50"'),
        (1, b'"0.01"'),
        (10_000_000_01, b'"10000000.01"'),
    ],
)
def test_pay_request_has_expected_bytes(vtpass: Provider, amount_minor: int, naira: bytes) -> None:
    route = respx.post(f"{URL}/pay").respond(json=answer("016"))
    vtpass.vend(order(amount_minor), lambda: True)
    (call,) = route.calls
    assert call.request.content == (
        b'{"request_id":"202611220000ABCDEFGHIJKLMNOPQRST","serviceID":"ikeja-electric",'
        b'"billersCode":"45012345678","variation_code":"prepaid","amount":%s,"phone":"08012345678"}' % naira
    )
    headers = call.request.headers
    assert (headers["api-key"], headers["secret-key"]) == ("the-api-key", "SK_secret")
    assert headers["content-type"] == "application/json"
    assert not {"public-key", "authorization"} & set(headers)


@respx.mock
def test_other_requests_have_expected_content_and_keys(vtpass: VtpassProvider) -> None:
    requery = respx.post(f"{URL}/requery").respond(json=answer("015"))
    verify = respx.post(f"{URL}/merchant-verify").respond(json=meter())
    balance = respx.get(f"{URL}/balance").respond(json={"code": 1, "contents": {"balance": 1}})
    vtpass.requery(order())
    vtpass.verify(METER, "PHED", VendType.POSTPAID)
    vtpass.fetch_float()
    assert requery.calls.last.request.content == b'{"request_id":"202611220000ABCDEFGHIJKLMNOPQRST"}'
    assert verify.calls.last.request.content == (
        b'{"billersCode":"45012345678","serviceID":"portharcourt-electric","type":"postpaid"}'
    )
    for sent, key, other in (
        (requery, "secret-key", "public-key"),
        (verify, "secret-key", "public-key"),
        (balance, "public-key", "secret-key"),
    ):
        assert sent.call_count == 1
        headers = sent.calls.last.request.headers
        assert headers["api-key"] == "the-api-key"
        assert headers[key] == {"secret-key": "SK_secret", "public-key": "PK_public"}[key]
        assert other not in headers


@respx.mock
def test_email_and_password_use_basic_auth() -> None:
    vtpass = provider(api_key="shop@example.com", public_key=None, secret_key="pass:wörd")
    pay = respx.post(f"{URL}/pay").respond(json=answer("016"))
    balance = respx.get(f"{URL}/balance").respond(json={})
    vtpass.vend(order(vend_type=VendType.POSTPAID, biller="EKEDC"), lambda: True)
    vtpass.fetch_float()
    credentials = "Basic " + b64encode("shop@example.com:pass:wörd".encode()).decode()
    for route in (pay, balance):
        headers = route.calls.last.request.headers
        assert headers["authorization"] == credentials
        assert not {"api-key", "secret-key", "public-key"} & set(headers)
    assert json.loads(pay.calls.last.request.content)["variation_code"] == "postpaid"
    vtpass.close()


@respx.mock
def test_public_key_selects_api_key_auth() -> None:
    vtpass = provider(api_key="shop@example.com", api_url="https://vtpass.example/api/")
    balance = respx.get("https://vtpass.example/api/balance").respond(json={})
    vtpass.fetch_float()
    assert balance.calls.last.request.headers["api-key"] == "shop@example.com"
    vtpass.close()


@respx.mock
def test_every_biller_has_its_service_id(vtpass: Provider) -> None:
    route = respx.post(f"{URL}/pay").respond(json=answer("016"))
    for biller in BILLERS:
        vtpass.vend(order(biller=biller.code), lambda: True)
    sent = [json.loads(call.request.content)["serviceID"] for call in route.calls]
    assert sent == [
        *("eko-electric", "ikeja-electric", "abuja-electric", "ibadan-electric", "kano-electric"),
        *("portharcourt-electric", "jos-electric", "kaduna-electric", "enugu-electric", "benin-electric"),
        *("yola-electric", "aba-electric"),
    ]


@respx.mock
def test_order_phone_overrides_setting() -> None:
    vtpass = provider(phone="09000000000")
    route = respx.post(f"{URL}/pay").respond(json=answer("016"))
    for phone in ("08012345678", None):
        vtpass.vend(order(phone=phone), lambda: True)
    assert [json.loads(call.request.content)["phone"] for call in route.calls] == [
        "08012345678",
        "09000000000",
    ]
    vtpass.close()


@respx.mock
def test_missing_phone_is_declined_with_setting_name(vtpass: Provider) -> None:
    answer = vtpass.vend(order(phone=None), lambda: True)
    assert isinstance(answer, Declined), "the fault of this order, and no reason to stop selling"
    assert "BILL_PROVIDER_PHONE" in answer.reason


@respx.mock
@pytest.mark.parametrize(
    "refused",
    [
        order(biller="NEPA"),
        order(currency="USD"),
        order(reference=make_reference("p", 1, date(2026, 11, 21))),
        order(reference=make_reference("p", 1, date(2026, 11, 23))),
    ],
)
def test_unsupported_order_is_not_sent(vtpass: Provider, refused: Order) -> None:
    assert isinstance(vtpass.vend(refused, lambda: True), NotSent)


@respx.mock
def test_reference_day_is_in_lagos_time() -> None:
    late = provider(now=lambda: datetime(2026, 11, 22, 23, 0, tzinfo=UTC))  # 00:00 on the 23rd in Lagos
    route = respx.post(f"{URL}/pay").respond(json=answer("016"))
    assert isinstance(late.vend(order(), lambda: True), NotSent)
    late.vend(order(reference=make_reference("p", 1, date(2026, 11, 23))), lambda: True)
    assert route.call_count == 1
    late.close()


@respx.mock
def test_nothing_is_sent_when_guard_refuses(vtpass: Provider) -> None:
    assert isinstance(vtpass.vend(order(), lambda: False), NotSent)


def test_refused_connection_proves_only_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    vtpass = provider(api_url=f"http://127.0.0.1:{port}/api")
    assert isinstance(vtpass.vend(order(), lambda: True), NotSent)
    assert kind_of(vtpass.requery(order())) == UNKNOWN
    assert isinstance(vtpass.verify(METER, "IKEDC", VendType.PREPAID), MeterLookupFailed)
    assert isinstance(vtpass.fetch_float(), Unknown)
    vtpass.close()


@respx.mock
@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError])
def test_error_after_first_byte_is_unknown(vtpass: Provider, error: type[Exception]) -> None:
    respx.post(f"{URL}/pay").mock(side_effect=error)
    assert kind_of(vtpass.vend(order(), lambda: True)) == UNKNOWN


# --- the account ------------------------------------------------------------------------------------------------------


def test_provider_account_has_expected_attributes(vtpass: Provider) -> None:
    account = vtpass.account
    assert (account.provider, account.currency, account.mode) == ("vtpass", "NGN", Mode.TEST)
    assert account.account_id == "sandbox.vtpass.com#8b8e0b7b"
    assert account.billers == BILLERS
    assert set(SERVICE_ID_BY_BILLER) == {biller.code for biller in BILLERS}
    assert account.reports_not_found
    assert account.accepts_amount(Money(500_50, "NGN"))
    assert account.day(datetime(2026, 11, 22, 23, 0, tzinfo=UTC)) == date(2026, 11, 23)
    assert account.valid_until(date(2026, 11, 22)) == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("api_url", "mode"),
    [
        ("https://sandbox.vtpass.com/api", Mode.TEST),
        ("https://SANDBOX.vtpass.com/api/", Mode.TEST),
        ("http://127.0.0.1:4000/api", Mode.TEST),
        ("http://[::1]:4000/api", Mode.TEST),
        ("http://localhost:4000", Mode.TEST),
        ("https://vtpass.com/api", Mode.LIVE),
        ("https://api-service.vtpass.com/api", Mode.LIVE),
        ("https://sandbox.vtpass.com.example/api", Mode.LIVE),
        ("https://10.0.0.1/sandbox.vtpass.com", Mode.LIVE),
    ],
)
def test_mode_is_live_except_sandbox_and_loopback(api_url: str, mode: Mode) -> None:
    assert provider(api_url=api_url).account.mode is mode


def test_account_id_is_host_and_key_id() -> None:
    accounts = {
        provider(**change).account.account_id
        for change in (
            {},
            {"public_key": "PK_other"},
            {"api_url": "https://vtpass.com/api"},
            {"public_key": None, "api_key": "shop@example.com"},
        )
    }
    assert len(accounts) == 4
    same: tuple[dict[str, Any], ...] = ({}, {"secret_key": "SK_renewed"}, {"api_key": "renewed"})
    assert len({provider(**change).account.account_id for change in same}) == 1


@pytest.mark.parametrize(("configured", "declared"), [(1, 600), (600, 600), (7200, 7200)])
def test_max_processing_time_can_only_be_raised(configured: int, declared: int) -> None:
    assert provider(max_processing_seconds=configured).account.max_processing_seconds == declared


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"api_key": None}, "BILL_PROVIDER_API_KEY"),
        ({"api_key": ""}, "BILL_PROVIDER_API_KEY"),
        ({"secret_key": None}, "BILL_PROVIDER_SECRET_KEY"),
        ({"public_key": None}, "BILL_PROVIDER_PUBLIC_KEY"),
        ({"public_key": None, "api_key": "shop@example.com", "secret_key": ""}, "BILL_PROVIDER_SECRET_KEY"),
        ({"secret_key": "SK_private\n"}, "BILL_PROVIDER_SECRET_KEY"),
        ({"api_key": "privaté"}, "BILL_PROVIDER_API_KEY"),
    ],
)
def test_missing_or_invalid_credential_is_named_not_shown(change: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting) as refused:
        provider(**change)
    assert list(refused.value.fields) == [setting]
    assert "privat" not in str(refused.value).replace("PRIVATE", "")


@given(st.text(), st.integers(1, 99), st.dates())
def test_reference_is_day_and_alphanumeric(seed: str, attempt: int, day: date) -> None:
    reference = make_reference(seed, attempt, day)
    assert re.fullmatch(r"[0-9]{8}0000[A-Z2-7]{20}", reference)
    assert reference[:8] == day.isoformat().replace("-", "")
    assert reference == make_reference(seed, attempt, day)
    assert parse_references(to_bytes(webhook(reference))) == (reference,)


def test_references_differ_by_payment_attempt_and_day() -> None:
    days = (date(2026, 11, 22), date(2026, 11, 23))
    references = [
        make_reference(payment, attempt, day)
        for payment in ("p", "p1", "p|1")
        for attempt in (1, 11)
        for day in days
    ]
    assert len(set(references)) == len(references)
    assert references[0] == "202611220000IVABZH5WAPRW6POFRQDH", (
        "a restored backup must derive the same reference"
    )


# --- meters -----------------------------------------------------------------------------------------------------------

FOUND = MeterFound("ADA EXAMPLE", "1 MADE UP ROAD", 1000_00)


def rejected_meter(fault: MeterFault, reason: str) -> MeterRejected:
    return MeterRejected(fault, reason)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (meter(), FOUND),
        (meter() | {"code": "020"}, FOUND),
        (meter(Meter_Type=None, Can_Vend="N/A", WrongBillersCode="false", error=None), FOUND),
        (meter(Meter_Type="Prepaid", Can_Vend=True, WrongBillersCode=0, error="N/A"), FOUND),
        (meter(Address=None, Min_Purchase_Amount=""), MeterFound("ADA EXAMPLE")),
        (meter(Min_Purchase_Amount=0, Minimum_Amount=500.5), MeterFound("ADA EXAMPLE", FOUND.address, 500_50)),
        (
            meter(MAX_Purchase_Amount="100,000"),
            MeterFound("ADA EXAMPLE", FOUND.address, 1000_00, 100_000_00),
        ),
        (
            {"code": "000", "content": {"customerName": "ADA EXAMPLE", "MeterNumber": METER}},
            MeterFound("ADA EXAMPLE"),
        ),
        (
            {"code": "000", "content": {"error": "No such meter here"}},
            rejected_meter(MeterFault.METER_NOT_FOUND, "No such meter here"),
        ),
        (
            {"code": "000", "content": {"error": {"meter": "?"}}},
            rejected_meter(MeterFault.METER_NOT_FOUND, "no such meter"),
        ),
        (meter(error="Not valid"), rejected_meter(MeterFault.METER_NOT_FOUND, "Not valid")),
        (meter(WrongBillersCode=True), rejected_meter(MeterFault.METER_NOT_FOUND, "no such meter")),
        (meter(WrongBillersCode="true"), rejected_meter(MeterFault.METER_NOT_FOUND, "no such meter")),
        (
            meter(Meter_Type="POSTPAID"),
            rejected_meter(MeterFault.WRONG_METER_TYPE, "the meter is postpaid, not prepaid"),
        ),
        (
            meter(Can_Vend="NO"),
            rejected_meter(
                MeterFault.METER_CANNOT_VEND, "the electricity company does not sell to this meter"
            ),
        ),
    ],
)  # fmt: skip
def test_meter_answer_is_classified(
    vtpass: Provider, body: dict[str, Any], expected: MeterLookupResult
) -> None:
    with respx.mock:
        respx.post(f"{URL}/merchant-verify").respond(content=to_bytes(body))
        assert vtpass.verify(METER, "IKEDC", VendType.PREPAID) == expected


def test_postpaid_meter_is_found_when_requested(vtpass: Provider) -> None:
    with respx.mock:
        respx.post(f"{URL}/merchant-verify").respond(json=meter(Meter_Type="POSTPAID"))
        assert vtpass.verify(METER, "IKEDC", VendType.POSTPAID) == FOUND


@pytest.mark.parametrize(
    ("body", "http_status"),
    [
        (meter(), 500),
        (meter(Customer_Name=""), 200),
        (meter(Customer_Name=["ADA"]), 200),
        (meter() | {"code": "001"}, 200),
        (meter() | {"code": 0}, 200),
        *(({"code": code, "content": {}}, 200) for code in ("000", "011", "012", "030", "087", "777")),
        ({"code": "000", "content": []}, 200),
        ({"code": "000"}, 200),
        (b"<html>", 200),
        (b"", 200),
        ([meter()], 200),
    ],
)
def test_meter_answer_without_meter_is_inconclusive(vtpass: Provider, body: object, http_status: int) -> None:
    with respx.mock:
        respx.post(f"{URL}/merchant-verify").respond(http_status, content=to_bytes(body))
        assert isinstance(vtpass.verify(METER, "IKEDC", VendType.PREPAID), MeterLookupFailed)


def test_unknown_biller_is_not_looked_up(vtpass: Provider) -> None:
    with respx.mock:
        assert isinstance(vtpass.verify(METER, "NEPA", VendType.PREPAID), MeterLookupFailed)


# --- balance, catalogue -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "http_status", "expected"),
    [
        ({"code": 1, "contents": {"balance": 12345.67}}, 200, Money(12345_67, "NGN")),
        ({"code": "1", "contents": {"balance": "12,345.678"}}, 200, Money(12345_67, "NGN")),
        ({"code": 1, "contents": {"balance": 0}}, 200, Money(0, "NGN")),
        ({"code": 1, "contents": {"balance": -0.005}}, 200, Money(-1, "NGN")),
        ({"code": "087", "response_description": "NO"}, 401, Misconfigured),
        ({"code": "027"}, 200, Misconfigured),
        ({"code": 1, "contents": {"balance": 1}}, 502, Unknown),
        ({"code": "087"}, 500, Unknown),
        ({"code": "083"}, 200, Unknown),
        ({"code": 2, "contents": {"balance": 1}}, 200, Unknown),
        ({"code": True, "contents": {"balance": 1}}, 200, Unknown),
        ({"code": 1, "contents": {"balance": None}}, 200, Unknown),
        ({"code": 1, "contents": [5]}, 200, Unknown),
        ({"code": 1}, 200, Unknown),
        (b"<html>", 200, Unknown),
        (b"", 200, Unknown),
    ],
)
def test_float_answer_is_classified(
    vtpass: Provider, body: object, http_status: int, expected: Money | type[Misconfigured] | type[Unknown]
) -> None:
    with respx.mock:
        respx.get(f"{URL}/balance").respond(http_status, content=to_bytes(body))
        answer = vtpass.fetch_float()
    assert answer == expected if isinstance(expected, Money) else type(answer) is expected


# --- webhooks ---------------------------------------------------------------------------------------------------------


def webhook(reference: object = REFERENCE, kind: object = "transaction-update") -> dict[str, Any]:
    return {"type": kind, "data": answer("040", "reversed", amount=48.5) | {"requestId": reference}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (webhook(), (REFERENCE,)),
        (webhook("202601151430ab12cd34ef"), ("202601151430ab12cd34ef",)),
        (to_bytes(webhook()).decode().encode("utf-16"), (REFERENCE,)),
        (webhook(kind="variations-update"), ()),
        (webhook(kind=["transaction-update"]), ()),
        (webhook(kind=None), ()),
        (webhook(202601151430), ()),
        (webhook([REFERENCE]), ()),
        (webhook(None), ()),
        (webhook("N/A"), ()),
        (webhook("202611220000' OR 1=1"), ()),
        (webhook("202611220000ÄÖ\ud800"), ()),
        (webhook("2026112200001\x00"), ()),
        (webhook("202611220000" + "A" * 500), ()),
        ({"type": "transaction-update", "data": [REFERENCE]}, ()),
        ({"type": "transaction-update", "requestId": REFERENCE}, ()),
        ([webhook()], ()),
        (b"", ()),
        (b"null", ()),
        (b"\xff\xfe\x00", ()),
        (b"{" * 100_000, ()),
        (b"[" * 100_000, ()),
        (b'{"a":' * 100_000, ()),
        (b"1" * 10_000, ()),
        (to_bytes(webhook())[:-1], ()),
    ],
)
def test_webhook_yields_its_reference(vtpass: Provider, body: object, expected: tuple[str, ...]) -> None:
    assert vtpass.parse_references(to_bytes(body)) == expected


@given(st.binary())
def test_webhook_parsing_never_raises(body: bytes) -> None:
    assert parse_references(body) == ()


# --- random answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("code", [*CODES, "777", "SK_secret"])
def test_answer_repeats_no_secret(vtpass: Provider, endpoint: Endpoint, code: str) -> None:
    body = answer(code, response_description="the-api-key PK_public SK_secret", error="SK_secret")
    for http_status in (200, 403, 500):
        for content in (body, json.dumps(body).encode() + b"<"):
            text = repr(answer_for(vtpass, endpoint, content, http_status))
            assert not re.search("the-api-key|PK_public|SK_secret", text)


def test_provider_repr_hides_secrets(vtpass: Provider) -> None:
    texts = f"{vtpass!r} {vtpass} {vtpass.account}"
    assert not re.search("the-api-key|PK_public|SK_secret", texts)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=30), st.sampled_from([TOKEN, REFERENCE, METER, "delivered", "N/A", "000", "016", "2000"]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
statuses = st.sampled_from(["delivered", "successful", "pending", "failed", "reversed"])
transactions = st.fixed_dictionaries(
    {"status": statuses | anything}, optional=dict.fromkeys(sorted({*transaction()} - {"status"}), anything)
)
answers = st.fixed_dictionaries(
    {
        "code": st.sampled_from(["000", "001", "044", "099"]) | st.sampled_from(sorted(CODES)) | anything,
        "content": st.fixed_dictionaries({"transactions": transactions}) | anything,
    },
    optional={
        "requestId": st.just(REFERENCE) | anything,
        "token": st.just(TOKEN) | anything,
        "contents": st.fixed_dictionaries({"balance": anything}),
    }
    | dict.fromkeys(sorted({*delivered(), *eko()} - {"code", "content", "requestId", "token"}), anything),
)


@given(
    body=answers | anything,
    http_status=st.sampled_from([200, 400, 500]),
    endpoint=st.sampled_from(ENDPOINTS),
    vend_type=st.sampled_from(VendType),
)
def test_random_answer_never_raises_and_only_success_delivers(
    body: Any, http_status: int, endpoint: Endpoint, vend_type: VendType
) -> None:
    bought = order(vend_type=vend_type)
    answer = recorded(parse_answer(endpoint, Response(http_status, body), bought), bought)
    if isinstance(answer, Delivered):
        assert http_status < 500
        assert body["code"].strip() in ("000", "001", "044", "099")
        assert body["content"]["transactions"]["status"].strip().lower() in ("delivered", "successful")
        assert answer.token or vend_type is VendType.POSTPAID
        assert answer.cost_minor is None or isinstance(answer.cost_minor, int)
    if endpoint is Endpoint.PAY:
        assert not isinstance(answer, NotFound | Pending)
    else:
        assert not isinstance(answer, Misconfigured | Deferred | NotSent)


@given(body=answers | anything, http_status=st.sampled_from([200, 400, 500]))
def test_other_answers_never_raise(body: Any, http_status: int) -> None:
    response = Response(http_status, body)
    assert isinstance(parse_balance(response), Money | Misconfigured | Unknown)
    assert isinstance(parse_meter(response, VendType.PREPAID), MeterFound | MeterRejected | MeterLookupFailed)


def test_extreme_numbers_never_raise() -> None:
    for huge in (Decimal("1E+999999"), Decimal("1E-999999"), 10**4000, "9" * 5000, "1" + ",000" * 100):
        body = delivered(content={"transactions": transaction(total_amount=huge, amount=huge)}, units=huge)
        assert isinstance(parse_answer(Endpoint.PAY, Response(200, body), order()), Answer)
        parse_balance(Response(200, {"code": 1, "contents": {"balance": huge}}))
