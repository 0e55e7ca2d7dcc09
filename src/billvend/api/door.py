"""The door: an API blueprint whose calls say who may make them, what they read and what they answer.

Whatever a call does, its answer is an envelope, carries the security headers and the request's id, and leaves one line
in the log.
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

from billvend.api.answers import INTERNAL, code_of, plain_problem, problem
from billvend.api.bodies import BatchBody
from billvend.api.errors import REFUSAL
from billvend.api.gate import Gate
from billvend.api.headers import distrusted
from billvend.api.in_flight import InFlight
from billvend.api.reading import json_body, query_values, read
from billvend.api.shapes import Envelope, Problem
from billvend.domain.access import ApiKey, Scope
from billvend.domain.errors import BillvendError, Unavailable
from billvend.library import Billvend

logger = logging.getLogger("billvend.api")

LARGEST_BATCH: Final = 1024 * 1024
"""Bytes of a batch of payments."""
_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_PLACE = re.compile("<(?:[^<:]+:)?([^>]+)>")
"""What stands for a value in a Flask rule; a rule is told as in the document: `/wallet/balance/{userId}`."""

View = Callable[..., Response]

REFUSALS: Final = {
    HTTPStatus.UNAUTHORIZED: "No key, or no valid one: `unauthenticated`.",
    HTTPStatus.FORBIDDEN: "The key lacks the scope, or there are no keys and this is not the machine: `forbidden`.",
    HTTPStatus.TOO_MANY_REQUESTS: "More often than RATE_LIMIT: `rate_limited`, with `Retry-After`.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part is away: `unavailable` (nothing was done), with `Retry-After`.",
}
"""What any call may be refused with that asks for a key."""
OPEN_REFUSALS: Final = {
    HTTPStatus.TOO_MANY_REQUESTS: REFUSALS[HTTPStatus.TOO_MANY_REQUESTS],
}
"""And one that asks for none."""
BODY_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "`malformed_json`, `malformed_header` or `invalid_idempotency_key`.",
    HTTPStatus.REQUEST_TIMEOUT: "`body_too_slow`: it took more than ten seconds to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "`body_too_large`.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "`unsupported_media_type`: it must be application/json.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "`validation_failed` with `fields`, `invalid_amount` and the like.",
}


_TEXT: Final = {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}


class Door:
    """Where calls are added: one billvend, one gate, one blueprint."""

    def __init__(self, bv: Billvend, gate: Gate, *, strict: bool) -> None:
        self.bv = bv
        self.in_flight = InFlight()
        self.blueprint = APIBlueprint("billvend", __name__, validate_response=False)
        self._gate = gate
        self._strict = strict
        self.blueprint.record_once(_adopt)
        self.blueprint.before_request(_begin)
        self.blueprint.after_request(_end)
        self.blueprint.after_request(distrusted)
        _refuse_plainly(self.blueprint, bv)

    def get(
        self,
        rule: str,
        shape: type[BaseModel] | None,
        *,
        scope: Scope | None,
        refuses: dict[HTTPStatus, str] | None = None,
        tells_of_outages: bool = False,
    ) -> Callable[[View], View]:
        """A call that looks. Without a shape, what it answers is text, and no envelope.

        One that `tells_of_outages` answers its keys while the database is away, too.
        """
        return self._call("get", rule, shape, HTTPStatus.OK, scope, refuses or {}, recalls=tells_of_outages)

    def post(
        self,
        rule: str,
        shape: type[BaseModel],
        *,
        scope: Scope | None,
        status: HTTPStatus = HTTPStatus.OK,
        refuses: dict[HTTPStatus, str] | None = None,
    ) -> Callable[[View], View]:
        """A call that does something."""
        return self._call("post", rule, shape, status, scope, {**BODY_REFUSALS, **(refuses or {})})

    def _call(
        self,
        method: str,
        rule: str,
        shape: type[BaseModel] | None,
        status: HTTPStatus,
        scope: Scope | None,
        refuses: dict[HTTPStatus, str],
        *,
        recalls: bool = False,
    ) -> Callable[[View], View]:
        def add(view: View) -> View:
            told = {**(OPEN_REFUSALS if scope is None else REFUSALS), **refuses}
            fine = _TEXT if shape is None else Envelope[shape]  # type: ignore[valid-type]  # made at run time
            responses: dict[str, Any] = {str(status.value): fine}
            responses |= {str(code.value): _problem_response(text) for code, text in sorted(told.items())}
            lead, _, rest = (inspect.getdoc(view) or "").partition("\n\n")
            register = getattr(self.blueprint, method)(
                rule,
                summary=lead.rstrip("."),
                description=rest,
                responses=responses,
                security=[] if scope is None else [{"key": [str(scope)]}],
                tags=[{"name": rule.split("/")[1]}],
                merge_slashes=False,  # a user's id may begin with one: it must not become another user's
            )
            register(self._guarded(view, scope, recalls=recalls))
            return view

        return add

    def _guarded(self, view: View, scope: Scope | None, *, recalls: bool) -> View:
        """The view behind the gate, given what its annotations ask for."""
        wanted = get_type_hints(view)
        most = LARGEST_BATCH if wanted.get("body") is BatchBody else None

        @wraps(view)
        def guarded(**path: Any) -> Response:
            if (refusal := request.environ.get(REFUSAL)) is not None:  # the gate goes by the headers
                raise refusal
            g.billvend_key = self._gate.admit(request, scope, recalls=recalls)
            values: dict[str, BaseModel] = {}
            if "path" in wanted:
                values["path"] = read(wanted["path"], path)
            if "query" in wanted:
                values["query"] = read(wanted["query"], query_values(request))
            if "body" in wanted:
                found = json_body(request, most=most) if most else json_body(request)
                values["body"] = read(wanted["body"], found, strict=self._strict)
            if "header" in wanted:
                values["header"] = None  # type: ignore[assignment]  # told to Swagger; read by who needs it
            return view(**values)

        # flask-openapi would read the request with its own, looser, eyes: so its mark for "this view reads by itself".
        guarded.__dict__["__delay_validate_request__"] = True
        return guarded

    @contextmanager
    def alone(self, operation: str, user_id: str, key: str | None) -> Iterator[None]:
        """Be the only request of this process at work with this key; a request without one is always alone."""
        if key is None:
            yield
            return
        with self.in_flight.alone((operation, user_id, key)):
            yield

    def read(self, model: type[BaseModel], values: dict[str, Any]) -> Any:
        """Values inside a body, read as strictly as it."""
        return read(model, values, strict=self._strict)


def _problem_response(text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


class UserConverter(BaseConverter):
    """A user's id in an address: any characters, slashes too, and at its beginning; what is no id is refused later."""

    regex = "(?s:.+)"
    part_isolating = False


