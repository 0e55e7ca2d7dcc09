"""Parse answers of VTpass about a transaction, a meter or our balance, and its webhooks. Pure functions.

They never raise, for any content. An answer that is not recognised proves nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from enum import Enum
from typing import Any

from billvend.adapters.providers.http_client import Response
from billvend.adapters.providers.http_provider import CURRENCY
from billvend.adapters.providers.parse import first_text, to_mapping, to_minor, to_number, to_text
from billvend.adapters.providers.vtpass.codes import (
    ACKNOWLEDGING_KINDS,
    CODES,
    SAME_METER_RETRY_SECONDS,
    STATUS_BY_TEXT,
    UNLISTED,
    CodeKind,
    TransactionStatus,
)
from billvend.adapters.providers.vtpass.delivery import parse_sale, reference_in
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
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
from billvend.ports.provider import Order

_CODE = re.compile(r"[0-9]{3}")  # any other text is not quoted: it may contain anything
_REFERENCE = re.compile(r"[0-9]{12}[0-9A-Za-z]{1,88}")


class Endpoint(Enum):
    """The two calls that are answered with a transaction. The values are their paths."""

    PAY = "/pay"
    REQUERY = "/requery"


# --- transactions -----------------------------------------------------------------------------------------------------


def parse_answer(endpoint: Endpoint, response: Response, order: Order) -> Answer:
    """What an answer to /pay or /requery says. The core checks that it is about our order, and complete."""
    if not response.is_json_object:
        return Unknown(f"no answer that can be read: {response.summary}")
    body = response.body
    answer = classify(endpoint, response.status, to_text(body.get("code")) or "", parse_status(body))
    if isinstance(answer, Delivered):
        return parse_sale(body, order.vend_type)
    transaction = to_mapping(to_mapping(body.get("content")).get("transactions"))
    return replace(answer, reference=reference_in(body), meter=first_text(transaction, "unique_element"))


def classify(
    endpoint: Endpoint, http_status: int, code: str, transaction_status: TransactionStatus | None
) -> Answer:
    """What these four prove together. A delivery is returned empty: `parse_sale` adds what was sold.

    A code that needs no status may still come with one. Then the two must agree. An answer with an HTTP status of 500
    or more proves at most that the reference is known.
    """
    kind, meaning = CODES.get(code, UNLISTED)
    acknowledged = transaction_status is not None or kind in ACKNOWLEDGING_KINDS
    code_text = code if _CODE.fullmatch(code) else "no code"
    status = (
        "no status"
        if transaction_status is None
        else f"status {transaction_status.name.lower().replace('_', ' ')}"
    )
    why = f"{meaning} ({code_text}, {status}, HTTP {http_status})"
    is_reversed = kind is CodeKind.REVERSED or transaction_status is TransactionStatus.REVERSED
    declined = Declined(
        _declined_reason(kind, meaning, transaction_status),
        code,
        about_transaction=True,
        provider_reversed=is_reversed,
    )
    if http_status >= 500:
        return Unknown(why, acknowledged)
    match kind, transaction_status, endpoint:
        case CodeKind.BY_STATUS | CodeKind.RESOLVED, TransactionStatus.DELIVERED, _:
            return Delivered(None)
        case CodeKind.BY_STATUS, TransactionStatus.IN_PROGRESS, Endpoint.REQUERY:
            return Pending(why)
        case (
            CodeKind.BY_STATUS | CodeKind.FAILED | CodeKind.REVERSED | CodeKind.REJECTED,
            TransactionStatus.FAILED | TransactionStatus.REVERSED,
            _,
        ):
            return declined
        case CodeKind.RESOLVED, TransactionStatus.REVERSED, _:
            return declined
        case CodeKind.FAILED | CodeKind.REVERSED, None, Endpoint.REQUERY:
            return declined
        case CodeKind.FAILED | CodeKind.REVERSED | CodeKind.REJECTED, None, Endpoint.PAY:
            return Declined(meaning, code, provider_reversed=is_reversed)
        case CodeKind.MISCONFIGURED, None | TransactionStatus.FAILED, Endpoint.PAY:
            return Misconfigured(meaning, code)
        case CodeKind.TOO_SOON, None, Endpoint.PAY:
            return Deferred(why, SAME_METER_RETRY_SECONDS)
        case CodeKind.NOT_FOUND, None, Endpoint.REQUERY:
            return NotFound(why)
        case _:
            return Unknown(why, acknowledged)


def _declined_reason(kind: CodeKind, meaning: str, transaction_status: TransactionStatus | None) -> str:
    """Why a transaction was declined, for the customer. "Processed" would be no reason."""
    if transaction_status is TransactionStatus.REVERSED:
        return CODES["040"].meaning
    return CODES["016"].meaning if kind is CodeKind.BY_STATUS else meaning


def parse_status(body: Mapping[str, Any]) -> TransactionStatus | None:
    """The meaning of `content.transactions.status`; None if there is none. A status of another type is `OTHER`."""
    transaction = to_mapping(body.get("content")).get("transactions")
    if not isinstance(transaction, dict):
        return TransactionStatus.OTHER if _is_present(transaction) else None
    status = transaction.get("status")
    return (
        STATUS_BY_TEXT.get((to_text(status) or "").lower(), TransactionStatus.OTHER)
        if _is_present(status)
        else None
    )


# --- meters -----------------------------------------------------------------------------------------------------------


def parse_meter(response: Response, vend_type: VendType) -> MeterLookupResult:
    """What an answer to /merchant-verify says about a meter.

    VTpass answers an unknown meter with a success (000) that contains an error. So the code alone proves nothing.
    """
    if error := parse_error(response):
        return MeterLookupFailed(error.reason)
    content = to_mapping(response.body).get("content")
    if to_text(to_mapping(response.body).get("code")) not in ("000", "020") or not isinstance(content, dict):
        return MeterLookupFailed(f"no answer that can be read: {response.summary}")
    # The spelling depends on the company: Meter_Number and MeterNumber, MAX_Purchase_Amount.
    fields = {name.replace("_", "").lower(): value for name, value in content.items()}
    if _is_present(error := fields.get("error")) or _is_truthy(fields.get("wrongbillerscode")):
        return MeterRejected(MeterFault.METER_NOT_FOUND, to_text(error) or "no such meter")
    types = [known for known in VendType if known in (to_text(fields.get("metertype")) or "").lower()]
    if types and vend_type not in types:
        return MeterRejected(MeterFault.WRONG_METER_TYPE, f"the meter is {types[0]}, not {vend_type}")
    if _is_no(fields.get("canvend")):
        return MeterRejected(
            MeterFault.METER_CANNOT_VEND, "the electricity company does not sell to this meter"
        )
    customer_name = to_text(fields.get("customername"))
    if customer_name is None:
        return MeterLookupFailed("the answer names no customer")
    minimums = (to_minor(fields.get(name), CURRENCY) for name in ("minpurchaseamount", "minimumamount"))
    return MeterFound(
        customer_name,
        to_text(fields.get("address")) or "",
        minimum_minor=next(filter(None, minimums), None),
        maximum_minor=to_minor(fields.get("maxpurchaseamount"), CURRENCY) or None,
    )


def _is_truthy(value: object) -> bool:
    """Whether there is a value that is not clearly a no."""
    return _is_present(value) and not _is_no(value)


def _is_no(value: object) -> bool:
    return value is False or (to_text(value) or "").lower() in ("no", "false", "0")


def _is_present(value: object) -> bool:
    """Whether there is a value of any type. Null, "", "N/A", 0 and [] are none."""
    return bool(value) and not (isinstance(value, str) and to_text(value) is None)


# --- our balance, the catalogue, webhooks -----------------------------------------------------------------------------


def parse_balance(response: Response) -> Money | Misconfigured | Unknown:
    """Our balance, from an answer to /balance. It is rounded down to a kobo."""
    if error := parse_error(response):
        return error
    body = to_mapping(response.body)
    plain = to_number(to_mapping(body.get("contents")).get("balance"))
    if to_text(body.get("code")) != "1" or plain is None:
        return Unknown(f"no answer that can be read: {response.summary}")
    return Money(int((Decimal(plain) * 100).to_integral_value(ROUND_FLOOR)), CURRENCY)


def parse_error(response: Response) -> Misconfigured | Unknown | None:
    """The error in an answer to a call that sells nothing: our set-up, a listed code, or HTTP 500 and above."""
    code = to_text(to_mapping(response.body).get("code")) or ""
    kind, meaning = CODES.get(code, UNLISTED)
    if response.status >= 500:
        return Unknown(f"no answer that can be read: {response.summary}")
    if kind is CodeKind.MISCONFIGURED:
        return Misconfigured(meaning, code)
    if code in CODES and code not in ("000", "020"):
        return Unknown(f"{code}: {meaning}")
    return None


def parse_references(hook: bytes) -> tuple[str, ...]:
    """The requestId of a webhook of the type transaction-update, if it has the form of a reference."""
    try:
        body = to_mapping(json.loads(hook))
    except (
        ValueError,
        RecursionError,
    ):  # not JSON, not UTF-8, a number of a million digits; endless brackets
        return ()
    reference = reference_in(to_mapping(body.get("data")))
    if body.get("type") != "transaction-update" or reference is None or not _REFERENCE.fullmatch(reference):
        return ()
    return (reference,)
