"""Parse a delivery of VTpass. Each electricity company has its own names for the same fields.

No error here turns a delivery into a failure: a field that cannot be parsed is left out.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from types import MappingProxyType
from typing import Any, Final

from billvend.adapters.providers.http_provider import CURRENCY
from billvend.adapters.providers.parse import (
    first_text,
    is_sts_token,
    to_mapping,
    to_minor,
    to_number,
    to_text,
    to_valid_token,
)
from billvend.domain.enums import VendType
from billvend.domain.outcome import Delivered

TOKEN_WARNING: Final = "This is not a token of 20 digits. It is shown as the provider wrote it."  # noqa: S105

_TOKEN_FIELDS: Final = ("token", "mainToken", "Token", "tokenValue", "purchased_code")
_UNITS_FIELDS: Final = ("units", "mainTokenUnits", "Units", "PurchasedUnits")
_BONUS_LABEL = re.compile(r"bonus\s*token\s*:?", re.IGNORECASE)

RECEIPT_TOKEN_FIELDS: Final = MappingProxyType(
    {
        "kct1": ("kct1", "KCT1"),
        "kct2": ("kct2", "KCT2"),
        "bonusToken": ("bonusToken",),
        "resetToken": ("resetToken",),
        "configureToken": ("configureToken",),
    }
)
"""Further tokens for the meter: our name on receipts, then VTpass's names. The first that has a value counts."""

RECEIPT_FIELDS: Final = MappingProxyType(
    {
        "receiptNumber": ("receiptNumber",),
        "invoiceNumber": ("invoiceNumber",),
        "exchangeReference": ("exchangeReference",),
        "netAmount": ("tokenAmount", "mainsTokenAmount", "mainTokenAmount", "energyAmount"),
        "tax": ("taxAmount", "mainTokenTax", "energyVAT", "vat"),
        "tariff": ("tariff", "tariffIndex"),
        "tariffBaseRate": ("tariffBaseRate",),
        "costOfUnit": ("costOfUnit",),
        "description": ("mainTokenDescription",),
        "bonusUnits": ("bonusTokenUnits",),
        "bonusAmount": ("bonusTokenAmount",),
        "bonusTax": ("bonusTokenTax",),
        "bonusDescription": ("bonusTokenDescription",),
        "debtAmount": ("debtAmount",),
        "debtTariff": ("debtTariff",),
        "debtDescription": ("debtDescription",),
        "arrearsBalance": ("arrearsBalance",),
        "appliedToArrears": ("appliedToArrears",),
        "balance": ("balance",),
        "fixedCharge": ("fixChargeAmount",),
        "currentCharge": ("currentCharge",),
        "meterCost": ("meterCost",),
        "penalty": ("penalty",),
        "lossOfRevenue": ("lossOfRevenue",),
        "installationFee": ("installationFee",),
        "reconnectionFee": ("reconnectionFee",),
        "meterServiceCharge": ("meterServiceCharge",),
        "administrativeCharge": ("administrativeCharge",),
        "announcement": ("announcement",),
        "utilityName": ("utilityName",),
        "businessCenter": ("businessCenter",),
    }
)
"""The rest of a receipt, in the same form. Name and address stay out, because the journal keeps data for ever."""


def parse_sale(body: Mapping[str, Any], vend_type: VendType) -> Delivered:
    """The delivery in an answer to /pay or /requery. Its token is None if the answer has none."""
    transaction = to_mapping(to_mapping(body.get("content")).get("transactions"))
    main, bonus = _parse_tokens(body, transaction)
    well_formed = main is not None and is_sts_token(main)
    if vend_type is VendType.POSTPAID and not well_formed:
        main = None  # it pays off a bill: any other text is not for a meter
    receipt = dict(_parse_receipt(body))
    if bonus:
        receipt.setdefault("bonusToken", bonus)
    if main is not None and not well_formed:
        receipt["tokenWarning"] = TOKEN_WARNING
    amounts = (to_minor(transaction.get(name), CURRENCY) for name in ("amount", "unit_price"))
    return Delivered(
        token=main,
        units=next((found for name in _UNITS_FIELDS if (found := to_number(body.get(name)))), None),
        cost_minor=_parse_cost_minor(transaction.get("total_amount")),
        receipt=receipt,
        provider_reference=first_text(transaction, "transactionId"),
        reference=reference_in(body),
        # Not the top-level meterNumber: it is "N/A" or, for a postpaid account, another number than we sent.
        meter=first_text(transaction, "unique_element"),
        amount_minor=next((amount for amount in amounts if amount is not None), None),
    )


def reference_in(body: Mapping[str, Any]) -> str | None:
    """Our reference, as an answer or a webhook echoes it."""
    return first_text(body, "requestId")


def _parse_tokens(body: Mapping[str, Any], transaction: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The token and the bonus token. One text may hold both: "Token : A Bonus Token : B"."""
    mains, bonuses = [], []
    for value in (*(body.get(name) for name in _TOKEN_FIELDS), transaction.get("extras")):
        main, *bonus = _BONUS_LABEL.split(to_text(value) or "", maxsplit=1)
        mains.append(to_valid_token(main))
        bonuses.append(to_valid_token(bonus[0]) if bonus else None)
    return next(filter(None, mains), None), next(filter(None, bonuses), None)


def _parse_receipt(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, theirs in RECEIPT_TOKEN_FIELDS.items():
        if token := next(filter(None, (to_valid_token(body.get(their)) for their in theirs)), None):
            yield name, token
    for name, theirs in RECEIPT_FIELDS.items():
        if value := first_text(body, *theirs):
            yield name, value


def _parse_cost_minor(total: object) -> int | None:
    """What VTpass took from our float, in kobo: face value less commission.

    It is rounded up, so that it is never understated: 1.5 % of an odd number of naira is not a whole number of kobo.
    """
    plain = to_number(total)
    return None if plain is None else int((Decimal(plain) * 100).to_integral_value(ROUND_CEILING))
