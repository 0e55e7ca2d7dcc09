"""The calls of VTpass's API. It answers with HTTP 200, for any `code`."""

import re
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.providers.billers import BILLER_BY_CODE, SERVICE_ID_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.http_sandbox import (
    CURRENCY,
    LAGOS,
    HttpSandbox,
    is_accepted_key,
    json_response,
    naira_number,
    parse_naira,
    parse_request,
    parse_text,
    requested_fault,
)
from billvend.adapters.providers.sandbox.over_http.vtpass_answers import (
    COMMISSION_TERMS,
    answer_body,
    build_body,
)
from billvend.adapters.providers.sandbox.sale import customer_of
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
from billvend.domain.money import Money
from billvend.ports.provider import Order

MINIMUM: Final = Money(100_00, CURRENCY)
MAXIMUM: Final = Money(10_000_000_00, CURRENCY)
"""The limits of a payment, for every company."""
CATEGORY: Final = "electricity-bill"
_METER_CONSTANTS: Final = MappingProxyType({
    "Customer_Arrears": "", "Minimum_Amount": "", "Business_Unit": "", "Customer_Account_Type": "NMD",
    "WrongBillersCode": False,
})  # fmt: skip
_REQUEST_ID = re.compile(r"(?P<minute>[0-9]{12})[0-9A-Za-z]*")
_BILLERS: Final = {service_id: biller for biller, service_id in SERVICE_ID_BY_BILLER.items()}
_VEND_TYPES: Final = {str(vend_type): vend_type for vend_type in VendType}


def vtpass_dialect(sandbox: HttpSandbox) -> Blueprint:
    """All calls. The real API has them below `/api`."""
    calls = Blueprint("vtpass", __name__)

    @calls.before_request
    def authenticate() -> Response | None:
        return None if _has_credentials() else json_response(build_body("087"))

    @calls.post("/pay")
    def pay() -> Response:
        order = _parse_order(parse_request(), sandbox.now())
        if isinstance(order, str):
            return json_response(build_body(order))
        reply = sandbox.simulator.send(
            order, fault=requested_fault(), duplicate_window_seconds=sandbox.duplicate_window_seconds
        )
        return sandbox.deliver(reply, json_response(answer_body(reply)))

    @calls.post("/requery")
    def requery() -> Response:
        reference = parse_text(parse_request().get("request_id"))
        if reference is None:
            return json_response(build_body("011"))
        reply = sandbox.simulator.requery(reference)
        return sandbox.deliver(reply, json_response(answer_body(reply, is_requery=True)))

    @calls.post("/merchant-verify")
    def verify() -> Response:
        fields = parse_request()
        meter, service, kind = (parse_text(fields.get(name)) for name in ("billersCode", "serviceID", "type"))
        if meter is None or service is None or kind is None:
            return json_response(build_body("011"))
        if service not in _BILLERS:
            return json_response(build_body("012"))
        if kind not in _VEND_TYPES:
            return json_response(build_body("010"))
        return json_response(_verification_body(sandbox, meter, _BILLERS[service], _VEND_TYPES[kind]))

    @calls.get("/balance")
    def balance() -> Response:
        remaining = naira_number(sandbox.simulator.fetch_float().amount_minor)
        return json_response({"code": 1, "contents": {"balance": remaining}})

    @calls.get("/service-categories")
    def categories() -> Response:
        return _list_response([{"identifier": CATEGORY, "name": "Electricity Bill"}])

    @calls.get("/services")
    def services() -> Response:
        if request.args.get("identifier") != CATEGORY:
            return json_response(build_body("011"))
        return _list_response([_service_fields(service) for service in _BILLERS])

    @calls.get("/service-variations")
    def variations() -> Response:
        service = request.args.get("serviceID", "")
        if service not in _BILLERS:
            return json_response(build_body("012"))
        variations = [
            {"variation_code": code, "name": code.title(), "variation_amount": "0.00", "fixedPrice": "No"}
            for code in _VEND_TYPES
        ]
        content = {
            "ServiceName": f"{BILLER_BY_CODE[_BILLERS[service]].name} Payment",
            "serviceID": service,
            "convinience_fee": "0 %",
            "variations": variations,
            "varations": variations,
        }
        return _list_response(content)

    return calls


def _has_credentials() -> bool:
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        return is_accepted_key(basic.username) and is_accepted_key(basic.password)
    second = "public-key" if request.method == "GET" else "secret-key"
    return is_accepted_key(request.headers.get("api-key")) and is_accepted_key(request.headers.get(second))


def _parse_order(fields: dict[str, Any], now: datetime) -> Order | str:
    """The order, or the code of the error in it."""
    names = ("request_id", "serviceID", "billersCode", "variation_code", "amount", "phone")
    reference, service, meter, variation, amount_text, phone = (
        parse_text(fields.get(name)) for name in names
    )
    if reference is None or not _is_of_today(reference, now):
        return "085"
    if service is None or meter is None or amount_text is None or phone is None:
        return "011"
    if service not in _BILLERS:
        return "012"
    if variation not in _VEND_TYPES:
        return "010"
    amount = parse_naira(amount_text)
    if amount is None:
        return "011"
    if amount < MINIMUM:
        return "013"
    if amount > MAXIMUM:
        return "017"
    return Order(reference, meter, _BILLERS[service], _VEND_TYPES[variation], amount, phone)


def _is_of_today(request_id: str, now: datetime) -> bool:
    """Whether a request id begins with a minute of today in Lagos, followed by ASCII alphanumerics alone."""
    fits = _REQUEST_ID.fullmatch(request_id)
    if fits is None:
        return False
    try:
        minute = datetime.strptime(fits["minute"], "%Y%m%d%H%M").replace(tzinfo=LAGOS)
    except ValueError:
        return False
    return minute.date() == now.astimezone(LAGOS).date()


def _verification_body(sandbox: HttpSandbox, meter: str, biller: str, vend_type: VendType) -> dict[str, Any]:
    """VTpass answers a rejection with 000 too."""
    minimum, can_vend = "", "yes"
    match sandbox.simulator.verify(meter, biller, vend_type, fault=requested_fault()):
        case MeterLookupFailed():
            return build_body("030")
        case MeterRejected(fault=MeterFault.METER_CANNOT_VEND):
            can_vend = "no"
        case MeterRejected(reason=reason):
            return {"code": "000", "content": {"error": f"Not verified: {reason}.", "WrongBillersCode": True}}
        case MeterFound(minimum_minor=int(minimum_minor)):
            minimum = str(naira_number(minimum_minor))
    owner = customer_of(meter)
    content = {
        "Customer_Name": owner.name,
        "Address": owner.address,
        "Meter_Number": meter,
        "Min_Purchase_Amount": minimum,
        "Can_Vend": can_vend,
        "Meter_Type": vend_type.upper(),
        "commission_details": {"amount": None, **COMMISSION_TERMS},
        **_METER_CONSTANTS,
    }
    return {"code": "000", "content": content}


def _service_fields(service: str) -> dict[str, Any]:
    return {
        "serviceID": service,
        "name": f"{BILLER_BY_CODE[_BILLERS[service]].name} Payment",
        "minimium_amount": str(MINIMUM.amount_minor // 100),
        "maximum_amount": MAXIMUM.amount_minor // 100,
        "convinience_fee": "0 %",
        "product_type": "fix",
        "image": f"https://images.example.test/{service}.jpg",
    }


def _list_response(content: object) -> Response:
    return json_response({"response_description": "000", "content": content})
