"""What an answer of VTpass's says: about a transaction, a meter, our balance, or in a hook. Pure functions.

Whatever the answer holds, nothing here raises; what is not recognised proves nothing.
"""

import json
import re
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal
from enum import Enum
from typing import Any, Final

from billvend.adapters.provider.reading import first_text, mapping, minor, number, text
from billvend.adapters.provider.vtpass.codes import (
    ACKNOWLEDGING,
    CODES,
    RETRY_AFTER_SECONDS,
    STATUSES,
    UNLISTED,
    Kind,
    Stated,
)
from billvend.adapters.provider.vtpass.sale import reference_in, sale_in
from billvend.adapters.provider.wire import Response
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    Pending,
    Unknown,
)
from billvend.domain.verification import CannotVerify, MeterFault, MeterFound, MeterRefused, Verification
from billvend.domain.words import VendType
from billvend.ports.provider import Order

CURRENCY: Final = "NGN"
_CODE = re.compile(r"[0-9]{3}")  # anything else may be a text that is not ours to repeat
_REFERENCE = re.compile(r"[0-9]{12}[0-9A-Za-z]{1,88}")


class Endpoint(Enum):
    """The two calls that are answered with a transaction; the values are their paths."""

    PAY = "/pay"
    REQUERY = "/requery"


# --- transactions -----------------------------------------------------------------------------------------------------


def answer_in(endpoint: Endpoint, response: Response, order: Order) -> Answer:
    """What an answer to /pay or /requery tells of our order."""
    if not response.is_json_object:
        return Unknown(f"no answer that can be read: {response.told}")
    body = response.body
    answer = classify(endpoint, response.status, text(body.get("code")) or "", stated_in(body))
    if isinstance(answer, Delivered):
        sale = sale_in(body, order.vend_type, CURRENCY)
        if order.vend_type is VendType.POSTPAID or sale.token or not _is_ours(body, order):
            return sale  # whose it is, the core checks
        return Unknown("delivered, but without a token", acknowledged=True)
    return answer if _is_ours(body, order) else Unknown("the answer is for another transaction")


def classify(endpoint: Endpoint, http_status: int, code: str, stated: Stated | None) -> Answer:
    """What these four prove together. A delivery comes bare: `sale_in` reads what was sold.

    A code that needs no status may have one all the same, and then the two must agree. No answer with an HTTP status
    of 500 or more proves anything but that the reference is known.
    """
    kind, words = CODES.get(code, UNLISTED)
    acknowledged = stated is not None or kind in ACKNOWLEDGING
    shown = code if _CODE.fullmatch(code) else "no code"
    status = "no status" if stated is None else f"status {stated.name.lower().replace('_', ' ')}"
    why = f"{words} ({shown}, {status}, HTTP {http_status})"
    taken_back = kind is Kind.REVERSED or stated is Stated.REVERSED
    about = Declined(_reason(kind, words, stated), code, about_transaction=True, taken_back=taken_back)
    if http_status >= 500:
        return Unknown(why, acknowledged)
    match kind, stated, endpoint:
        case Kind.BY_STATUS | Kind.RESOLVED, Stated.DELIVERED, _:
            return Delivered(None)
        case Kind.BY_STATUS, Stated.UNDER_WAY, Endpoint.REQUERY:
            return Pending(why)
        case Kind.BY_STATUS | Kind.FAILED | Kind.REVERSED | Kind.REFUSED, Stated.FAILED | Stated.REVERSED, _:
            return about
        case Kind.RESOLVED, Stated.REVERSED, _:
            return about
        case Kind.FAILED | Kind.REVERSED, None, Endpoint.REQUERY:
            return about
        case Kind.FAILED | Kind.REVERSED | Kind.REFUSED, None, Endpoint.PAY:
            return Declined(words, code, taken_back=taken_back)
        case Kind.SET_UP, None | Stated.FAILED, Endpoint.PAY:
            return Misconfigured(words, code)
        case Kind.TOO_SOON, None, Endpoint.PAY:
            return Deferred(why, RETRY_AFTER_SECONDS)
        case Kind.NO_SUCH_ID, None, Endpoint.REQUERY:
            return NotFound(why)
        case _:
            return Unknown(why, acknowledged)


def _reason(kind: Kind, words: str, stated: Stated | None) -> str:
    """Why a transaction was declined, for the customer: "processed" is no reason."""
    if stated is Stated.REVERSED:
        return CODES["040"].words
    return CODES["016"].words if kind is Kind.BY_STATUS else words


def stated_in(body: Mapping[str, Any]) -> Stated | None:
    """What `content.transactions.status` says; None where there is none. What can't be read is there all the same."""
    transaction = mapping(body.get("content")).get("transactions")
    if not isinstance(transaction, dict):
        return Stated.OTHER if _is_given(transaction) else None
    status = transaction.get("status")
    return STATUSES.get((text(status) or "").lower(), Stated.OTHER) if _is_given(status) else None


