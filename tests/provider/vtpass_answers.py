"""Answers of VTpass in its formats, with invented values."""

import json
from typing import Any

from billvend.domain.enums import VendType
from billvend.domain.money import Money
from billvend.ports.provider import Order

REFERENCE = "202611220000ABCDEFGHIJKLMNOPQRST"
METER = "45012345678"
TOKEN = "12345678901234567890"
BONUS = "09876543210987654321"


def order(
    amount_minor: int = 2000_00,
    *,
    reference: str = REFERENCE,
    biller: str = "IKEDC",
    vend_type: VendType = VendType.PREPAID,
    currency: str = "NGN",
    phone: str | None = "08012345678",
) -> Order:
    return Order(reference, METER, biller, vend_type, Money(amount_minor, currency), phone)


def answer(code: object = "000", status: object = None, **more: Any) -> dict[str, Any]:
    """The envelope of every answer about a transaction. `more`: top-level fields. `status`: inside, as VTpass does."""
    body: dict[str, Any] = {"code": code, "response_description": "WORDS OF THEIRS", "requestId": REFERENCE}
    if status is not None:
        body["content"] = {"transactions": transaction(status=status)}
    return body | more


def transaction(**more: Any) -> dict[str, Any]:
    return {
        "status": "delivered",
        "product_name": "Ikeja Electric Payment",
        "unique_element": METER,
        "unit_price": "2000",
        "quantity": 1,
        "service_verification": None,
        "channel": "api",
        "commission": 30,
        "total_amount": 1970,
        "type": "Electricity Bill",
        "email": "shop@example.com",
        "phone": "08012345678",
        "convinience_fee": 0,
        "amount": "2000",
        "transactionId": "17600000000000000000000042",
    } | more


def delivered(**more: Any) -> dict[str, Any]:
    """A prepaid sale in the current format."""
    return {
        "code": "000",
        "response_description": "TRANSACTION SUCCESSFUL",
        "requestId": REFERENCE,
        "amount": 2000,
        "transaction_date": "2026-11-22T12:00:05.000000Z",
        "purchased_code": f"Token : {TOKEN}",
        "content": {"transactions": transaction()},
        "customerName": "ADA EXAMPLE",
        "customerAddress": "1 MADE UP ROAD",
        "meterNumber": "N/A",
        "token": f"Token : {TOKEN}",
        "tokenAmount": "1860.47",
        "exchangeReference": "16000000000001",
        "resetToken": None,
        "configureToken": "",
        "units": "79.9 kWh",
        "tariff": "Rate: 23.28/kWh",
        "taxAmount": 139.53,
        "debtAmount": "N/A",
        "kct1": None,
        "kct2": None,
    } | more


def eko() -> dict[str, Any]:
    """A prepaid sale in the format of Eko, with a bonus token and key change tokens."""
    envelope = {
        name: value for name, value in delivered().items() if name in ("code", "requestId", "content")
    }
    return envelope | {
        "transaction_date": {
            "date": "2026-11-22 13:00:05.000000",
            "timezone_type": 3,
            "timezone": "Africa/Lagos",
        },
        "purchased_code": f"Token : {TOKEN} Bonus Token : {BONUS}",
        "mainToken": "1234-5678-9012-3456-7890",
        "mainTokenDescription": "Normal Sale",
        "mainTokenUnits": 41.2,
        "mainTokenTax": 139.53,
        "mainsTokenAmount": 1860.47,
        "bonusToken": "0987 6543 2109 8765 4321",
        "bonusTokenDescription": "FBE Token",
        "bonusTokenUnits": "2.0",
        "bonusTokenTax": "",
        "bonusTokenAmount": "0",
        "tariffIndex": "52",
        "debtDescription": "1",
        "KCT1": "1111 2222 3333 4444 5555",
        "KCT2": "11112222333344446666",
    }


def postpaid() -> dict[str, Any]:
    """A postpaid sale: no token, and the number of the meter beside that of the account."""
    envelope = {
        name: value for name, value in delivered().items() if name in ("code", "requestId", "content")
    }
    return envelope | {
        "purchased_code": "",
        "utilityName": "Made Up Electric",
        "exchangeReference": "16000000000002",
        "balance": "500.00",
        "meterNumber": "99999999999",
    }


def meter(**more: Any) -> dict[str, Any]:
    """The verification of a prepaid meter that can be sold to."""
    content = {
        "Customer_Name": "ADA EXAMPLE",
        "Address": "1 MADE UP ROAD",
        "Meter_Number": METER,
        "Customer_Arrears": "",
        "Minimum_Amount": "",
        "Min_Purchase_Amount": "1000",
        "Can_Vend": "yes",
        "Business_Unit": "",
        "Customer_Account_Type": "NMD",
        "Meter_Type": "PREPAID",
        "WrongBillersCode": False,
        "commission_details": {"amount": None, "rate": "1.50", "rate_type": "percent"},
    }
    return {"code": "000", "content": content | more}


def to_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
