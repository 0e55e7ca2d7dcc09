"""VTpass: what is sent, byte for byte, and what every answer to it is taken for."""

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

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.vtpass.codes import CODES, SERVICE_ID_BY_BILLER
from billvend.adapters.providers.vtpass.delivery import TOKEN_WARNING
from billvend.adapters.providers.vtpass.provider import VtpassProvider, make_reference
from billvend.adapters.providers.vtpass.response_parser import (
    Endpoint,
    parse_answer,
    parse_balance,
    parse_meter,
    parse_references,
    parse_variations,
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
    verify_echo,
)
from billvend.domain.policy.accounts import Mode
from billvend.ports.provider import Order, Provider
from tests.provider.vtpass_answers import (
    BONUS,
    METER,
    REFERENCE,
    TOKEN,
    answer,
    delivered,
    eko,
    meter,
    on_the_wire,
    order,
    postpaid,
    transaction,
)

URL = "https://sandbox.vtpass.com/api"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ENDPOINTS = (Endpoint.PAY, Endpoint.REQUERY)


def provider(**more: Any) -> VtpassProvider:
    keys = {"api_key": "the-api-key", "public_key": "PK_public", "secret_key": "SK_secret"}
    return VtpassProvider(**{"api_url": None, "timeout_seconds": 5.0, "now": lambda: NOW, **keys, **more})


@pytest.fixture(scope="module")  # it remembers nothing
def vtpass() -> Iterator[Provider]:
    vtpass = provider()
    yield vtpass
    vtpass.close()


def ask(vtpass: Provider, endpoint: Endpoint, order: Order) -> Answer:
    return vtpass.vend(order, lambda: True) if endpoint is Endpoint.PAY else vtpass.requery(order)


def answered(
    vtpass: Provider,
    endpoint: Endpoint,
    body: object,
    http_status: int = 200,
    vend_type: VendType = VendType.PREPAID,
) -> Answer:
    """What is made of these bytes on the wire."""
    with respx.mock:
        respx.post(URL + endpoint.value).respond(http_status, content=on_the_wire(body))
        return ask(vtpass, endpoint, order(vend_type=vend_type))


# --- every code with every status -------------------------------------------------------------------------------------

STATUSES = (None, "delivered", "successful", "initiated", "pending", "failed", "reversed", "resolved", "odd")

OK, LATER, SETUP, PENDING, NOT_FOUND = "delivered", "deferred", "misconfigured", "pending", "not found"
NO, NO_IT, BACK, BACK_IT = (
    "declined",
    "declined it",
    "taken back",
    "taken it back",
)  # it: the transaction itself
DOUBT, KNOWN = "unknown", "unknown, but known there"


def kind_of(answer: Answer) -> str:
    match answer:
        case Declined():
            return {
                (False, False): NO, (True, False): NO_IT, (False, True): BACK, (True, True): BACK_IT,
            }[answer.about_transaction, answer.provider_reversed]  # fmt: skip
        case Unknown():
            return KNOWN if answer.known_to_provider else DOUBT
        case Deferred():
            return LATER
        case _:
            words = {Delivered: OK, Misconfigured: SETUP, Pending: PENDING, NotFound: NOT_FOUND}
            return words.get(type(answer), repr(answer))


