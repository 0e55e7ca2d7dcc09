"""Routing: a blueprint whose calls declare their scope, their request and their response."""

import inspect
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, get_type_hints

from flask import Response, g, request
from flask.blueprints import BlueprintSetupState
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel
from werkzeug.routing import BaseConverter

from billvend.api.auth import Authenticator
from billvend.api.headers import add_api_headers
from billvend.api.idempotency import KeyedLock
from billvend.api.parsing import (
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    REJECTION_KEY,
    parse_idempotency_key,
    parse_json_body,
    parse_query,
    validate,
)
from billvend.api.request_hooks import register_hooks
from billvend.api.requests import BatchRequest, IdempotencyKeyHeader
from billvend.api.responses import ErrorEnvelope, SuccessEnvelope
from billvend.app import Billvend
from billvend.domain.api_keys import Scope
from billvend.presentation.models import ResponseModel

View = Callable[..., Response]

COMMON_ERRORS: Final = {
    HTTPStatus.UNAUTHORIZED: "No API key, or an invalid one: `unauthenticated`.",
    HTTPStatus.FORBIDDEN: "The key lacks the scope, or there are no keys and the request is not from this machine: "
    "`forbidden`.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests (RATE_LIMIT): `rate_limited`, with `Retry-After`.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A dependency is unavailable: `unavailable` (nothing was done), with `Retry-After`.",
}
"""Errors of every call that needs a key."""
PUBLIC_ERRORS: Final = {HTTPStatus.TOO_MANY_REQUESTS: COMMON_ERRORS[HTTPStatus.TOO_MANY_REQUESTS]}
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
        """`strict`: unknown names in a body are rejected."""
        self.bv = bv
        self.strict = strict
        self.keyed_lock = KeyedLock()
        self.blueprint = APIBlueprint("billvend", __name__, validate_response=False)
        self._authenticator = authenticator
        self.blueprint.record_once(_configure_app)
        register_hooks(self.blueprint, bv)
        self.blueprint.after_request(add_api_headers)

    def call(
        self,
        operation: str,
        model: type[ResponseModel] | None,
        *,
        scope: Scope | None,
        status: HTTPStatus = HTTPStatus.OK,
        errors: dict[HTTPStatus, str] | None = None,
        allow_cached_keys: bool = False,
    ) -> Callable[[View], View]:
        """Register a call by its method and path, such as `GET /billers`. Without a model it returns plain text.

        The docstring of the view is its description. With `allow_cached_keys` it also accepts known keys while the database
        is down.
        """
        method, _, rule = operation.partition(" ")
        error_texts = {
            **(PUBLIC_ERRORS if scope is None else COMMON_ERRORS),
            **(BODY_ERRORS if method == "POST" else {}),
            **(errors or {}),
        }
        success = _TEXT_RESPONSE if model is None else SuccessEnvelope[model]  # type: ignore[valid-type]  # made at run time
        responses: dict[str, Any] = {str(status.value): success}
        responses |= {str(code.value): _openapi_error(text) for code, text in sorted(error_texts.items())}

        def add_view(view: View) -> View:
            summary, _, description = (inspect.getdoc(view) or "").partition("\n\n")
            register = getattr(self.blueprint, method.lower())(
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
        models = get_type_hints(view)
        max_bytes = MAX_BATCH_BYTES if models.get("body") is BatchRequest else MAX_BODY_BYTES

        @wraps(view)
        def wrapped_view(**path: Any) -> Response:
            rejection = request.environ.get(REJECTION_KEY)
            if rejection is not None:  # before authorization, which reads the headers
                raise rejection
            g.billvend_key = self._authenticator.authorize(
                request, scope, allow_cached_keys=allow_cached_keys
            )
            values: dict[str, BaseModel] = {}
            if "path" in models:
                values["path"] = validate(models["path"], path)
            if "query" in models:
                values["query"] = validate(models["query"], parse_query(request))
            if "body" in models:
                document = parse_json_body(request, max_bytes=max_bytes)
                values["body"] = validate(models["body"], document, strict=self.strict)
            if "header" in models:
                key = parse_idempotency_key(request)
                values["header"] = IdempotencyKeyHeader.model_construct(idempotency_key=key)
            return view(**values)

        # Without this mark flask-openapi would validate the request itself, less strictly.
        wrapped_view.__dict__["__delay_validate_request__"] = True
        return wrapped_view


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
