import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.buypower.codes import AnswerKind, Endpoint, classify
from billvend.adapters.providers.buypower.provider import BuypowerProvider, make_reference
from billvend.adapters.providers.buypower.response_parser import (
    parse_answer,
    parse_balance,
    parse_meter,
    parse_wait_seconds,
)
from billvend.adapters.providers.http_client import Response
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
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
from tests.provider.buypower_answers import (
    IN_PROGRESS,
    METER,
    REFERENCE,
    TOKEN,
    encoded,
    failure,
    meter,
    requery_success,
    sale,
    success,
)
from tests.provider.recorded import provider_setup, recorded

URL = "https://idev.buypower.ng/v2"
KEY = "made-up-key-of-the-tests"
JSON = {"Content-Type": "application/json; charset=utf-8"}
ORDER = Order(REFERENCE, METER, "EKEDC", VendType.PREPAID, Money(500_00, "NGN"), "08000000001")
POSTPAID = replace(ORDER, vend_type=VendType.POSTPAID)


def build_provider(**how: Any) -> BuypowerProvider:
    return BuypowerProvider(provider_setup(**({"api_key": KEY} | how)))


@pytest.fixture
def buypower() -> Iterator[BuypowerProvider]:
    provider = build_provider()
    yield provider
    provider.close()


def vend(provider: Provider, order: Order = ORDER) -> Answer:
    return recorded(provider.vend(order, may_send=lambda: True), order)


def requery(provider: Provider, order: Order = ORDER) -> Answer:
    return recorded(provider.requery(order), order)


def mock_answer(
    wire: respx.MockRouter, status: int, document: object, headers: dict[str, str] | None = None
) -> respx.Route:
    """Answer every request with this body. Bytes are sent unchanged."""
    content = document if isinstance(document, bytes) else encoded(document)
    sent = [(name.encode(), value.encode()) for name, value in (JSON | (headers or {})).items()]
    return wire.route().respond(status, content=content, headers=sent)


# --- classification of answers ----------------------------------------------------------------------------------------

RECEIPT = {
    "receiptNumber": "R7001",
    "netAmount": "465.12",
    "tax": "34.88",
    "tariff": "60.5",
    "debtAmount": "0",
    "debtRemaining": "0",
    "charges": "0",
    "freeUnits": "0",
    "vendTime": "2026-11-22 13:00:05",
}
SOLD = Delivered(
    token=TOKEN,
    units="7.7",
    cost_minor=None,
    receipt=RECEIPT,
    provider_reference="V7001",
    reference=REFERENCE,
    amount_minor=500_00,
)
LOW_WALLET = "Insufficient wallet balance"
NO_TOKEN = Unknown("delivered, but without a token", known_to_provider=True)
FOREIGN_REFERENCE = Unknown("the answer is for another reference")


def acknowledged(why: str) -> Unknown:
    return Unknown(why, known_to_provider=True)


CONTRADICTION = acknowledged("a success that contradicts itself: Successful transaction (HTTP 200/200)")


