"""Every setting with its default. An attribute is the setting's name in lower case."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from billvend.config import setting_types
from billvend.config.provider_settings import CREDENTIAL_FIELDS, ProviderSettings, setting_name


class SettingFields(BaseSettings):
    """Every setting. Times are seconds. Amounts are naira (major units) as `Decimal`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    app_env: setting_types.Environment = "development"
    """`production` rejects the sandbox, and times that are too short to prove that nothing was vended."""

    database_host: setting_types.Text = None
    """A host name, or the folder of PostgreSQL's socket (`/run/postgresql`)."""
    database_port: setting_types.ServerPort = None
    database_username: setting_types.Text = None
    database_password: setting_types.Secret = None
    database_name: setting_types.Text = None
    database_url: setting_types.DatabaseUrl = SecretStr("")
    """The database; never empty. Built from the DATABASE_* parts if they are set, else as written."""

    redis_host: setting_types.Text = None
    redis_port: setting_types.ServerPort = None
    redis_url: setting_types.RedisUrl = None
    """Redis for the queue. Built from the REDIS_* parts if they are set.

    None: the queue is in SQLite. With PostgreSQL there is no shared queue then, and only sweeps give work to workers."""
    queue_concurrency: setting_types.Threads = 5
    """Worker threads in a process."""

    bill_provider: setting_types.Provider = "sandbox"
    """The provider, unless `bill_providers` names several. Read `providers` for those in force."""
    bill_provider_api_url: setting_types.ApiUrl = None
    bill_provider_api_key: setting_types.Secret = None
    bill_provider_public_key: setting_types.Secret = None
    bill_provider_secret_key: setting_types.Secret = None
    bill_providers: setting_types.Providers = ()
    """Several providers in order of preference."""
    vtpass_api_url: setting_types.ApiUrl = None
    vtpass_api_key: setting_types.Secret = None
    vtpass_public_key: setting_types.Secret = None
    vtpass_secret_key: setting_types.Secret = None
    buypower_api_url: setting_types.ApiUrl = None
    buypower_api_key: setting_types.Secret = None
    buypower_public_key: setting_types.Secret = None
    buypower_secret_key: setting_types.Secret = None
    plugin_settings: dict[str, SecretStr] = {}
    """Not a setting itself: the settings of the chosen plug-ins (`ACME_API_KEY`)."""
    sandbox_book: Path | None = None
    """As given. Read `sandbox_book_path` for the file in force."""

    bill_provider_timeout: setting_types.Seconds = 30.0
    """The total deadline of one call, body included. `lease_seconds` must be longer by more than a second."""
    bill_provider_max_processing: setting_types.Seconds = 600.0
    """The longest time after which the provider may still carry out a delayed request."""
    bill_provider_phone: setting_types.Phone = None
    """Sent for payments that have no phone number."""
    not_found_spacing: setting_types.Seconds = 60.0
    """The shortest time between two "not found" answers that count."""
    requery_schedule: setting_types.Schedule = (20.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0)
    """Gaps after the send or the last requery. The last one repeats until review."""
    review_after: setting_types.Seconds = 7200.0
    """A payment that is in doubt for this long goes to review."""
    pending_limit: setting_types.Seconds = 86400.0
    """A payment that is not sent within this time is reversed."""
    sweep_interval: setting_types.Seconds = 10.0
    """The time between two sweeps."""
    lease_seconds: setting_types.Seconds = 60.0
    """How long a worker's lease on a payment lasts."""

    min_amount: setting_types.Naira = Decimal(100)
    """The smallest payment, inclusive."""
    max_amount: setting_types.Naira = Decimal(1_000_000)
    """The largest payment and the largest funding, inclusive."""
    default_currency: setting_types.Currency = "NGN"

    verify_meter: setting_types.Bool = True
    """Check the meter with the provider before money is held."""
    verify_timeout: setting_types.Seconds = 5.0
    """The total deadline of a meter check."""
    verify_unreachable: setting_types.UnreachablePolicy = "refuse"
    """Whether a payment is rejected (`refuse`) or accepted (`allow`) if no provider answers about its meter."""
    breaker_max_in_doubt: setting_types.Naira = Decimal(500_000)
    """A provider account with more naira in doubt is suspended; 0: no limit."""
    breaker_min_float: setting_types.Naira = Decimal(0)
    """A provider account with a float of fewer naira is suspended; 0: no limit."""
    breaker_not_found: setting_types.Count = 20
    """A provider account with this many recent attempts not found is suspended; 0: no limit."""

    host: setting_types.Host = "127.0.0.1"
    port: setting_types.ListenPort = 3000
    """0: any free port."""
    trusted_proxies: setting_types.ProxyCount = 0
    """The number of proxies before billvend whose forwarded headers are trusted."""
    rate_limit: setting_types.Rate = setting_types.RateLimit(600, "minute")
    """For each API key or address; None: no limit."""
    strict_validation: setting_types.Bool = True
    """False accepts unknown JSON fields."""
    metrics_port: setting_types.ServerPort = None
    """The loopback port where a worker serves its metrics; None: it serves none. The API serves its own at /metrics."""
    log_level: setting_types.LogLevel = "info"
    log_format: setting_types.LogFormat = None
    """None: `console` on a terminal, else `json`."""

    enable_notifications: setting_types.Bool = True
    enable_webhooks: setting_types.Bool = False
    webhook_url: setting_types.WebhookUrl = None
    webhook_secret: setting_types.Secret = None
    """As given. Read `webhook_secrets` for the single secrets."""
    webhook_allow_private: setting_types.Bool = False
    """True allows webhooks to private addresses."""
    smtp_url: setting_types.SmtpUrl = None
    smtp_from: setting_types.MailSender = "billvend@localhost"
    """The sender of mail."""
    paystack_secret_key: setting_types.Secret = None
    """None: customers cannot make deposits."""
    paystack_api_url: setting_types.ApiUrl = "https://api.paystack.co"

    @property
    def database_kind(self) -> Literal["sqlite", "postgresql"]:
        """The kind of database in `database_url`."""
        return "sqlite" if self.database_url.get_secret_value().startswith("sqlite:") else "postgresql"

    @property
    def database_path(self) -> Path | None:
        """The SQLite file; None for SQLite in memory and for PostgreSQL."""
        path = self.database_url.get_secret_value().removeprefix("sqlite://").removeprefix("/")
        return Path(path) if self.database_kind == "sqlite" and path not in ("", ":memory:") else None

    @property
    def sandbox_book_path(self) -> Path | None:
        """The file of the sandbox's sales: as given, else `sandbox.db` beside the SQLite file, or, with PostgreSQL, in
        the working directory. None: in memory, like the database."""
        if self.sandbox_book is not None:
            return self.sandbox_book
        if self.database_kind == "postgresql":
            return Path("sandbox.db")
        return self.database_path.with_name("sandbox.db") if self.database_path else None

    @property
    def providers(self) -> tuple[ProviderSettings, ...]:
        """The providers in order of preference. There is at least one, and none is there twice."""
        return tuple(self._provider_settings(name) for name in self.bill_providers or (self.bill_provider,))

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that sign webhooks. Each gives one signature."""
        text = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        return tuple(text.replace(",", " ").split())

    def _provider_settings(self, name: str) -> ProviderSettings:
        values = {part: self.provider_value(name, part) for part in CREDENTIAL_FIELDS}
        if not self.bill_providers:
            values |= {part: value for part, value in self.short_form.items() if value}
        return ProviderSettings(name, **values)

    @property
    def short_form(self) -> dict[str, Any]:
        """The BILL_PROVIDER_* settings of the account, by field."""
        return {part: getattr(self, f"bill_provider_{part}") for part in CREDENTIAL_FIELDS}

    def provider_value(self, provider: str, part: str) -> Any:
        """The value of the provider's own setting, such as VTPASS_API_KEY: a URL as text, a key as a secret."""
        name = setting_name(provider, part)
        if name.lower() in type(self).model_fields:
            return getattr(self, name.lower())
        value = self.plugin_settings.get(name)
        return value.get_secret_value() if value and part == "api_url" else value