# Columns: no status, delivered (successful), initiated or pending, failed, reversed, anything else.
TO_PAY = {
    "000 001 099": (KNOWN, OK, KNOWN, NO_IT, BACK_IT, KNOWN),
    "010 011 012 013 017 025 026 030 031 032 034 035": (NO, KNOWN, KNOWN, NO_IT, BACK_IT, KNOWN),
    "016 091": (NO, KNOWN, KNOWN, NO_IT, BACK_IT, KNOWN),
    "040": (BACK, KNOWN, KNOWN, BACK_IT, BACK_IT, KNOWN),
    "044": (KNOWN, OK, KNOWN, KNOWN, BACK_IT, KNOWN),
    "018 021 022 023 024 027 028 085 087": (SETUP, KNOWN, KNOWN, SETUP, KNOWN, KNOWN),
    "019": (LATER, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
    "014 089": (KNOWN, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
    "015 020 083 777 0 -": (DOUBT, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
}
TO_REQUERY = {
    "000 001 099": (KNOWN, OK, PENDING, NO_IT, BACK_IT, KNOWN),
    "010 011 012 013 017 025 026 030 031 032 034 035": (DOUBT, KNOWN, KNOWN, NO_IT, BACK_IT, KNOWN),
    "016 091": (NO_IT, KNOWN, KNOWN, NO_IT, BACK_IT, KNOWN),
    "040": (BACK_IT, KNOWN, KNOWN, BACK_IT, BACK_IT, KNOWN),
    "044": (KNOWN, OK, KNOWN, KNOWN, BACK_IT, KNOWN),
    "014 089": (KNOWN, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
    "015": (NOT_FOUND, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
    "018 019 020 021 022 023 024 027 028 083 085 087 777 0 -": (DOUBT, KNOWN, KNOWN, KNOWN, KNOWN, KNOWN),
}
ROWS = [
    (endpoint, code, expected)
    for endpoint, table in zip(ENDPOINTS, (TO_PAY, TO_REQUERY), strict=True)
    for codes, expected in table.items()
    for code in codes.split()
]


@pytest.mark.parametrize(("endpoint", "code", "expected"), ROWS)
def test_what_code_and_status_prove(
    vtpass: Provider, endpoint: Endpoint, code: str, expected: tuple[str, ...]
) -> None:
    none, done, under_way, failed, back, other = expected
    wanted = dict(
        zip(STATUSES, (none, done, done, under_way, under_way, failed, back, other, other), strict=True)
    )
    got = {}
    for status in STATUSES:
        body = delivered(**answer(code, status)) if status else answer(code)
        if code == "-":
            del body["code"]
        got[status] = kind_of(answered(vtpass, endpoint, body))
    assert got == wanted


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
def test_a_decline_tells_the_customer_why(
    vtpass: Provider, code: str, status: str | None, reason: str
) -> None:
    declined = answered(vtpass, Endpoint.PAY, answer(code, status))
    assert isinstance(declined, Declined)
    assert (declined.reason, declined.code) == (reason, code)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_code_was_forgotten(endpoint: Endpoint) -> None:
    assert {code for where, code, _ in ROWS if where is endpoint} == {*CODES, "777", "0", "-"}


@pytest.mark.parametrize(
    "code", [0, 16, 40, 1.5, True, None, ["016"], {"016": "016"}, "16", "+16", "SK_secret"]
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_code_that_is_not_the_text_in_the_table_is_none(
    vtpass: Provider, endpoint: Endpoint, code: object
) -> None:
    assert kind_of(answered(vtpass, endpoint, answer(code))) == DOUBT
    assert kind_of(answered(vtpass, endpoint, answer(code, "delivered"))) == KNOWN


@pytest.mark.parametrize("http_status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.PAY, delivered(), KNOWN),
        (Endpoint.PAY, answer("016", "failed"), KNOWN),
        (Endpoint.PAY, answer("011"), DOUBT),
        (Endpoint.PAY, answer("018"), DOUBT),
        (Endpoint.PAY, answer("019"), DOUBT),
        (Endpoint.REQUERY, answer("015"), DOUBT),
        (Endpoint.REQUERY, answer("040", "reversed"), KNOWN),
    ],
)
def test_an_error_of_their_server_proves_nothing_else(
    vtpass: Provider, endpoint: Endpoint, body: object, expected: str, http_status: int
) -> None:
    assert kind_of(answered(vtpass, endpoint, body, http_status)) == expected


@pytest.mark.parametrize("http_status", [201, 202, 400, 401, 403, 404, 422])
@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (Endpoint.PAY, delivered(), OK),
        (Endpoint.PAY, answer("011"), NO),
        (Endpoint.PAY, answer("087"), SETUP),
        (Endpoint.PAY, {"message": "Unauthenticated."}, DOUBT),
        (Endpoint.PAY, {"code": "unauthorized"}, DOUBT),
        (Endpoint.REQUERY, answer("015"), NOT_FOUND),
        (Endpoint.REQUERY, {"error": "not found"}, DOUBT),
    ],
)
def test_any_other_http_status_says_less_than_the_code(
    vtpass: Provider, endpoint: Endpoint, body: object, expected: str, http_status: int
) -> None:
    assert kind_of(answered(vtpass, endpoint, body, http_status)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"true", b"16", b'"016"', b"[]", b'[{"code": "016"}]', b"{}", b'{"code": "016"',
        b"<html>016</html>", b"\xff\xfe", b'{"code": NaN}', b"[" * 100_000, b'{"content": ' * 20_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("http_status", [200, 400, 500])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_no_answer_of_theirs_proves_nothing(
    vtpass: Provider, endpoint: Endpoint, http_status: int, body: bytes
) -> None:
    assert kind_of(answered(vtpass, endpoint, body, http_status)) == DOUBT


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, NO),
        ([], NO),
        ("", NO),
        ({"errors": ["a field is missing"]}, NO),
        ({"transactions": None}, NO),
        ({"transactions": []}, NO),
        ({"transactions": {"status": "N/A"}}, NO),
        ({"transactions": {"status": ""}}, NO),
        ({"transactions": "delivered"}, KNOWN),
        ({"transactions": [{"status": "delivered"}]}, KNOWN),
        ({"transactions": {"status": ["delivered"]}}, KNOWN),
        ({"transactions": {"status": 1}}, KNOWN),
    ],
)
def test_a_status_that_can_not_be_read_is_there_all_the_same(
    vtpass: Provider, content: object, expected: str
) -> None:
    assert kind_of(answered(vtpass, Endpoint.PAY, answer("011", content=content))) == expected


# --- whose transaction it is ------------------------------------------------------------------------------------------


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
def test_an_answer_for_another_reference_says_nothing_of_ours(
    vtpass: Provider, endpoint: Endpoint, body: dict[str, Any]
) -> None:
    assert kind_of(answered(vtpass, endpoint, body)) != DOUBT
    for foreign in (REFERENCE[:-1], REFERENCE.lower(), 42):
        assert kind_of(answered(vtpass, endpoint, body | {"requestId": foreign})) == DOUBT


@pytest.mark.parametrize("missing", [None, "", "N/A"])
def test_where_no_reference_is_named_the_meter_must_not_be_another_one(
    vtpass: Provider, missing: object
) -> None:
    def asked(**more: Any) -> str:
        content = {"transactions": transaction(status="failed", **more)}
        return kind_of(answered(vtpass, Endpoint.REQUERY, answer("016", requestId=missing, content=content)))

    assert asked() == asked(unique_element="N/A") == NO_IT
    assert asked(unique_element="45087654321") == DOUBT


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
def test_a_delivery_of_something_else_is_passed_on_for_the_core_to_refuse(
    vtpass: Provider, endpoint: Endpoint, change: dict[str, Any], acknowledged: bool
) -> None:
    answer = answered(vtpass, endpoint, delivered(**change))
    assert isinstance(answer, Delivered)
    core = verify_echo(answer, reference=REFERENCE, meter=METER, amount_minor=2000_00, needs_token=True)
    assert isinstance(core, Unknown)
    assert core.known_to_provider is acknowledged


# --- what was sold ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_sale_in_the_current_dialect(vtpass: Provider, endpoint: Endpoint) -> None:
    assert answered(vtpass, endpoint, delivered()) == Delivered(
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


def test_a_sale_in_the_dialect_of_eko(vtpass: Provider) -> None:
    sale = answered(vtpass, Endpoint.PAY, eko())
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


def test_a_bill_that_is_paid_off_has_no_token(vtpass: Provider) -> None:
    for body in (postpaid(), postpaid() | {"purchased_code": "Receipt 160000000000"}):
        sale = answered(vtpass, Endpoint.PAY, body, vend_type=VendType.POSTPAID)
        assert isinstance(sale, Delivered)
        assert (sale.token, sale.units, sale.meter, sale.amount_minor) == (None, None, METER, 2000_00)
        assert sale.receipt == {
            "exchangeReference": "16000000000002", "utilityName": "Made Up Electric", "balance": "500.00",
        }  # fmt: skip


def test_a_real_token_is_never_dropped_whatever_was_asked_for(vtpass: Provider) -> None:
    sale = answered(vtpass, Endpoint.PAY, delivered(), vend_type=VendType.POSTPAID)
    assert isinstance(sale, Delivered)
    assert sale.token == TOKEN


OLD = {"token": None, "purchased_code": None}
EXTRAS = {"transactions": transaction(extras=f"Token : {TOKEN}")}


@pytest.mark.parametrize(
    ("change", "token"),
    [
        ({"token": TOKEN, "purchased_code": "Token : 11111111111111111111"}, TOKEN),
        (OLD | {"mainToken": "1234 5678 9012 3456 7890"}, TOKEN),
        (OLD | {"Token": "tokens: 1234-5678-9012-3456-7890"}, TOKEN),
        (OLD | {"tokenValue": TOKEN, "purchased_code": "Token : 11111111111111111111"}, TOKEN),
        (OLD | {"tokenValue": "1860.47", "purchased_code": f"Token:{TOKEN}"}, TOKEN),
        ({"token": "N/A", "purchased_code": f"Token : {TOKEN}"}, TOKEN),
        ({"token": "Token : N/A", "purchased_code": f"Token : {TOKEN}"}, TOKEN),
        ({"token": "pending", "purchased_code": 0, "content": EXTRAS}, TOKEN),
        ({"token": [TOKEN], "purchased_code": {"a": TOKEN}, "content": EXTRAS}, TOKEN),
        (OLD | {"token": int(TOKEN)}, TOKEN),
        ({"token": "01234567890123456789"}, "01234567890123456789"),
    ],
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_where_the_token_stands(
    vtpass: Provider, endpoint: Endpoint, change: dict[str, Any], token: str
) -> None:
    sale = answered(vtpass, endpoint, delivered(**change))
    assert isinstance(sale, Delivered)
    assert sale.token == token
    assert "tokenWarning" not in sale.receipt


def test_a_bonus_token_is_not_lost_where_only_the_text_has_it(vtpass: Provider) -> None:
    body = delivered(purchased_code=f"Token : {TOKEN} Bonus Token : {BONUS}")
    sale = answered(vtpass, Endpoint.PAY, body)
    assert isinstance(sale, Delivered)
    assert (sale.token, sale.receipt["bonusToken"]) == (TOKEN, BONUS)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Token : 1234-5678-9012-3456-7890-1234", "123456789012345678901234"),
        ("99999999999999999999", "99999999999999999999"),  # 20 digits, and not below 2**66
        ("1234567890123456789", "1234567890123456789"),
        ("1234 5678 9012 3456 789O", "1234 5678 9012 3456 789O"),
    ],
)
def test_a_malformed_token_is_kept_with_a_warning(vtpass: Provider, said: str, kept: str) -> None:
    sale = answered(vtpass, Endpoint.PAY, delivered(token=said))
    assert isinstance(sale, Delivered)
    assert sale.token == kept
    assert sale.receipt["tokenWarning"] == TOKEN_WARNING


@pytest.mark.parametrize("nothing", [None, "", "N/A", "Token : ", "Token : N/A", "pending", 0, [], {}, False])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_prepaid_sale_without_a_token_is_asked_about_again(
    vtpass: Provider, endpoint: Endpoint, nothing: object
) -> None:
    body = delivered(token=nothing, purchased_code=nothing)
    assert kind_of(answered(vtpass, endpoint, body)) == KNOWN


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
def test_amounts_are_text_or_numbers(
    vtpass: Provider, change: dict[str, Any], cost_minor: int | None, amount_minor: int | None
) -> None:
    sale = answered(vtpass, Endpoint.PAY, delivered(content={"transactions": transaction(**change)}))
    assert isinstance(sale, Delivered)
    assert (sale.cost_minor, sale.amount_minor) == (cost_minor, amount_minor)


# --- what is sent -----------------------------------------------------------------------------------------------------


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
def test_a_sale_is_asked_for_with_these_bytes(vtpass: Provider, amount_minor: int, naira: bytes) -> None:
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
def test_the_other_requests(vtpass: VtpassProvider) -> None:
    requery = respx.post(f"{URL}/requery").respond(json=answer("015"))
    verify = respx.post(f"{URL}/merchant-verify").respond(json=meter())
    balance = respx.get(f"{URL}/balance").respond(json={"code": 1, "contents": {"balance": 1}})
    variations = respx.get(f"{URL}/service-variations?serviceID=aba-electric").respond(json={})
    vtpass.requery(order())
    vtpass.verify(METER, "PHED", VendType.POSTPAID)
    vtpass.fetch_float()
    vtpass.variations("ABA")
    assert requery.calls.last.request.content == b'{"request_id":"202611220000ABCDEFGHIJKLMNOPQRST"}'
    assert verify.calls.last.request.content == (
        b'{"billersCode":"45012345678","serviceID":"portharcourt-electric","type":"postpaid"}'
    )
    for sent, key, other in (
        (requery, "secret-key", "public-key"),
        (verify, "secret-key", "public-key"),
        (balance, "public-key", "secret-key"),
        (variations, "public-key", "secret-key"),
    ):
        assert sent.call_count == 1
        headers = sent.calls.last.request.headers
        assert headers["api-key"] == "the-api-key"
        assert headers[key] == {"secret-key": "SK_secret", "public-key": "PK_public"}[key]
        assert other not in headers


@respx.mock
def test_with_an_email_and_a_password_it_logs_in() -> None:
    vtpass = provider(api_key="till@shop.example", public_key=None, secret_key="pass:wörd")
    pay = respx.post(f"{URL}/pay").respond(json=answer("016"))
    balance = respx.get(f"{URL}/balance").respond(json={})
    vtpass.vend(order(vend_type=VendType.POSTPAID, biller="EKEDC"), lambda: True)
    vtpass.fetch_float()
    wanted = "Basic " + b64encode("till@shop.example:pass:wörd".encode()).decode()
    for route in (pay, balance):
        headers = route.calls.last.request.headers
        assert headers["authorization"] == wanted
        assert not {"api-key", "secret-key", "public-key"} & set(headers)
    assert json.loads(pay.calls.last.request.content)["variation_code"] == "postpaid"
    vtpass.close()


@respx.mock
def test_a_public_key_decides_for_api_keys_whatever_the_api_key_looks_like() -> None:
    vtpass = provider(api_key="till@shop.example", api_url="https://vtpass.example/api/")
    balance = respx.get("https://vtpass.example/api/balance").respond(json={})
    vtpass.fetch_float()
    assert balance.calls.last.request.headers["api-key"] == "till@shop.example"
    vtpass.close()


@respx.mock
def test_every_company_is_asked_for_under_its_service_id(vtpass: Provider) -> None:
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
def test_the_phone_of_the_order_goes_before_the_one_of_the_setting() -> None:
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
def test_without_a_phone_nothing_is_sent_and_the_setting_is_named(vtpass: Provider) -> None:
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
def test_what_vtpass_can_not_take_is_not_sent(vtpass: Provider, refused: Order) -> None:
    assert isinstance(vtpass.vend(refused, lambda: True), NotSent)


@respx.mock
def test_the_day_of_a_reference_is_counted_in_lagos() -> None:
    late = provider(now=lambda: datetime(2026, 11, 22, 23, 0, tzinfo=UTC))  # 00:00 on the 23rd there
    route = respx.post(f"{URL}/pay").respond(json=answer("016"))
    assert isinstance(late.vend(order(), lambda: True), NotSent)
    late.vend(order(reference=make_reference("p", 1, date(2026, 11, 23))), lambda: True)
    assert route.call_count == 1
    late.close()


@respx.mock
def test_nothing_is_sent_without_leave(vtpass: Provider) -> None:
    assert isinstance(vtpass.vend(order(), lambda: False), NotSent)


def test_a_refused_connection_proves_that_a_sale_was_not_sent_and_nothing_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    vtpass = provider(api_url=f"http://127.0.0.1:{port}/api")
    assert isinstance(vtpass.vend(order(), lambda: True), NotSent)
    assert kind_of(vtpass.requery(order())) == DOUBT
    assert isinstance(vtpass.verify(METER, "IKEDC", VendType.PREPAID), MeterLookupFailed)
    assert isinstance(vtpass.fetch_float(), Unknown)
    assert isinstance(vtpass.variations("IKEDC"), Unknown)
    vtpass.close()


@respx.mock
@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError])
def test_what_breaks_after_the_first_byte_is_in_doubt(vtpass: Provider, error: type[Exception]) -> None:
    respx.post(f"{URL}/pay").mock(side_effect=error)
    assert kind_of(vtpass.vend(order(), lambda: True)) == DOUBT