VENDS: list[tuple[int, object, Answer]] = [
    (200, success(), SOLD),
    (200, success(token=None), SOLD),  # the token is in the parcels
    (200, success(parcels=None), SOLD),
    (200, success(token=None, parcels=[]), NO_TOKEN),
    (200, success(token="N/A", parcels=None), NO_TOKEN),
    (200, success(responseCode=202), CONTRADICTION),
    (200, success() | {"status": False}, CONTRADICTION),
    (200, success() | {"error": True}, CONTRADICTION),
    (200, success() | {"responseCode": 202}, Unknown("Successful transaction (HTTP 200/202)")),
    (200, success() | {"responseCode": None}, Unknown("Successful transaction (HTTP 200/100)")),
    (201, success(), Unknown("Successful transaction (HTTP 201/200)")),
    (500, success(), Unknown("Successful transaction (HTTP 500/200)")),
    (200, success(orderId="BVANOTHER"), FOREIGN_REFERENCE),
    (202, failure(202, IN_PROGRESS, delay=[120, 120, 120]), acknowledged(f"{IN_PROGRESS} (HTTP 202/202)")),
    (202, {"data": failure(202, IN_PROGRESS, delay=[20])}, acknowledged(f"{IN_PROGRESS} (HTTP 202/202)")),
    (202, failure(200, "Odd"), Unknown("Odd (HTTP 202/200)")),
    (400, failure(201, "orderId required"), Declined("orderId required", "400/201")),
    (400, failure(None, "meter required"), Declined("meter required", "400")),
    (400, failure(201, "meter required", orderId="BVANOTHER"), FOREIGN_REFERENCE),
    (400, failure(202, "Transaction failed."), Unknown("Transaction failed. (HTTP 400/202)")),  # the text of a requery
    (400, failure(201, "still processing, retry in 2 minutes"),
     acknowledged("still processing, retry in 2 minutes (HTTP 400/201)")),
    (400, failure(201, "orderId already exists"), acknowledged("orderId already exists (HTTP 400/201)")),
    (400, failure(500, "An error"), Unknown("An error (HTTP 400/500)")),
    (401, failure(401, "Unauthorized"), Misconfigured("Unauthorized", "401/401")),
    (403, failure(403), Misconfigured("HTTP 403/403", "403/403")),
    (404, failure(20, "No transaction found with reference"), Unknown("No transaction found with reference (HTTP 404/20)")),
    (409, failure(201, "Request already received"), acknowledged("Request already received (HTTP 409/201)")),
    (422, failure(202, LOW_WALLET), Misconfigured(LOW_WALLET, "422/202")),
    (422, failure(422, LOW_WALLET), Misconfigured(LOW_WALLET, "422/422")),
    (422, failure(422, "Amount is below the minimum"), Declined("Amount is below the minimum", "422/422")),
    (422, failure(202, IN_PROGRESS), acknowledged(f"{IN_PROGRESS} (HTTP 422/202)")),
    (422, failure(422, "Your wallet is insufficient"), Misconfigured("Your wallet is insufficient", "422/422")),
    (422, failure(503, "Odd"), Unknown("Odd (HTTP 422/503)")),
    (429, failure(429, "Slow down"), Deferred("Slow down (HTTP 429/429)", 60)),
    (429, failure(429, "It is processing"), acknowledged("It is processing (HTTP 429/429)")),
    (500, failure(500, "requery to get status"), Unknown("requery to get status (HTTP 500/500)")),
    (501, failure(501, "Meter needs maintenance"), Unknown("Meter needs maintenance (HTTP 501/501)")),
    (502, failure(502, "Unexpected response"), Unknown("Unexpected response (HTTP 502/502)")),
    (502, failure(503, "Service unavailable"), Unknown("Service unavailable (HTTP 502/503)")),
    (503, failure(503, "Service unavailable"), Unknown("Service unavailable (HTTP 503/503)")),
    (418, failure(418), Unknown("HTTP 418/418")),
]  # fmt: skip

REFUNDED = "Transaction failed. Refund already processed."
STILL_PROCESSING = "Still processing, retry in 2 minutes"
UNCLEAR = "Transaction not successful. Please retry."
NOT_INITIATED = "Transaction not initiated."

