"""Every setting with its default, and the checks between settings."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from billvend.config import setting_types, urls
from billvend.config.provider_settings import (
    BUILT_IN_PROVIDERS,
    CREDENTIAL_FIELDS,
    ProviderSettings,
    installed_plugins,
    plugin_setting_names,
    setting_name,
)
from billvend.config.setting_errors import did_you_mean, invalid_setting, missing_setting, unknown_setting
from billvend.config.sources import merge_sources, read_dotenv, read_environment
from billvend.domain.errors import ConfigurationError, InvalidAmount
from billvend.domain.money import parse_amount

DEFAULT_DATABASE_URL: Final = "sqlite:///billvend.db"

_DATABASE_PARTS = (
    "database_host",
    "database_port",
    "database_username",
    "database_password",
    "database_name",
)
_REDIS_PARTS = ("redis_host", "redis_port")


class Settings(BaseSettings):
    """Every setting, read and checked when the object is created. It is frozen.

    An attribute is the setting's name in lower case. Times are seconds. Amounts are naira (major units) as `Decimal`.
    Keyword arguments win over the environment, which wins over `.env`. Raises `ConfigurationError`.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=str.upper,
        validate_by_name=True,
        validate_by_alias=True,
        case_sensitive=True,
        hide_input_in_errors=True,
    )

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

    def __init__(self, **values: Any) -> None:
        """See the class."""
        for url, parts in (("database_url", _DATABASE_PARTS), ("redis_url", _REDIS_PARTS)):
            if values.get(url) is not None:  # it replaces the parts in the environment
                values = dict.fromkeys(parts) | values
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _configuration_error(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments of the call, then the environment and `.env` (a hook of pydantic-settings)."""
        return init_settings, InitSettingsSource(settings_cls, init_kwargs=_read_sources())

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
        values = {part: self._provider_value(name, part) for part in CREDENTIAL_FIELDS}
        if not self.bill_providers:
            values = {part: self._common_value(part) or own for part, own in values.items()}
        return ProviderSettings(name, **values)

    def _common_value(self, part: str) -> Any:
        return getattr(self, f"bill_provider_{part}")

    def _provider_value(self, provider: str, part: str) -> Any:
        """The value of the provider's own setting, such as VTPASS_API_KEY: a URL as text, a key as a secret."""
        name = setting_name(provider, part)
        if name in ATTRIBUTE_BY_SETTING:
            return getattr(self, ATTRIBUTE_BY_SETTING[name])
        value = self.plugin_settings.get(name)
        return value.get_secret_value() if value and part == "api_url" else value

    @field_validator("database_url")
    @classmethod
    def _resolve_database_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        parts = _present_parts(_DATABASE_PARTS, info)
        url = value.get_secret_value()
        if not url:
            return SecretStr(urls.build_database_url(parts) if parts else DEFAULT_DATABASE_URL)
        urls.check_database_url(url)
        urls.check_parts_agree("DATABASE_URL", url, parts, default_port=5432)
        return value

    @field_validator("redis_url")
    @classmethod
    def _resolve_redis_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        parts = _present_parts(_REDIS_PARTS, info)
        if value is None:
            return SecretStr(urls.build_redis_url(parts)) if parts else None
        urls.check_parts_agree("REDIS_URL", value.get_secret_value(), parts, default_port=6379)
        return value

    @field_validator("plugin_settings")
    @classmethod
    def _check_plugin_urls(cls, values: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in values.items():
            if name.endswith("_API_URL"):
                try:
                    urls.check_api_url(value.get_secret_value())
                except ValueError as error:
                    raise invalid_setting(
                        name, str(error) or f"must be {_allowed('bill_provider_api_url').description}"
                    ) from None
        return values

    @model_validator(mode="after")
    def _check_consistency(self) -> "Settings":
        self._check_times()
        self._check_amounts()
        self._check_providers()
        self._check_notifications()
        return self

    def _check_times(self) -> None:
        lease, deadline = self.lease_seconds, self.bill_provider_timeout
        if lease <= deadline + 1:  # a send starts at claim + lease - deadline - 1 s at the latest
            reason = f"must be more than a second longer than BILL_PROVIDER_TIMEOUT, which is {deadline:g} s"
            raise invalid_setting("LEASE_SECONDS", reason, f"{lease:g}")
        if self.app_env == "production":
            for name in ("bill_provider_max_processing", "not_found_spacing"):
                value, minimum = getattr(self, name), type(self).model_fields[name].default
                if value < minimum:
                    raise invalid_setting(
                        name.upper(), f"must be at least {minimum:g} s with APP_ENV=production", f"{value:g}"
                    )

    def _check_amounts(self) -> None:
        limits = {}
        for name in ("min_amount", "max_amount"):
            value: Decimal = getattr(self, name)
            try:
                limits[name] = parse_amount(value, self.default_currency)
            except InvalidAmount as error:
                raise invalid_setting(name.upper(), error.fields["amount"], f"{value:f}") from None
        if limits["min_amount"] > limits["max_amount"]:
            reason = f"must be at most MAX_AMOUNT, which is {self.max_amount:f}"
            raise invalid_setting("MIN_AMOUNT", reason, f"{self.min_amount:f}")

    def _check_providers(self) -> None:
        several, is_single_given = self.bill_providers, "bill_provider" in self.model_fields_set
        if len(set(several)) < len(several):
            raise invalid_setting("BILL_PROVIDERS", "must name each provider once", ",".join(several))
        if several and is_single_given and several != (self.bill_provider,):
            raise invalid_setting(
                "BILL_PROVIDER", "contradicts BILL_PROVIDERS: set only one of the two", self.bill_provider
            )
        for name in several or (self.bill_provider,):
            self._check_provider("BILL_PROVIDERS" if several else "BILL_PROVIDER", name)
        short = [
            f"BILL_PROVIDER_{part.upper()}"
            for part in CREDENTIAL_FIELDS
            if self._common_value(part) is not None
        ]
        if several and short:
            raise invalid_setting(
                short[0],
                "is the short form for one provider: with BILL_PROVIDERS set VTPASS_... or BUYPOWER_... instead",
            )
        if not several and not is_single_given:
            own = [
                name
                for name in ("vtpass", "buypower")
                for part in CREDENTIAL_FIELDS
                if self._provider_value(name, part)
            ]
            if short or own:
                where = short[0] if short else f"{own[0].upper()}_*"
                raise missing_setting("BILL_PROVIDER", f"with {where}: without it only the sandbox sells")

    def _check_notifications(self) -> None:
        if self.enable_webhooks:
            for name in ("webhook_url", "webhook_secret"):
                if getattr(self, name) is None:
                    raise missing_setting(name.upper(), "with ENABLE_WEBHOOKS")
            if not self.webhook_secrets or not all(
                map(setting_types.is_webhook_secret, self.webhook_secrets)
            ):
                raise invalid_setting("WEBHOOK_SECRET", f"must be {setting_types.WEBHOOK_SECRETS_FORMAT}")
        for name in ("webhook_url", "smtp_url"):
            value: SecretStr | None = getattr(self, name)
            if value is not None and not urls.has_host(value.get_secret_value()):
                raise invalid_setting(name.upper(), f"must be {_allowed(name).description} with a host")

    def _check_provider(self, setting: str, name: str) -> None:
        if name not in BUILT_IN_PROVIDERS and name not in (plugins := installed_plugins()):
            installed = ", ".join(sorted(plugins)) or "none is installed"
            hint = did_you_mean(name.lower(), (*BUILT_IN_PROVIDERS, *plugins))
            reason = f"must be {', '.join(BUILT_IN_PROVIDERS)} or a plug-in ({installed}){hint}"
            raise invalid_setting(setting, reason, name)
        if name == "sandbox" and self.app_env == "production":
            raise invalid_setting(
                setting, "must not be the sandbox with APP_ENV=production: no meter accepts its tokens", name
            )
        for part in () if self.bill_providers else CREDENTIAL_FIELDS:
            short, own = self._common_value(part), self._provider_value(name, part)
            if short and own and short != own:
                reason = f"contradicts BILL_PROVIDER_{part.upper()}: set only one of the two"
                raise invalid_setting(setting_name(name, part), reason)


ATTRIBUTE_BY_SETTING: Final[Mapping[str, str]] = {
    name.upper(): name for name in Settings.model_fields if name != "plugin_settings"
}
"""The attribute of each setting, by the setting's name."""

SETTING_NAMES: Final = tuple(ATTRIBUTE_BY_SETTING)
"""The name of every setting. A plug-in in BILL_PROVIDER or BILL_PROVIDERS adds its own: `ACME_API_KEY`."""


def load_settings(database_url: str | None = None, **overrides: Any) -> Settings:
    """The settings of this process, from the environment and `.env`.

    `database_url` replaces DATABASE_URL and its parts. `overrides` are other settings by attribute name, such as
    `port=0`. None and "" do not change a setting. Raises `ConfigurationError`.
    """
    values = {"database_url": database_url, **overrides}
    return Settings(**{name: value for name, value in values.items() if value is not None and value != ""})


def settings_from_values(**values: Any) -> Settings:
    """Settings from these values alone, by attribute name, without the environment and `.env`.

    Raises `ConfigurationError`.
    """
    return _InitOnlySettings(**values)


class _InitOnlySettings(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _read_sources() -> dict[str, Any]:
    file_values, environment_values = read_dotenv(Path(".env")), read_environment()
    chosen = [
        name
        for setting in ("BILL_PROVIDERS", "BILL_PROVIDER")
        for name in (file_values | environment_values).get(setting, "").split(",")
    ]
    plugin_names = plugin_setting_names(chosen) - ATTRIBUTE_BY_SETTING.keys()
    values = merge_sources(file_values, environment_values, {*ATTRIBUTE_BY_SETTING, *plugin_names})
    plugin_values = {name: values.pop(name) for name in sorted(plugin_names) if name in values}
    return {**values, "plugin_settings": plugin_values}


def _present_parts(parts: Iterable[str], info: ValidationInfo) -> dict[str, Any]:
    return {part: info.data[part] for part in parts if info.data.get(part) is not None}


def _allowed(field_name: str) -> setting_types.Allowed:
    metadata = Settings.model_fields[field_name].metadata
    return next(
        (entry for entry in metadata if isinstance(entry, setting_types.Allowed)),
        setting_types.Allowed("text"),
    )


def _configuration_error(error: ValidationError) -> ConfigurationError:
    """pydantic's errors as one of ours. The first one makes the message, and all are in `fields`."""
    errors = [_to_error(detail) for detail in error.errors(include_url=False)]
    errors[0].fields = {name: why for each in reversed(errors) for name, why in each.fields.items()}
    return errors[0]


def _to_error(detail: Mapping[str, Any]) -> ConfigurationError:
    name = str(detail["loc"][0])
    if name in Settings.model_fields:  # an argument of the call
        name = name.upper()
    if name not in ATTRIBUTE_BY_SETTING:
        return unknown_setting(name, ATTRIBUTE_BY_SETTING, "the call")
    allowed = _allowed(ATTRIBUTE_BY_SETTING[name])
    reason = str(detail.get("ctx", {}).get("error", "")) or f"must be {allowed.description}"
    return invalid_setting(name, reason, None if allowed.is_secret else str(detail["input"]))
