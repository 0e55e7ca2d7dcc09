"""Answers of BuyPower with invented values, as bytes on the wire."""

import json
from typing import Any

TOKEN = "12345678901234567890"
REFERENCE = "BVTESTREFERENCE"
METER = "12345678910"
IN_PROGRESS = "Transaction is still in progress. Please requery in 120 seconds"


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def failure(code: object, message: str = "", **more: Any) -> dict[str, Any]:
    """A flat answer that reports a failure."""
    return {"status": False, "error": True, "responseCode": code, "message": message} | more


def sale(**changes: Any) -> dict[str, Any]:
    """The details of a sale in a success. A change to None leaves the field out."""
    data = {
        "id": 70000001,
        "amountGenerated": "465.12",
        "tariff": "60.5",
        "debtAmount": "0",
        "debtRemaining": "0",
        "disco": "EKO",
        "freeUnits": "0",
        "orderId": REFERENCE,
        "receiptNo": "R7001",
        "tax": "34.88",
        "vendTime": "2026-11-22 13:00:05",
        "token": "1234-5678-9012-3456-7890",
        "totalAmountPaid": 500,
        "units": "7.7",
        "vendAmount": "500",
        "vendRef": "V7001",
        "responseCode": 100,
        "responseMessage": "Payment successful",
        "address": "2 MADE UP CLOSE",
        "name": "ADA TEST",
        "phoneNo": "08000000001",
        "charges": "0",
        "tariffIndex": None,
        "parcels": [{"type": "TOKEN", "content": "1234-5678-9012-3456-7890"}],
    }
    return {name: value for name, value in (data | changes).items() if value is not None}


def success(**changes: Any) -> dict[str, Any]:
    """A success as the answer to a vend."""
    return {"status": True, "message": "Successful transaction", "responseCode": 200, "data": sale(**changes)}


def requery_success(**changes: Any) -> dict[str, Any]:
    """A success as the answer to a requery."""
    return {"result": success(**changes)}


def meter(**changes: Any) -> dict[str, Any]:
    """The answer for a known meter. A change to None leaves the field out."""
    document = {
        "error": False,
        "discoCode": "EKO",
        "vendType": "PREPAID",
        "meterNo": METER,
        "minVendAmount": 350,
        "maxVendAmount": "250000.00",
        "responseCode": 100,
        "outstanding": 0,
        "debtRepayment": 0,
        "name": "ADA TEST",
        "address": "2 MADE UP CLOSE",
        "tariff": "60.5",
        "tariffClass": "MD1",
    }
    return {name: value for name, value in (document | changes).items() if value is not None}
