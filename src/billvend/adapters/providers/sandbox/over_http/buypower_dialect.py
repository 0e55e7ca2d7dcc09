"""The calls of BuyPower's API, version 2."""

from hashlib import sha512
from typing import Any, Final

from flask import Blueprint, Response, request

from billvend.adapters.providers.sandbox.customer import customer_of
from billvend.adapters.providers.sandbox.over_http.biller_codes import BILLER_BY_DISCO, DISCO_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.buypower_responses import (
    JsonReply,
    error_reply,
    requery_reply,
    unauthorized_reply,
    vend_reply,
)
from billvend.adapters.providers.sandbox.over_http.formats import naira_number
from billvend.adapters.providers.sandbox.over_http.http_sandbox import (
    HttpSandbox,
    is_accepted_key,
    json_response,
    parse_naira,
    parse_request,
    parse_text,
    requested_fault,
)
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
from billvend.ports.provider import Order

SIGNATURE_HEADER: Final = "x-buypower-signature"
MAX_VEND_NAIRA: Final = 10_000_000
_VEND_TYPES: Final = {vend_type.upper(): vend_type for vend_type in VendType}


def buypower_dialect(sandbox: HttpSandbox) -> Blueprint:
    """All calls. The real API has them below `/v2`."""
    calls = Blueprint("buypower", __name__)

    @calls.before_request
    def authenticate() -> Response | None:
        return None if is_accepted_key(_key()) else _to_response(unauthorized_reply())

    @calls.after_request
    def sign(response: Response) -> Response:
        response.headers[SIGNATURE_HEADER] = sha512(response.get_data() + _key().encode()).hexdigest()
        return response

    @calls.post("/vend")
    def vend() -> Response:
        order = _parse_order(parse_request())
        if isinstance(order, str):
            return _to_response(error_reply(400, 201, order))
        reply = sandbox.simulator.send(order, fault=requested_fault())
        return sandbox.deliver(reply, _to_response(vend_reply(reply)))

    @calls.get("/transaction/<path:reference>")
    def requery(reference: str) -> Response:
        reply = sandbox.early_requery_reply(reference) or sandbox.simulator.requery(reference)
        return sandbox.deliver(reply, _to_response(requery_reply(reply)))

    @calls.get("/check/meter")
    def check() -> Response:
        meter, disco, vend_type = (
            parse_text(request.args.get(name)) or "" for name in ("meter", "disco", "vendType")
        )
        if not (meter and disco in BILLER_BY_DISCO and vend_type in _VEND_TYPES):
            return _to_response(error_reply(400, 201, "meter, disco and vendType are required"))
        return _to_response(_check_meter(sandbox, meter, disco, vend_type))

    @calls.get("/wallet/balance")
    def balance() -> Response:
        return json_response({"balance": naira_number(sandbox.simulator.fetch_float().amount_minor)})

    @calls.get("/discos/status")
    def status() -> Response:
        return json_response(dict.fromkeys(DISCO_BY_BILLER.values(), True))

    return calls


def _key() -> str:
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _to_response(reply: JsonReply) -> Response:
    seconds = reply.retry_after_seconds
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return json_response(reply.body, reply.status, **headers)


def _parse_order(fields: dict[str, Any]) -> Order | str:
    """The order, or the error in it."""
    names = ("orderId", "meter", "disco", "phone", "paymentType", "vendType", "amount")
    values = {name: parse_text(fields.get(name)) or "" for name in names}
    for name in names:
        if not values[name]:
            return f"{name} is required"
    if values["disco"] not in BILLER_BY_DISCO:
        return "disco is not supported"
    if values["vendType"] not in _VEND_TYPES:
        return "vendType must be PREPAID or POSTPAID"
    amount = parse_naira(values["amount"])
    if amount is None or amount.amount_minor > MAX_VEND_NAIRA * 100:
        return "amount is not valid"
    biller, vend_type = BILLER_BY_DISCO[values["disco"]], _VEND_TYPES[values["vendType"]]
    return Order(values["orderId"], values["meter"], biller, vend_type, amount, values["phone"])


def _check_meter(sandbox: HttpSandbox, meter: str, disco: str, vend_type: str) -> JsonReply:
    verification = sandbox.simulator.verify(
        meter, BILLER_BY_DISCO[disco], _VEND_TYPES[vend_type], fault=requested_fault()
    )
    match verification:
        case MeterLookupFailed():
            return error_reply(503, 503, "Service unavailable")
        case MeterRejected(fault=MeterFault.METER_CANNOT_VEND):
            return error_reply(501, 501, "This meter needs maintenance")
        case MeterRejected(reason=reason):
            return error_reply(400, 201, f"Invalid meter: {reason}")
        case MeterFound(minimum_minor=minimum_minor):
            owner = customer_of(meter)
            body = {
                "error": False,
                "discoCode": disco,
                "vendType": vend_type,
                "meterNo": meter,
                "minVendAmount": 0 if minimum_minor is None else naira_number(minimum_minor),
                "maxVendAmount": MAX_VEND_NAIRA,
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
            return JsonReply(200, body)
