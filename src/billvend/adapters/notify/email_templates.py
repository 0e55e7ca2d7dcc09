"""A notification as the subject and text of an email to the customer."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from billvend.domain.notifications import NotificationKind
from billvend.domain.safe_text import single_line
from billvend.ports.repositories import Message

KEY_CHANGE_TOKENS = ("kct1", "kct2")
"""Tokens that change a meter's key. They are typed in before the token itself, in this order."""
_LABELS = {
    "receiptNumber": "Receipt",
    "tax": "Tax",
    "netAmount": "Net amount",
    "tariff": "Tariff",
    "bonusToken": "Bonus token",
    "resetToken": "Reset token",
    "configureToken": "Configuration token",
    "tokenWarning": "Please note",
}


def render(message: Message) -> tuple[str, str]:
    """The subject, which is one line without the token, and the text with the whole token."""
    data = json.loads(message.data)
    amount = f"{data['currency']} {Decimal(data['amount']):,f}"
    match message.kind:
        case NotificationKind.PAYMENT_COMPLETED:
            subject = f"Your electricity: {amount} for meter {data['meterNumber']}"
            lines = _completed_lines(data, amount)
        case NotificationKind.PAYMENT_REVERSED:
            subject, lines = f"Your money is back: {amount}", _reversed_lines(data, amount)
        case _:
            subject, lines = f"Money received: {amount}", iter((f"{amount} came into your wallet.",))
    lines_of_text = (*lines, "", f"Transaction: {data['transactionId']}")
    return subject, "".join(f"{single_line(line)}\n" for line in lines_of_text)


def _completed_lines(data: dict[str, Any], amount: str) -> Iterator[str]:
    yield f"You paid {amount} to {data['provider']} for meter {data['meterNumber']}."
    receipt, token, units = data["receipt"], data["token"], data["units"]
    changes = [receipt[name] for name in KEY_CHANGE_TOKENS if receipt.get(name)]
    yield ""
    if token and changes:
        yield "Your meter's key is changing. Type these into your meter, one after the other, in this order:"
        yield from (
            f"  {position}. {_group_digits(each)}" for position, each in enumerate((*changes, token), 1)
        )
    elif token:
        yield f"Your token: {_group_digits(token)}"
        yield "Type it into your meter."
    else:
        yield "Your bill is paid. There is no token to type in."
    if units:
        yield f"Units: {units} kWh"
    for name in sorted(receipt, key=lambda name: (name not in _LABELS, name)):
        if name not in (*KEY_CHANGE_TOKENS, "units"):
            yield f"{_LABELS.get(name, name)}: {_group_digits(receipt[name])}"


def _reversed_lines(data: dict[str, Any], amount: str) -> Iterator[str]:
    bill = f"{amount} to {data['provider']} for meter {data['meterNumber']}"
    yield f"No electricity was bought, and your money is back in your wallet: {bill}."
    if data["reversal"]["proof"] == "declined":
        yield f"The electricity company says: {data['reversal']['reason']}"


def _group_digits(text: str) -> str:
    """Twenty digits in groups of four, as people type them. Any other text is unchanged."""
    if len(text) == 20 and text.isascii() and text.isdigit():
        return "-".join(text[start : start + 4] for start in range(0, 20, 4))
    return text
