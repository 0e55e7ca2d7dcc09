"""Routing: a blueprint whose calls declare their scope, their request and their response.

Every response is an envelope, has the security headers and the request's id, and writes one line to the log.
"""

import inspect
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, get_type_hints

from flask import Flask, Response, g, request
from flask.blueprints import BlueprintSetupState
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from billvend.api.auth import Authenticator
from billvend.api.headers import add_api_headers
from billvend.api.idempotency import KeyedLock
from billvend.api.parsing import REJECTION_KEY, parse_json_body, parse_query, validate
from billvend.api.requests import BatchRequest
from billvend.api.responses import (
    INTERNAL_ERROR_MESSAGE,
    ErrorEnvelope,
    SuccessEnvelope,
    error_response,
    http_error_response,
    public_code,
)
from billvend.app import Billvend
from billvend.domain.api_keys import ApiKey, Scope
from billvend.domain.errors import BillvendError, Unavailable

logger = logging.getLogger("billvend.api")

MAX_BATCH_BYTES: Final = 1024 * 1024
"""Bytes of a batch of payments."""
_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_RULE_VARIABLE = re.compile("<(?:[^<:]+:)?([^>]+)>")
"""A variable in a Flask rule. Logs show rules as OpenAPI does: `/wallet/balance/{userId}`."""

View = Callable[..., Response]

COMMON_ERRORS: Final = {
    HTTPStatus.UNAUTHORIZED: "No API key, or an invalid one: `unauthenticated`.",
    HTTPStatus.FORBIDDEN: "The key lacks the scope, or there are no keys and the request is not from this machine: "
    "`forbidden`.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests (RATE_LIMIT): `rate_limited`, with `Retry-After`.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A dependency is unavailable: `unavailable` (nothing was done), with `Retry-After`.",
}
"""Errors of every call that needs a key."""
PUBLIC_ERRORS: Final = {
    HTTPStatus.TOO_MANY_REQUESTS: COMMON_ERRORS[HTTPStatus.TOO_MANY_REQUESTS],
}
"""Errors of every call that needs no key."""
BODY_ERRORS: Final = {
    HTTPStatus.BAD_REQUEST: "`malformed_json`, `malformed_header` or `invalid_idempotency_key`.",
    HTTPStatus.REQUEST_TIMEOUT: "`body_too_slow`: it took more than ten seconds to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "`body_too_large`.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "`unsupported_media_type`: it must be application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount` and the like.",
}


_TEXT_RESPONSE: Final = {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}


class ApiRouter:
    """Adds calls to a blueprint, with one billvend and one authenticator."""

    def __init__(self, bv: Billvend, authenticator: Authenticator, *, strict: bool) -> None:
        self.bv = bv
        self.keyed_lock = KeyedLock()
        self.blueprint = APIBlueprint("billvend", __name__, validate_response=False)
        self._authenticator = authenticator
        self._strict = strict
        self.blueprint.record_once(_configure_app)
        self.blueprint.before_request(_before_request)
        self.blueprint.after_request(_after_request)
        self.blueprint.after_request(add_api_headers)
        _register_error_handlers(self.blueprint, bv)

    def get(
        self,
        rule: str,
        schema: type[BaseModel] | None,
        *,
        scope: Scope | None,
        errors: dict[HTTPStatus, str] | None = None,
        allow_cached_keys: bool = False,
    ) -> Callable[[View], View]:
        """Register a call that reads. Without a schema it returns plain text, and no envelope.

        With `allow_cached_keys` it also accepts known keys while the database is down.
        """
        return self._add_route(
            "get", rule, schema, HTTPStatus.OK, scope, errors or {}, allow_cached_keys=allow_cached_keys
        )

    def post(
        self,
        rule: str,
        schema: type[BaseModel],
        *,
        scope: Scope | None,
        status: HTTPStatus = HTTPStatus.OK,
        errors: dict[HTTPStatus, str] | None = None,
    ) -> Callable[[View], View]:
        """Register a call that changes something."""
        return self._add_route("post", rule, schema, status, scope, {**BODY_ERRORS, **(errors or {})})

    def _add_route(
        self,
        method: str,
        rule: str,
        schema: type[BaseModel] | None,
        status: HTTPStatus,
        scope: Scope | None,
        errors: dict[HTTPStatus, str],
        *,
        allow_cached_keys: bool = False,
    ) -> Callable[[View], View]:
        def add_view(view: View) -> View:
            error_texts = {**(PUBLIC_ERRORS if scope is None else COMMON_ERRORS), **errors}
            success = _TEXT_RESPONSE if schema is None else SuccessEnvelope[schema]  # type: ignore[valid-type]  # made at run time
            responses: dict[str, Any] = {str(status.value): success}
            responses |= {str(code.value): _openapi_error(text) for code, text in sorted(error_texts.items())}
            summary, _, description = (inspect.getdoc(view) or "").partition("\n\n")
            register = getattr(self.blueprint, method)(
                rule,
                summary=summary.rstrip("."),
                description=description,
                responses=responses,
                security=[] if scope is None else [{"key": [str(scope)]}],
                tags=[{"name": rule.split("/")[1]}],
                merge_slashes=False,  # a user id may begin with a slash, and must not become another user's id
            )
            register(self._wrap_view(view, scope, allow_cached_keys=allow_cached_keys))
            return view

        return add_view

    def _wrap_view(self, view: View, scope: Scope | None, *, allow_cached_keys: bool) -> View:
        """The view, called after authorization with the values that its annotations name."""
        type_hints = get_type_hints(view)
        max_bytes = MAX_BATCH_BYTES if type_hints.get("body") is BatchRequest else None

        @wraps(view)
        def wrapped_view(**path: Any) -> Response:
            if (
                rejection := request.environ.get(REJECTION_KEY)
            ) is not None:  # before authorization, which reads the headers
                raise rejection
            g.billvend_key = self._authenticator.authorize(
                request, scope, allow_cached_keys=allow_cached_keys
            )
            values: dict[str, BaseModel] = {}
            if "path" in type_hints:
                values["path"] = validate(type_hints["path"], path)
            if "query" in type_hints:
                values["query"] = validate(type_hints["query"], parse_query(request))
            if "body" in type_hints:
                document = (
                    parse_json_body(request, max_bytes=max_bytes) if max_bytes else parse_json_body(request)
                )
                values["body"] = validate(type_hints["body"], document, strict=self._strict)
            if "header" in type_hints:
                values["header"] = None  # type: ignore[assignment]  # only for the OpenAPI document: views read it themselves
            return view(**values)

        # Without this mark flask-openapi would validate the request itself, less strictly.
        wrapped_view.__dict__["__delay_validate_request__"] = True
        return wrapped_view

    @contextmanager
    def idempotency_lock(self, operation: str, user_id: str, key: str | None) -> Iterator[None]:
        """Be the only request of this process that runs with this key. Without a key there is no lock."""
        if key is None:
            yield
            return
        with self.keyed_lock.acquire((operation, user_id, key)):
            yield

    def validate(self, model: type[BaseModel], values: dict[str, Any]) -> Any:
        """Validate values inside a body, as strictly as the body."""
        return validate(model, values, strict=self._strict)


