"""BuyPower's answers: status and body for each `SimulatedReply`."""

from typing import Any, NamedTuple

from billvend.adapters.providers.sandbox import meters
from billvend.adapters.providers.sandbox.customer import customer_of
from billvend.adapters.providers.sandbox.over_http.biller_codes import DISCO_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.formats import LAGOS, naira_number
from billvend.adapters.providers.sandbox.sale_record import SaleRecord
from billvend.adapters.providers.sandbox.simulator import PENDING_RETRY_AFTER_SECONDS, SimulatedReply
from billvend.domain.outcome import Declined, Deferred, Delivered, Misconfigured, NotFound, Pending, Unknown

DEFAULT_RETRY_AFTER_SECONDS = 60


class JsonReply(NamedTuple):
    """An answer in JSON."""

    status: int
    body: dict[str, Any]
    retry_after_seconds: int | None = None


def error_reply(status: int, code: int, message: str) -> JsonReply:
    """An answer without a delivery."""
    return JsonReply(status, {"status": False, "error": True, "responseCode": code, "message": message})


def rate_limited_reply(seconds: int | None) -> JsonReply:
    """The answer to too many requests. None is the default delay in seconds."""
    seconds = seconds or DEFAULT_RETRY_AFTER_SECONDS
    return error_reply(429, 429, f"Too many requests. Try again in {seconds} seconds")._replace(
        retry_after_seconds=seconds
    )


def vend_reply(reply: SimulatedReply) -> JsonReply:
    """The answer to /vend."""
    match reply.answer:
        case Delivered() as sale:
            assert reply.record is not None  # noqa: S101  a sale has a record
            return JsonReply(200, _delivery_body(reply.record, sale, as_text=True))
        case Pending(retry_after_seconds=seconds):
            return _in_progress_reply(seconds or PENDING_RETRY_AFTER_SECONDS, times=3)
        case Deferred(retry_after_seconds=seconds):
            return rate_limited_reply(seconds)
        case Misconfigured() if reply.code == meters.LOW_FLOAT:
            return error_reply(422, 202, "Insufficient wallet balance")
        case Misconfigured():
            return unauthorized_reply()
        case Unknown():
            return _unclear_reply(reply.code)
        case Declined() if reply.code in (meters.MAINTENANCE, meters.CANNOT_VEND):
            return error_reply(501, 501, "This meter needs maintenance")
        case Declined(about_transaction=False, reason=reason):
            return error_reply(400, 201, f"Invalid request: {reason}")
        case _:
            return error_reply(400, 202, "Transaction failed.")


def requery_reply(reply: SimulatedReply) -> JsonReply:
    """The answer to /transaction/{orderId}."""
    match reply.answer:
        case Delivered() as sale:
            assert reply.record is not None  # noqa: S101  a sale has a record
            return JsonReply(200, {"result": _delivery_body(reply.record, sale, as_text=False)})
        case NotFound():
            return error_reply(404, 20, "No transaction found with reference")
        case Pending(retry_after_seconds=seconds) if reply.code == meters.TOO_EARLY:
            return rate_limited_reply(seconds)
        case Pending() if reply.code == meters.STILL_PROCESSING:
            return error_reply(400, 201, "Transaction still processing, retry in 2 minutes")
        case Pending() if reply.code == meters.PLEASE_RETRY:
            return error_reply(400, 202, "Transaction not successful. Please retry.")
        case Pending(retry_after_seconds=seconds):
            reply_json = _in_progress_reply(seconds or PENDING_RETRY_AFTER_SECONDS, times=6)
            body = dict(reply_json.body)
            return JsonReply(reply_json.status, {**body, "data": {"delay": body.pop("delay")}})
        case Declined(provider_reversed=True):
            return error_reply(400, 202, "Transaction failed. Refund already processed.")
        case Declined() if reply.code == meters.NOT_INITIATED:
            return error_reply(400, 203, "Transaction not initiated.")
        case Declined():
            return error_reply(400, 202, "Transaction failed.")
        case _:
            return _unclear_reply(reply.code)


def unauthorized_reply() -> JsonReply:
    """The answer to a wrong key."""
    return error_reply(401, 401, "Unauthorized")


def _in_progress_reply(seconds: int, *, times: int) -> JsonReply:
    message = f"Transaction is still in progress. Please requery in {seconds} seconds"
    reply_json = error_reply(202, 202, message)
    return JsonReply(202, {**reply_json.body, "delay": [seconds] * times})


def _unclear_reply(code: str) -> JsonReply:
    match code:
        case meters.DUPLICATE_REFERENCE:
            return error_reply(409, 201, "Request already received")
        case meters.BAD_GATEWAY:
            return error_reply(502, 502, "Unexpected response from the provider")
        case meters.UNAVAILABLE:
            return error_reply(502, 503, "Service unavailable")
        case meters.UNLISTED_CODE:
            return error_reply(418, 777, "Something else")
        case _:
            return error_reply(500, 500, "Requery to get the status of this transaction")


def _delivery_body(record: SaleRecord, sale: Delivered, *, as_text: bool) -> dict[str, Any]:
    """A delivery. BuyPower writes its numbers as text to a vend, and as numbers to a requery."""

    def number(value: str | int | float) -> str | int | float:
        return str(value) if as_text else float(value)

    owner, receipt = customer_of(record.meter), record.receipt
    changes = [("KCT1", receipt.get("kct1")), ("KCT2", receipt.get("kct2"))]
    parcels = [
        {"type": kind, "content": _hyphenate(token)}
        for kind, token in [*changes, ("TOKEN", sale.token)]
        if token
    ]
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
        "parcels": parcels,
        "demandCategory": "NMD",
        "assetProvider": DISCO_BY_BILLER[record.biller],
    }
    return {"status": True, "message": "Successful transaction", "responseCode": 200, "data": data}


def _hyphenate(token: str) -> str:
    return "-".join(token[at : at + 4] for at in range(0, len(token), 4))