REQUERIES: list[tuple[int, object, Answer]] = [
    (200, requery_success(), SOLD),
    (200, requery_success(units=7.7, vendAmount=500.00, tax=34.88, debtAmount=0), SOLD),  # numbers instead of text
    (200, requery_success(token=None, parcels=None), NO_TOKEN),
    (200, requery_success(orderId="BVANOTHER"), FOREIGN_REFERENCE),
    (200, requery_success() | {"responseCode": 202}, Unknown("Successful transaction (HTTP 200/200 and 202)")),
    (200, failure(202, IN_PROGRESS), Unknown(f"{IN_PROGRESS} (HTTP 200/202)")),
    (202, failure(202, IN_PROGRESS, delay=[20, 20, 20]), Pending(f"{IN_PROGRESS} (HTTP 202/202)", 20)),
    (202, {"data": failure(202, IN_PROGRESS, delay=[30])}, Pending(f"{IN_PROGRESS} (HTTP 202/202)", 30)),
    (202, failure(202, IN_PROGRESS), Pending(f"{IN_PROGRESS} (HTTP 202/202)", 120)),
    (202, failure(202, IN_PROGRESS, delay=[]), Pending(f"{IN_PROGRESS} (HTTP 202/202)", 120)),
    (202, failure(202, IN_PROGRESS, delay=["soon"]), Pending(f"{IN_PROGRESS} (HTTP 202/202)", 120)),
    (202, failure(202, IN_PROGRESS, delay=[10**9]), Pending(f"{IN_PROGRESS} (HTTP 202/202)", 3600)),
    (202, failure(202, IN_PROGRESS, data={"orderId": "BVANOTHER"}), FOREIGN_REFERENCE),
    (400, failure(201, STILL_PROCESSING), Pending(f"{STILL_PROCESSING} (HTTP 400/201)", 120)),
    (400, failure(201, "Something else"), Unknown("Something else (HTTP 400/201)")),
    (400, failure(202, "Transaction failed."), Declined("Transaction failed.", "400/202", about_transaction=True)),
    (400, failure("202", "TRANSACTION FAILED"), Declined("TRANSACTION FAILED", "400/202", about_transaction=True)),
    (400, failure(202, "Transaction failed.", orderId="BVANOTHER"), FOREIGN_REFERENCE),
    (400, failure(202, "Transaction failed. Or not"), Unknown("Transaction failed. Or not (HTTP 400/202)")),
    (400, failure(202, UNCLEAR), acknowledged(f"{UNCLEAR} (HTTP 400/202)")),
    (400, failure(202), Unknown("HTTP 400/202")),
    (400, failure(203, NOT_INITIATED), Declined(NOT_INITIATED, "400/203", about_transaction=True)),
    (400, failure(203, "Something else"), Unknown("Something else (HTTP 400/203)")),
    (400, failure(500, NOT_INITIATED), Unknown(f"{NOT_INITIATED} (HTTP 400/500)")),
    (400, failure(202, REFUNDED), Declined(REFUNDED, "400/202", about_transaction=True)),
    (422, failure(None, REFUNDED), Declined(REFUNDED, "422", about_transaction=True)),
    (500, failure(500, REFUNDED), Unknown(f"{REFUNDED} (HTTP 500/500)")),
    (401, failure(401, "Unauthorized"), Unknown("Unauthorized (HTTP 401/401)")),
    (422, failure(202, LOW_WALLET), Unknown(f"{LOW_WALLET} (HTTP 422/202)")),  # the text of a vend
    (404, failure(20, "No transaction found with reference"), NotFound("No transaction found with reference (HTTP 404/20)")),
    (404, failure(20, "Route is gone"), Unknown("Route is gone (HTTP 404/20)")),
    (404, failure(404, "No transaction found with reference"), Unknown("No transaction found with reference (HTTP 404/404)")),
    (409, failure(201, "Request already received"), Unknown("Request already received (HTTP 409/201)")),
    (429, failure(429, "Too early"), Deferred("Too early (HTTP 429/429)", 60)),
    (500, failure(500, "Transaction failed."), Unknown("Transaction failed. (HTTP 500/500)")),
    (503, failure(503), Unknown("HTTP 503/503")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "document", "expected"), VENDS)
def test_vend_answer_is_classified(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, document: object, expected: Answer
) -> None:
    route = mock_answer(respx_mock, status, document)
    assert vend(buypower) == expected
    assert route.call_count == 1


@pytest.mark.parametrize(("status", "document", "expected"), REQUERIES)
def test_requery_answer_is_classified(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, document: object, expected: Answer
) -> None:
    route = mock_answer(respx_mock, status, document)
    assert requery(buypower) == expected
    assert route.call_count == 1


@pytest.mark.parametrize(
    "word", ["pending", "Pending...", "0", 0, "-", "--", "000000000", "", "N/A", "awaiting 123"]
)
def test_word_in_token_field_is_ignored(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, word: object
) -> None:
    """The customer cannot type it in. The sale happened, so requeries go on until the token comes."""
    listed = [{"type": "TOKEN", "content": word}, {"type": "KCT1", "content": word}]
    for parcels in (None, listed):
        mock_answer(respx_mock, 200, success(token=word, parcels=parcels))
        assert vend(buypower) == NO_TOKEN
        mock_answer(respx_mock, 200, requery_success(token=word, parcels=parcels))
        assert requery(buypower) == NO_TOKEN


@pytest.mark.parametrize("word", ["pending", "0", "-"])
def test_token_is_read_from_either_field(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, word: str
) -> None:
    mock_answer(respx_mock, 200, success(token=word))
    assert vend(buypower) == SOLD
    mock_answer(respx_mock, 200, success(parcels=[{"type": "TOKEN", "content": word}]))
    assert vend(buypower) == SOLD


SALE_PHRASES = [
    "The orderId exists",
    "This orderId has been used",
    "Transaction successful",
    "Your request is being handled",
    "Transaction is in progress",
    "It is processing",
    "Status: PENDING",
    "Already received",
    "Duplicate order",
]
"""Each body has exactly one sign of a sale."""


@pytest.mark.parametrize("status", [400, 422, 429])
@pytest.mark.parametrize("message", [*SALE_PHRASES, "Kindly requery"])
def test_vend_rejection_mentioning_a_sale_is_unknown(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, message: str
) -> None:
    for code in (status, 201, 202, None):
        mock_answer(respx_mock, status, failure(code, message))
        name = f"{status}/{code}" if code else f"{status}"
        assert vend(buypower) == acknowledged(f"{message} (HTTP {name})")