# --- the account ------------------------------------------------------------------------------------------------------


def test_it_declares_itself(vtpass: Provider) -> None:
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
def test_money_is_real_everywhere_but_in_their_sandbox_and_on_this_machine(api_url: str, mode: Mode) -> None:
    assert provider(api_url=api_url).account.mode is mode


def test_the_account_is_the_host_and_the_id_of_the_key() -> None:
    accounts = {
        provider(**change).account.account_id
        for change in (
            {},
            {"public_key": "PK_other"},
            {"api_url": "https://vtpass.com/api"},
            {"public_key": None, "api_key": "till@shop.example"},
        )
    }
    assert len(accounts) == 4
    same: tuple[dict[str, Any], ...] = ({}, {"secret_key": "SK_renewed"}, {"api_key": "renewed"})
    assert len({provider(**change).account.account_id for change in same}) == 1


@pytest.mark.parametrize(("given", "declared"), [(1, 600), (600, 600), (7200, 7200)])
def test_the_longest_processing_time_can_only_be_lengthened(given: int, declared: int) -> None:
    assert provider(max_processing_seconds=given).account.max_processing_seconds == declared


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"api_key": None}, "BILL_PROVIDER_API_KEY"),
        ({"api_key": ""}, "BILL_PROVIDER_API_KEY"),
        ({"secret_key": None}, "BILL_PROVIDER_SECRET_KEY"),
        ({"public_key": None}, "BILL_PROVIDER_PUBLIC_KEY"),
        ({"public_key": None, "api_key": "till@shop.example", "secret_key": ""}, "BILL_PROVIDER_SECRET_KEY"),
        ({"secret_key": "SK_private\n"}, "BILL_PROVIDER_SECRET_KEY"),
        ({"api_key": "privaté"}, "BILL_PROVIDER_API_KEY"),
    ],
)
def test_a_key_that_is_missing_or_no_header_takes_is_named_and_not_shown(
    change: dict[str, Any], setting: str
) -> None:
    with pytest.raises(ConfigurationError, match=setting) as refused:
        provider(**change)
    assert list(refused.value.fields) == [setting]
    assert "privat" not in str(refused.value).replace("PRIVATE", "")


