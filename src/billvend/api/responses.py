"""The envelope of every response, for results and for errors."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Response

from billvend.api.errors import (
    IN_PROGRESS_RETRY_AFTER_SECONDS,
    UNAVAILABLE_RETRY_AFTER_SECONDS,
    RequestRejected,
    status_of,
)
from billvend.domain.errors import (
    BillvendError,
    ConfigurationError,
    LikelyDuplicate,
    OutcomeUnknown,
    RequestInProgress,
    Unavailable,
)
from billvend.presentation import JsonObject, iso_time

INTERNAL_ERROR_MESSAGE = (
    "Internal error; it is in the log. Look at the transaction before you repeat the request."
)


def success_response(
    data: JsonObject,
    message: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    headers: Mapping[str, str] | None = None,
    extra_members: JsonObject | None = None,
) -> Response:
    """A result. `extra_members` are added to the envelope, for a caller that expects them there."""
    return _envelope(
        {**(extra_members or {}), "success": True, "message": message, "data": data}, status, headers
    )


def error_response(error: BillvendError, *, data: JsonObject | None = None) -> Response:
    """An error. Details of an internal error stay in the log."""
    status = status_of(error)
    headers = dict(error.headers) if isinstance(error, RequestRejected) else {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(UNAVAILABLE_RETRY_AFTER_SECONDS)
    elif isinstance(error, RequestInProgress):
        headers["Retry-After"] = str(IN_PROGRESS_RETRY_AFTER_SECONDS)
    document = error_json(error)
    return _envelope(
        {"success": False, "message": document["message"], "data": data, "error": document}, status, headers
    )


def public_code(error: BillvendError) -> str:
    """The public error code. Configuration errors are reported as `unavailable`."""
    return Unavailable.code if isinstance(error, ConfigurationError) else error.code


def error_json(error: BillvendError) -> JsonObject:
    """The `error` object of an envelope, or of one entry of a batch."""
    document: JsonObject = {"code": public_code(error), "message": _public_message(error)}
    if error.fields:
        document["fields"] = error.fields
    if isinstance(error, OutcomeUnknown):
        document |= {"transactionId": error.transaction_id, "idempotencyKey": error.idempotency_key}
    return document


def _public_message(error: BillvendError) -> str:
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return INTERNAL_ERROR_MESSAGE
    match error:
        case Unavailable():
            return error.public_message
        case LikelyDuplicate():
            return f'{error.message} To pay it again, send "allowDuplicate": true.'
        case _:
            return error.message


def http_error_response(code: str, message: str, status: HTTPStatus, headers: Mapping[str, str]) -> Response:
    """An error that is no `BillvendError`: unknown address, unknown method, a bug."""
    document = {
        "success": False,
        "message": message,
        "data": None,
        "error": {"code": code, "message": message},
    }
    return _envelope(document, status, headers)


def _envelope(document: JsonObject, status: HTTPStatus, headers: Mapping[str, str] | None) -> Response:
    # ASCII only: every string can be written so, even one with a lone surrogate.
    text = json.dumps({**document, "timestamp": iso_time(datetime.now(UTC))})
    return Response(text + "\n", status, headers=dict(headers or {}), mimetype="application/json")
