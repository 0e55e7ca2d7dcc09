"""Formats and checks for Schemathesis. SCHEMATHESIS_HOOKS names this module (tests/api/test_openapi.py)."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from billvend.api.requests import PRINTABLE_FORMAT

MALFORMED_CODES = {"malformed_json", "invalid_idempotency_key", "unsupported_media_type"}

schemathesis.openapi.format(
    PRINTABLE_FORMAT,
    st.text(
        st.characters(blacklist_categories=("C", "Z"), blacklist_characters="\ufffd"), min_size=1, max_size=64
    ).filter(str.isprintable),
)


@schemathesis.check
def valid_request_is_not_rejected_as_malformed(
    ctx: object, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A valid request may get a 422 for a business reason (used key, unknown meter). Its code must say so."""
    meta = case.meta
    is_positive = meta is not None and meta.generation.mode.is_positive
    if is_positive and response.status_code in (400, 415, 422):
        code = response.json()["error"]["code"]
        assert code not in MALFORMED_CODES, code
        is_biller_mismatch = code == "validation_failed" and set(response.json()["error"]["fields"]) == {
            "biller"
        }
        body = case.body if isinstance(case.body, dict) else {}
        if is_biller_mismatch and {"provider", "biller"} <= body.keys():
            return  # no JSON schema can require that two members are equal
        assert code != "validation_failed" or "/intent" in case.path, response.json()["error"]


@schemathesis.check
def every_response_is_in_the_envelope(
    ctx: object, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """For every request, valid or not."""
    if response.headers.get("content-type", [""])[0].startswith("application/json"):
        document = response.json()
        assert {"success", "message", "data", "timestamp"} <= document.keys()
        assert document["success"] == (response.status_code < 400)
        assert response.headers["x-request-id"]
