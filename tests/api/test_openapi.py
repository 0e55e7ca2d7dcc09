"""The OpenAPI document, checked by Schemathesis against a running server, and against OpenAPI's rules."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import billvend
from billvend import open_billvend
from billvend.config import Settings
from billvend.domain.api_keys import Scope
from tests.api.client import Client
from tests.api.server import run_server
from tests.support.paystack import SECRET, fake_paystack

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("BILLVEND_FUZZ_SECONDS", "45"))
"""How long Schemathesis may run. `nox -s fuzz` gives it more."""


def test_api_conforms_to_openapi_document(settings: Settings, tmp_path: Path) -> None:
    """Runs every check and phase of Schemathesis, with links between calls and a key with every scope."""
    with ExitStack() as stack:
        paystack, _ = stack.enter_context(fake_paystack())
        bv = stack.enter_context(open_billvend(settings))
        bv.fund("user123", "1000000")
        secret = bv.create_api_key("fuzz", list(Scope)).secret
        settings_of_paystack = {"PAYSTACK_SECRET_KEY": SECRET, "PAYSTACK_API_URL": paystack.url}
        server = stack.enter_context(run_server(tmp_path, **settings_of_paystack))
        result = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")), "--config-file", str(HERE / "schemathesis.toml"),
                "run", f"{server.url}/api/openapi.json", "--checks", "all", "--header", f"Authorization: Bearer {secret}",
                "--max-time", str(SECONDS), "--continue-on-failure", "--generation-deterministic",
                "--max-examples", "25", "--no-color", "--suppress-health-check", "all",
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks", "PYTHONPATH": _python_path()},
            capture_output=True, text=True, timeout=SECONDS * 3 + 120, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]
        assert "Stateful" in result.stdout
        assert bv.audit().ok


def _python_path() -> str:
    """The paths of the hooks and of the billvend under test."""
    return os.pathsep.join([str(HERE.parent.parent), str(Path(billvend.__file__).parent.parent)])


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    parsed: dict[str, Any] = client.get("/api/openapi.json").get_json()
    return parsed


def test_every_operation_documents_errors_and_security(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, calls in document["paths"].items():
        for call in calls.values():
            is_open = path.startswith("/hooks/") or path == "/health/live"
            assert call.get("security", []) == [] if is_open else call["security"][0]["key"]
            assert call["summary"]
            assert any(status.startswith("2") for status in call["responses"])
            assert "422" not in call["responses"] or call["responses"]["422"]["description"]
            if not is_open:
                assert {"401", "403", "429", "503"} <= call["responses"].keys()


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/wallet/fund", {"409"}), ("/wallet/fund/intent", {"409", "503"}), ("/bills/pay", {"402", "404", "409", "503"}),
        ("/hooks/paystack", {"401", "429", "503"}), ("/hooks/vtpass", {"429", "503"}),
    ],
)  # fmt: skip
def test_operation_documents_its_own_errors(document: dict[str, Any], path: str, statuses: set[str]) -> None:
    assert statuses <= document["paths"][path]["post"]["responses"].keys()


def test_every_schema_reference_resolves(document: dict[str, Any]) -> None:
    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if isinstance(node, list) else []

    all_references = references(document)
    assert len(all_references) > 50
    schemas = document["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in all_references} <= schemas.keys()


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/start.js", "/api/files/css/swagger-ui.css", "/api/files/js/swagger-ui-bundle.js"],
)
def test_swagger_ui_needs_no_network(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    if path != "/api/files/js/swagger-ui-bundle.js":
        assert b"https://" not in response.data.replace(b"https://github.com", b"")
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_root_redirects_to_docs(client: Client) -> None:
    response = client.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/api")
