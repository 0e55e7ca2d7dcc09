"""BuyPower's API, version 2: its calls, and its answers as tables of HTTP status, code and message."""

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha512
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, request

from billvend.adapters.providers.billers import DISCO_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.http_sandbox import (
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
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus, customer_of
from billvend.adapters.providers.sandbox.simulator import PENDING_RETRY_AFTER_SECONDS, SimulatedReply
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
from billvend.domain.outcome import Declined, Deferred, Delivered, NotFound, Pending, Unknown
from billvend.ports.provider import Order

SIGNATURE_HEADER: Final = "x-buypower-signature"
MAX_VEND_NAIRA: Final = 10_000_000
DEFAULT_RETRY_AFTER_SECONDS: Final = 60
_BILLERS: Final = {disco: biller for biller, disco in DISCO_BY_BILLER.items()}
_VEND_TYPES: Final = {vend_type.upper(): vend_type for vend_type in VendType}
_DELIVERY_CONSTANTS: Final = MappingProxyType({
    "responseCode": 100, "responseMessage": "Payment successful", "phoneNo": "08000000000", "tariffIndex": None,
    "demandCategory": "NMD",
})  # fmt: skip
_METER_CONSTANTS: Final = MappingProxyType({
    "error": False, "responseCode": 100, "maxVendAmount": MAX_VEND_NAIRA, "outstanding": 0, "debtRepayment": 0,
    "tariff": "", "tariffDesc": "", "tariffClass": "", "demandCategory": "NMD",
})  # fmt: skip


class Error(NamedTuple):
    """An answer without a delivery."""

    status: int
    code: int
    message: str

    def body(self, **more: object) -> dict[str, Any]:
        """The body, with further fields."""
        return {"status": False, "error": True, "responseCode": self.code, "message": self.message, **more}

    def response(self) -> Response:
        """The answer."""
        return json_response(self.body(), self.status)


UNAUTHORIZED: Final = Error(401, 401, "Unauthorized")
METER_MAINTENANCE: Final = Error(501, 501, "This meter needs maintenance")
_SYSTEM_ERROR: Final = Error(500, 500, "Requery to get the status of this transaction")
_FAILED: Final = Error(400, 202, "Transaction failed.")
_REFUNDED: Final = Error(400, 202, "Transaction failed. Refund already processed.")
_NOT_FOUND: Final = Error(404, 20, "No transaction found with reference")
_UNCLEAR_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        "duplicate_reference": Error(409, 201, "Request already received"),
        "bad_gateway": Error(502, 502, "Unexpected response from the provider"),
        "unavailable": Error(502, 503, "Service unavailable"),
        "unlisted_code": Error(418, 777, "Something else"),
    }
)
"""By the code of the reply. Other unclear answers are `_SYSTEM_ERROR`."""
_VEND_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        "low_float": Error(422, 202, "Insufficient wallet balance"),
        "bad_credentials": UNAUTHORIZED,
        "maintenance": METER_MAINTENANCE,
        "cannot_vend": METER_MAINTENANCE,
    }
)
"""By the code of the reply. Other answers to a vend are `_FAILED`."""
_REQUERY_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        "still_processing": Error(400, 201, "Transaction still processing, retry in 2 minutes"),
        "please_retry": Error(400, 202, "Transaction not successful. Please retry."),
        "not_initiated": Error(400, 203, "Transaction not initiated."),
    }
)
"""By the code of the reply. Other answers to a requery are `_FAILED`."""


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
    if record is None or record.status is SaleStatus.REFUSED:
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
                "discoCode": disco,
                "vendType": vend_type,
                "meterNo": meter,
                "minVendAmount": naira_number(minimum_minor or 0),
                "name": owner.name,
                "address": owner.address,
                **_METER_CONSTANTS,
            }
            return json_response(body)


# --- answers ------------------------------------------------------------------------------------------------------------


