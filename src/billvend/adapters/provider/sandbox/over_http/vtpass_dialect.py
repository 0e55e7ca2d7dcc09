"""VTpass's calls. Its answers come with HTTP 200, whatever their `code` says."""

import re
from datetime import datetime
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.provider.billers import BY_CODE
from billvend.adapters.provider.sandbox.customer import customer_of
from billvend.adapters.provider.sandbox.over_http.companies import BILLER_OF_SERVICE, SERVICE_OF
from billvend.adapters.provider.sandbox.over_http.counter import (
    CURRENCY,
    Counter,
    amount,
    as_json,
    asked,
    fault_asked,
    is_key,
    word,
)
from billvend.adapters.provider.sandbox.over_http.formats import LAGOS, naira
from billvend.adapters.provider.sandbox.over_http.vtpass_answers import answer, said
from billvend.domain.money import Money
from billvend.domain.verification import CannotVerify, MeterFault, MeterFound, MeterRefused
from billvend.domain.words import VendType
from billvend.ports.provider import Order

MINIMUM: Final = Money(100_00, CURRENCY)
MAXIMUM: Final = Money(10_000_000_00, CURRENCY)
"""Of one payment, at every company."""
CATEGORY: Final = "electricity-bill"
_REQUEST_ID = re.compile(r"(?P<minute>[0-9]{12})[0-9A-Za-z]*")
_VEND_TYPES: Final = {str(vend_type): vend_type for vend_type in VendType}


def vtpass_dialect(counter: Counter) -> Blueprint:
    """All calls, below `/api` at the real one."""
    calls = Blueprint("vtpass", __name__)

    @calls.before_request
    def let_in() -> Response | None:
        return None if _has_credentials() else as_json(said("087"))

    @calls.post("/pay")
    def pay() -> Response:
        order = _order(asked(), counter.now())
        if isinstance(order, str):
            return as_json(said(order))
        fault = fault_asked()
        reply = counter.desk.send(
            order, fault=fault, likely_duplicate_seconds=counter.likely_duplicate_seconds
        )
        return counter.answered(reply, as_json(answer(reply)))

    @calls.post("/requery")
    def requery() -> Response:
        reference = word(asked().get("request_id"))
        if reference is None:
            return as_json(said("011"))
        reply = counter.desk.requery(reference)
        return counter.answered(reply, as_json(answer(reply, is_requery=True)))

    @calls.post("/merchant-verify")
    def verify() -> Response:
        fields = asked()
        meter, service, kind = (word(fields.get(name)) for name in ("billersCode", "serviceID", "type"))
        if meter is None or service is None or kind is None:
            return as_json(said("011"))
        if service not in BILLER_OF_SERVICE:
            return as_json(said("012"))
        if kind not in _VEND_TYPES:
            return as_json(said("010"))
        return as_json(_verified(counter, meter, BILLER_OF_SERVICE[service], _VEND_TYPES[kind]))

    @calls.get("/balance")
    def balance() -> Response:
        return as_json({"code": 1, "contents": {"balance": naira(counter.desk.ask_float().amount_minor)}})

    @calls.get("/service-categories")
    def categories() -> Response:
        return _listed([{"identifier": CATEGORY, "name": "Electricity Bill"}])

    @calls.get("/services")
    def services() -> Response:
        if request.args.get("identifier") != CATEGORY:
            return as_json(said("011"))
        return _listed([_service(biller, service) for biller, service in SERVICE_OF.items()])

    @calls.get("/service-variations")
    def variations() -> Response:
        service = request.args.get("serviceID", "")
        if service not in BILLER_OF_SERVICE:
            return as_json(said("012"))
        kinds = [
            {"variation_code": code, "name": code.title(), "variation_amount": "0.00", "fixedPrice": "No"}
            for code in _VEND_TYPES
        ]
        content = {
            "ServiceName": f"{BY_CODE[BILLER_OF_SERVICE[service]].name} Payment",
            "serviceID": service,
            "convinience_fee": "0 %",
            "variations": kinds,
            "varations": kinds,
        }
        return _listed(content)

    return calls


def _has_credentials() -> bool:
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        return is_key(basic.username) and is_key(basic.password)
    second = "public-key" if request.method == "GET" else "secret-key"
    return is_key(request.headers.get("api-key")) and is_key(request.headers.get(second))


def _order(fields: dict[str, Any], now: datetime) -> Order | str:
    """What is ordered, or the code that says what is wrong with it."""
    names = ("request_id", "serviceID", "billersCode", "variation_code", "amount", "phone")
    reference, service, meter, variation, wanted, phone = (word(fields.get(name)) for name in names)
    if reference is None or not _is_of_today(reference, now):
        return "085"
    if service is None or meter is None or wanted is None or phone is None:
        return "011"
    if service not in BILLER_OF_SERVICE:
        return "012"
    if variation not in _VEND_TYPES:
        return "010"
    paid = amount(wanted)
    if paid is None:
        return "011"
    if paid < MINIMUM:
        return "013"
    if paid > MAXIMUM:
        return "017"
    return Order(reference, meter, BILLER_OF_SERVICE[service], _VEND_TYPES[variation], paid, phone)


def _is_of_today(request_id: str, now: datetime) -> bool:
    """Whether it begins with a minute of today in Lagos, and goes on with letters and digits alone."""
    fits = _REQUEST_ID.fullmatch(request_id)
    if fits is None:
        return False
    try:
        minute = datetime.strptime(fits["minute"], "%Y%m%d%H%M").replace(tzinfo=LAGOS)
    except ValueError:
        return False
    return minute.date() == now.astimezone(LAGOS).date()


def _verified(counter: Counter, meter: str, biller: str, vend_type: VendType) -> dict[str, Any]:
    match counter.desk.verify(meter, biller, vend_type, fault=fault_asked()):
        case CannotVerify():
            return said("030")
        case MeterRefused(fault=MeterFault.METER_CANNOT_VEND):
            return {"code": "000", "content": _meter(meter, vend_type) | {"Can_Vend": "no"}}
        case MeterRefused(reason=reason):
            # Failures come with 000 as well.
            return {"code": "000", "content": {"error": f"Not verified: {reason}.", "WrongBillersCode": True}}
        case MeterFound(minimum_minor=minimum_minor):
            least = "" if minimum_minor is None else str(naira(minimum_minor))
            return {"code": "000", "content": _meter(meter, vend_type) | {"Min_Purchase_Amount": least}}


def _meter(meter: str, vend_type: VendType) -> dict[str, Any]:
    owner = customer_of(meter)
    return {
        "Customer_Name": owner.name,
        "Address": owner.address,
        "Meter_Number": meter,
        "Customer_Arrears": "",
        "Minimum_Amount": "",
        "Min_Purchase_Amount": "",
        "Can_Vend": "yes",
        "Business_Unit": "",
        "Customer_Account_Type": "NMD",
        "Meter_Type": vend_type.upper(),
        "WrongBillersCode": False,
        "commission_details": {
            "amount": None, "rate": "1.50", "rate_type": "percent", "computation_type": "default",
        },
    }  # fmt: skip


def _service(biller: str, service: str) -> dict[str, Any]:
    return {
        "serviceID": service,
        "name": f"{BY_CODE[biller].name} Payment",
        "minimium_amount": str(MINIMUM.amount_minor // 100),
        "maximum_amount": MAXIMUM.amount_minor // 100,
        "convinience_fee": "0 %",
        "product_type": "fix",
        "image": f"https://images.example.test/{service}.jpg",
    }


def _listed(content: object) -> Response:
    return as_json({"response_description": "000", "content": content})