@pytest.mark.parametrize("message", SALE_PHRASES)
def test_throttled_requery_mentioning_a_sale_is_acknowledged(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, message: str
) -> None:
    """`Deferred` would hide that the provider knows the sale, and two not-founds around it would prove a reversal."""
    mock_answer(respx_mock, 429, failure(429, message))
    assert requery(buypower) == acknowledged(f"{message} (HTTP 429/429)")


@pytest.mark.parametrize("message", SALE_PHRASES)
@pytest.mark.parametrize("status", [400, 404, 422])
def test_requery_mentioning_a_sale_proves_no_failure(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, message: str
) -> None:
    for code in (20, 202, 203, 400, None):
        mock_answer(respx_mock, status, failure(code, message))
        assert isinstance(requery(buypower), Unknown)


def test_early_requery_is_deferred(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    mock_answer(respx_mock, 429, failure(429, "Requery too early"))
    assert requery(buypower) == Deferred("Requery too early (HTTP 429/429)", 60)


UNREADABLE: list[tuple[int, bytes, str]] = [
    (500, b"<html>Oops</html>", "text/html"),
    (200, b"", "application/json"),
    (200, b"[]", "application/json"),
    (200, b"null", "application/json"),
    (200, b"200", "application/json"),
    (200, b'{"status":true', "application/json"),
    (200, b"\xff\xfe{}", "application/json"),
    (401, b'"Unauthorized"', "application/json"),
    (404, b"No transaction found with reference", "text/plain"),
    (200, encoded(success()), "text/html"),  # ignored, whatever its content
]


@pytest.mark.parametrize(("status", "content", "kind"), UNREADABLE)
def test_non_json_answer_is_unknown(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, content: bytes, kind: str
) -> None:
    mock_answer(respx_mock, status, content, {"Content-Type": kind})
    expected = Unknown(f"the answer is not JSON (HTTP {status}, {kind})")
    assert vend(buypower) == requery(buypower) == expected
    assert isinstance(buypower.verify(METER, "EKEDC", VendType.PREPAID), MeterLookupFailed)
    assert buypower.fetch_float() == expected


@pytest.mark.parametrize(
    "document",
    [
        {"responseCode": [200], "status": True, "data": sale()},
        {"responseCode": True, "status": True, "data": sale()},
        {"responseCode": 200.5, "status": True, "data": sale()},
        {"responseCode": 200, "status": True, "data": None},
        {"responseCode": 200, "status": True, "data": [sale()]},
        {"responseCode": 200, "status": True, "data": "1234-5678-9012-3456-7890"},
        {"responseCode": 200, "status": "failed", "data": sale()},
        {"responseCode": 200, "status": True, "data": sale(token=[TOKEN], parcels={"type": "TOKEN"})},
        {"responseCode": 200, "status": True, "data": sale(token=False, parcels=[TOKEN, None, {"type": "TOKEN"}])},
        {"result": [requery_success()["result"]]},
    ],
)  # fmt: skip
def test_malformed_success_is_unknown(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, document: object
) -> None:
    mock_answer(respx_mock, 200, document)
    assert isinstance(vend(buypower), Unknown)
    assert isinstance(requery(buypower), Unknown)


def test_malformed_sale_details_are_ignored(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    mock_answer(
        respx_mock, 200, success(units=[7], tax={}, tariff=False, vendRef=[], vendAmount="?", receiptNo=7)
    )
    answer = vend(buypower)
    assert isinstance(answer, Delivered)
    assert (answer.token, answer.units, answer.provider_reference, answer.amount_minor) == (
        TOKEN,
        None,
        None,
        None,
    )
    assert answer.receipt["receiptNumber"] == "7"
    assert {"tax", "tariff"}.isdisjoint(answer.receipt)


def test_extra_tokens_are_on_the_receipt(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    parcels = [
        {"type": "KCT1", "content": "1111-1111-1111-1111-1111"},
        {"type": "KCT2", "content": "2222 2222 2222 2222 2222"},
        {"type": "TOKEN", "content": TOKEN},
        {"type": "bonus", "content": "33333333333333333333"},
        {"type": "PAMPHLET", "content": "4"},
    ]
    mock_answer(respx_mock, 200, success(token=None, parcels=parcels))
    answer = vend(buypower)
    assert isinstance(answer, Delivered)
    assert answer.token == TOKEN
    assert answer.receipt == RECEIPT | {"kct1": "1" * 20, "kct2": "2" * 20, "bonusToken": "3" * 20}


def test_postpaid_success_needs_sale_but_no_token(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter
) -> None:
    mock_answer(respx_mock, 200, success(token=None, parcels=None, units=None))
    assert vend(buypower, POSTPAID) == replace(SOLD, token=None, units=None)
    mock_answer(respx_mock, 200, {"status": True, "responseCode": 200, "message": "Successful transaction"})
    expected = acknowledged("a success without a sale: Successful transaction (HTTP 200/200)")
    assert vend(buypower, POSTPAID) == requery(buypower, POSTPAID) == expected


def test_echoed_meter_and_amount_are_passed_on(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter
) -> None:
    mock_answer(respx_mock, 200, success(meterNo="99999999999", vendAmount=499))
    answer = buypower.vend(ORDER, may_send=lambda: True)
    assert isinstance(answer, Delivered)
    assert (answer.meter, answer.amount_minor) == ("99999999999", 499_00)


def test_malformed_token_is_returned(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    odd = "123456789012345678901234"
    mock_answer(respx_mock, 200, success(token=odd))
    answer = vend(buypower)
    assert isinstance(answer, Delivered)
    assert answer.token == odd


@pytest.mark.parametrize(
    ("advice", "seconds"),
    [
        ("5", 5), ("0", 1), ("3600", 3600), ("999999999999", 3600), ("9" * 400, 3600), ("-5", 60), ("1.5", 60),
        ("", 60), ("soon", 60), ("Wed, 22 Nov 2026 12:00:00 GMT", 60),
    ],
)  # fmt: skip
def test_retry_after_is_limited(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, advice: str, seconds: int
) -> None:
    mock_answer(respx_mock, 429, {}, {"Retry-After": advice})
    assert vend(buypower) == requery(buypower) == Deferred("HTTP 429", seconds)


@pytest.mark.parametrize("advice", [None, True, [], {}, [5], "٥", "Infinity", -1])
def test_invalid_retry_advice_is_ignored(advice: object) -> None:
    assert parse_wait_seconds(advice, 77) == 77


@pytest.mark.parametrize(
    ("endpoint", "status", "verdict"),
    [
        (Endpoint.VEND, 202, AnswerKind.IN_PROGRESS),
        (Endpoint.REQUERY, 202, AnswerKind.IN_PROGRESS),
        (Endpoint.VEND, 422, AnswerKind.MISCONFIGURED),
        (Endpoint.REQUERY, 400, AnswerKind.DECLINED),
        (Endpoint.VEND, 400, AnswerKind.UNKNOWN),
        (Endpoint.REQUERY, 422, AnswerKind.UNKNOWN),
        (Endpoint.VEND, 200, AnswerKind.UNKNOWN),
    ],
)
def test_code_202_depends_on_endpoint_and_status(
    endpoint: Endpoint, status: int, verdict: AnswerKind
) -> None:
    assert classify(endpoint, status, "202", "Transaction failed.") is verdict


# --- requests ---------------------------------------------------------------------------------------------------------


def test_vend_request_has_expected_bytes(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/vend?strict=0").respond(200, json=success())
    vend(buypower)
    request = route.calls.last.request
    assert request.content == (
        b'{"orderId":"BVTESTREFERENCE","meter":"12345678910","disco":"EKO","phone":"08000000001","paymentType":"B2B",'
        b'"vendType":"PREPAID","vertical":"ELECTRICITY","amount":500}'
    )
    assert str(request.url) == "https://idev.buypower.ng/v2/vend?strict=0"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("order", "sent"),
    [
        (POSTPAID, {"vendType": "POSTPAID"}),
        (replace(ORDER, amount=Money(500_05, "NGN")), {"amount": "500.05"}),
        (replace(ORDER, biller="KAEDCO"), {"disco": "KADUNA"}),
        (replace(ORDER, biller="ABA"), {"disco": "APLE"}),
        (replace(ORDER, phone=None), {"phone": "08099999999"}),
    ],
)
def test_order_fields_are_mapped_to_buypower(
    respx_mock: respx.MockRouter, order: Order, sent: dict[str, object]
) -> None:
    route = mock_answer(respx_mock, 200, success())
    vend(build_provider(phone="08099999999"), order)
    body = json.loads(route.calls.last.request.content)
    assert {name: body[name] for name in sent} == sent


def test_every_biller_has_a_buypower_name(respx_mock: respx.MockRouter) -> None:
    route = mock_answer(respx_mock, 200, meter())
    provider = build_provider()
    for biller in provider.account.billers:
        provider.verify(METER, biller.code, VendType.PREPAID)
    requested = [call.request.url.params["disco"] for call in route.calls]
    assert requested == [
        *("EKO", "IKEJA", "ABUJA", "IBADAN", "KANO", "PH", "JOS", "KADUNA", "ENUGU", "BENIN", "YOLA", "APLE")
    ]


def test_other_requests_have_expected_urls(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    route = mock_answer(respx_mock, 500, {})
    requery(buypower)
    buypower.requery(replace(ORDER, reference="a/../b?c"))
    buypower.verify(METER, "PHED", VendType.POSTPAID)
    buypower.fetch_float()
    assert [f"{call.request.method} {call.request.url}" for call in route.calls] == [
        f"GET {URL}/transaction/{REFERENCE}",
        f"GET {URL}/transaction/a%2F..%2Fb%3Fc",
        f"GET {URL}/check/meter?meter=12345678910&disco=PH&vendType=POSTPAID&vertical=ELECTRICITY&orderId=false",
        f"GET {URL}/wallet/balance",
    ]
    assert all(call.request.headers["Authorization"] == f"Bearer {KEY}" for call in route.calls)


def test_unsupported_request_is_not_sent(buypower: BuypowerProvider, respx_mock: respx.MockRouter) -> None:
    route = mock_answer(respx_mock, 200, success())
    without_phone = vend(buypower, replace(ORDER, phone=None))
    assert isinstance(without_phone, Declined), "the fault of this order, and no reason to stop selling"
    assert "BILL_PROVIDER_PHONE" in without_phone.reason
    assert isinstance(vend(buypower, replace(ORDER, biller="NEPA")), NotSent)
    assert isinstance(vend(buypower, replace(ORDER, amount=Money(500_00, "GHS"))), NotSent)
    assert isinstance(buypower.vend(ORDER, may_send=lambda: False), NotSent)
    assert isinstance(buypower.verify(METER, "NEPA", VendType.PREPAID), MeterLookupFailed)
    assert not route.called


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), NotSent),
        (httpx.ReadTimeout("slow"), Unknown),
        (httpx.RemoteProtocolError("cut"), Unknown),
    ],
)
def test_transport_error_is_classified(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, error: Exception, kind: type
) -> None:
    respx_mock.route().mock(side_effect=error)
    assert type(vend(buypower)) is type(requery(buypower)) is kind
    assert isinstance(buypower.verify(METER, "EKEDC", VendType.PREPAID), MeterLookupFailed)
    assert isinstance(buypower.fetch_float(), Unknown)


# --- meters, the float, the billers -----------------------------------------------------------------------------------

FOUND = MeterFound("ADA TEST", "2 MADE UP CLOSE", minimum_minor=350_00, maximum_minor=250_000_00)
NO_METER = MeterFault.METER_NOT_FOUND
NO_VEND = MeterFault.METER_CANNOT_VEND
NO_TYPE = MeterFault.WRONG_METER_TYPE

CHECKS: list[tuple[int, object, object]] = [
    (200, meter(), FOUND),
    (200, meter(responseCode="100", vendType="prepaid", meterNo=int(METER)), FOUND),
    (200, meter(vendType=None, meterNo=None), FOUND),
    (200, meter(minVendAmount=0, maxVendAmount="0"), replace(FOUND, minimum_minor=None, maximum_minor=None)),
    (200, meter(minVendAmount="N/A", maxVendAmount=-1), replace(FOUND, minimum_minor=None, maximum_minor=None)),
    (200, meter(address=None), replace(FOUND, address="")),
    (200, meter(vendType="POSTPAID"), MeterRejected(NO_TYPE, "the meter is postpaid")),
    (200, meter(meterNo="99999999999"), MeterLookupFailed("the answer is for another meter")),
    (200, meter(name=""), MeterLookupFailed("HTTP 200/100")),
    (200, meter(error=True), MeterLookupFailed("HTTP 200/100")),
    (200, meter(responseCode=101), MeterLookupFailed("HTTP 200/101")),
    (202, meter(), MeterLookupFailed("HTTP 202/100")),
    (200, failure(101, "Invalid meter number"), MeterRejected(NO_METER, "Invalid meter number")),
    (400, failure(400, "Meter number not found"), MeterRejected(NO_METER, "Meter number not found")),
    (404, failure(20, "No such meter"), MeterRejected(NO_METER, "No such meter")),
    (422, failure(422, "The meter number is invalid"), MeterRejected(NO_METER, "The meter number is invalid")),
    (400, failure(400, "Invalid meter type"), MeterRejected(NO_TYPE, "Invalid meter type")),
    (400, failure(400, "No customer record found"), MeterRejected(NO_METER, "No customer record found")),
    (400, failure(400, "This is not a prepaid meter"), MeterRejected(NO_TYPE, "This is not a prepaid meter")),
    (501, failure(501, "Meter is being migrated"), MeterRejected(NO_VEND, "Meter is being migrated")),
    (400, failure(400, "Meter not yet activated"), MeterRejected(NO_VEND, "Meter not yet activated")),
    (501, failure(501, "Meter needs maintenance"), MeterRejected(NO_VEND, "Meter needs maintenance")),
    (400, failure(400, "Meter activated"), MeterLookupFailed("Meter activated (HTTP 400/400)")),
    (400, failure(400, "disco required"), MeterLookupFailed("disco required (HTTP 400/400)")),
    (400, failure(400, "No meter check: EKO is down"), MeterLookupFailed("No meter check: EKO is down (HTTP 400/400)")),
    (404, failure(404, "Not found"), MeterLookupFailed("Not found (HTTP 404/404)")),
    (401, failure(401, "Unknown customer"), MeterLookupFailed("Unknown customer (HTTP 401/401)")),
    (429, failure(429, "Invalid meter number"), MeterLookupFailed("Invalid meter number (HTTP 429/429)")),
    (500, failure(500, "Invalid meter number"), MeterLookupFailed("Invalid meter number (HTTP 500/500)")),
    (503, failure(503, "Service unavailable"), MeterLookupFailed("Service unavailable (HTTP 503/503)")),
    (200, {}, MeterLookupFailed("HTTP 200")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "document", "expected"), CHECKS)
def test_meter_answer_is_classified(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, document: object, expected: object
) -> None:
    mock_answer(respx_mock, status, document)
    assert buypower.verify(METER, "EKEDC", VendType.PREPAID) == expected


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (200, {"balance": 12345.67}, Money(12_345_67, "NGN")),
        (200, {"balance": "12,345.6789"}, Money(12_345_67, "NGN")),
        (200, {"balance": 0}, Money(0, "NGN")),
        (200, {"balance": -0.001}, Money(-1, "NGN")),
        (200, {"balance": None}, Unknown("no balance: HTTP 200")),
        (200, {"balance": [5]}, Unknown("no balance: HTTP 200")),
        (200, {"balance": 10**14}, Unknown("a balance that no account has")),
        (200, {}, Unknown("no balance: HTTP 200")),
        (500, {"balance": 5}, Unknown("no balance: HTTP 500")),
        (401, failure(401, "Unauthorized"), Misconfigured("Unauthorized (HTTP 401/401)", "401/401")),
        (403, {}, Misconfigured("HTTP 403", "403")),
    ],
)
def test_float_answer_is_classified(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int, document: object, expected: object
) -> None:
    mock_answer(respx_mock, status, document)
    assert buypower.fetch_float() == expected