def vend_response(reply: SimulatedReply) -> Response:
    """The answer to /vend."""
    match reply.answer:
        case Delivered() as sale:
            return json_response(_delivery_body(reply.record, sale, as_text=True))
        case Pending(retry_after_seconds=seconds):
            delay = seconds or PENDING_RETRY_AFTER_SECONDS
            return json_response(_in_progress(delay).body(delay=[delay] * 3), 202)
        case Deferred(retry_after_seconds=seconds):
            return rate_limited_response(seconds)
        case Declined(about_transaction=False, reason=reason):
            return Error(400, 201, f"Invalid request: {reason}").response()
        case Unknown():
            return _UNCLEAR_ERRORS.get(reply.code, _SYSTEM_ERROR).response()
        case _:
            return _VEND_ERRORS.get(reply.code, _FAILED).response()


def requery_response(reply: SimulatedReply) -> Response:
    """The answer to /transaction/{orderId}."""
    match reply.answer:
        case Delivered() as sale:
            return json_response({"result": _delivery_body(reply.record, sale, as_text=False)})
        case NotFound():
            return _NOT_FOUND.response()
        case Pending(retry_after_seconds=seconds) if reply.code == "too_early":
            return rate_limited_response(seconds)
        case Pending(retry_after_seconds=seconds) if reply.code not in _REQUERY_ERRORS:
            delay = seconds or PENDING_RETRY_AFTER_SECONDS
            return json_response(_in_progress(delay).body(data={"delay": [delay] * 6}), 202)
        case Declined(provider_reversed=True):
            return _REFUNDED.response()
        case Unknown():
            return _UNCLEAR_ERRORS.get(reply.code, _SYSTEM_ERROR).response()
        case _:
            return _REQUERY_ERRORS.get(reply.code, _FAILED).response()


def rate_limited_response(seconds: int | None) -> Response:
    """The answer to too many requests. None is the default delay in seconds."""
    seconds = seconds or DEFAULT_RETRY_AFTER_SECONDS
    error = Error(429, 429, f"Too many requests. Try again in {seconds} seconds")
    return json_response(error.body(), error.status, **{"Retry-After": str(seconds)})


def _in_progress(seconds: int) -> Error:
    return Error(202, 202, f"Transaction is still in progress. Please requery in {seconds} seconds")


def _delivery_body(record: SaleRecord | None, sale: Delivered, *, as_text: bool) -> dict[str, Any]:
    """A delivery. BuyPower writes its numbers as text to a vend, and as numbers to a requery."""
    assert record is not None  # noqa: S101  a sale has a record

    def number(value: str | int | float) -> str | int | float:
        return str(value) if as_text else float(value)

    owner, receipt = customer_of(record.meter), record.receipt
    tokens = {"KCT1": receipt.get("kct1"), "KCT2": receipt.get("kct2"), "TOKEN": sale.token}
    data = {
        "id": int(record.provider_reference or 0),
        "amountGenerated": number(receipt.get("netAmount", "0")),
        "tariff": number(receipt.get("tariff", "0")),
        "disco": DISCO_BY_BILLER[record.biller],
        "orderId": record.reference,
        "receiptNo": receipt.get("receiptNumber"),
        "tax": number(receipt.get("tax", "0")),
        "vendTime": (record.vended_at or record.received_at).astimezone(LAGOS).strftime("%Y-%m-%d %H:%M:%S"),
        "token": _hyphenate(sale.token) if sale.token else None,
        "totalAmountPaid": naira_number(record.amount_minor),
        "units": number(record.units) if record.units else None,
        "vendAmount": number(naira_number(record.amount_minor)),
        "vendRef": record.provider_reference,
        "address": owner.address,
        "name": owner.name,
        "parcels": [{"type": kind, "content": _hyphenate(token)} for kind, token in tokens.items() if token],
        "assetProvider": DISCO_BY_BILLER[record.biller],
        **dict.fromkeys(("debtAmount", "debtRemaining", "freeUnits", "charges"), number(0)),
        **_DELIVERY_CONSTANTS,
    }
    return {"status": True, "message": "Successful transaction", "responseCode": 200, "data": data}


def _hyphenate(token: str) -> str:
    return "-".join(token[at : at + 4] for at in range(0, len(token), 4))
