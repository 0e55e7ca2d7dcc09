"""What every answer looks like: the envelope, for results and for errors."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Response

from billvend.api.errors import FIRST_ENDS_SECONDS, RETRY_AFTER_SECONDS, DoorRefusal, status_of
from billvend.domain.errors import (
    BadSetting,
    BillvendError,
    LikelyDuplicate,
    OutcomeUnknown,
    RequestInProgress,
    Unavailable,
)
from billvend.views import Document, when

INTERNAL = (
    "This should not have happened, and is in our log. Look at the transaction before you repeat the request."
)


def answer(
    data: Document,
    message: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    headers: Mapping[str, str] | None = None,
    beside: Document | None = None,
) -> Response:
    """A result. `beside` stands next to the envelope's own names, for the one caller who looks there."""
    return _enveloped({**(beside or {}), "success": True, "message": message, "data": data}, status, headers)


def problem(error: BillvendError, *, data: Document | None = None) -> Response:
    """A refusal or failure; one of ours is told by its code alone."""
    status = status_of(error)
    headers = dict(error.headers) if isinstance(error, DoorRefusal) else {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif isinstance(error, RequestInProgress):
        headers["Retry-After"] = str(FIRST_ENDS_SECONDS)
    document = error_document(error)
    return _enveloped(
        {"success": False, "message": document["message"], "data": data, "error": document}, status, headers
    )


def code_of(error: BillvendError) -> str:
    """The code that is told: what is not set up is as good as away, to whoever asks from outside."""
    return Unavailable.code if isinstance(error, BadSetting) else error.code


def error_document(error: BillvendError) -> Document:
    """The `error` object of an envelope, or of one entry of a batch."""
    document: Document = {"code": code_of(error), "message": _message(error)}
    if error.fields:
        document["fields"] = error.fields
    if isinstance(error, OutcomeUnknown):
        document |= {"transactionId": error.transaction_id, "idempotencyKey": error.idempotency_key}
    return document


def _message(error: BillvendError) -> str:
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return INTERNAL
    match error:
        case Unavailable():
            return error.outside
        case LikelyDuplicate():
            return f'{error.message} Here: "allowDuplicate": true.'
        case _:
            return error.message


def plain_problem(code: str, message: str, status: HTTPStatus, headers: Mapping[str, str]) -> Response:
    """What is no error of billvend's: no such address, no such method, a bug."""
    document = {
        "success": False,
        "message": message,
        "data": None,
        "error": {"code": code, "message": message},
    }
    return _enveloped(document, status, headers)


def _enveloped(document: Document, status: HTTPStatus, headers: Mapping[str, str] | None) -> Response:
    # ASCII alone: whatever stands in a name can be written so, a lone surrogate too.
    text = json.dumps({**document, "timestamp": when(datetime.now(UTC))})
    return Response(text + "\n", status, headers=dict(headers or {}), mimetype="application/json")
