"""How each error ends a request and a command: one table of HTTP statuses and exit statuses.

The stable code of an error is at its class, in `billvend.domain.errors` or, for the errors that only HTTP has, here.
"""

from enum import IntEnum
from http import HTTPStatus
from typing import Final

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


class Exit(IntEnum):
    """The exit status of a command."""

    DONE = 0
    """Done. With `--no-wait`: accepted."""
    FAILED = 1
    """Internal error."""
    USAGE = 2
    """The command line, its input or a setting is wrong. Nothing was done."""
    NOT_FOUND = 3
    INSUFFICIENT_FUNDS = 4
    CONFLICT = 5
    """The key was used for something else, a likely double click, or it was sent already."""
    REVERSED = 6
    """The payment ended reversed: the money is released."""
    UNFINISHED = 7
    """The wait ran out before the payment ended. Its money stays held, and it continues."""
    DIFFERENCE = 8
    """An audit found a difference, or a payment differs from its deposit."""
    UNAVAILABLE = 9
    """A dependency is unavailable, or the outcome of the command is unknown."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as in shells."""
    BROKEN_PIPE = 141
    """The reader of the output closed it: 128 and the number of SIGPIPE, as in shells."""


# --- errors that only HTTP has ----------------------------------------------------------------------------------------


class RequestRejected(Rejected):
    """The request was rejected before billvend ran it. Nothing was done."""

    def __init__(self, message: str, **headers: str) -> None:
        super().__init__(message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        """Further headers of the response."""


class MalformedJson(RequestRejected, code="malformed_json"):
    """The body is not JSON, or is ambiguous JSON."""


class MalformedHeader(RequestRejected, code="malformed_header"):
    """A header is not text, or is ambiguous."""


class InvalidIdempotencyKey(RequestRejected, code="invalid_idempotency_key"):
    """The header Idempotency-Key is empty, too long, or not printable ASCII."""


class Unauthenticated(RequestRejected, code="unauthenticated"):
    """The request has no API key, or one that is invalid or revoked."""


class Forbidden(RequestRejected, code="forbidden"):
    """The key lacks the scope. Or there are no keys yet, and the request is not from this machine."""


class BodyTooLarge(RequestRejected, code="body_too_large"):
    """The body is longer than the call accepts."""


class BodyTooSlow(RequestRejected, code="body_too_slow"):
    """The body did not arrive in time."""


class UnsupportedMediaType(RequestRejected, code="unsupported_media_type"):
    """The body is not sent as JSON."""


class RateLimited(RequestRejected, code="rate_limited"):
    """The key, or the address, sends more requests than RATE_LIMIT allows."""


# --- the table --------------------------------------------------------------------------------------------------------

STATUSES: Final[dict[type[BillvendError], tuple[HTTPStatus, Exit]]] = {
    InvalidInput: (HTTPStatus.UNPROCESSABLE_ENTITY, Exit.USAGE),
    ResourceNotFound: (HTTPStatus.NOT_FOUND, Exit.NOT_FOUND),
    InsufficientFunds: (HTTPStatus.PAYMENT_REQUIRED, Exit.INSUFFICIENT_FUNDS),
    IdempotencyMismatch: (HTTPStatus.UNPROCESSABLE_ENTITY, Exit.CONFLICT),
    Conflict: (HTTPStatus.CONFLICT, Exit.CONFLICT),
    DependencyError: (HTTPStatus.SERVICE_UNAVAILABLE, Exit.UNAVAILABLE),
    ConfigurationError: (HTTPStatus.SERVICE_UNAVAILABLE, Exit.USAGE),
    RequestRejected: (HTTPStatus.BAD_REQUEST, Exit.FAILED),
    Unauthenticated: (HTTPStatus.UNAUTHORIZED, Exit.FAILED),
    Forbidden: (HTTPStatus.FORBIDDEN, Exit.FAILED),
    BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, Exit.FAILED),
    BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Exit.FAILED),
    UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Exit.FAILED),
    RateLimited: (HTTPStatus.TOO_MANY_REQUESTS, Exit.FAILED),
    BillvendError: (HTTPStatus.INTERNAL_SERVER_ERROR, Exit.FAILED),
}
"""A class that is not listed has the statuses of its nearest parent. Commands do not raise the errors of HTTP."""


def statuses_of(kind: type[BillvendError]) -> tuple[HTTPStatus, Exit]:
    """The HTTP status and the exit status of an error class."""
    return next(statuses for parent in kind.__mro__ if (statuses := STATUSES.get(parent)))


def http_status(error: BillvendError) -> HTTPStatus:
    """The HTTP status of an error."""
    return statuses_of(type(error))[0]
