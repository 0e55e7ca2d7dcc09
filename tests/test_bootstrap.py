"""The settings of a provider account reach its adapter, ours and plug-ins alike."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from billvend import Bill, open_billvend
from billvend.adapters.providers.sandbox.provider import SandboxProvider
from billvend.adapters.storage.database import Database
from billvend.config import PLUGIN_GROUP, Settings, load_settings
from billvend.domain.errors import ConfigurationError, ValidationFailed
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Provider
from billvend.usecases.pay import PaymentResult

SETUPS: list[ProviderSetup] = []
"""The setup that the plug-in of these tests got."""
EXPECTED_SETUP = {
    "name": "acme",
    "api_url": "https://acme.example",
    "api_key": "key",
    "public_key": "PK_public",
    "secret_key": "SK_secret",
    "timeout_seconds": 7.0,
    "verify_timeout_seconds": 3.0,
    "phone": "08012345678",
    "max_processing_seconds": 901,
    "currency": "KES",
}


def open_acme(setup: ProviderSetup) -> Provider:
    """A plug-in that sells nothing real."""
    SETUPS.append(setup)
    if setup.api_url == "https://broken.example":
        raise KeyError("no such thing")
    if setup.secret_key is None:
        raise ConfigurationError("ACME_SECRET_KEY must be given.")
    return SandboxProvider("acme.db", setup)


@pytest.fixture(autouse=True)
def acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The plug-in is installed, but not configured."""
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\nacme = {__name__}:open_acme\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    SETUPS.clear()


def settings(provider: str, api_url: str | None = "https://acme.example", **more: object) -> Settings:
    return load_settings(
        "sqlite:///shop.db",
        **{
            "bill_provider": provider,
            "bill_provider_api_url": api_url,
            "bill_provider_api_key": "key",
            "bill_provider_public_key": "PK_public",
            "bill_provider_secret_key": "SK_secret",
            "bill_provider_timeout": 7,
            "verify_timeout": 3,
            "bill_provider_phone": "08012345678",
            "bill_provider_max_processing": 900.5,
            **more,
        },
    )


def test_plug_in_receives_all_its_settings() -> None:
    with open_billvend(settings("acme", default_currency="KES")) as bv:
        assert bv.fund("ada", 500).balance.currency == "KES"
    (setup,) = SETUPS
    assert {name: value for name, value in asdict(setup).items() if name in EXPECTED_SETUP} == EXPECTED_SETUP
    assert setup.now().tzinfo is not None


def test_failing_plug_in_stops_the_start_and_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match=r"plug-in 'acme' of BILL_PROVIDER can't be opened \(KeyError"
    ):
        open_billvend(settings("acme", "https://broken.example"))
    with pytest.raises(ConfigurationError, match=r"^ACME_SECRET_KEY must be given\.$"):
        open_billvend(settings("acme", bill_provider_secret_key=None))


@pytest.mark.parametrize("name", ["sandbox", "vtpass", "buypower", "acme"])
def test_provider_is_opened_under_its_own_name(name: str) -> None:
    with open_billvend(settings(name, None if name == "sandbox" else "https://acme.example")) as bv:
        routes = str(bv.health().checks["provider"].details["providers"])
    assert routes.startswith(f"['{'sandbox' if name == 'acme' else name} (")


@pytest.mark.parametrize("name", ["vtpass", "buypower"])
@pytest.mark.parametrize("phone", [None, "08012345678"])
def test_order_without_phone_uses_the_phone_setting(name: str, phone: str | None) -> None:
    with open_billvend(settings(name, bill_provider_phone=phone)) as bv:
        bv.fund("ada", 500)
        (result,) = bv.pay_many(
            [Bill("ada", 500, "12345678901", "EKEDC")]
        )  # in bulk, no meter is checked yet
    assert isinstance(result, ValidationFailed if phone is None else PaymentResult)


def test_sandbox_file_is_created_at_the_set_path(tmp_path: Path) -> None:
    with open_billvend(settings("sandbox", None, sandbox_book=tmp_path / "sandbox.db")):
        assert (tmp_path / "sandbox.db").exists()


def test_failed_start_closes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway is checked last: by then the provider has opened its files."""
    closed: list[type] = []

    def noted(opened: type[SandboxProvider | Database]) -> Callable[[Any], None]:
        close = opened.close

        def note_and_close(self: Any) -> None:
            closed.append(opened)
            close(self)

        return note_and_close

    for opened in (SandboxProvider, Database):
        monkeypatch.setattr(opened, "close", noted(opened))
    with pytest.raises(ConfigurationError, match="is for live money"):
        open_billvend(settings("acme", paystack_secret_key="sk_live_hunter2"))
    assert closed == [SandboxProvider, Database]
