"""Security headers, with the strictest policies."""

from typing import Final

from flask import Flask, Response, request
from secure import (
    CacheControl,
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    ReferrerPolicy,
    Secure,
    XContentTypeOptions,
    XFrameOptions,
)

_STRICT_CSP = ContentSecurityPolicy().default_src("'none'").frame_ancestors("'none'")
_SWAGGER_CSP = (
    ContentSecurityPolicy()
    .default_src("'none'")
    .script_src("'self'")
    .style_src("'self'", "'unsafe-inline'")
    .img_src("'self'", "data:")
    .connect_src("'self'")
    .frame_ancestors("'none'")
)


def _header_items(policy: ContentSecurityPolicy, cache: CacheControl) -> tuple[tuple[str, str], ...]:
    """Computed once, because they are the same in every response."""
    return Secure(
        csp=policy,
        cache=cache,
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        referrer=ReferrerPolicy().no_referrer(),
        xcto=XContentTypeOptions().nosniff(),
        xfo=XFrameOptions().deny(),
    ).header_items()


API_HEADERS: Final = _header_items(_STRICT_CSP, CacheControl().no_store())
"""Responses with money and tokens must not be cached."""
DOCS_HEADERS: Final = _header_items(_SWAGGER_CSP, CacheControl().max_age(300))


def add_api_headers(response: Response) -> Response:
    """Add them to the response of a call."""
    response.headers.extend(API_HEADERS)
    return response


def register_security_headers(app: Flask) -> None:
    """Add them to all other responses of an application."""

    @app.after_request
    def headers(response: Response) -> Response:
        if request.path == "/api" or request.path.startswith("/api/"):
            response.headers.update(DOCS_HEADERS)
        elif request.blueprint is None:
            add_api_headers(response)
        return response