# --- the API key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 400, 401, 404, 409, 422, 429, 500])
def test_api_key_is_redacted_from_answers(
    buypower: BuypowerProvider, respx_mock: respx.MockRouter, status: int
) -> None:
    echoing = success(receiptNo=KEY, vendRef=KEY) | {"message": f"Meter not found for {KEY}", "balance": KEY}
    mock_answer(
        respx_mock, status, {**echoing, "name": KEY, "vendType": KEY}, {"Content-Type": "application/json"}
    )
    answers = [
        *(vend(buypower), requery(buypower), buypower.fetch_float()),
        buypower.verify(METER, "EKEDC", VendType.PREPAID),
    ]
    respx_mock.route().mock(side_effect=httpx.RemoteProtocolError(f"illegal header: Bearer {KEY}"))
    answers += [vend(buypower), buypower.verify(METER, "EKEDC", VendType.PREPAID), buypower.fetch_float()]
    assert KEY not in repr([buypower, buypower.account, *answers])
    assert "***" in repr(answers)


def test_redacting_the_key_changes_no_token(respx_mock: respx.MockRouter) -> None:
    mock_answer(respx_mock, 200, success())
    assert vend(build_provider(api_key=TOKEN[:8])) == SOLD
    assert vend(build_provider(api_key="BV")) == SOLD


