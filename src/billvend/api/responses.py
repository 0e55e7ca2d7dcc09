"""The envelope of every response, for results and for errors."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, Literal, TypeVar

from flask import Response
from pydantic import Field

from billvend.domain.errors import (
    BillvendError,
    ConfigurationError,
    LikelyDuplicate,
    OutcomeUnknown,
    RequestInProgress,
    Unavailable,
)
from billvend.presentation.errors import RequestRejected, http_status
from billvend.presentation.models import JsonObject, ResponseModel, Timestamp, dumps, iso_time
from billvend.presentation.transaction_models import PayResponse

INTERNAL_ERROR_MESSAGE = (
    "Internal error; it is in the log. Look at the transaction before you repeat the request."
)

UNAVAILABLE_RETRY_AFTER_SECONDS = 5
"""How long a client should wait before it repeats a request that found a dependency unavailable."""
IN_PROGRESS_RETRY_AFTER_SECONDS = 1
"""How long a client should wait before it repeats a request that is still in progress."""

Data = TypeVar("Data", bound=ResponseModel)


class SuccessEnvelope(ResponseModel, Generic[Data]):
    """The envelope of a result."""

    success: Literal[True] = True
    message: str
    data: Data
    timestamp: Timestamp


class ErrorDetail(ResponseModel):
    """An error."""

    code: Annotated[str, Field(description="Stable, for programs.", examples=["insufficient_funds"])]
    message: str
    fields: Annotated[dict[str, str] | None, Field(description="The reason by field.")] = None
    transaction_id: Annotated[str | None, Field(description="With `outcome_unknown`.")] = None
    idempotency_key: Annotated[
        str | None, Field(description="With `outcome_unknown`: repeat the request with it.")
    ] = None

    @classmethod
    def of(cls, error: BillvendError) -> "ErrorDetail":
        """The `error` object of an envelope, or of one entry of a batch."""
        details: dict[str, Any] = {"fields": error.fields} if error.fields else {}
        if isinstance(error, OutcomeUnknown):
            details |= {"transaction_id": error.transaction_id, "idempotency_key": error.idempotency_key}
        return cls(code=public_code(error), message=_public_message(error), **details)


class ErrorEnvelope(ResponseModel):
    """The envelope of an error. `message` says what happened, what became of the money, and what to do."""

    success: Literal[False] = False
    message: str
    data: dict[str, Any] | None = None
    error: ErrorDetail
    timestamp: Timestamp


class BatchEntryResponse(ResponseModel):
    """The result of one entry: `data` as for a single payment, or `error`."""

    status: Annotated[int, Field(description="The HTTP status that the entry alone would get.")]
    success: bool
    replayed: bool
    data: PayResponse | None
    error: ErrorDetail | None


class BatchResponse(ResponseModel):
    """One result for each entry, in order."""

    accepted: int
    replayed: int
    refused: int
    results: list[BatchEntryResponse]


class LivenessResponse(ResponseModel):
    """The process is alive."""

    status: Literal["ok"]


class WebhookReceivedResponse(ResponseModel):
    """The webhook was received."""

    received: bool


def success_response(
    data: ResponseModel,
    message: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    replayed: bool = False,
    location: str | None = None,
    extra_members: JsonObject | None = None,
) -> Response:
    """A result. `replayed` marks a repeated response. `extra_members` are added to the envelope."""
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    headers |= {"Location": location} if location else {}
    return _envelope(
        {**(extra_members or {}), "success": True, "message": message, "data": data}, status, headers
    )


def error_response(error: BillvendError, *, data: ResponseModel | None = None) -> Response:
    """An error. Details of an internal error stay in the log."""
    status = http_status(error)
    headers = dict(error.headers) if isinstance(error, RequestRejected) else {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(UNAVAILABLE_RETRY_AFTER_SECONDS)
    elif isinstance(error, RequestInProgress):
        headers["Retry-After"] = str(IN_PROGRESS_RETRY_AFTER_SECONDS)
    return _error_envelope(ErrorDetail.of(error), status, headers, data)


def http_error_response(code: str, message: str, status: HTTPStatus, headers: Mapping[str, str]) -> Response:
    """An error that is no `BillvendError`: unknown address, unknown method, a bug."""
    return _error_envelope(ErrorDetail(code=code, message=message), status, headers)


def public_code(error: BillvendError) -> str:
    """The public error code. Configuration errors are reported as `unavailable`."""
    return Unavailable.code if isinstance(error, ConfigurationError) else error.code


def _public_message(error: BillvendError) -> str:
    if http_status(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        return INTERNAL_ERROR_MESSAGE
    match error:
        case Unavailable():
            return error.public_message
        case LikelyDuplicate():
            return f'{error.message} To pay it again, send "allowDuplicate": true.'
        case _:
            return error.message


def _error_envelope(
    error: ErrorDetail, status: HTTPStatus, headers: Mapping[str, str], data: ResponseModel | None = None
) -> Response:
    return _envelope(
        {"success": False, "message": error.message, "data": data, "error": error}, status, headers
    )


def _envelope(document: JsonObject, status: HTTPStatus, headers: Mapping[str, str]) -> Response:
    text = dumps({**document, "timestamp": iso_time(datetime.now(UTC))})
    return Response(text + "\n", status, headers=dict(headers), mimetype="application/json")
