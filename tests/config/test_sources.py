"""Settings: where they are read from, and which names are known."""

import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from billvend.config import (
    SECRET_NAMES,
    SETTING_NAMES,
    ProviderSettings,
    RateLimit,
    Settings,
    load_settings,
    redact_settings,
)
from tests.config.harness import SECRET, Workspace, error_line

EXAMPLE = Path(__file__).parents[2] / ".env.example"


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


# --- secrets from files -----------------------------------------------------------------------------------------------

FILE_SECRETS = {
    **{name: SECRET for name in SECRET_NAMES if not name.endswith("_URL")},
    "DATABASE_URL": f"postgresql://ada:{SECRET}@db/shop",
    "REDIS_URL": f"redis://:{SECRET}@r",
    "WEBHOOK_URL": f"https://shop.example/{SECRET}",
    "SMTP_URL": f"smtp://ada:{SECRET}@mail.example",
}


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["no-newline", "newline", "windows"])
def test_a_secret_is_read_from_a_file(workspace: Workspace, name: str, ending: str) -> None:
    workspace.set_env(
        BILL_PROVIDER="vtpass", DATABASE_HOST="db", DATABASE_NAME="shop", DATABASE_USERNAME="ada"
    )
    secret = FILE_SECRETS[name]
    (workspace.folder / "secret").write_text(secret + ending, newline="")
    workspace.write_dotenv(f"{name}_FILE=secret")
    assert getattr(load_settings(), name.lower()).get_secret_value() == secret
    workspace.write_dotenv("")
    workspace.set_env(**{f"{name}_FILE": str(workspace.folder / "secret")})
    settings = load_settings()
    assert getattr(settings, name.lower()).get_secret_value() == secret
    assert SECRET not in str(redact_settings(settings))


def test_a_secret_of_a_plug_in_is_read_from_a_file(workspace: Workspace) -> None:
    workspace.install_plug_in("acme")
    (workspace.folder / "secret").write_text(f"{SECRET}\n")
    workspace.set_env(BILL_PROVIDER="acme", ACME_API_KEY_FILE="secret")
    assert load_settings().providers == (ProviderSettings("acme", api_key=SecretStr(SECRET)),)
    workspace.write_dotenv("ACME_API_URL_FILE=secret")
    assert error_line().startswith("The setting ACME_API_URL_FILE in .env is unknown")


@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_a_secret_and_its_file_together_are_rejected(workspace: Workspace, place: str) -> None:
    (workspace.folder / "secret").write_text(SECRET)
    workspace.set_env(DATABASE_PASSWORD_FILE="secret")
    if place == "environment":
        workspace.set_env(DATABASE_PASSWORD=SECRET)
    else:
        workspace.write_dotenv(f"DATABASE_PASSWORD={SECRET}")
    assert error_line() == (
        "The setting DATABASE_PASSWORD_FILE is not accepted: it contradicts DATABASE_PASSWORD: set only one of the two."
    )
    workspace.write_dotenv("")
    workspace.set_env(DATABASE_PASSWORD="", DATABASE_HOST="db", DATABASE_NAME="s", DATABASE_USERNAME="ada")
    assert load_settings().database_password == SecretStr(SECRET)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            None,
            "SMTP_URL_FILE is not accepted: it names a file that can't be read: No such file or directory.",
        ),
        (b"", "SMTP_URL_FILE is not accepted: it names an empty file."),
        (b"\n", "SMTP_URL_FILE is not accepted: it names an empty file."),
        (b"\xff", "SMTP_URL_FILE is not accepted: it names a file that can't be read: it is not UTF-8."),
        (b"a\nb\n", "SMTP_URL is not accepted: it must be text without line breaks"),
        (f"mail:{SECRET}\n".encode(), "SMTP_URL is not accepted: it must be an smtp:// or smtps:// URL"),
    ],
)
def test_unusable_file_of_a_secret_is_rejected(
    workspace: Workspace, content: bytes | None, line: str
) -> None:
    """The error does not show the path, which may be the secret itself, by mistake."""
    if content is not None:
        (workspace.folder / SECRET).write_bytes(content)
    workspace.set_env(SMTP_URL_FILE=SECRET)
    assert error_line().startswith(f"The setting {line}")


def test_only_secrets_are_read_from_files(workspace: Workspace) -> None:
    workspace.write_dotenv("PORT_FILE=port")
    assert error_line().startswith("The setting PORT_FILE in .env is unknown")
    workspace.write_dotenv("")
    workspace.set_env(BILL_PROVIDER_TIMEOUT_FILE="x")
    assert error_line().startswith("The setting BILL_PROVIDER_TIMEOUT_FILE in the environment is unknown")


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
        "DATABASE_POOL", "REDIS_PASSWORD", "LOG_FILE", "PORTS", "QUEUE_URL", "WEBHOOK_PORT", "SANDBOX_ROOT", "SANDBOX_ID",
        "VERIFY_SSL", "PAYSTACK_PUBLIC_KEY", "LEASE_ID", "SWEEP_DIR", "APP_NAME", "RATE_LIMITS", "PLUG_IN_ACCOUNTS",
        "database_url", "ACME_API_KEY", "PORT_FILE",
    ],
)  # fmt: skip
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


def test_env_example_as_a_whole_equals_the_defaults(workspace: Workspace) -> None:
    defaults = redact_settings(load_settings())
    assert {name for name, value in example().items() if not value} == {
        name for name, value in defaults.items() if value is None
    }
    workspace.write_dotenv("\n".join(f"{name}={value}" for name, value in example().items()))
    assert redact_settings(load_settings()) == defaults


def test_env_example_shows_which_settings_may_be_in_a_file() -> None:
    comment = EXAMPLE.read_text("utf-8").partition("NAME_FILE")[2].partition("Set only one")[0]
    for name in SECRET_NAMES:
        assert name in comment or re.search("_(PASSWORD|KEY|SECRET)$", name)


def test_loading_settings_imports_no_heavy_library() -> None:
    heavy = ["sqlalchemy", "psycopg", "redis", "huey", "httpx", "flask", "typer", "rich"]
    program = f"import sys, billvend.config; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
