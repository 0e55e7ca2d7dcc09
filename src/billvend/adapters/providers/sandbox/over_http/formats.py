"""How requests are read and answers are written: JSON, amounts, keys."""

import json
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from flask import Response, request

from billvend.adapters.providers import parse
from billvend.adapters.providers.sandbox.faults import SandboxFault, parse_fault
from billvend.domain.errors import InvalidAmount
from billvend.domain.money import Money, parse_amount

FAULT_HEADER: Final = "X-Sandbox-Fault"
BAD_KEY: Final = "bad"
"""The one key that is rejected. Any other key that is not empty is accepted."""
CURRENCY: Final = "NGN"
LAGOS: Final = timezone(timedelta(hours=1))
"""Africa/Lagos has no summer time."""


def json_response(body: object, status: int = 200, **headers: str) -> Response:
    """An answer in JSON. The order of its fields is kept."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def naira_number(amount_minor: int) -> int | float:
    """A number of naira for JSON. It may be a float, because the sandbox never calculates with it."""
    whole, kobo = divmod(amount_minor, 100)
    return amount_minor / 100 if kobo else whole


def parse_request() -> dict[str, Any]:
    """The body of the request, from JSON or a form. Empty if it is neither."""
    if request.form:
        return dict(request.form)
    try:
        body = json.loads(request.get_data(), parse_float=Decimal)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def parse_text(value: object) -> str | None:
    """A field with a number or printable ASCII text of at most 100 characters, else None."""
    text = parse.to_text(value)
    return text if text and len(text) <= 100 and text.isascii() and text.isprintable() else None


def parse_naira(value: object) -> Money | None:
    """An amount in naira; None if it is not an amount."""
    try:
        return parse_amount(parse.to_number(value) or "", CURRENCY) if parse_text(value) else None
    except InvalidAmount:
        return None


def requested_fault() -> SandboxFault | None:
    """The fault in the header of the request. Raises `InvalidFault`."""
    text = request.headers.get(FAULT_HEADER)
    return None if text is None else parse_fault(text)


def is_accepted_key(key: str | None) -> bool:
    """Whether the key is accepted."""
    return bool(key) and key != BAD_KEY
