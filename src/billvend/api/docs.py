"""The OpenAPI document and Swagger UI, from files of this installation: no network is used."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import flask_openapi_swagger
from flask import Blueprint, Response, jsonify, redirect, request
from flask_openapi.models.info import Info
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.openapi import OpenAPI
from werkzeug.wrappers import Response as AnyResponse

from billvend.api.responses import ErrorEnvelope

DESCRIPTION: Final = """
Sell prepaid electricity from wallets. Money is held before anything is sent, and captured or released exactly once.

Repeat any request with the same `Idempotency-Key`: nothing is done twice. Amounts are plain decimal strings or numbers in
major units (naira) and exact. An error says what happened, what became of the money, and what to do, under a stable code.
"""

_PAGE_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>billvend API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api/files/css/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/api/files/js/swagger-ui-bundle.js"></script>
<script src="/api/start.js"></script>
</body>
</html>
"""
_START_JS = """window.ui = SwaggerUIBundle({
  url: "/api/openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: false,
  presets: [SwaggerUIBundle.presets.apis], validatorUrl: null
});
"""


def create_openapi_app() -> OpenAPI:
    """An application that documents the calls that are added to it."""
    app = OpenAPI(
        "billvend.api",
        info=Info(title="billvend", version=_version(), description=DESCRIPTION),
        security_schemes={
            "key": SecurityScheme(
                type="http",
                scheme="bearer",
                description="Created with `billvend api-keys create`. "
                "Without any key, only requests from this machine are accepted, with test money.",
            )
        },
        validation_error_model=ErrorEnvelope,
        doc_ui=False,
        static_folder=None,
    )
    files = Path(flask_openapi_swagger.__file__).parent / "templates" / "swagger"
    pages = Blueprint("documents", __name__, url_prefix="/api", static_folder=files, static_url_path="/files")

    @pages.before_request
    def ignore_conditions() -> None:
        # werkzeug raises OverflowError for a year that no date has. The files are small: send them whole.
        for name in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE"):
            request.environ.pop(name, None)

    @pages.get("", strict_slashes=False)
    def swagger() -> Response:
        return Response(_PAGE_HTML, mimetype="text/html")

    @pages.get("/start.js")
    def start() -> Response:
        return Response(_START_JS, mimetype="text/javascript")

    @pages.get("/openapi.json")
    def document() -> Response:
        return jsonify(app.api_doc)

    @app.get("/", doc_ui=False)
    def root() -> AnyResponse:
        return redirect("/api")

    app.register_blueprint(pages)
    return app


def _version() -> str:
    try:
        return version("billvend")
    except PackageNotFoundError:  # run from its sources
        return "0"