@given(st.text(), st.integers(1, 99), st.dates())
def test_a_reference_is_twelve_digits_of_its_day_and_letters(seed: str, attempt: int, day: date) -> None:
    reference = make_reference(seed, attempt, day)
    assert re.fullmatch(r"[0-9]{8}0000[A-Z2-7]{20}", reference)
    assert reference[:8] == day.isoformat().replace("-", "")
    assert reference == make_reference(seed, attempt, day)
    assert parse_references(on_the_wire(hook(reference))) == (reference,)


def test_payments_attempts_and_days_have_references_of_their_own() -> None:
    days = (date(2026, 11, 22), date(2026, 11, 23))
    made = [
        make_reference(payment, attempt, day)
        for payment in ("p", "p1", "p|1")
        for attempt in (1, 11)
        for day in days
    ]
    assert len(set(made)) == len(made)
    assert made[0] == "202611220000IVABZH5WAPRW6POFRQDH", "books that were restored must derive it again"


# --- meters -----------------------------------------------------------------------------------------------------------

FOUND = MeterFound("ADA EXAMPLE", "1 MADE UP ROAD", 1000_00)


def refused(fault: MeterFault, reason: str) -> MeterRejected:
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
            refused(MeterFault.METER_NOT_FOUND, "No such meter here"),
        ),
        (
            {"code": "000", "content": {"error": {"meter": "?"}}},
            refused(MeterFault.METER_NOT_FOUND, "no such meter"),
        ),
        (meter(error="Not valid"), refused(MeterFault.METER_NOT_FOUND, "Not valid")),
        (meter(WrongBillersCode=True), refused(MeterFault.METER_NOT_FOUND, "no such meter")),
        (meter(WrongBillersCode="true"), refused(MeterFault.METER_NOT_FOUND, "no such meter")),
        (
            meter(Meter_Type="POSTPAID"),
            refused(MeterFault.WRONG_METER_TYPE, "the meter is postpaid, not prepaid"),
        ),
        (
            meter(Can_Vend="NO"),
            refused(
                MeterFault.METER_CANNOT_VEND, "the electricity company does not sell to this meter"
            ),
        ),
    ],
)  # fmt: skip
def test_a_meter_is_verified_by_more_than_a_code(
    vtpass: Provider, body: dict[str, Any], expected: MeterLookupResult
) -> None:
    with respx.mock:
        respx.post(f"{URL}/merchant-verify").respond(content=on_the_wire(body))
        assert vtpass.verify(METER, "IKEDC", VendType.PREPAID) == expected


