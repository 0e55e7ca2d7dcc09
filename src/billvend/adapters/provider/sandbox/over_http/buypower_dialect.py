"""BuyPower's calls, version 2."""

from hashlib import sha512
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.provider.sandbox.customer import customer_of
from billvend.adapters.provider.sandbox.over_http.buypower_answers import (
    Written,
    flat,
    requeried,
    unauthorized,
    vended,
)
from billvend.adapters.provider.sandbox.over_http.companies import BILLER_OF_DISCO, DISCO_OF
from billvend.adapters.provider.sandbox.over_http.counter import (
    Counter,
    amount,
    as_json,
    asked,
    fault_asked,
    is_key,
    word,
)
from billvend.adapters.provider.sandbox.over_http.formats import naira
from billvend.domain.verification import CannotVerify, MeterFault, MeterFound, MeterRefused
from billvend.domain.words import VendType
from billvend.ports.provider import Order

SIGNATURE_HEADER: Final = "x-buypower-signature"
LARGEST_VEND_NAIRA: Final = 10_000_000
_VEND_TYPES: Final = {vend_type.upper(): vend_type for vend_type in VendType}


def buypower_dialect(counter: Counter) -> Blueprint:
    """All calls, below `/v2` at the real one."""
    calls = Blueprint("buypower", __name__)

    @calls.before_request
    def let_in() -> Response | None:
        return None if is_key(_key()) else _response(unauthorized())

    @calls.after_request
    def sign(response: Response) -> Response:
        response.headers[SIGNATURE_HEADER] = sha512(response.get_data() + _key().encode()).hexdigest()
        return response

    @calls.post("/vend")
    def vend() -> Response:
        order = _order(asked())
        if isinstance(order, str):
            return _response(flat(400, 201, order))
        reply = counter.desk.send(order, fault=fault_asked())
        return counter.answered(reply, _response(vended(reply)))

    @calls.get("/transaction/<path:reference>")
    def requery(reference: str) -> Response:
        reply = counter.too_early(reference) or counter.desk.requery(reference)
        return counter.answered(reply, _response(requeried(reply)))

    @calls.get("/check/meter")
    def check() -> Response:
        meter, disco, vend_type = (
            word(request.args.get(name)) or "" for name in ("meter", "disco", "vendType")
        )
        if not (meter and disco in BILLER_OF_DISCO and vend_type in _VEND_TYPES):
            return _response(flat(400, 201, "meter, disco and vendType are required"))
        return _response(_checked(counter, meter, disco, vend_type))

    @calls.get("/wallet/balance")
    def balance() -> Response:
        return as_json({"balance": naira(counter.desk.ask_float().amount_minor)})

    @calls.get("/discos/status")
    def status() -> Response:
        return as_json(dict.fromkeys(DISCO_OF.values(), True))

    return calls


def _key() -> str:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _response(written: Written) -> Response:
    seconds = written.retry_after_seconds
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return as_json(written.body, written.status, **headers)


def _order(fields: dict[str, Any]) -> Order | str:
    """What is ordered, or what is wrong with it."""
    names = ("orderId", "meter", "disco", "phone", "paymentType", "vendType", "amount")
    given = {name: word(fields.get(name)) or "" for name in names}
    for name in names:
        if not given[name]:
            return f"{name} is required"
    if given["disco"] not in BILLER_OF_DISCO:
        return "disco is not supported"
    if given["vendType"] not in _VEND_TYPES:
        return "vendType must be PREPAID or POSTPAID"
    paid = amount(given["amount"])
    if paid is None or paid.amount_minor > LARGEST_VEND_NAIRA * 100:
        return "amount is not valid"
    biller, vend_type = BILLER_OF_DISCO[given["disco"]], _VEND_TYPES[given["vendType"]]
    return Order(given["orderId"], given["meter"], biller, vend_type, paid, given["phone"])


def _checked(counter: Counter, meter: str, disco: str, vend_type: str) -> Written:
    found = counter.desk.verify(meter, BILLER_OF_DISCO[disco], _VEND_TYPES[vend_type], fault=fault_asked())
    match found:
        case CannotVerify():
            return flat(503, 503, "Service unavailable")
        case MeterRefused(fault=MeterFault.METER_CANNOT_VEND):
            return flat(501, 501, "This meter needs maintenance")
        case MeterRefused(reason=reason):
            return flat(400, 201, f"Invalid meter: {reason}")
        case MeterFound(minimum_minor=minimum_minor):
            owner = customer_of(meter)
            body = {
                "error": False,
                "discoCode": disco,
                "vendType": vend_type,
                "meterNo": meter,
                "minVendAmount": 0 if minimum_minor is None else naira(minimum_minor),
                "maxVendAmount": LARGEST_VEND_NAIRA,
                "responseCode": 100,
                "outstanding": 0,
                "debtRepayment": 0,
                "name": owner.name,
                "address": owner.address,
                "tariff": "",
                "tariffDesc": "",
                "tariffClass": "",
                "demandCategory": "NMD",
            }
            return Written(200, body)
