"""What the HTTP door refuses by itself, and which error answers with which status. The one table of statuses."""

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
"""How long a client should wait before it asks again where a part is away."""
IN_PROGRESS_RETRY_AFTER_SECONDS: Final = 1
"""How long a client should wait before it asks again where its first request is still at work."""


REJECTION_KEY: Final = "billvend.rejection"
"""Where a WSGI request names what is wrong with it, before anybody looks at it: a `RequestRejected`."""


class RequestRejected(Rejected):
    """The request was turned away before billvend read what it asks for. Nothing was done."""

    status: ClassVar[HTTPStatus]
    headers: dict[str, str]

    def __init__(self, message: str, **headers: str) -> None:
        super().__init__(message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        """Further headers of the answer, `_` for `-`."""


class MalformedJson(RequestRejected):
    """The body is no JSON text, or one whose meaning is not the same to everybody."""

    code = "malformed_json"
    status = HTTPStatus.BAD_REQUEST


class MalformedHeader(RequestRejected):
    """A header is not text, or stands there in a way that two readers could understand in two ways."""

    code = "malformed_header"
    status = HTTPStatus.BAD_REQUEST


class InvalidIdempotencyKey(RequestRejected):
    """The header Idempotency-Key is empty, too long, or not printable ASCII."""

    code = "invalid_idempotency_key"
    status = HTTPStatus.BAD_REQUEST


class Unauthenticated(RequestRejected):
    """No key came with the request, or one that is not, or no longer, valid."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(RequestRejected):
    """The key's scopes don't allow this; or there are no keys yet, and the request did not come from this machine."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


class BodyTooLarge(RequestRejected):
    """The body is longer than the call takes."""

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
    """The key, or the address, asks more often than RATE_LIMIT lets it."""

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
"""The first class that fits decides; what the door itself refuses carries its status."""


def status_of(error: BillvendError) -> HTTPStatus:
    """The HTTP status of an error."""
    if isinstance(error, RequestRejected):
        return error.status
    return next(status for kind, status in ERROR_STATUS if isinstance(error, kind))
