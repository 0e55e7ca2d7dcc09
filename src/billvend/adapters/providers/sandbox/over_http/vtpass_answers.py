"""VTpass's answers about transactions, and its webhooks. The spelling is VTpass's own, including errors."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from billvend.adapters.providers.billers import SERVICE_ID_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.http_sandbox import LAGOS, naira_number
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus, customer_of, token_of
from billvend.adapters.providers.sandbox.simulator import SimulatedReply
from billvend.domain.enums import VendType
from billvend.domain.outcome import Declined, Deferred, Delivered, Misconfigured, NotFound, Pending, Unknown

DESCRIPTIONS: Final = MappingProxyType(
    {
        "000": "TRANSACTION SUCCESSFUL",
        "010": "VARIATION CODE DOES NOT EXIST",
        "011": "INVALID ARGUMENTS",
        "012": "PRODUCT DOES NOT EXIST",
        "013": "BELOW MINIMUM AMOUNT ALLOWED",
        "014": "REQUEST ID ALREADY EXIST",
        "015": "INVALID REQUEST ID",
        "016": "TRANSACTION FAILED",
        "017": "ABOVE MAXIMUM AMOUNT ALLOWED",
        "018": "LOW WALLET BALANCE",
        "019": "LIKELY DUPLICATE TRANSACTION",
        "030": "BILLER NOT REACHABLE AT THIS POINT",
        "040": "TRANSACTION REVERSAL",
        "083": "SYSTEM ERROR",
        "085": "IMPROPER REQUEST ID",
        "087": "INVALID CREDENTIALS",
        "089": "REQUEST IS BEING PROCESSED",
        "099": "TRANSACTION IS PROCESSING",
    }
)
_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown_biller": "012",
        "invalid_amount": "011",
        "below_minimum": "013",
        "low_float": "018",
        "bad_credentials": "087",
        "likely_duplicate": "019",
        "duplicate_reference": "014",
        "unlisted_code": "777",
    }
)
"""VTpass's code by the code of a reply without a transaction."""
_OLD_DATE_BILLERS: Final = frozenset({"KEDCO", "JED"})
"""The companies whose answers have dates in VTpass's older form."""
COMMISSION_TERMS: Final = MappingProxyType(
    {"rate": "1.50", "rate_type": "percent", "computation_type": "default"}
)
# The fields that are the same in every answer.
_TRANSACTION_CONSTANTS: Final = MappingProxyType({
    "quantity": 1, "service_verification": None, "channel": "api", "discount": None, "type": "Electricity Bill",
    "email": "sandbox@example.test", "phone": "08000000000", "name": None, "convinience_fee": 0, "platform": "api",
    "method": "api",
})  # fmt: skip
_EKO_CONSTANTS: Final = MappingProxyType({
    "mainTokenDescription": "Normal Sale", "bonusTokenDescription": "FBE Token", "bonusTokenUnits": 0,
    "bonusTokenTax": 0, "bonusTokenAmount": 0, "tariffIndex": "52", "debtTariff": 0, "debtAmount": 0,
    "debtDescription": "N/A",
})  # fmt: skip
_PREPAID_CONSTANTS: Final = MappingProxyType({
    "meterNumber": "N/A", "resetToken": None, "configureToken": None, "fixChargeAmount": None, "debtAmount": None,
    "penalty": None, "costOfUnit": None, "announcement": None,
})  # fmt: skip

_WEBHOOK_FIELDS: Final = (
    "code", "content", "response_description", "amount", "transaction_date", "requestId", "purchased_code",
)  # fmt: skip


def build_body(code: str, **more: object) -> dict[str, Any]:
    """An answer with a code and its description, and further fields."""
    return {"code": code, "response_description": DESCRIPTIONS.get(code, "UNEXPECTED"), **more}


def answer_body(reply: SimulatedReply, *, is_requery: bool = False) -> dict[str, Any]:
    """The answer to /pay and /requery."""
    record, answer = reply.record, reply.answer
    code, status = _code_and_status(reply, is_requery)
    if status is None:
        return build_body(code)
    assert record is not None  # noqa: S101  a status has a record
    if isinstance(answer, Delivered):
        record = replace(record, token=answer.token, meter=answer.meter or "")
    return _transaction_body(code, status, record, is_requery)


