"""Parsing a request: strictly, exactly, and before anything is done.

Amounts never pass through a binary float. Ambiguous input (a repeated name, NaN, invalid UTF-8) is rejected.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from flask import Request
from pydantic import AliasChoices, BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from billvend.domain.errors import ValidationFailed
from billvend.domain.ids import parse_key
from billvend.domain.safe_text import safe_repr
from billvend.presentation.errors import (
    BodyTooLarge,
    InvalidIdempotencyKey,
    MalformedJson,
    UnsupportedMediaType,
)

MAX_BODY_BYTES = 64 * 1024
"""Bytes of one request. A batch may have more."""
MAX_BATCH_BYTES = 1024 * 1024
"""Bytes of a batch of payments."""
REJECTION_KEY = "billvend.rejection"
"""The WSGI environment's key for a `RequestRejected` that was found before the application ran."""
MAX_INT_DIGITS = 100
"""Longer integers become `Decimal`, which does not compute their digits. No amount has as many."""

Model = TypeVar("Model", bound=BaseModel)


def read_body(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body as it came. Raises `BodyTooLarge`, `UnsupportedMediaType` for a compressed one."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("A compressed body is not accepted. Nothing was done.")
    error = BodyTooLarge(f"The body is longer than {max_bytes:,} bytes. Nothing was done.")
    # One more than allowed: without a length Flask would return only the beginning of a longer body.
    request.max_content_length = max_bytes + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise error from None
    if len(body) > max_bytes:
        raise error
    return body


def parse_json_body(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The JSON object in the body, numbers as `int` and `Decimal`.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `MalformedJson`; `ValidationFailed` for JSON that is not an object.
    """
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("Send the body as application/json in UTF-8. Nothing was done.")
    body = read_body(request, max_bytes=max_bytes)
    try:
        document = json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_int=_parse_int,
            parse_constant=_reject_constant,
            object_pairs_hook=_parse_object,
        )
    except UnicodeDecodeError:
        raise MalformedJson("The body is not UTF-8. Nothing was done.") from None
    except RecursionError:
        raise MalformedJson("The body is nested too deeply. Nothing was done.") from None
    except ArithmeticError:  # an exponent that Decimal cannot hold
        raise MalformedJson(
            "The body has a number that is too large or too small. Nothing was done."
        ) from None
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON: {error}. Nothing was done.") from None
    if not isinstance(document, dict):
        raise ValidationFailed("The body must be a JSON object. Nothing was done.")
    return document


def _parse_int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_INT_DIGITS else Decimal(digits)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the name {safe_repr(name)} is given twice")
        members[name] = value
    return members


def validate(model: type[Model], values: Mapping[str, Any], *, strict: bool = True) -> Model:
    """Validate values as a model. Raises `ValidationFailed`, which names each invalid field.

    Unknown names are rejected, or ignored when `strict` is False.
    """
    accepted = (
        values if strict else {name: value for name, value in values.items() if name in _field_names(model)}
    )
    try:
        return model.model_validate(accepted)
    except ValidationError as error:
        fields = {
            ".".join(map(str, problem["loc"])): _error_text(problem["type"], problem["msg"])
            for problem in error.errors()
        }
    summary = "; ".join(f"{safe_repr(name) if name else 'it'} {reason}" for name, reason in fields.items())
    raise ValidationFailed(f"The request is invalid: {summary}. Nothing was done.", fields=fields)


def _field_names(model: type[BaseModel]) -> set[str]:
    """The names under which a request may give the fields."""
    return {
        str(name)
        for field_name, field in model.model_fields.items()
        for name in (
            field.validation_alias.choices
            if isinstance(field.validation_alias, AliasChoices)
            else [field.alias or field_name]
        )
    }


def _error_text(error_type: str, text: str) -> str:
    match error_type:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is unknown"
        case "model_type":
            return "must be a JSON object"
        case _:
            return re.sub("^(Input|String|List) ", "", text)[:200]


def parse_query(request: Request) -> dict[str, str]:
    """The values of the query. Raises `ValidationFailed` if it is not UTF-8 or repeats a name."""
    try:
        arguments = request.args
    except UnicodeDecodeError:
        raise ValidationFailed("The query is not UTF-8. Nothing was done.") from None
    for name, values in arguments.lists():
        if len(values) > 1:
            raise ValidationFailed(
                f"The request is invalid: {safe_repr(name)} is given twice. Nothing was done.",
                fields={name: "is given twice"},
            )
    return arguments.to_dict()


def parse_idempotency_key(request: Request) -> str | None:
    """The header Idempotency-Key, or None. Raises `InvalidIdempotencyKey`."""
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return None
    try:
        return parse_key(header)
    except ValidationFailed as error:
        raise InvalidIdempotencyKey(f"{error.message} Nothing was done.") from None