def test_a_postpaid_meter_is_one_where_that_was_asked_for(vtpass: Provider) -> None:
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
def test_an_answer_that_does_not_speak_of_the_meter_leaves_it_open(
    vtpass: Provider, body: object, http_status: int
) -> None:
    with respx.mock:
        respx.post(f"{URL}/merchant-verify").respond(http_status, content=on_the_wire(body))
        assert isinstance(vtpass.verify(METER, "IKEDC", VendType.PREPAID), MeterLookupFailed)


def test_no_question_is_asked_about_what_is_not_sold(vtpass: Provider) -> None:
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
def test_our_balance(
    vtpass: Provider, body: object, http_status: int, expected: Money | type[Misconfigured] | type[Unknown]
) -> None:
    with respx.mock:
        respx.get(f"{URL}/balance").respond(http_status, content=on_the_wire(body))
        said = vtpass.fetch_float()
    assert said == expected if isinstance(expected, Money) else type(said) is expected


VARIATIONS = [{"variation_code": "prepaid", "name": "Prepaid"}, {"variation_code": "postpaid"}, {}, 7]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"response_description": "000", "content": {"variations": VARIATIONS}}, ("prepaid", "postpaid")),
        ({"response_description": "000", "content": {"varations": VARIATIONS}}, ("prepaid", "postpaid")),
        ({"code": "087"}, Misconfigured),
        ({"content": {"variations": {}}}, Unknown),
        ({}, Unknown),
        ([], Unknown),
    ],
)
def test_what_is_sold_of_a_company(vtpass: VtpassProvider, body: object, expected: object) -> None:
    with respx.mock:
        respx.get(f"{URL}/service-variations").respond(content=on_the_wire(body))
        said = vtpass.variations("IKEDC")
    assert said == expected if isinstance(expected, tuple) else type(said) is expected


