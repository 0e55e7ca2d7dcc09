"""VTpass's answers about transactions, and its webhooks. The spelling is VTpass's own, including errors."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from billvend.adapters.providers.sandbox import meters
from billvend.adapters.providers.sandbox.customer import customer_of
from billvend.adapters.providers.sandbox.over_http.biller_codes import SERVICE_ID_BY_BILLER
from billvend.adapters.providers.sandbox.over_http.formats import LAGOS, naira_number
from billvend.adapters.providers.sandbox.sale import token_of
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.adapters.providers.sandbox.simulator import SimulatedReply
from billvend.domain.enums import VendType
from billvend.domain.outcome import Declined, Deferred, Delivered, Misconfigured, NotFound, Pending, Unknown

CODES: Final = MappingProxyType(
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
UNLISTED: Final = "777"
_CODE_BY_REJECTION: Final = MappingProxyType(
    {
        "unknown_biller": "012",
        "invalid_amount": "011",
        meters.BELOW_MINIMUM: "013",
        meters.LOW_FLOAT: "018",
        meters.BAD_CREDENTIALS: "087",
        meters.LIKELY_DUPLICATE: "019",
    }
)
_CODE_BY_ANSWER_CODE: Final = MappingProxyType(
    {
        meters.DUPLICATE_REFERENCE: "014",
        meters.UNLISTED_CODE: UNLISTED,
        meters.SYSTEM_ERROR: "083",
        meters.BAD_GATEWAY: "083",
        meters.UNAVAILABLE: "083",
    }
)
_OLD_DATE_BILLERS: Final = frozenset({"KEDCO", "JED"})
"""The companies whose answers have dates in VTpass's older form."""
_EKO: Final = "EKEDC"


def build_body(code: str, **more: object) -> dict[str, Any]:
    """An answer with a code and its description, and further fields."""
    return {"code": code, "response_description": CODES.get(code, "UNEXPECTED"), **more}


def transaction_body(reply: SimulatedReply, *, is_requery: bool = False) -> dict[str, Any]:
    """The answer to /pay and /requery."""
    match reply.answer:
        case Unknown():
            return build_body(_CODE_BY_ANSWER_CODE.get(reply.code, "083"))
        case NotFound():
            return build_body("015")
        case Misconfigured() | Deferred() | Declined(about_transaction=False):
            return build_body(_CODE_BY_REJECTION.get(reply.code, "016"))
        case Pending() if reply.code == meters.TOO_EARLY:
            return build_body("089")
        case Declined() if reply.code == meters.MAINTENANCE and not is_requery:
            return build_body("030")
    record = reply.record
    assert record is not None  # noqa: S101  all other answers have a record
    match reply.answer:
        case Delivered(token=token, meter=meter):
            return _transaction_fields(
                "000", "delivered", replace(record, token=token, meter=meter or ""), is_requery
            )
        case Pending() if reply.code == meters.INITIATED:
            return _transaction_fields("000", "initiated", record, is_requery)
        case Pending():
            return _transaction_fields("099", "pending", record, is_requery)
        case Declined(provider_reversed=True):
            return _transaction_fields("040", "reversed", record, is_requery)
        case _:
            return _transaction_fields("016", "failed", record, is_requery)


def webhook_body(record: SaleRecord) -> dict[str, Any]:
    """The body of a webhook about a sale. In a reversal, `amount` is what came back to our float."""
    is_reversed = record.status is SaleStatus.TAKEN_BACK
    code, status = ("040", "reversed") if is_reversed else ("000", "delivered")
    data = _transaction_fields(code, status, record, True)
    names = (
        "code",
        "content",
        "response_description",
        "amount",
        "transaction_date",
        "requestId",
        "purchased_code",
    )
    data = {name: data[name] for name in names}
    if is_reversed:
        data |= {
            "amount": naira_number(record.cost_minor or 0),
            "wallet_credit_id": f"W{record.provider_reference}",
        }
    return {"type": "transaction-update", "data": data}


