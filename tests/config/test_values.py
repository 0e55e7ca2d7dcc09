"""Settings: which values are valid, alone and together."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from billvend.config import ProviderSettings, load_settings
from billvend.domain.errors import ConfigurationError
from tests.config.harness import SECRET, Workspace, error_line

# --- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "path", "sandbox_path"),
    [
        ("sqlite:///shop.db", "sqlite", "shop.db", "sandbox.db"),
        ("sqlite:///data/shop.db", "sqlite", "data/shop.db", "data/sandbox.db"),
        ("sqlite:////var/lib/shop.db", "sqlite", "/var/lib/shop.db", "/var/lib/sandbox.db"),
        ("sqlite://", "sqlite", None, None),
        ("sqlite:///:memory:", "sqlite", None, None),
        ("postgresql://ada:pw@db:5432/shop", "postgresql", None, "sandbox.db"),
        ("postgres://db/shop", "postgresql", None, "sandbox.db"),
        ("postgresql://", "postgresql", None, "sandbox.db"),
        ("postgresql:///shop?host=/run/postgresql&user=ada", "postgresql", None, "sandbox.db"),
        ("postgresql://%2Frun%2Fpostgresql/shop", "postgresql", None, "sandbox.db"),
        ("postgresql://a:1,b:2/shop?target_session_attrs=primary", "postgresql", None, "sandbox.db"),
        ("postgresql://ada:p@ss/w%rd?@db/shop", "postgresql", None, "sandbox.db"),
    ],
)
def test_database_url_is_used_unchanged(
    workspace: Workspace, url: str, kind: str, path: str | None, sandbox_path: str | None
) -> None:
    settings = load_settings(url)
    assert settings.database_url.get_secret_value() == url
    assert settings.database_kind == kind
    assert settings.database_path == (Path(path) if path else None)
    assert settings.sandbox_book_path == (Path(sandbox_path) if sandbox_path else None)
    workspace.set_env(DATABASE_URL=url)
    assert load_settings() == settings


def test_sandbox_book_setting_sets_the_path(workspace: Workspace) -> None:
    assert load_settings("sqlite://", sandbox_book="b.db").sandbox_book_path == Path("b.db")


DATABASE_PARTS = {
    "DATABASE_HOST": "db.example",
    "DATABASE_PORT": "6543",
    "DATABASE_USERNAME": "a@da",
    "DATABASE_PASSWORD": "p@/:%?#",
    "DATABASE_NAME": "shop",
}


@pytest.mark.parametrize(
    ("changed", "url"),
    [
        ({}, "postgresql://a%40da:p%40%2F%3A%25%3F%23@db.example:6543/shop"),
        ({"DATABASE_PORT": ""}, "postgresql://a%40da:p%40%2F%3A%25%3F%23@db.example:5432/shop"),
        ({"DATABASE_PASSWORD": ""}, "postgresql://a%40da@db.example:6543/shop"),
        ({"DATABASE_PASSWORD": "", "DATABASE_USERNAME": ""}, "postgresql://db.example:6543/shop"),
        ({"DATABASE_HOST": "::1"}, "postgresql://a%40da:p%40%2F%3A%25%3F%23@[::1]:6543/shop"),
        (
            {"DATABASE_HOST": "/run/pg", "DATABASE_NAME": "a b"},
            "postgresql://a%40da:p%40%2F%3A%25%3F%23@/a%20b?host=%2Frun%2Fpg&port=6543",
        ),
    ],
)
def test_a_database_may_be_given_in_parts(workspace: Workspace, changed: dict[str, str], url: str) -> None:
    workspace.set_env(**DATABASE_PARTS | changed)
    settings = load_settings()
    assert settings.database_url.get_secret_value() == url
    assert settings.database_kind == "postgresql"
    workspace.set_env(DATABASE_URL=url)  # the same value twice is no contradiction
    assert load_settings().database_url.get_secret_value() == url


@pytest.mark.parametrize("url", ["sqlite:///other.db", "sqlite://", "postgres://elsewhere/shop"])
def test_url_argument_overrides_database_parts(workspace: Workspace, url: str) -> None:
    workspace.set_env(**DATABASE_PARTS, REDIS_HOST="a")
    settings = load_settings(url, redis_url="redis://b")
    assert settings.database_url.get_secret_value() == url
    assert settings.database_host is None
    assert settings.redis_url == SecretStr("redis://b")


def test_redis_may_be_given_in_parts(workspace: Workspace) -> None:
    workspace.set_env(REDIS_HOST="cache", REDIS_URL="redis://cache:6379/2")
    assert load_settings().redis_url == SecretStr("redis://cache:6379/2")
    workspace.set_env(REDIS_URL="redis://cache/2", REDIS_PORT="6379")
    assert load_settings().redis_url == SecretStr("redis://cache/2")
    workspace.set_env(REDIS_URL="", REDIS_PORT="6380")
    assert load_settings().redis_url == SecretStr("redis://cache:6380")


@pytest.mark.parametrize("part", DATABASE_PARTS)
def test_database_part_that_contradicts_the_url_is_rejected(workspace: Workspace, part: str) -> None:
    workspace.set_env(DATABASE_URL=f"postgresql://ada:{SECRET}@db:5433/shop")
    workspace.set_env(**{part: "1"})
    assert (
        error_line()
        == f"The setting {part} is not accepted: it contradicts DATABASE_URL: set only one of the two."
    )
    workspace.set_env(DATABASE_URL="sqlite:///shop.db")
    assert part in error_line()
    workspace.set_env(DATABASE_URL="postgresql://a:1,b:2/shop", **{part: "5432"})
    assert part in error_line()


# --- providers --------------------------------------------------------------------------------------------------------


def account_values(**parts: str) -> dict[str, Any]:
    """The parts of an account, as they are stored."""
    return {part: text if part == "api_url" else SecretStr(text) for part, text in parts.items()}


def test_single_provider_in_short_form(workspace: Workspace) -> None:
    workspace.set_env(
        BILL_PROVIDER="vtpass",
        BILL_PROVIDER_API_URL="http://127.0.0.1:4000/api",
        BILL_PROVIDER_API_KEY="a",
        BILL_PROVIDER_PUBLIC_KEY="b",
        VTPASS_SECRET_KEY="c",
        VTPASS_PUBLIC_KEY="b",
        BUYPOWER_API_KEY="of one that is not chosen",
    )
    account = account_values(api_url="http://127.0.0.1:4000/api", api_key="a", public_key="b", secret_key="c")
    assert load_settings().providers == (ProviderSettings("vtpass", **account),)


def test_one_provider_in_both_forms(workspace: Workspace) -> None:
    assert load_settings(bill_providers="vtpass", bill_provider="vtpass").providers == (
        ProviderSettings("vtpass"),
    )


def test_several_providers_in_order_of_preference(workspace: Workspace) -> None:
    workspace.install_plug_in("acme-power", "other")
    workspace.write_dotenv(
        "ACME_POWER_API_KEY=x\nACME_POWER_API_URL=https://acme.example/v1\nACME_POWER_SECRET_KEY=\n"
    )
    workspace.set_env(
        BILL_PROVIDERS="buypower, acme-power,vtpass", BUYPOWER_API_KEY="y", ACME_POWER_API_KEY="z"
    )
    assert load_settings().providers == (
        ProviderSettings("buypower", **account_values(api_key="y")),
        ProviderSettings("acme-power", **account_values(api_url="https://acme.example/v1", api_key="z")),
        ProviderSettings("vtpass"),
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://vtpass.com/api",
        "https://vtpass.com:8443",
        "http://localhost:4000/api/",
        "http://127.9.9.9",
        "http://[::1]:4000",
    ],
)
def test_valid_provider_url_is_accepted(workspace: Workspace, url: str) -> None:
    assert load_settings(bill_provider="vtpass", bill_provider_api_url=url).providers[0].api_url == url


def test_production_accepts_real_provider_and_longer_times(workspace: Workspace) -> None:
    workspace.set_env(APP_ENV="production", BILL_PROVIDER="vtpass", BILL_PROVIDER_MAX_PROCESSING="601")
    workspace.set_env(NOT_FOUND_SPACING="60")
    assert load_settings().app_env == "production"


# --- rejected ---------------------------------------------------------------------------------------------------------

INVALID_DURATIONS = ["0", "-1", "nan", "inf", "1e400", "31622401", "soon", "1,2"]
DURATION_SETTINGS = [
    "BILL_PROVIDER_TIMEOUT",
    "BILL_PROVIDER_MAX_PROCESSING",
    "NOT_FOUND_SPACING",
    "REVIEW_AFTER",
    "PENDING_LIMIT",
    "SWEEP_INTERVAL",
    "LEASE_SECONDS",
    "VERIFY_TIMEOUT",
]
BOOL_SETTINGS = [
    "ENABLE_NOTIFICATIONS",
    "ENABLE_WEBHOOKS",
    "STRICT_VALIDATION",
    "VERIFY_METER",
    "WEBHOOK_ALLOW_PRIVATE",
]
AMOUNT_SETTINGS = ["MIN_AMOUNT", "MAX_AMOUNT", "BREAKER_MAX_IN_DOUBT", "BREAKER_MIN_FLOAT"]
INVALID_AMOUNTS = ["-1", "1e3", "1,000", "1_000", "NaN", "x", "١٢"]


@pytest.mark.parametrize(
    ("name", "texts", "accepted"),
    [
        ("APP_ENV", ["prod", "test"], "must be development or production"),
        *((name, INVALID_DURATIONS, "must be a number of seconds") for name in DURATION_SETTINGS),
        ("REQUERY_SCHEDULE", [",", "20,", "20,,60", "20;60", "0", "20,-60", "nan", "1," * 100 + "1"], "seconds"),
        ("QUEUE_CONCURRENCY", ["0", "257", "two"], "must be a whole number from 1 to 256"),
        ("PORT", ["-1", "65536", "http", "1.5", "tcp://10.0.0.1:80"], "must be a whole number from 0 to 65535"),
        ("DATABASE_PORT", ["0", "65536", "x"], "must be a whole number from 1 to 65535"),
        ("REDIS_PORT", ["0", "tcp://10.0.0.1:6379"], "must be a whole number from 1 to 65535"),
        ("TRUSTED_PROXIES", ["-1", "many"], "must be a whole number from 0 to 100"),
        ("BREAKER_NOT_FOUND", ["-1", "x"], "must be a whole number from 0 to"),
        ("HOST", ["a b", "http://x"], "must be an address or a host name"),
        ("SMTP_FROM", ["shop", "shop@", "Shop <a@b.c>", "a b@c.d", "a@b.c,x@y.z"], "must be a mail address"),
        ("LOG_LEVEL", ["loud"], "must be debug, info, warning, error or critical"),
        ("LOG_FORMAT", ["xml"], "must be json or console"),
        ("VERIFY_UNREACHABLE", ["maybe"], "must be refuse or allow"),
        *((name, ["maybe", "2"], "must be true or false") for name in BOOL_SETTINGS),
        ("RATE_LIMIT", ["0/minute", "600", "-1/minute", "6/fortnight", "off"], "such as 600/minute"),
        *((name, INVALID_AMOUNTS, "must be a plain number") for name in AMOUNT_SETTINGS),
        ("MIN_AMOUNT", ["0"], "must be more than zero"),
        ("MIN_AMOUNT", ["100.005"], "no more decimals than NGN"),
        ("MAX_AMOUNT", ["99999999999"], "must be at most"),
        ("MIN_AMOUNT", ["1000000.01"], "must be at most MAX_AMOUNT, which is 1000000"),
        ("MIN_AMOUNT", ["1000001"], "must be at most MAX_AMOUNT"),
        ("DEFAULT_CURRENCY", ["ngn", "XXX", "naira"], "must be one of"),
        ("BILL_PROVIDER_PHONE", ["12", "0801 234 5678", "x"], "must be 7 to 15 digits"),
        ("BILL_PROVIDER", ["vtpas", "VTPASS", " vtpass"], "plug-in (none is installed) (did you mean vtpass?)"),
        ("BILL_PROVIDERS", ["vtpass,", "vtpass,unknown"], "must be sandbox, vtpass, buypower or a plug-in"),
        ("BILL_PROVIDERS", ["vtpass,vtpass"], "must name each provider once"),
        ("LEASE_SECONDS", ["29", "30", "31"], "longer than BILL_PROVIDER_TIMEOUT, which is 30 s"),
    ],
)  # fmt: skip
def test_invalid_value_is_rejected_by_name(
    workspace: Workspace, name: str, texts: list[str], accepted: str
) -> None:
    for text in texts:
        workspace.set_env(**{name: text})
        line = error_line()
        assert line.startswith(f"The setting {name} "), text
        assert accepted in line, text


INVALID_API_URLS = [
    f"ftp://user:{SECRET}@vtpass.com",
    f"vtpass.com/{SECRET}",
    f"https://user:{SECRET}@vtpass.com",
    f"https://{SECRET}@vtpass.com",
    f"https://vtpass.com?key={SECRET}",
    f"https://vtpass.com#{SECRET}",
    f"http://vtpass.com/{SECRET}",
    "http://127.0.0.1@vtpass.com",
    "http://127.0.0.1\\@vtpass.com",
    "http://127.0.0.1.vtpass.com",
    "http://localhost.vtpass.com",
    "http://0.0.0.0:4000",
    "http://10.0.0.1",
    "http://[::1",
    "http://localhost:port",
    "https://",
    "https://a b",
    SECRET,
]


@pytest.mark.parametrize(
    "name",
    ["BILL_PROVIDER_API_URL", "VTPASS_API_URL", "BUYPOWER_API_URL", "ACME_API_URL", "PAYSTACK_API_URL"],
)
@pytest.mark.parametrize("url", INVALID_API_URLS)
def test_unsafe_provider_url_is_rejected(workspace: Workspace, name: str, url: str) -> None:
    workspace.install_plug_in("acme")
    workspace.set_env(BILL_PROVIDER="acme" if name.startswith("ACME") else "vtpass", **{name: url})
    assert error_line().startswith(f"The setting {name} is not accepted: it must be a")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *(
            ("DATABASE_URL", url)
            for url in (
                f"mysql://root:{SECRET}@db/shop",
                f"postgresql+psycopg://ada:{SECRET}@db/shop",
                f"POSTGRESQL://ada:{SECRET}@db/shop",
                f"postgresql:ada:{SECRET}",
                f"host=db password={SECRET}",
                "shop.db",
                "sqlite:shop.db",
                "sqlite://shop.db",
                "sqlite:///",
                "sqlite:///shop.db?mode=ro",
                "sqlite+pysqlite:///shop.db",
            )
        ),
        *(("REDIS_URL", url) for url in (f"http://:{SECRET}@r", f"{SECRET}@r:6379", "redis://", "redis:/r")),
        *(("WEBHOOK_URL", url) for url in (f"ftp://x/{SECRET}", f"shop.example/{SECRET}", "https://")),
        *(("SMTP_URL", url) for url in (f"mail://u:{SECRET}@m", f"u:{SECRET}@m:25")),
    ],
)
def test_url_with_wrong_scheme_is_rejected_without_quoting_it(
    workspace: Workspace, name: str, url: str
) -> None:
    workspace.set_env(**{name: url})
    line = error_line()
    assert line.startswith(f"The setting {name} is not accepted: it must ")
    if name == "DATABASE_URL":
        workspace.set_env(DATABASE_URL="")
        assert error_line(database_url=url) == line


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"DATABASE_NAME": "shop"}, ["DATABASE_HOST", "DATABASE_NAME"]),
        ({"DATABASE_HOST": "db"}, ["DATABASE_NAME", "DATABASE_HOST"]),
        ({"DATABASE_HOST": "db", "DATABASE_NAME": "s", "DATABASE_PASSWORD": SECRET}, ["DATABASE_USERNAME"]),
        ({"REDIS_PORT": "6379"}, ["REDIS_HOST", "REDIS_PORT"]),
        ({"REDIS_URL": f"redis://:{SECRET}@a:6379", "REDIS_HOST": "b"}, ["REDIS_HOST", "REDIS_URL"]),
        (
            {"REDIS_URL": "redis://a:6379", "REDIS_HOST": "a", "REDIS_PORT": "6380"},
            ["REDIS_PORT", "REDIS_URL"],
        ),
        ({"BILL_PROVIDER_TIMEOUT": "60"}, ["LEASE_SECONDS", "BILL_PROVIDER_TIMEOUT"]),
        ({"APP_ENV": "production"}, ["BILL_PROVIDER ", "APP_ENV"]),
        ({"APP_ENV": "production", "BILL_PROVIDERS": "vtpass,sandbox"}, ["BILL_PROVIDERS ", "APP_ENV"]),
        (
            {"APP_ENV": "production", "BILL_PROVIDER": "vtpass", "BILL_PROVIDER_MAX_PROCESSING": "599"},
            ["BILL_PROVIDER_MAX_PROCESSING", "APP_ENV"],
        ),
        (
            {"APP_ENV": "production", "BILL_PROVIDER": "vtpass", "NOT_FOUND_SPACING": "59.9"},
            ["NOT_FOUND_SPACING", "APP_ENV"],
        ),
        ({"BILL_PROVIDERS": "vtpass", "BILL_PROVIDER": "buypower"}, ["BILL_PROVIDER ", "BILL_PROVIDERS"]),
        (
            {"BILL_PROVIDERS": "vtpass", "BILL_PROVIDER_API_KEY": SECRET},
            ["BILL_PROVIDER_API_KEY", "BILL_PROVIDERS"],
        ),
        (
            {"BILL_PROVIDER": "vtpass", "BILL_PROVIDER_API_KEY": SECRET, "VTPASS_API_KEY": SECRET + "2"},
            ["VTPASS_API_KEY", "BILL_PROVIDER_API_KEY"],
        ),
        ({"BILL_PROVIDER_SECRET_KEY": SECRET}, ["BILL_PROVIDER ", "BILL_PROVIDER_SECRET_KEY"]),
        ({"BUYPOWER_API_KEY": SECRET}, ["BILL_PROVIDER ", "BUYPOWER_*"]),
        ({"DEFAULT_CURRENCY": "JPY", "MIN_AMOUNT": "100.5"}, ["MIN_AMOUNT", "JPY"]),
    ],
)
def test_contradicting_settings_are_rejected(
    workspace: Workspace, values: dict[str, str], names: list[str]
) -> None:
    workspace.set_env(**values)
    line = error_line()
    assert line.startswith(f"The setting {names[0].strip()} ")
    assert all(name in line for name in names)


@pytest.mark.parametrize(
    "value", [f"{SECRET}\n", f"{SECRET}\x1b", f"{SECRET}\r\nX-Header: 1", f"{SECRET}\udcff"]
)
def test_value_with_unprintable_character_is_rejected(workspace: Workspace, value: str) -> None:
    workspace.set_env(PAYSTACK_SECRET_KEY=value)
    assert error_line().startswith("The setting PAYSTACK_SECRET_KEY is not accepted")


def test_amounts_are_never_floats(workspace: Workspace) -> None:
    for wrong in (100.0, True, float("nan")):
        assert error_line(min_amount=wrong).startswith("The setting MIN_AMOUNT ")
    assert error_line(breaker_min_float=-1).startswith("The setting BREAKER_MIN_FLOAT '-1' ")


def test_error_fields_name_every_invalid_setting(workspace: Workspace) -> None:
    workspace.set_env(PORT="x", LOG_LEVEL="loud", WEBHOOK_URL=SECRET)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert set(caught.value.fields) == {"PORT", "LOG_LEVEL", "WEBHOOK_URL"}
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