# --- hooks ------------------------------------------------------------------------------------------------------------


def hook(reference: object = REFERENCE, kind: object = "transaction-update") -> dict[str, Any]:
    return {"type": kind, "data": answer("040", "reversed", amount=48.5) | {"requestId": reference}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (hook(), (REFERENCE,)),
        (hook("202601151430ab12cd34ef"), ("202601151430ab12cd34ef",)),
        (on_the_wire(hook()).decode().encode("utf-16"), (REFERENCE,)),
        (hook(kind="variations-update"), ()),
        (hook(kind=["transaction-update"]), ()),
        (hook(kind=None), ()),
        (hook(202601151430), ()),
        (hook([REFERENCE]), ()),
        (hook(None), ()),
        (hook("N/A"), ()),
        (hook("202611220000' OR 1=1"), ()),
        (hook("202611220000ÄÖ\ud800"), ()),
        (hook("2026112200001\x00"), ()),
        (hook("202611220000" + "A" * 500), ()),
        ({"type": "transaction-update", "data": [REFERENCE]}, ()),
        ({"type": "transaction-update", "requestId": REFERENCE}, ()),
        ([hook()], ()),
        (b"", ()),
        (b"null", ()),
        (b"\xff\xfe\x00", ()),
        (b"{" * 100_000, ()),
        (b"[" * 100_000, ()),
        (b'{"a":' * 100_000, ()),
        (b"1" * 10_000, ()),
        (on_the_wire(hook())[:-1], ()),
    ],
)
def test_a_hook_is_a_hint_to_ask_about_one_reference(
    vtpass: Provider, body: object, expected: tuple[str, ...]
) -> None:
    assert vtpass.parse_references(on_the_wire(body)) == expected


