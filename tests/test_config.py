"""Settings: where they are read from, and the one line that an invalid setting prints."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from billvend.config import (
    SETTING_NAMES,
    ProviderSettings,
    RateLimit,
    Settings,
    load_settings,
    redact_settings,
)
from billvend.config import provider_settings as accounts_module
from billvend.config.redaction import redact_url
from billvend.domain.errors import ConfigurationError

EXAMPLE = Path(__file__).parent.parent / ".env.example"
SECRET = "s3cr3t-Zq9"


class Workspace:
    """An empty environment and an empty folder, in which a test sets what it needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder

    def set_env(self, **values: str) -> None:
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)

    def write_dotenv(self, text: str) -> None:
        (self.folder / ".env").write_text(text, "utf-8")

    def install_plug_in(self, *names: str) -> None:
        """Install a package that offers these providers."""
        info = self.folder / "site" / "plug_in-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1\n")
        lines = [f"{name} = plug_in:{name}" for name in names]
        (info / "entry_points.txt").write_text("\n".join([f"[{accounts_module.PLUGIN_GROUP}]", *lines]))
        self._monkeypatch.syspath_prepend(str(info.parent))


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workspace:
    families = ("BILL_PROVIDER", "VTPASS_", "BUYPOWER_", "REQUERY_", "BREAKER_", "NOT_FOUND_")
    for name in [*SETTING_NAMES, *(name for name in os.environ if name.startswith(families))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Workspace(monkeypatch, tmp_path)


def error_line(**overrides: Any) -> str:
    """The error line for these settings."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**overrides)
    line = str(caught.value)
    assert line == caught.value.message
    assert "\n" not in line
    assert len(line) < 300
    assert "pydantic" not in line
    assert "validation error" not in line.lower()
    assert SECRET not in line
    assert SECRET not in repr(caught.value.fields)
    assert SECRET not in str(caught.value.__context__)  # which some loggers print all the same
    return line


# --- sources ----------------------------------------------------------------------------------------------------------


def test_defaults_are_sqlite_and_sandbox(workspace: Workspace) -> None:
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "sqlite:///billvend.db"
    assert settings.database_kind == "sqlite"
    assert settings.redis_url is None
    assert settings.providers == (ProviderSettings("sandbox"),)
    assert settings.sandbox_book_path == Path("sandbox.db")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("APP_ENV", "Development", "development"),
        ("BILL_PROVIDER_TIMEOUT", "12.5", 12.5),
        ("BILL_PROVIDER_MAX_PROCESSING", "1", 1),
        ("NOT_FOUND_SPACING", "0.01", 0.01),
        ("REQUERY_SCHEDULE", "20,60,120", (20, 60, 120)),
        ("REQUERY_SCHEDULE", " 0.5 , 1 ", (0.5, 1)),
        ("REVIEW_AFTER", "31622400", 31622400),
        ("LEASE_SECONDS", "31.001", 31.001),
        ("QUEUE_CONCURRENCY", "1", 1),
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("HOST", "::", "::"),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_FORMAT", "console", "console"),
        ("STRICT_VALIDATION", "no", False),
        ("WEBHOOK_ALLOW_PRIVATE", "1", True),
        ("VERIFY_METER", "FALSE", False),
        ("VERIFY_UNREACHABLE", "allow", "allow"),
        ("RATE_LIMIT", "5/second", RateLimit(5, "second")),
        ("RATE_LIMIT", " 10 / day ", RateLimit(10, "day")),
        ("RATE_LIMIT", "0", None),
        ("MIN_AMOUNT", "100.50", Decimal("100.50")),
        ("MIN_AMOUNT", "1000000", Decimal(1_000_000)),
        ("MAX_AMOUNT", "100", Decimal(100)),
        ("BREAKER_MAX_IN_DOUBT", "0", Decimal(0)),
        ("BREAKER_NOT_FOUND", "0", 0),
        ("DEFAULT_CURRENCY", "KES", "KES"),
        ("BILL_PROVIDER_PHONE", "+2348012345678", "+2348012345678"),
        ("TRUSTED_PROXIES", "2", 2),
        ("SANDBOX_BOOK", "/var/sandbox.db", Path("/var/sandbox.db")),
        ("WEBHOOK_URL", "https://shop.example/hook", SecretStr("https://shop.example/hook")),
        ("SMTP_URL", "smtps://mail.example:465", SecretStr("smtps://mail.example:465")),
        ("SMTP_FROM", "shop@mail.example", "shop@mail.example"),
        ("PAYSTACK_SECRET_KEY", SECRET, SecretStr(SECRET)),
        ("PAYSTACK_API_URL", "http://127.0.0.1:4001", "http://127.0.0.1:4001"),
        ("REDIS_URL", "rediss://:pw@r:6380/1", SecretStr("rediss://:pw@r:6380/1")),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", SecretStr("unix:///run/redis.sock?db=1")),
    ],
)
def test_a_setting_is_read_from_the_environment_and_from_dotenv(
    workspace: Workspace, name: str, text: str, value: object
) -> None:
    workspace.write_dotenv(f"export {name}='{text}' # why\n")
    assert getattr(load_settings(), name.lower()) == value
    workspace.write_dotenv("")
    workspace.set_env(**{name: text})
    assert getattr(load_settings(), name.lower()) == value


def test_the_environment_wins_over_dotenv_and_arguments_over_both(workspace: Workspace) -> None:
    workspace.write_dotenv("\ufeffPORT=1\nHOST=10.0.0.1\nLOG_LEVEL=debug\n")
    workspace.set_env(PORT="2", HOST="10.0.0.2")
    settings = load_settings(port=3)
    assert (settings.port, settings.host, settings.log_level) == (3, "10.0.0.2", "debug")


def test_empty_value_counts_as_unset(workspace: Workspace) -> None:
    workspace.write_dotenv("PORT=8080\nREDIS_URL=\nWEBHOOK_SECRET=''\n")
    workspace.set_env(PORT="", LOG_FORMAT="", BILL_PROVIDERS="", DATABASE_HOST="", BILL_PROVIDER_FOO="")
    settings = load_settings("", log_level=None)
    assert settings.port == 8080
    assert settings.database_url.get_secret_value() == "sqlite:///billvend.db"
    assert settings.webhook_secret is None
    workspace.set_env(DATABASE_URL="sqlite:///of-the-environment.db")
    assert load_settings("").database_path == Path("of-the-environment.db")


def test_folder_named_dotenv_is_ignored(workspace: Workspace) -> None:
    (workspace.folder / ".env").mkdir()
    assert load_settings().port == 3000


def test_settings_are_frozen(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


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


def test_provider_list_of_one_agrees_with_short_form(workspace: Workspace) -> None:
    workspace.set_env(BILL_PROVIDERS="vtpass", BILL_PROVIDER="vtpass")
    assert load_settings().providers == (ProviderSettings("vtpass"),)


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


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"a\x00{SECRET}"[2:] + "\x1b", f"{SECRET}\r\nX-Header: 1"])
def test_value_with_line_break_is_rejected(workspace: Workspace, value: str) -> None:
    workspace.set_env(PAYSTACK_SECRET_KEY=value)
    assert error_line().startswith("The setting PAYSTACK_SECRET_KEY is not accepted")


def test_value_that_is_not_unicode_is_rejected(workspace: Workspace) -> None:
    workspace.set_env(WEBHOOK_SECRET=f"{SECRET}\udcff")
    assert error_line().startswith("The setting WEBHOOK_SECRET ")


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


# --- unknown names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BILL_PROVIDER_TIMEOUTS", "BILL_PROVIDER_TIMEOUT"),
        ("bill_provider_timeout", "BILL_PROVIDER_TIMEOUT"),
        ("BILL_PROVIDERS_API_KEY", "BILL_PROVIDER_API_KEY"),
        ("VTPASS_KEY", "VTPASS_API_KEY"),
        ("BUYPOWER_TOKEN", None),
        ("REQUERY_SCHEDULES", "REQUERY_SCHEDULE"),
        ("BREAKER_NOTFOUND", "BREAKER_NOT_FOUND"),
        ("NOT_FOUND_SPACE", "NOT_FOUND_SPACING"),
        ("QUEUE_CONCURENCY", "QUEUE_CONCURRENCY"),
        ("VERIFY_METRE", "VERIFY_METER"),
        ("WEBHOOK_URLS", "WEBHOOK_URL"),
        ("SWEEP_INTERVALL", "SWEEP_INTERVAL"),
        ("LEASE_SECOND", "LEASE_SECONDS"),
        ("PAYSTACK_SECRET", "PAYSTACK_SECRET_KEY"),
        ("SANDBOX_BOK", "SANDBOX_BOOK"),
    ],
)
def test_unknown_billvend_variable_is_rejected(workspace: Workspace, name: str, meant: str | None) -> None:
    workspace.set_env(**{name: SECRET})
    line = error_line()
    assert line.startswith(f"The setting {name} in the environment is unknown")
    if meant:
        assert line.endswith(f"(did you mean {meant}?).")


@pytest.mark.parametrize(
    "name",
    [
        "DATABASE_POOL",
        "REDIS_PASSWORD",
        "LOG_FILE",
        "PORTS",
        "QUEUE_URL",
        "WEBHOOK_PORT",
        "SANDBOX_ROOT",
        "SANDBOX_ID",
        "VERIFY_SSL",
        "PAYSTACK_PUBLIC_KEY",
        "LEASE_ID",
        "SWEEP_DIR",
        "APP_NAME",
        "RATE_LIMITS",
        "PLUG_IN_ACCOUNTS",
        "database_url",
        "ACME_API_KEY",
    ],
)
def test_variables_of_other_software_are_ignored(workspace: Workspace, name: str) -> None:
    workspace.set_env(**{name: "x"})
    assert load_settings().port == 3000


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("PROT=1", "The setting PROT in .env is unknown (did you mean PORT?)."),
        ("port=1", "The setting port in .env is unknown (did you mean PORT?)."),
        ("FLASK_DEBUG=1", "The setting FLASK_DEBUG in .env is unknown."),
        ("PLUG_IN_ACCOUNTS=x", "The setting PLUG_IN_ACCOUNTS in .env is unknown."),
        ("ACME_API_KEY=x", "The setting ACME_API_KEY in .env is unknown."),
        (f"{SECRET}==", "Something in .env is not the name of any setting."),
        (f"redis://:{SECRET}@h/?db=1", "Something in .env is not the name of any setting."),
        ("# fine\n\n \n PORT", "Line 4 of .env is not accepted: it must be NAME=value."),
        (f"PORT 3000 {SECRET}", "Line 1 of .env is not accepted: it must be NAME=value."),
        (f"PORT='3000 {SECRET}", "Line 1 of .env is not accepted: it must be NAME=value."),
        ("PORT=1\nPORT=2", "Line 2 of .env contradicts an earlier line: keep one of the two."),
        ("REDIS_URL=redis://:${PASSWORD}@r", "Line 1 of .env is not accepted: ${...} is not expanded there."),
        (f'WEBHOOK_SECRET="{SECRET}\\n"', "The setting WEBHOOK_SECRET is not accepted"),
    ],
)
def test_invalid_dotenv_is_rejected(workspace: Workspace, text: str, line: str) -> None:
    workspace.write_dotenv(text)
    assert error_line().startswith(line)


def test_dotenv_with_repeated_value_is_accepted(workspace: Workspace) -> None:
    workspace.write_dotenv("PORT=1\r\nPORT=1\r\n")
    assert load_settings().port == 1


def test_unreadable_dotenv_is_rejected(workspace: Workspace) -> None:
    (workspace.folder / ".env").write_bytes(b"PORT=\xff\xfe")
    assert error_line() == "The file .env can't be read: it is not UTF-8."
    (workspace.folder / ".env").unlink()
    (workspace.folder / ".env").symlink_to(".env")
    assert error_line().startswith("The file .env can't be read: ")


def test_unknown_argument_is_rejected(workspace: Workspace) -> None:
    assert error_line(prot=1) == "The setting prot in the call is unknown (did you mean PORT?)."


# --- display ----------------------------------------------------------------------------------------------------------


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
        ("postgresql://ada:s3@cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3/cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:12/s3cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3?cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3#cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3 cr3t@db/shop", "postgresql://***"),
        ("postgresql://ada:s3cr3t/shop", "postgresql://***"),
        ("postgresql://db/shop?password=s3@cr3t", "postgresql://***"),
        ("postgresql://db:1/shop?password=a:s3@cr3t", "postgresql://***"),
        ("postgresql://ada:[s3cr3t]@db:x/shop", "postgresql://***"),
    ],
)
def test_database_urls_are_shown_without_their_passwords(workspace: Workspace, url: str, shown: str) -> None:
    assert redact_settings(load_settings(url))["DATABASE_URL"] == shown


def test_redacted_url_hides_password_with_any_special_character() -> None:
    for sign in "@:/?#%&=,[]\\ \t\u200b+;'\"":
        for password in (
            f"{sign}s3cr3t",
            f"s3cr3t{sign}",
            f"s3cr3t{sign}s3cr3t",
            f"{sign}{sign}s3cr3t{sign}1",
        ):
            for url in (
                f"postgresql://ada:{password}@db:5432/shop",
                f"postgresql://{password}@db/shop?sslmode=x",
            ):
                if url.startswith("postgresql://ada"):
                    assert "s3cr3t" not in redact_url(url, with_user=True, with_path=True), url
                assert "s3cr3t" not in redact_url(url, with_path=True), url


# --- the example file, and the cost of loading ------------------------------------------------------------------------


def example() -> dict[str, str]:
    """The commented settings of `.env.example`, with the defaults that it names."""
    pairs = re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_env_example_lists_exactly_all_settings() -> None:
    assert sorted(example()) == sorted(SETTING_NAMES)


def test_env_example_is_all_comments(workspace: Workspace) -> None:
    text = EXAMPLE.read_text("utf-8")
    assert all(line.startswith("#") for line in text.splitlines() if line)
    assert len(re.findall("^# [a-zA-Z]", text, re.MULTILINE)) > 30
    workspace.write_dotenv(text)
    assert load_settings() == Settings()


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_env_example_shows_the_default(workspace: Workspace, name: str) -> None:
    plain = load_settings()
    workspace.write_dotenv(f"{name}={example()[name]}")
    assert getattr(load_settings(), name.lower()) == getattr(plain, name.lower())
    assert (example()[name] == "") == (
        redact_settings(plain)[name] is None
    )  # "" only where nothing is the default


def test_env_example_as_a_whole_equals_the_defaults(workspace: Workspace) -> None:
    workspace.write_dotenv("\n".join(f"{name}={value}" for name, value in example().items()))
    assert redact_settings(load_settings()) == redact_settings(Settings())
    (workspace.folder / ".env").unlink()
    assert redact_settings(load_settings()) == redact_settings(Settings())


def test_loading_settings_imports_no_heavy_library() -> None:
    heavy = ["sqlalchemy", "psycopg", "redis", "huey", "httpx", "flask", "typer", "rich"]
    program = f"import sys, billvend.config; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