def _adopt(state: BlueprintSetupState) -> None:
    """Teach an application what the calls need of it, be it ours or somebody else's."""
    state.app.url_map.converters["billvend_user"] = UserConverter
    # flask-openapi asks the application whether answers are validated; a plain Flask does not know.
    if not hasattr(state.app, "validate_response"):
        state.app.validate_response = False  # type: ignore[attr-defined]  # see above


# --- around every call ------------------------------------------------------------------------------------------------


def _begin() -> None:
    if "billvend_began" in g:  # an application around the blueprint begins its requests as well
        return
    given = request.headers.get("X-Request-Id", "")
    g.billvend_request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.billvend_began = time.perf_counter()


def _end(response: Response) -> Response:
    if "X-Request-Id" in response.headers:  # an application around the blueprint ends its requests as well
        return response
    response.headers["X-Request-Id"] = g.billvend_request_id
    if not logger.isEnabledFor(logging.INFO):
        return response
    context = {
        "requestId": g.billvend_request_id,
        "method": request.method,
        "path": _PLACE.sub(r"{\1}", request.url_rule.rule) if request.url_rule else request.path[:200],
        "status": response.status_code,
        "durationMs": round((time.perf_counter() - g.billvend_began) * 1000, 1),
        **({"keyId": key} if (key := _key_id()) else {}),
        **g.get("billvend_about", {}),
    }
    logger.info("Request", extra={"context": context})
    return response


def about(**context: str | None) -> None:
    """What the request's line in the log tells besides: ids, never a token or a secret."""
    g.billvend_about = {**g.get("billvend_about", {}), **context}


def may(scope: Scope) -> bool:
    """Whether the key of this call, which asks for another scope, has this one too. Without any keys this machine has all."""
    key: ApiKey | None = g.billvend_key
    return key is None or scope in key.scopes


def _key_id() -> str | None:
    key: ApiKey | None = g.get("billvend_key")
    return None if key is None else key.key_id


def _refuse_plainly(where: Flask | APIBlueprint, bv: Billvend) -> None:
    """Answer in the envelope, and count, what is refused and what fails."""

    @where.errorhandler(BillvendError)
    def refused(error: BillvendError) -> Response:
        bv.count_refusal(code_of(error))
        response = problem(error)
        about(
            code=code_of(error),
            **({"why": error.why} if isinstance(error, Unavailable) and error.why else {}),
        )
        if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("A request failed", exc_info=error, extra={"context": _whose()})
        return response

    @where.errorhandler(HTTPException)
    def http_refused(error: HTTPException) -> Response:
        """What Flask refuses by itself: no such address, no such method."""
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        code = status.name.lower()
        bv.count_refusal(code)
        allowed = {"Allow": ", ".join(sorted(getattr(error, "valid_methods", None) or ()))}
        headers = allowed if status is HTTPStatus.METHOD_NOT_ALLOWED else {}
        return plain_problem(code, f"{status.phrase}. Nothing was done.", status, headers)

    @where.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        bv.count_refusal(BillvendError.code)
        logger.error("A request failed", exc_info=error, extra={"context": _whose()})
        return plain_problem(BillvendError.code, INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR, {})


def _whose() -> dict[str, str]:
    return {
        "requestId": g.get("billvend_request_id", ""),
        "method": request.method,
        "path": request.path[:200],
    }


def handle_elsewhere(app: Flask, bv: Billvend) -> None:
    """Answer in the envelope what no blueprint has: other addresses, other methods."""
    app.before_request(_begin)
    app.after_request(_end)
    _refuse_plainly(app, bv)
