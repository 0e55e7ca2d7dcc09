"""A client of the API, and readers of its responses."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from billvend import Billvend
from billvend.api import create_app
from billvend.config import Settings

BILL: dict[str, Any] = {
    "userId": "ada",
    "billType": "electricity",
    "amount": "500",
    "meterNumber": "12345678901",
    "provider": "EKEDC",
}


def application(bv: Billvend, settings: Settings) -> Flask:
    app = create_app(bv, settings)
    app.testing = False  # errors become responses, as in production
    return app


class Client:
    """Sends bodies byte for byte, so that a test can send JSON that no library would produce."""

    def __init__(self, app: Flask, **headers: str) -> None:
        self._client = app.test_client()
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._open("GET", path, None, headers)

    def post(
        self, path: str, body: Mapping[str, object] | bytes, key: str | None = None, **headers: str
    ) -> TestResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers["Idempotency_Key"] = key
        return self._open("POST", path, raw, {"Content_Type": "application/json", **headers})

    def _open(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> TestResponse:
        all_headers = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._client.open(path, method=method, data=body, headers=all_headers, buffered=True)


def code_of(response: TestResponse) -> str:
    """The code of an error response. Checks its envelope."""
    document = response.get_json()
    assert document["success"] is False
    assert document["message"] == document["error"]["message"]
    assert "\n" not in document["message"]
    return str(document["error"]["code"])


def data_of(response: TestResponse) -> Any:
    """The data of a successful response. Checks its envelope."""
    document = response.get_json()
    assert document["success"] is True, document
    assert document["message"]
    assert document["timestamp"].endswith("Z")
    return document["data"]