# --- the provider account ---------------------------------------------------------------------------------------------


def test_provider_account_has_expected_attributes(buypower: BuypowerProvider) -> None:
    account = buypower.account
    assert account.account_id == f"idev.buypower.ng#{sha256(KEY.encode()).hexdigest()[:8]}"
    assert (account.provider, account.mode, account.currency) == ("buypower", Mode.TEST, "NGN")
    assert (account.utc_offset, account.reference_lasts_a_day) == (timedelta(hours=1), False)
    assert (account.billers, account.max_processing_seconds) == (BILLERS, 600)
    assert build_provider(max_processing_seconds=900).account.max_processing_seconds == 900
    assert buypower.parse_references(encoded({"orderId": REFERENCE})) == ()


@pytest.mark.parametrize(
    ("url", "host", "mode"),
    [
        ("https://api.buypower.ng/v2", "api.buypower.ng", Mode.LIVE),
        ("https://IDEV.buypower.ng/v2/", "idev.buypower.ng", Mode.TEST),
        ("https://idev.buypower.ng.example/v2", "idev.buypower.ng.example", Mode.LIVE),
        ("http://127.0.0.1:4000/v2", "127.0.0.1:4000", Mode.TEST),
        ("http://localhost:4000", "localhost:4000", Mode.TEST),
        ("http://[::1]:4000", "::1:4000", Mode.TEST),
    ],
)
def test_api_url_determines_account_and_mode(url: str, host: str, mode: Mode) -> None:
    account = build_provider(api_url=url).account
    assert (account.account_id.partition("#")[0], account.mode) == (host, mode)