def _code_and_status(reply: SimulatedReply, is_requery: bool) -> tuple[str, str | None]:
    """The code, and the status of the transaction if the answer shows it."""
    match reply.answer:
        case Delivered():
            return "000", "delivered"
        case Unknown():
            return _CODES.get(reply.code, "083"), None
        case NotFound():
            return "015", None
        case Misconfigured() | Deferred() | Declined(about_transaction=False):
            return _CODES.get(reply.code, "016"), None
        case Pending() if reply.code == "too_early":
            return "089", None
        case Pending() if reply.code == "initiated":
            return "000", "initiated"
        case Pending():
            return "099", "pending"
        case Declined() if reply.code == "maintenance" and not is_requery:
            return "030", None
        case Declined(provider_reversed=True):
            return "040", "reversed"
        case _:
            return "016", "failed"


def webhook_body(record: SaleRecord) -> dict[str, Any]:
    """The body of a webhook about a sale. In a reversal, `amount` is what came back to our float."""
    is_reversed = record.status is SaleStatus.TAKEN_BACK
    code, status = ("040", "reversed") if is_reversed else ("000", "delivered")
    body = _transaction_body(code, status, record, True)
    data = {name: body[name] for name in _WEBHOOK_FIELDS}
    if is_reversed:
        data["amount"] = naira_number(record.cost_minor or 0)
        data["wallet_credit_id"] = f"W{record.provider_reference}"
    return {"type": "transaction-update", "data": data}


def _transaction_body(code: str, status: str, record: SaleRecord, is_requery: bool) -> dict[str, Any]:
    is_sold = status == "delivered"
    cost_minor = record.cost_minor or record.amount_minor
    commission = naira_number(record.amount_minor - cost_minor)
    transaction = {
        "status": status,
        "product_name": f"{SERVICE_ID_BY_BILLER[record.biller].replace('-', ' ').title()} Payment",
        "unique_element": record.meter,
        "unit_price": str(naira_number(record.amount_minor)),
        "commission": commission,
        "total_amount": naira_number(cost_minor),
        "amount": str(naira_number(record.amount_minor)),
        "transactionId": record.provider_reference or "0" * 16,
        "commission_details": {"amount": commission, **COMMISSION_TERMS},
        **_TRANSACTION_CONSTANTS,
    }
    if is_requery:
        transaction |= {"product_id": 8, "extras": _token_text(record.token) if is_sold else ""}
    body = build_body(
        code,
        requestId=record.reference,
        amount=naira_number(record.amount_minor),
        transaction_date=_format_date(record.received_at, record.biller),
        purchased_code="",
        content={"transactions": transaction},
    )
    return body | _sale_fields(record) if is_sold else body


def _format_date(at: datetime, biller: str) -> str | dict[str, Any]:
    """A time in the form that VTpass uses for the company."""
    if biller in _OLD_DATE_BILLERS:
        local = at.astimezone(LAGOS).strftime("%Y-%m-%d %H:%M:%S.%f")
        return {"date": local, "timezone_type": 3, "timezone": "Africa/Lagos"}
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _sale_fields(record: SaleRecord) -> dict[str, Any]:
    """What a delivery has besides. Postpaid meters and Eko have fields of their own."""
    owner, receipt = customer_of(record.meter), record.receipt
    if record.vend_type is VendType.POSTPAID:
        return {
            "utilityName": SERVICE_ID_BY_BILLER[record.biller],
            "exchangeReference": receipt.get("receiptNumber"),
            "customerName": owner.name,
            "balance": "0",
        }
    if record.biller == "EKEDC":
        bonus = token_of(f"bonus|{record.reference}") if record.token else ""
        return {
            "purchased_code": f"{_token_text(record.token)} Bonus Token : {bonus}" if record.token else "",
            "customerName": owner.name,
            "mainToken": record.token or "",
            "mainTokenUnits": float(record.units or 0),
            "mainTokenTax": float(receipt.get("tax", "0")),
            "mainsTokenAmount": float(receipt.get("netAmount", "0")),
            "bonusToken": bonus,
            "KCT1": receipt.get("kct1", ""),
            "KCT2": receipt.get("kct2", ""),
            **_EKO_CONSTANTS,
        }
    return {
        "purchased_code": _token_text(record.token),
        "customerName": owner.name,
        "customerAddress": owner.address,
        "token": _token_text(record.token),
        "tokenAmount": receipt.get("netAmount"),
        "exchangeReference": receipt.get("receiptNumber"),
        "units": f"{record.units} kWh",
        "tariff": f"Rate: {receipt.get('tariff')}/kWh",
        "taxAmount": receipt.get("tax"),
        "kct1": receipt.get("kct1"),
        "kct2": receipt.get("kct2"),
        **_PREPAID_CONSTANTS,
    }


def _token_text(token: str | None) -> str:
    return f"Token : {token}" if token else ""
