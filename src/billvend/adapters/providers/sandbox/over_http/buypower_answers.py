"""BuyPower's answers about sales: HTTP status, code and message of each, as tables."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from flask import Response

from billvend.adapters.providers.buypower.codes import DISCO_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.formats import LAGOS, json_response, naira_number
from billvend.adapters.providers.sandbox.sale import SaleRecord, customer_of
from billvend.adapters.providers.sandbox.simulator import PENDING_RETRY_AFTER_SECONDS, SimulatedReply
from billvend.domain.outcome import Declined, Deferred, Delivered, NotFound, Pending

DEFAULT_RETRY_AFTER_SECONDS = 60


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
_FAILED: Final = Error(400, 202, "Transaction failed.")
_REFUNDED: Final = Error(400, 202, "Transaction failed. Refund already processed.")
_NOT_FOUND: Final = Error(404, 20, "No transaction found with reference")
_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        "duplicate_reference": Error(409, 201, "Request already received"),
        "system_error": Error(500, 500, "Requery to get the status of this transaction"),
        "bad_gateway": Error(502, 502, "Unexpected response from the provider"),
        "unavailable": Error(502, 503, "Service unavailable"),
        "unlisted_code": Error(418, 777, "Something else"),
    }
)
_VEND_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        **_ERRORS,
        "low_float": Error(422, 202, "Insufficient wallet balance"),
        "bad_credentials": UNAUTHORIZED,
        "maintenance": METER_MAINTENANCE,
        "cannot_vend": METER_MAINTENANCE,
    }
)
"""By the code of the reply. Other answers to a vend are `_FAILED`."""
_REQUERY_ERRORS: Final[Mapping[str, Error]] = MappingProxyType(
    {
        **_ERRORS,
        "still_processing": Error(400, 201, "Transaction still processing, retry in 2 minutes"),
        "please_retry": Error(400, 202, "Transaction not successful. Please retry."),
        "not_initiated": Error(400, 203, "Transaction not initiated."),
    }
)
"""By the code of the reply. Other answers to a requery are `_FAILED`."""


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
        "debtAmount": number(0),
        "debtRemaining": number(0),
        "disco": DISCO_BY_BILLER[record.biller],
        "freeUnits": number(0),
        "orderId": record.reference,
        "receiptNo": receipt.get("receiptNumber"),
        "tax": number(receipt.get("tax", "0")),
        "vendTime": (record.vended_at or record.received_at).astimezone(LAGOS).strftime("%Y-%m-%d %H:%M:%S"),
        "token": _hyphenate(sale.token) if sale.token else None,
        "totalAmountPaid": naira_number(record.amount_minor),
        "units": number(record.units) if record.units else None,
        "vendAmount": number(naira_number(record.amount_minor)),
        "vendRef": record.provider_reference,
        "responseCode": 100,
        "responseMessage": "Payment successful",
        "address": owner.address,
        "name": owner.name,
        "phoneNo": "08000000000",
        "charges": number(0),
        "tariffIndex": None,
        "parcels": [{"type": kind, "content": _hyphenate(token)} for kind, token in tokens.items() if token],
        "demandCategory": "NMD",
        "assetProvider": DISCO_BY_BILLER[record.biller],
    }
    return {"status": True, "message": "Successful transaction", "responseCode": 200, "data": data}


def _hyphenate(token: str) -> str:
    return "-".join(token[at : at + 4] for at in range(0, len(token), 4))
