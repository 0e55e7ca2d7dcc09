"""Parse the body of an HTTP answer: decompress it within a limit, and read JSON."""

import json
import zlib
from decimal import Decimal
from typing import Any

Json = Any
"""A JSON value. Numbers with a point are `Decimal`, never a binary float."""


def decompress(raw: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """The decompressed body; None if it is broken, too large or in another encoding. We request no compression."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    stream = zlib.decompressobj(wbits=47)  # detects gzip or zlib by the first bytes
    try:
        plain = stream.decompress(raw, max_bytes + 1)
    except zlib.error:
        return None
    is_whole = stream.eof and not stream.unused_data
    return plain if is_whole and len(plain) <= max_bytes else None


def parse_json(body: bytes) -> Json:
    """The body as JSON; None if it is not JSON in UTF-8."""
    try:
        return json.loads(body.decode(), parse_float=Decimal, parse_constant=_reject_constant)
    except (ValueError, ArithmeticError, RecursionError):  # ArithmeticError: an exponent of twenty digits
        return None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
