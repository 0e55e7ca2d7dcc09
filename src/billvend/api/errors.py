"""Errors that only HTTP has, and the one table of HTTP statuses by error."""

from http import HTTPStatus
from typing import ClassVar, Final

from billvend.domain.errors import (
    BillvendError,
    ConfigurationError,
    Conflict,
    DependencyError,
    IdempotencyMismatch,
    InsufficientFunds,
    InvalidInput,
    Rejected,
    ResourceNotFound,
)

UNAVAILABLE_RETRY_AFTER_SECONDS: Final = 5
"""How long a client should wait before it repeats a request that found a dependency unavailable."""
IN_PROGRESS_RETRY_AFTER_SECONDS: Final = 1
"""How long a client should wait before it repeats a request that is still in progress."""


REJECTION_KEY: Final = "billvend.rejection"
"""The WSGI environment's key for a `RequestRejected` that was found before the application ran."""


class RequestRejected(Rejected):
    """The request was rejected before billvend ran it. Nothing was done."""

    status: ClassVar[HTTPStatus]
    headers: dict[str, str]

    def __init__(self, message: str, **headers: str) -> None:
        super().__init__(message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        """Further headers of the response."""


class MalformedJson(RequestRejected):
    """The body is not JSON, or is ambiguous JSON."""

    code = "malformed_json"
    status = HTTPStatus.BAD_REQUEST


class MalformedHeader(RequestRejected):
    """A header is not text, or is ambiguous."""

    code = "malformed_header"
    status = HTTPStatus.BAD_REQUEST


class InvalidIdempotencyKey(RequestRejected):
    """The header Idempotency-Key is empty, too long, or not printable ASCII."""

    code = "invalid_idempotency_key"
    status = HTTPStatus.BAD_REQUEST


class Unauthenticated(RequestRejected):
    """The request has no API key, or one that is invalid or revoked."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(RequestRejected):
    """The key lacks the scope. Or there are no keys yet, and the request is not from this machine."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class BodyTooLarge(RequestRejected):
    """The body is longer than the call accepts."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BodyTooSlow(RequestRejected):
    """The body did not arrive in time."""

    code = "body_too_slow"
    status = HTTPStatus.REQUEST_TIMEOUT


class UnsupportedMediaType(RequestRejected):
    """The body is not sent as JSON."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class RateLimited(RequestRejected):
    """The key, or the address, sends more requests than RATE_LIMIT allows."""

    code = "rate_limited"
    status = HTTPStatus.TOO_MANY_REQUESTS


ERROR_STATUS: Final[tuple[tuple[type[BillvendError], HTTPStatus], ...]] = (
    (IdempotencyMismatch, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Conflict, HTTPStatus.CONFLICT),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ResourceNotFound, HTTPStatus.NOT_FOUND),
    (InsufficientFunds, HTTPStatus.PAYMENT_REQUIRED),
    (DependencyError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConfigurationError, HTTPStatus.SERVICE_UNAVAILABLE),
    (BillvendError, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""The first class that fits decides. A `RequestRejected` has its own status."""


def status_of(error: BillvendError) -> HTTPStatus:
    """The HTTP status of an error."""
    if isinstance(error, RequestRejected):
        return error.status
    return next(status for kind, status in ERROR_STATUS if isinstance(error, kind))
