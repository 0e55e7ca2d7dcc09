"""Settings are shown without secrets."""

import json

import pytest

from billvend.config import SETTING_NAMES, load_settings, redact_settings
from billvend.config.redaction import redact_url
from tests.config.harness import SECRET, Workspace


def test_redacted_settings_show_no_secret(workspace: Workspace) -> None:
    workspace.install_plug_in("acme")
    keys = ["API_KEY", "PUBLIC_KEY", "SECRET_KEY"]
    secrets = [f"{name}_{key}" for name in ("VTPASS", "BUYPOWER", "ACME") for key in keys]
    workspace.set_env(BILL_PROVIDERS="acme,vtpass", WEBHOOK_SECRET=SECRET, PAYSTACK_SECRET_KEY=SECRET)
    workspace.set_env(**dict.fromkeys(secrets, SECRET), ACME_API_URL="https://acme.example")
    workspace.set_env(
        WEBHOOK_URL=f"https://hooks.example/T1/{SECRET}?t={SECRET}", SMTP_URL=f"smtp://{SECRET}@m:25"
    )
    workspace.set_env(REDIS_URL=f"redis://{SECRET}:{SECRET}@r:6379/1", DATABASE_PASSWORD=SECRET)
    workspace.set_env(DATABASE_HOST="db", DATABASE_NAME="shop", DATABASE_USERNAME="ada")
    settings = load_settings()
    shown = redact_settings(settings)
    assert set(shown) == {*SETTING_NAMES, "ACME_API_URL", *(f"ACME_{key}" for key in keys)}
    assert [shown[name] for name in [*secrets, "DATABASE_PASSWORD", "WEBHOOK_SECRET"]] == ["***"] * 11
    assert shown["DATABASE_URL"] == "postgresql://ada:***@db:5432/shop"
    assert shown["REDIS_URL"] == "redis://***@r:6379/1"
    assert shown["WEBHOOK_URL"] == "https://hooks.example/***?***"
    assert shown["SMTP_URL"] == "smtp://***@m:25"
    assert shown["ACME_API_URL"] == "https://acme.example"
    assert (shown["BILL_PROVIDERS"], shown["BILL_PROVIDER"]) == ("acme,vtpass", None)
    for text in (json.dumps(shown), repr(settings), str(settings), repr(settings.providers)):
        assert SECRET not in text


def test_redacted_settings_show_plain_values_unchanged(workspace: Workspace) -> None:
    workspace.set_env(LEASE_SECONDS="61.5", MIN_AMOUNT="100.50", RATE_LIMIT="0", SANDBOX_BOOK="a/b.db")
    shown = redact_settings(load_settings("sqlite:///sh@op.db"))
    expected = {
        "DATABASE_URL": "sqlite:///sh@op.db",
        "LEASE_SECONDS": 61.5,
        "BILL_PROVIDER_TIMEOUT": 30,
        "MIN_AMOUNT": "100.50",
        "RATE_LIMIT": "0",
        "REQUERY_SCHEDULE": "20,60,120,300,600,1200,2400,3600",
        "SANDBOX_BOOK": "a/b.db",
        "VERIFY_METER": True,
        "REDIS_URL": None,
        "BILL_PROVIDERS": None,
        "BILL_PROVIDER": "sandbox",
    }
    assert {name: shown[name] for name in expected} == expected


def test_redacted_settings_can_be_loaded_again(workspace: Workspace) -> None:
    settings = load_settings(rate_limit="7/hour", bill_providers="vtpass,buypower", min_amount="5.50")
    workspace.set_env(
        **{name: str(value) for name, value in redact_settings(settings).items() if value is not None}
    )
    assert load_settings() == settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://ada:x%40y@db:5432/shop?sslmode=require",
            "postgresql://ada:***@db:5432/shop?sslmode=require",
        ),
        ("postgresql://ada@db/shop", "postgresql://ada@db/shop"),
        ("postgresql://ada:@db/shop", "postgresql://ada:***@db/shop"),
        ("postgresql://:s3cr3t@db/shop", "postgresql://:***@db/shop"),
        (
            "postgresql:///shop?host=/run/pg&user=ada&password=s3cr3t",
            "postgresql:///shop?host=/run/pg&user=ada&***",
        ),
        ("postgresql:///shop?p%61ssword=s3cr3t", "postgresql:///shop?***"),
        ("postgresql:///shop?s3cr3t", "postgresql:///shop?***"),
        ("postgresql:///shop?options=-cx%3Ds3cr3t&port=1", "postgresql:///shop?***&port=1"),
        ("postgresql:///shop?port=1;s3cr3t", "postgresql:///shop?***"),
        ("postgresql://a:1,b:2/shop", "postgresql://a:1,b:2/shop"),
        ("postgresql://ada:s3cr3t@[::1]:5432/shop", "postgresql://ada:***@[::1]:5432/shop"),
        # unusual ones, of which only the scheme is shown
        ("postgresql://ada:12/s3cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3cr3t/shop", "postgresql://***"),
        ("postgresql://db/shop?password=s3@cr3t", "postgresql://***"),
        ("postgresql://db:1/shop?password=a:s3@cr3t", "postgresql://***"),
        ("postgresql://ada:[s3cr3t]@db:x/shop", "postgresql://***"),
    ],
)
def test_database_urls_are_shown_without_their_passwords(workspace: Workspace, url: str, shown: str) -> None:
    assert redact_settings(load_settings(url))["DATABASE_URL"] == shown


@pytest.mark.parametrize("sign", "@:/?#%&=,[]\\ \t\u200b+;'\"")
def test_redacted_url_hides_password_with_any_special_character(sign: str) -> None:
    for password in (f"{sign}s3cr3t", f"s3cr3t{sign}", f"s3cr3t{sign}s3cr3t", f"{sign}{sign}s3cr3t{sign}1"):
        url = f"postgresql://ada:{password}@db:5432/shop"
        assert "s3cr3t" not in redact_url(url, with_user=True, with_path=True)
        for shown in (url, f"postgresql://{password}@db/shop?sslmode=x"):
            assert "s3cr3t" not in redact_url(shown, with_path=True)
