"""What BuyPower writes: a status and a body for each answer."""

from typing import Any, NamedTuple

from billvend.adapters.provider.sandbox import meters
from billvend.adapters.provider.sandbox.customer import customer_of
from billvend.adapters.provider.sandbox.desk import RETRY_AFTER_SECONDS, Reply
from billvend.adapters.provider.sandbox.entry import Entry
from billvend.adapters.provider.sandbox.over_http.companies import DISCO_OF
from billvend.adapters.provider.sandbox.over_http.formats import LAGOS, naira
from billvend.domain.outcome import Declined, Deferred, Delivered, Misconfigured, NotFound, Pending, Unknown

DEFAULT_RETRY_AFTER_SECONDS = 60


class Written(NamedTuple):
    """One answer."""

    status: int
    body: dict[str, Any]
    retry_after_seconds: int | None = None


def flat(status: int, code: int, message: str) -> Written:
    """An answer that is no delivery."""
    return Written(status, {"status": False, "error": True, "responseCode": code, "message": message})


def too_soon(seconds: int | None) -> Written:
    """Come back later."""
    seconds = seconds or DEFAULT_RETRY_AFTER_SECONDS
    return flat(429, 429, f"Too many requests. Try again in {seconds} seconds")._replace(
        retry_after_seconds=seconds
    )


def vended(reply: Reply) -> Written:
    """What is answered to /vend."""
    match reply.answer:
        case Delivered() as sale:
            assert reply.entry is not None  # noqa: S101  a sale is in the book
            return Written(200, _delivered(reply.entry, sale, as_text=True))
        case Pending(retry_after_seconds=seconds):
            return _in_progress(seconds or RETRY_AFTER_SECONDS, times=3)
        case Deferred(retry_after_seconds=seconds):
            return too_soon(seconds)
        case Misconfigured() if reply.code == meters.LOW_FLOAT:
            return flat(422, 202, "Insufficient wallet balance")
        case Misconfigured():
            return unauthorized()
        case Unknown():
            return _unclear(reply.code)
        case Declined() if reply.code in (meters.MAINTENANCE, meters.CANNOT_VEND):
            return flat(501, 501, "This meter needs maintenance")
        case Declined(about_transaction=False, reason=reason):
            return flat(400, 201, f"Invalid request: {reason}")
        case _:
            return flat(400, 202, "Transaction failed.")


def requeried(reply: Reply) -> Written:
    """What is answered to /transaction/{orderId}."""
    match reply.answer:
        case Delivered() as sale:
            assert reply.entry is not None  # noqa: S101  a sale is in the book
            return Written(200, {"result": _delivered(reply.entry, sale, as_text=False)})
        case NotFound():
            return flat(404, 20, "No transaction found with reference")
        case Pending(retry_after_seconds=seconds) if reply.code == meters.TOO_EARLY:
            return too_soon(seconds)
        case Pending() if reply.code == meters.STILL_PROCESSING:
            return flat(400, 201, "Transaction still processing, retry in 2 minutes")
        case Pending() if reply.code == meters.PLEASE_RETRY:
            return flat(400, 202, "Transaction not successful. Please retry.")
        case Pending(retry_after_seconds=seconds):
            written = _in_progress(seconds or RETRY_AFTER_SECONDS, times=6)
            body = dict(written.body)
            return Written(written.status, {**body, "data": {"delay": body.pop("delay")}})
        case Declined(taken_back=True):
            return flat(400, 202, "Transaction failed. Refund already processed.")
        case Declined() if reply.code == meters.NOT_INITIATED:
            return flat(400, 203, "Transaction not initiated.")
        case Declined():
            return flat(400, 202, "Transaction failed.")
        case _:
            return _unclear(reply.code)


def unauthorized() -> Written:
    """The key is not taken."""
    return flat(401, 401, "Unauthorized")


def _in_progress(seconds: int, *, times: int) -> Written:
    message = f"Transaction is still in progress. Please requery in {seconds} seconds"
    written = flat(202, 202, message)
    return Written(202, {**written.body, "delay": [seconds] * times})


def _unclear(code: str) -> Written:
    match code:
        case meters.DUPLICATE_REFERENCE:
            return flat(409, 201, "Request already received")
        case meters.BAD_GATEWAY:
            return flat(502, 502, "Unexpected response from the provider")
        case meters.UNAVAILABLE:
            return flat(502, 503, "Service unavailable")
        case meters.UNLISTED_CODE:
            return flat(418, 777, "Something else")
        case _:
            return flat(500, 500, "Requery to get the status of this transaction")


def _delivered(entry: Entry, sale: Delivered, *, as_text: bool) -> dict[str, Any]:
    """A delivery; numbers come as text in one place and as numbers in another."""

    def number(value: str | int | float) -> str | int | float:
        return str(value) if as_text else float(value)

    owner, receipt = customer_of(entry.meter), entry.receipt
    changes = [("KCT1", receipt.get("kct1")), ("KCT2", receipt.get("kct2"))]
    parcels = [
        {"type": kind, "content": _hyphenated(token)}
        for kind, token in [*changes, ("TOKEN", sale.token)]
        if token
    ]
    data = {
        "id": int(entry.provider_reference or 0),
        "amountGenerated": number(receipt.get("netAmount", "0")),
        "tariff": number(receipt.get("tariff", "0")),
        "debtAmount": number(0),
        "debtRemaining": number(0),
        "disco": DISCO_OF[entry.biller],
        "freeUnits": number(0),
        "orderId": entry.reference,
        "receiptNo": receipt.get("receiptNumber"),
        "tax": number(receipt.get("tax", "0")),
        "vendTime": (entry.vended_at or entry.received_at).astimezone(LAGOS).strftime("%Y-%m-%d %H:%M:%S"),
        "token": _hyphenated(sale.token) if sale.token else None,
        "totalAmountPaid": naira(entry.amount_minor),
        "units": number(entry.units) if entry.units else None,
        "vendAmount": number(naira(entry.amount_minor)),
        "vendRef": entry.provider_reference,
        "responseCode": 100,
        "responseMessage": "Payment successful",
        "address": owner.address,
        "name": owner.name,
        "phoneNo": "08000000000",
        "charges": number(0),
        "tariffIndex": None,
        "parcels": parcels,
        "demandCategory": "NMD",
        "assetProvider": DISCO_OF[entry.biller],
    }
    return {"status": True, "message": "Successful transaction", "responseCode": 200, "data": data}


def _hyphenated(token: str) -> str:
    return "-".join(token[at : at + 4] for at in range(0, len(token), 4))