def _is_ours(body: Mapping[str, Any], order: Order) -> bool:
    """Whether the answer names our reference; where it names none, whether it names no other meter."""
    reference = reference_in(body)
    if reference is not None:
        return reference == order.reference
    transaction = mapping(mapping(body.get("content")).get("transactions"))
    return first_text(transaction, "unique_element") in (None, order.meter)


# --- meters -----------------------------------------------------------------------------------------------------------


def meter_in(response: Response, vend_type: VendType) -> Verification:
    """What an answer to /merchant-verify tells of a meter.

    A meter that VTpass does not know comes as a success (000) that holds an error, so success alone is nothing.
    """
    if refusal := refusal_in(response):
        return CannotVerify(refusal.why)
    content = mapping(response.body).get("content")
    if text(mapping(response.body).get("code")) not in ("000", "020") or not isinstance(content, dict):
        return CannotVerify(f"no answer that can be read: {response.told}")
    # Companies differ in spelling: Meter_Number and MeterNumber, MAX_Purchase_Amount.
    found = {name.replace("_", "").lower(): said for name, said in content.items()}
    if _is_given(error := found.get("error")) or _means_yes(found.get("wrongbillerscode")):
        return MeterRefused(MeterFault.METER_NOT_FOUND, text(error) or "no such meter")
    types = [known for known in VendType if known in (text(found.get("metertype")) or "").lower()]
    if types and vend_type not in types:
        return MeterRefused(MeterFault.WRONG_METER_TYPE, f"the meter is {types[0]}, not {vend_type}")
    if _means_no(found.get("canvend")):
        return MeterRefused(
            MeterFault.METER_CANNOT_VEND, "the electricity company does not sell to this meter"
        )
    customer_name = text(found.get("customername"))
    if customer_name is None:
        return CannotVerify("the answer names no customer")
    minimums = (minor(found.get(name), CURRENCY) for name in ("minpurchaseamount", "minimumamount"))
    return MeterFound(
        customer_name,
        text(found.get("address")) or "",
        minimum_minor=next(filter(None, minimums), None),
        maximum_minor=minor(found.get("maxpurchaseamount"), CURRENCY) or None,
    )


def _means_yes(said: object) -> bool:
    """Whether anything stands there that is not clearly a no."""
    return _is_given(said) and not _means_no(said)


def _means_no(said: object) -> bool:
    return said is False or (text(said) or "").lower() in ("no", "false", "0")


def _is_given(said: object) -> bool:
    """Whether anything stands there, readable or not: null, "", "N/A", 0 and [] are nothing."""
    return bool(said) and not (isinstance(said, str) and text(said) is None)


# --- our balance, the catalogue, hooks --------------------------------------------------------------------------------


def balance_in(response: Response) -> Money | Misconfigured | Unknown:
    """Our balance, from an answer to /balance. What is finer than a kobo is left out."""
    if refusal := refusal_in(response):
        return refusal
    body = mapping(response.body)
    plain = number(mapping(body.get("contents")).get("balance"))
    if text(body.get("code")) != "1" or plain is None:
        return Unknown(f"no answer that can be read: {response.told}")
    return Money(int((Decimal(plain) * 100).to_integral_value(ROUND_FLOOR)), CURRENCY)


def variations_in(response: Response) -> tuple[str, ...] | Misconfigured | Unknown:
    """The variation codes of a company, from an answer to /service-variations."""
    if refusal := refusal_in(response):
        return refusal
    content = mapping(mapping(response.body).get("content"))
    listed = content.get("variations") or content.get("varations")  # sic
    if not isinstance(listed, list):
        return Unknown(f"no answer that can be read: {response.told}")
    codes = (text(mapping(variation).get("variation_code")) for variation in listed)
    return tuple(code for code in codes if code)


def refusal_in(response: Response) -> Misconfigured | Unknown | None:
    """Why an answer to a call that sells nothing is none: a fault of ours, a listed code of theirs, HTTP 500."""
    code = text(mapping(response.body).get("code")) or ""
    kind, words = CODES.get(code, UNLISTED)
    if response.status >= 500:
        return Unknown(f"no answer that can be read: {response.told}")
    if kind is Kind.SET_UP:
        return Misconfigured(words, code)
    if code in CODES and code not in ("000", "020"):
        return Unknown(f"{code}: {words}")
    return None


def references_in(hook: bytes) -> tuple[str, ...]:
    """The requestId of a hook of the type transaction-update, where it has the form that VTpass takes."""
    try:
        body = mapping(json.loads(hook))
    except (
        ValueError,
        RecursionError,
    ):  # no JSON, no UTF, a number of a million digits; brackets without end
        return ()
    reference = reference_in(mapping(body.get("data")))
    if body.get("type") != "transaction-update" or reference is None or not _REFERENCE.fullmatch(reference):
        return ()
    return (reference,)