def _openapi_error(text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


class UserIdConverter(BaseConverter):
    """A user id in a path: any characters, slashes included, even at its beginning. The id itself is checked later."""

    regex = "(?s:.+)"
    part_isolating = False


def _configure_app(state: BlueprintSetupState) -> None:
    """Add to an application what the calls need. It may be ours or one that mounts the blueprint."""
    state.app.url_map.converters["billvend_user"] = UserIdConverter
    # flask-openapi reads this attribute, which a plain Flask application does not have.
    if not hasattr(state.app, "validate_response"):
        state.app.validate_response = False  # type: ignore[attr-defined]  # see above


# --- around every call ------------------------------------------------------------------------------------------------


def _before_request() -> None:
    if "billvend_started_at" in g:  # the application has the same hook as the blueprint
        return
    sent_id = request.headers.get("X-Request-Id", "")
    g.billvend_request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
    g.billvend_started_at = time.perf_counter()


def _after_request(response: Response) -> Response:
    if "X-Request-Id" in response.headers:  # the application has the same hook as the blueprint
        return response
    response.headers["X-Request-Id"] = g.billvend_request_id
    if not logger.isEnabledFor(logging.INFO):
        return response
    context = {
        "requestId": g.billvend_request_id,
        "method": request.method,
        "path": _RULE_VARIABLE.sub(r"{\1}", request.url_rule.rule)
        if request.url_rule
        else request.path[:200],
        "status": response.status_code,
        "durationMs": round((time.perf_counter() - g.billvend_started_at) * 1000, 1),
        **({"keyId": key} if (key := _key_id()) else {}),
        **g.get("billvend_log_context", {}),
    }
    logger.info("Request", extra={"context": context})
    return response


def add_log_context(**context: str | None) -> None:
    """Add to the request's log line: ids, never a token or a secret."""
    g.billvend_log_context = {**g.get("billvend_log_context", {}), **context}


def has_scope(scope: Scope) -> bool:
    """Whether the key of this request has a further scope. While no key exists, this machine has all scopes."""
    key: ApiKey | None = g.billvend_key
    return key is None or scope in key.scopes


def _key_id() -> str | None:
    key: ApiKey | None = g.get("billvend_key")
    return None if key is None else key.key_id


def _register_error_handlers(target: Flask | APIBlueprint, bv: Billvend) -> None:
    """Return errors in the envelope, and count them."""

    @target.errorhandler(BillvendError)
    def handle_billvend_error(error: BillvendError) -> Response:
        bv.count_rejection(public_code(error))
        response = error_response(error)
        add_log_context(
            code=public_code(error),
            **({"why": error.detail} if isinstance(error, Unavailable) and error.detail else {}),
        )
        if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("A request failed", exc_info=error, extra={"context": _request_context()})
        return response

    @target.errorhandler(HTTPException)
    def handle_http_error(error: HTTPException) -> Response:
        """Errors of Flask itself: unknown address, unknown method."""
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        code = status.name.lower()
        bv.count_rejection(code)
        allowed = {"Allow": ", ".join(sorted(getattr(error, "valid_methods", None) or ()))}
        headers = allowed if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        return http_error_response(code, f"{status.phrase}. Nothing was done.", status, headers)

    @target.errorhandler(Exception)
    def handle_unexpected_error(error: Exception) -> Response:
        bv.count_rejection(BillvendError.code)
        logger.error("A request failed", exc_info=error, extra={"context": _request_context()})
        return http_error_response(
            BillvendError.code, INTERNAL_ERROR_MESSAGE, HTTPStatus.INTERNAL_SERVER_ERROR, {}
        )


def _request_context() -> dict[str, str]:
    return {
        "requestId": g.get("billvend_request_id", ""),
        "method": request.method,
        "path": request.path[:200],
    }


def register_app_error_handlers(app: Flask, bv: Billvend) -> None:
    """Return errors outside of the blueprint in the envelope: unknown addresses and methods."""
    app.before_request(_before_request)
    app.after_request(_after_request)
    _register_error_handlers(app, bv)