def format_date(at: datetime, biller: str) -> str | dict[str, Any]:
    """A time in the form that VTpass uses for the company."""
    if biller in _OLD_DATE_BILLERS:
        local = at.astimezone(LAGOS).strftime("%Y-%m-%d %H:%M:%S.%f")
        return {"date": local, "timezone_type": 3, "timezone": "Africa/Lagos"}
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _transaction_fields(code: str, status: str, record: SaleRecord, is_requery: bool) -> dict[str, Any]:
    is_sold = status == "delivered"
    commission = naira_number(record.amount_minor - (record.cost_minor or record.amount_minor))
    transaction: dict[str, Any] = {
        "status": status,
        "product_name": f"{SERVICE_ID_BY_BILLER[record.biller].replace('-', ' ').title()} Payment",
        "unique_element": record.meter,
        "unit_price": str(naira_number(record.amount_minor)),
        "quantity": 1,
        "service_verification": None,
        "channel": "api",
        "commission": commission,
        "total_amount": naira_number(record.cost_minor or record.amount_minor),
        "discount": None,
        "type": "Electricity Bill",
        "email": "sandbox@example.test",
        "phone": "08000000000",
        "name": None,
        "convinience_fee": 0,
        "amount": str(naira_number(record.amount_minor)),
        "platform": "api",
        "method": "api",
        "transactionId": record.provider_reference or "0" * 16,
        "commission_details": {
            "amount": commission, "rate": "1.50", "rate_type": "percent", "computation_type": "default",
        },
    }  # fmt: skip
    if is_requery:
        transaction |= {"product_id": 8, "extras": _token_text(record.token) if is_sold else ""}
    body = build_body(
        code,
        requestId=record.reference,
        amount=naira_number(record.amount_minor),
        transaction_date=format_date(record.received_at, record.biller),
        purchased_code="",
        content={"transactions": transaction},
    )
    if is_sold:
        body |= _sale_fields(record)
    return body


def _sale_fields(record: SaleRecord) -> Mapping[str, Any]:
    owner, receipt = customer_of(record.meter), record.receipt
    if record.vend_type is VendType.POSTPAID:
        return {
            "utilityName": SERVICE_ID_BY_BILLER[record.biller],
            "exchangeReference": receipt.get("receiptNumber"),
            "customerName": owner.name,
            "balance": "0",
        }
    if record.biller == _EKO:
        bonus = token_of(f"bonus|{record.reference}") if record.token else ""
        return {
            "purchased_code": f"{_token_text(record.token)} Bonus Token : {bonus}" if record.token else "",
            "customerName": owner.name,
            "mainToken": record.token or "",
            "mainTokenDescription": "Normal Sale",
            "mainTokenUnits": float(record.units or 0),
            "mainTokenTax": float(receipt.get("tax", "0")),
            "mainsTokenAmount": float(receipt.get("netAmount", "0")),
            "bonusToken": bonus,
            "bonusTokenDescription": "FBE Token",
            "bonusTokenUnits": 0,
            "bonusTokenTax": 0,
            "bonusTokenAmount": 0,
            "tariffIndex": "52",
            "debtTariff": 0,
            "debtAmount": 0,
            "debtDescription": "N/A",
            "KCT1": receipt.get("kct1", ""),
            "KCT2": receipt.get("kct2", ""),
        }
    return {
        "purchased_code": _token_text(record.token),
        "customerName": owner.name,
        "customerAddress": owner.address,
        "meterNumber": "N/A",
        "token": _token_text(record.token),
        "tokenAmount": receipt.get("netAmount"),
        "exchangeReference": receipt.get("receiptNumber"),
        "resetToken": None,
        "configureToken": None,
        "units": f"{record.units} kWh",
        "fixChargeAmount": None,
        "tariff": f"Rate: {receipt.get('tariff')}/kWh",
        "taxAmount": receipt.get("tax"),
        "debtAmount": None,
        "kct1": receipt.get("kct1"),
        "kct2": receipt.get("kct2"),
        "penalty": None,
        "costOfUnit": None,
        "announcement": None,
    }


def _token_text(token: str | None) -> str:
    return f"Token : {token}" if token else ""
