"""The calls of BuyPower's API, version 2."""

from datetime import timedelta
from hashlib import sha512
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.providers.buypower.codes import DISCO_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.buypower_answers import (
    METER_MAINTENANCE,
    UNAUTHORIZED,
    Error,
    rate_limited_response,
    requery_response,
    vend_response,
)
from billvend.adapters.providers.sandbox.over_http.formats import (
    is_accepted_key,
    json_response,
    naira_number,
    parse_naira,
    parse_request,
    parse_text,
    requested_fault,
)
from billvend.adapters.providers.sandbox.over_http.http_sandbox import HttpSandbox
from billvend.adapters.providers.sandbox.sale import customer_of
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
from billvend.ports.provider import Order

SIGNATURE_HEADER: Final = "x-buypower-signature"
MAX_VEND_NAIRA: Final = 10_000_000
_BILLERS: Final = {disco: biller for biller, disco in DISCO_BY_BILLER.items()}
_VEND_TYPES: Final = {vend_type.upper(): vend_type for vend_type in VendType}


def buypower_dialect(sandbox: HttpSandbox) -> Blueprint:
    """All calls. The real API has them below `/v2`."""
    calls = Blueprint("buypower", __name__)

    @calls.before_request
    def authenticate() -> Response | None:
        return None if is_accepted_key(_key()) else UNAUTHORIZED.response()

    @calls.after_request
    def sign(response: Response) -> Response:
        response.headers[SIGNATURE_HEADER] = sha512(response.get_data() + _key().encode()).hexdigest()
        return response

    @calls.post("/vend")
    def vend() -> Response:
        order = _parse_order(parse_request())
        if isinstance(order, str):
            return Error(400, 201, order).response()
        reply = sandbox.simulator.send(order, fault=requested_fault())
        return sandbox.deliver(reply, vend_response(reply))

    @calls.get("/transaction/<path:reference>")
    def requery(reference: str) -> Response:
        if early_seconds := _seconds_too_early(sandbox, reference):
            return rate_limited_response(early_seconds)
        reply = sandbox.simulator.requery(reference)
        return sandbox.deliver(reply, requery_response(reply))

    @calls.get("/check/meter")
    def check() -> Response:
        names = ("meter", "disco", "vendType")
        meter, disco, vend_type = (parse_text(request.args.get(name)) or "" for name in names)
        if not (meter and disco in _BILLERS and vend_type in _VEND_TYPES):
            return Error(400, 201, "meter, disco and vendType are required").response()
        return _check_meter(sandbox, meter, disco, vend_type)

    @calls.get("/wallet/balance")
    def balance() -> Response:
        return json_response({"balance": naira_number(sandbox.simulator.fetch_float().amount_minor)})

    @calls.get("/discos/status")
    def status() -> Response:
        return json_response(dict.fromkeys(_BILLERS, True))

    return calls


def _key() -> str:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _parse_order(fields: dict[str, Any]) -> Order | str:
    """The order, or the error in it."""
    names = ("orderId", "meter", "disco", "phone", "paymentType", "vendType", "amount")
    values = {name: parse_text(fields.get(name)) or "" for name in names}
    for name in names:
        if not values[name]:
            return f"{name} is required"
    if values["disco"] not in _BILLERS:
        return "disco is not supported"
    if values["vendType"] not in _VEND_TYPES:
        return "vendType must be PREPAID or POSTPAID"
    amount = parse_naira(values["amount"])
    if amount is None or amount.amount_minor > MAX_VEND_NAIRA * 100:
        return "amount is not valid"
    biller, vend_type = _BILLERS[values["disco"]], _VEND_TYPES[values["vendType"]]
    return Order(values["orderId"], values["meter"], biller, vend_type, amount, values["phone"])


def _seconds_too_early(sandbox: HttpSandbox, reference: str) -> int:
    """How many seconds it is too early for a requery of this reference, rounded up. 0 if it is not."""
    record = sandbox.store.find(reference)
    if record is None:
        return 0
    allowed_at = record.received_at + timedelta(seconds=sandbox.min_requery_age_seconds)
    return max(0, -((sandbox.now() - allowed_at) // timedelta(seconds=1)))


def _check_meter(sandbox: HttpSandbox, meter: str, disco: str, vend_type: str) -> Response:
    match sandbox.simulator.verify(meter, _BILLERS[disco], _VEND_TYPES[vend_type], fault=requested_fault()):
        case MeterLookupFailed():
            return Error(503, 503, "Service unavailable").response()
        case MeterRejected(fault=MeterFault.METER_CANNOT_VEND):
            return METER_MAINTENANCE.response()
        case MeterRejected(reason=reason):
            return Error(400, 201, f"Invalid meter: {reason}").response()
        case MeterFound(minimum_minor=minimum_minor):
            owner = customer_of(meter)
            body = {
                "error": False,
                "discoCode": disco,
                "vendType": vend_type,
                "meterNo": meter,
                "minVendAmount": naira_number(minimum_minor or 0),
                "maxVendAmount": MAX_VEND_NAIRA,
                "responseCode": 100,
                "outstanding": 0,
                "debtRepayment": 0,
                "name": owner.name,
                "address": owner.address,
                **dict.fromkeys(("tariff", "tariffDesc", "tariffClass"), ""),
                "demandCategory": "NMD",
            }
            return json_response(body)