def test_trailing_slash_in_api_url_is_ignored(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get("https://api.buypower.ng/v2/wallet/balance").respond(200, json={"balance": 1})
    build_provider(api_url="https://api.buypower.ng/v2/").fetch_float()
    assert route.called


@pytest.mark.parametrize("key", [None, "", "two words", "line\nbreak", "clé-of-the-tests"])
def test_missing_or_invalid_api_key_is_rejected(key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="BILL_PROVIDER_API_KEY") as refused:
        build_provider(api_key=key)
    assert not key or key not in str(refused.value)


def test_reference_does_not_depend_on_day() -> None:
    reference = make_reference("payment-1", 1, date(2026, 11, 22))
    assert reference == make_reference("payment-1", 1, date(2031, 1, 1)) == "BVGPHQGFFO6HOQYB6XLF6SHPFA"
    assert len({make_reference(payment, n, date.min) for payment in ("a", "b") for n in (1, 2)}) == 4


# --- random answers ---------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *(
            "Transaction failed.",
            "Transaction not initiated.",
            REFUNDED,
            IN_PROGRESS,
            LOW_WALLET,
            "Invalid meter",
        ),
        *("No transaction found with reference", TOKEN, REFERENCE, "100", "200", "PREPAID", "TOKEN", "N/A"),
    ]
)
NUMBERS = st.sampled_from([20, 100, 200, 201, 202, 203, 400, 404, 409, 422, 429, 500, 501, 10**30, -1])
LEAVES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | WORDS
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text()
)
NAMES = st.sampled_from(
    [
        *(
            "status",
            "error",
            "responseCode",
            "message",
            "data",
            "result",
            "delay",
            "orderId",
            "token",
            "parcels",
        ),
        *(
            "vendType",
            "meterNo",
            "name",
            "units",
            "vendAmount",
            "balance",
            "minVendAmount",
            "type",
            "content",
        ),
    ]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=8),
    max_leaves=20,
)
BODIES = ANYTHING | st.dictionaries(NAMES, ANYTHING, max_size=8)
STATUSES = st.sampled_from([200, 202, 400, 401, 404, 409, 422, 429, 500, 501]) | st.integers(100, 999)
SUCCESSES = st.builds(
    lambda outer, data: success() | outer | {"data": sale() | data},
    st.dictionaries(NAMES, LEAVES, max_size=2),
    st.dictionaries(NAMES, LEAVES, max_size=2),
)
ANSWERS = st.tuples(STATUSES, BODIES) | st.tuples(
    st.just(200) | STATUSES, SUCCESSES | st.builds(lambda body: {"result": body}, SUCCESSES)
)
KINDS = st.sampled_from(["application/json"] * 4 + ["text/html", ""])


@given(st.sampled_from(Endpoint), ANSWERS, KINDS, st.text(), st.sampled_from([ORDER, POSTPAID]))
def test_random_answer_never_raises_and_only_success_delivers(
    endpoint: Endpoint, status_and_body: tuple[int, Any], kind: str, advice: str, order: Order
) -> None:
    status, body = status_and_body
    response = Response(status, body, {"content-type": kind, "retry-after": advice})
    answer = recorded(parse_answer(endpoint, response, order), order)
    parse_meter(response, METER, order.vend_type)
    parse_balance(response)
    is_object = isinstance(body, dict) and kind == "application/json"
    if isinstance(answer, Delivered):
        assert is_object
        sale_answer = body["result"] if isinstance(body.get("result"), dict) and body["result"] else body
        assert (status, str(sale_answer.get("responseCode", body.get("responseCode")))) == (200, "200")
        assert sale_answer.get("status") in (None, True)
        assert answer.token or order is POSTPAID
        assert answer.reference in (None, REFERENCE)
    if not isinstance(answer, Unknown):
        assert is_object
    if status >= 500:
        assert isinstance(answer, Unknown)
    if isinstance(answer, Declined | Pending | NotFound) and endpoint is Endpoint.REQUERY:
        assert status in range(202, 500)