@given(st.binary())
def test_no_hook_raises(body: bytes) -> None:
    assert parse_references(body) == ()


# --- whatever comes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("code", [*CODES, "777", "SK_secret"])
def test_no_answer_repeats_a_secret_or_a_text_of_theirs(
    vtpass: Provider, endpoint: Endpoint, code: str
) -> None:
    body = answer(code, response_description="the-api-key PK_public SK_secret", error="SK_secret")
    for http_status in (200, 403, 500):
        for content in (body, json.dumps(body).encode() + b"<"):
            said = repr(answered(vtpass, endpoint, content, http_status))
            assert not re.search("the-api-key|PK_public|SK_secret", said)


def test_the_provider_does_not_show_its_secrets(vtpass: Provider) -> None:
    shown = f"{vtpass!r} {vtpass} {vtpass.account}"
    assert not re.search("the-api-key|PK_public|SK_secret", shown)


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
def test_nothing_that_comes_raises_or_is_a_delivery_unless_code_and_status_say_so(
    body: Any, http_status: int, endpoint: Endpoint, vend_type: VendType
) -> None:
    said = parse_answer(endpoint, Response(http_status, body), order(vend_type=vend_type))
    if isinstance(said, Delivered):
        assert http_status < 500
        assert body["code"].strip() in ("000", "001", "044", "099")
        assert body["content"]["transactions"]["status"].strip().lower() in ("delivered", "successful")
        assert said.token or vend_type is VendType.POSTPAID or said.reference != REFERENCE
        assert said.cost_minor is None or isinstance(said.cost_minor, int)
    if endpoint is Endpoint.PAY:
        assert not isinstance(said, NotFound | Pending)
    else:
        assert not isinstance(said, Misconfigured | Deferred | NotSent)


@given(body=answers | anything, http_status=st.sampled_from([200, 400, 500]))
def test_no_answer_to_another_question_raises(body: Any, http_status: int) -> None:
    response = Response(http_status, body)
    assert isinstance(parse_balance(response), Money | Misconfigured | Unknown)
    assert isinstance(parse_variations(response), tuple | Misconfigured | Unknown)
    assert isinstance(parse_meter(response, VendType.PREPAID), MeterFound | MeterRejected | MeterLookupFailed)


def test_numbers_beyond_all_reason_do_no_harm() -> None:
    for huge in (Decimal("1E+999999"), Decimal("1E-999999"), 10**4000, "9" * 5000, "1" + ",000" * 100):
        body = delivered(content={"transactions": transaction(total_amount=huge, amount=huge)}, units=huge)
        assert isinstance(parse_answer(Endpoint.PAY, Response(200, body), order()), Answer)
        parse_balance(Response(200, {"code": 1, "contents": {"balance": huge}}))
