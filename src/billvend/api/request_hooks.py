"""Around every request: its id, its log line, its errors in the envelope."""

import logging
import re
import time
import uuid
from http import HTTPStatus

from flask import Flask, Response, g, request
from flask_openapi.blueprint import APIBlueprint
from werkzeug.exceptions import HTTPException

from billvend.api.responses import INTERNAL_ERROR_MESSAGE, error_response, http_error_response, public_code
from billvend.app import Billvend
from billvend.domain.api_keys import ApiKey
from billvend.domain.errors import BillvendError, Unavailable

logger = logging.getLogger("billvend.api")

_REQUEST_ID = re.compile("[A-Za-z0-9._-]{1,64}")
_RULE_VARIABLE = re.compile("<(?:[^<:]+:)?([^>]+)>")
"""A variable in a Flask rule. Logs show rules as OpenAPI does: `/wallet/balance/{userId}`."""


def register_hooks(target: Flask | APIBlueprint, bv: Billvend) -> None:
    """Add the hooks and error handlers to a blueprint, or to an application for the requests outside of it."""
    target.before_request(_before_request)
    target.after_request(_after_request)

    @target.errorhandler(BillvendError)
    def handle_billvend_error(error: BillvendError) -> Response:
        bv.count_rejection(public_code(error))
        response = error_response(error)
        add_log_context(code=public_code(error))
        if isinstance(error, Unavailable) and error.detail:
            add_log_context(why=error.detail)
        if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log_failure(error)
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
        _log_failure(error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return http_error_response(BillvendError.code, INTERNAL_ERROR_MESSAGE, status, {})


def add_log_context(**context: str | None) -> None:
    """Add to the request's log line: ids, never a token or a secret."""
    g.billvend_log_context = {**g.get("billvend_log_context", {}), **context}


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
    if logger.isEnabledFor(logging.INFO):
        rule, api_key = request.url_rule, g.get("billvend_key")
        context = {
            **_request_context(_RULE_VARIABLE.sub(r"{\1}", rule.rule) if rule else request.path[:200]),
            "status": response.status_code,
            "durationMs": round((time.perf_counter() - g.billvend_started_at) * 1000, 1),
            **({"keyId": api_key.key_id} if isinstance(api_key, ApiKey) else {}),
            **g.get("billvend_log_context", {}),
        }
        logger.info("Request", extra={"context": context})
    return response


def _log_failure(error: Exception) -> None:
    logger.error("A request failed", exc_info=error, extra={"context": _request_context(request.path[:200])})


def _request_context(path: str) -> dict[str, str]:
    return {"requestId": g.get("billvend_request_id", ""), "method": request.method, "path": path}
