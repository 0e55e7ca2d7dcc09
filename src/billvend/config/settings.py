"""Every setting with its default, and what must hold between them."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from billvend.config import kinds, urls
from billvend.config.accounts import (
    ACCOUNT_PARTS,
    BUILT_IN_PROVIDERS,
    ProviderAccount,
    account_setting,
    installed_plug_ins,
    plug_in_settings,
)
from billvend.config.refusals import bad, did_you_mean, unknown
from billvend.config.sources import read_dotenv, read_environment, settings_of
from billvend.domain.errors import BadSetting, InvalidAmount
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
    """Every setting, read and checked when the object is made; frozen.

    An attribute is the setting's name in small letters. Times are seconds, sums are naira (major units) as
    `Decimal`. Keyword arguments win over the environment, which wins over `.env`. Raises `BadSetting`.
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

    app_env: kinds.Environment = "development"
    """`production` refuses the sandbox, and times that are too short to prove that nothing was vended."""

    database_host: kinds.Text = None
    """A host name, or a folder (`/run/postgresql`) that holds PostgreSQL's socket."""
    database_port: kinds.ServerPort = None
    database_username: kinds.Text = None
    database_password: kinds.Secret = None
    database_name: kinds.Text = None
    database_url: kinds.DatabaseUrl = SecretStr("")
    """Where the books are; never empty. Composed of the DATABASE_* parts where given, else as written."""

    redis_host: kinds.Text = None
    redis_port: kinds.ServerPort = None
    redis_url: kinds.RedisUrl = None
    """Redis for the queue, composed of the REDIS_* parts where those were given.

    None: the queue is on SQLite, or, with PostgreSQL, the sweeper alone feeds the workers."""
    queue_concurrency: kinds.Threads = 5
    """Worker threads a process."""

    bill_provider: kinds.Provider = "sandbox"
    """The one provider, unless `bill_providers` names several. Ask `providers` for what is in force."""
    bill_provider_api_url: kinds.ApiUrl = None
    bill_provider_api_key: kinds.Secret = None
    bill_provider_public_key: kinds.Secret = None
    bill_provider_secret_key: kinds.Secret = None
    bill_providers: kinds.Providers = ()
    """Several providers in order of preference."""
    vtpass_api_url: kinds.ApiUrl = None
    vtpass_api_key: kinds.Secret = None
    vtpass_public_key: kinds.Secret = None
    vtpass_secret_key: kinds.Secret = None
    buypower_api_url: kinds.ApiUrl = None
    buypower_api_key: kinds.Secret = None
    buypower_public_key: kinds.Secret = None
    buypower_secret_key: kinds.Secret = None
    plug_in_accounts: dict[str, SecretStr] = {}
    """Not a setting itself: what was given under the names of chosen plug-ins (`ACME_API_KEY`)."""
    sandbox_book: Path | None = None
    """As given. Ask `sandbox_book_path`."""

    bill_provider_timeout: kinds.Seconds = 30.0
    """The total deadline of one call, body included. `lease_seconds` is longer by more than a second."""
    bill_provider_max_processing: kinds.Seconds = 600.0
    """The longest that a delayed request may still land at the provider."""
    bill_provider_phone: kinds.Phone = None
    """Sent when a payment has no phone of its own."""
    not_found_spacing: kinds.Seconds = 60.0
    """The least time between two sightings of "not found"."""
    requery_schedule: kinds.Schedule = (20.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0)
    """Gaps after the send or the last requery; the last one then repeats, until review."""
    review_after: kinds.Seconds = 7200.0
    """In doubt this long: a person looks."""
    pending_limit: kinds.Seconds = 86400.0
    """Never sent this long: released."""
    sweep_interval: kinds.Seconds = 10.0
    """Between two passes of the sweeper."""
    lease_seconds: kinds.Seconds = 60.0
    """How long a worker's claim on a payment holds."""

    min_amount: kinds.Naira = Decimal(100)
    """The smallest payment, itself included."""
    max_amount: kinds.Naira = Decimal(1_000_000)
    """The largest payment and the largest funding, itself included."""
    default_currency: kinds.Currency = "NGN"

    verify_meter: kinds.Flag = True
    """Ask the provider about the meter before money is held."""
    verify_timeout: kinds.Seconds = 5.0
    verify_unreachable: kinds.Unreachable = "refuse"
    """What to do with a payment when the provider can't be asked."""
    breaker_max_in_doubt: kinds.Naira = Decimal(500_000)
    """Naira in doubt at a provider, beyond which it sells no more; 0: no such limit, as with the next two."""
    breaker_min_float: kinds.Naira = Decimal(0)
    """Naira of our float at a provider, below which it sells no more."""
    breaker_not_found: kinds.Count = 20
    """Attempts not found at a provider, from which on it sells no more."""

    host: kinds.Host = "127.0.0.1"
    port: kinds.ListenPort = 3000
    """0: any free one."""
    trusted_proxies: kinds.Hops = 0
    """Hops before us whose forwarded headers count."""
    rate_limit: kinds.Rate = kinds.RateLimit(600, "minute")
    """For each key or address; None: no limit."""
    strict_validation: kinds.Flag = True
    """False lets unknown JSON fields pass."""
    metrics_port: kinds.ServerPort = None
    """Where a worker tells its metrics, on loopback; None: nowhere. The API does so at /metrics."""
    log_level: kinds.LogLevel = "info"
    log_format: kinds.LogFormat = None
    """None: JSON when not a terminal."""

    enable_notifications: kinds.Flag = True
    enable_webhooks: kinds.Flag = False
    webhook_url: kinds.WebhookUrl = None
    webhook_secret: kinds.Secret = None
    """As given. Ask `webhook_secrets`."""
    webhook_allow_private: kinds.Flag = False
    """True lets webhooks go to private addresses."""
    smtp_url: kinds.SmtpUrl = None
    smtp_from: kinds.MailSender = "billvend@localhost"
    """Whom mail comes from."""
    paystack_secret_key: kinds.Secret = None
    """None: nobody can fund a wallet from outside."""
    paystack_api_url: kinds.ApiUrl = "https://api.paystack.co"

    def __init__(self, **values: Any) -> None:
        """See the class."""
        for url, parts in (("database_url", _DATABASE_PARTS), ("redis_url", _REDIS_PARTS)):
            if values.get(url) is not None:  # it stands alone, whatever the environment says
                values = dict.fromkeys(parts) | values
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _refusal(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments of the call, then what is written down (pydantic-settings' hook)."""
        return init_settings, InitSettingsSource(settings_cls, init_kwargs=_written_down())

    @property
    def database_kind(self) -> Literal["sqlite", "postgresql"]:
        """Which database `database_url` names."""
        return "sqlite" if self.database_url.get_secret_value().startswith("sqlite:") else "postgresql"

    @property
    def database_path(self) -> Path | None:
        """The SQLite file; None for one in memory and for PostgreSQL."""
        path = self.database_url.get_secret_value().removeprefix("sqlite://").removeprefix("/")
        return Path(path) if self.database_kind == "sqlite" and path not in ("", ":memory:") else None

    @property
    def sandbox_book_path(self) -> Path | None:
        """The sandbox's book: as given, else `sandbox.db` beside the SQLite file, or, with PostgreSQL, in the
        working directory. None keeps it in memory, as the database is."""
        if self.sandbox_book is not None:
            return self.sandbox_book
        if self.database_kind == "postgresql":
            return Path("sandbox.db")
        return self.database_path.with_name("sandbox.db") if self.database_path else None

    @property
    def providers(self) -> tuple[ProviderAccount, ...]:
        """The providers in order of preference: at least one, none twice."""
        return tuple(self._account(name) for name in self.bill_providers or (self.bill_provider,))

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """What webhooks are signed with: each gives a signature."""
        given = self.webhook_secret.get_secret_value() if self.webhook_secret else ""
        return tuple(given.replace(",", " ").split())

    def _account(self, name: str) -> ProviderAccount:
        given = {part: self._own(name, part) for part in ACCOUNT_PARTS}
        if not self.bill_providers:
            given = {part: self._short(part) or own for part, own in given.items()}
        return ProviderAccount(name, **given)

    def _short(self, part: str) -> Any:
        return getattr(self, f"bill_provider_{part}")

    def _own(self, provider: str, part: str) -> Any:
        """What stands under the provider's own name, VTPASS_API_KEY: a URL as text, a key as a secret."""
        name = account_setting(provider, part)
        if name in ATTRIBUTES:
            return getattr(self, ATTRIBUTES[name])
        value = self.plug_in_accounts.get(name)
        return value.get_secret_value() if value and part == "api_url" else value

    @field_validator("database_url")
    @classmethod
    def _one_database(cls, given: SecretStr, info: ValidationInfo) -> SecretStr:
        parts = _given_of(_DATABASE_PARTS, info)
        url = given.get_secret_value()
        if not url:
            return SecretStr(urls.database_url(parts) if parts else DEFAULT_DATABASE_URL)
        urls.check_database_url(url)
        urls.check_agreement("DATABASE_URL", url, parts, default_port=5432)
        return given

    @field_validator("redis_url")
    @classmethod
    def _one_redis(cls, given: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        parts = _given_of(_REDIS_PARTS, info)
        if given is None:
            return SecretStr(urls.redis_url(parts)) if parts else None
        urls.check_agreement("REDIS_URL", given.get_secret_value(), parts, default_port=6379)
        return given

    @field_validator("plug_in_accounts")
    @classmethod
    def _plug_in_urls(cls, given: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in given.items():
            if name.endswith("_API_URL"):
                try:
                    urls.check_api_url(value.get_secret_value())
                except ValueError as error:
                    raise bad(
                        name, str(error) or f"must be {_accepts('bill_provider_api_url').text}"
                    ) from None
        return given

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        self._check_times()
        self._check_amounts()
        self._check_providers()
        self._check_telling()
        return self

    def _check_times(self) -> None:
        lease, deadline = self.lease_seconds, self.bill_provider_timeout
        if lease <= deadline + 1:  # a send starts at the latest at claim + lease - deadline - 1 s
            reason = f"must be more than a second longer than BILL_PROVIDER_TIMEOUT, which is {deadline:g} s"
            raise bad("LEASE_SECONDS", reason, f"{lease:g}")
        if self.app_env == "production":
            for name in ("bill_provider_max_processing", "not_found_spacing"):
                given, least = getattr(self, name), type(self).model_fields[name].default
                if given < least:
                    raise bad(
                        name.upper(), f"must be at least {least:g} s with APP_ENV=production", f"{given:g}"
                    )

    def _check_amounts(self) -> None:
        limits = {}
        for name in ("min_amount", "max_amount"):
            given: Decimal = getattr(self, name)
            try:
                limits[name] = parse_amount(given, self.default_currency)
            except InvalidAmount as error:
                raise bad(name.upper(), error.fields["amount"], f"{given:f}") from None
        if limits["min_amount"] > limits["max_amount"]:
            reason = f"must be at most MAX_AMOUNT, which is {self.max_amount:f}"
            raise bad("MIN_AMOUNT", reason, f"{self.min_amount:f}")

    def _check_providers(self) -> None:
        several, one_is_given = self.bill_providers, "bill_provider" in self.model_fields_set
        if len(set(several)) < len(several):
            raise bad("BILL_PROVIDERS", "must name each provider once", ",".join(several))
        if several and one_is_given and several != (self.bill_provider,):
            raise bad("BILL_PROVIDER", "contradicts BILL_PROVIDERS: give one of the two", self.bill_provider)
        for name in several or (self.bill_provider,):
            self._check_provider("BILL_PROVIDERS" if several else "BILL_PROVIDER", name)
        short = [f"BILL_PROVIDER_{part.upper()}" for part in ACCOUNT_PARTS if self._short(part) is not None]
        if several and short:
            raise bad(
                short[0],
                "is the short form for one provider: with BILL_PROVIDERS give VTPASS_... and the like",
            )
        if not several and not one_is_given:
            own = [name for name in ("vtpass", "buypower") for part in ACCOUNT_PARTS if self._own(name, part)]
            if short or own:
                where = short[0] if short else f"{own[0].upper()}_*"
                raise bad(
                    "BILL_PROVIDER", f"must be given where {where} is: without it only the sandbox sells"
                )

    def _check_telling(self) -> None:
        if self.enable_webhooks:
            for name in ("webhook_url", "webhook_secret"):
                if getattr(self, name) is None:
                    raise bad(name.upper(), "must be given with ENABLE_WEBHOOKS")
            if not self.webhook_secrets or not all(map(kinds.is_webhook_secret, self.webhook_secrets)):
                raise bad("WEBHOOK_SECRET", f"must be {kinds.WEBHOOK_SECRETS}")
        for name in ("webhook_url", "smtp_url"):
            given: SecretStr | None = getattr(self, name)
            if given is not None and not urls.names_a_host(given.get_secret_value()):
                raise bad(name.upper(), f"must be {_accepts(name).text} with a host")

    def _check_provider(self, setting: str, name: str) -> None:
        if name not in BUILT_IN_PROVIDERS and name not in (plug_ins := installed_plug_ins()):
            installed = ", ".join(sorted(plug_ins)) or "none is installed"
            hint = did_you_mean(name.lower(), (*BUILT_IN_PROVIDERS, *plug_ins))
            reason = f"must be {', '.join(BUILT_IN_PROVIDERS)} or a plug-in ({installed}){hint}"
            raise bad(setting, reason, name)
        if name == "sandbox" and self.app_env == "production":
            raise bad(
                setting, "must not be the sandbox with APP_ENV=production: no meter takes its tokens", name
            )
        for part in () if self.bill_providers else ACCOUNT_PARTS:
            short, own = self._short(part), self._own(name, part)
            if short and own and short != own:
                reason = f"contradicts BILL_PROVIDER_{part.upper()}: give one of the two"
                raise bad(account_setting(name, part), reason)


ATTRIBUTES: Final[Mapping[str, str]] = {
    name.upper(): name for name in Settings.model_fields if name != "plug_in_accounts"
}
"""The attribute of each setting, by its name."""

SETTING_NAMES: Final = tuple(ATTRIBUTES)
"""Every setting's name. A plug-in that BILL_PROVIDER or BILL_PROVIDERS names adds its own: `ACME_API_KEY`."""


def load_settings(database_url: str | None = None, **overrides: Any) -> Settings:
    """The settings of this process, from the environment and `.env`.

    `database_url` stands for DATABASE_URL and its parts; `overrides` are other settings by attribute name, as
    `port=0`. None and "" leave a setting as it is. Raises `BadSetting`.
    """
    given = {"database_url": database_url, **overrides}
    return Settings(**{name: value for name, value in given.items() if value is not None and value != ""})


def given_settings(**values: Any) -> Settings:
    """Settings by attribute name and nothing else: the environment and `.env` have no say. Raises `BadSetting`."""
    return _Given(**values)


class _Given(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _written_down() -> dict[str, Any]:
    in_file, in_environment = read_dotenv(Path(".env")), read_environment()
    chosen = [
        name
        for setting in ("BILL_PROVIDERS", "BILL_PROVIDER")
        for name in (in_file | in_environment).get(setting, "").split(",")
    ]
    of_plug_ins = plug_in_settings(chosen) - ATTRIBUTES.keys()
    given = settings_of(in_file, in_environment, {*ATTRIBUTES, *of_plug_ins})
    accounts = {name: given.pop(name) for name in sorted(of_plug_ins) if name in given}
    return {**given, "plug_in_accounts": accounts}


def _given_of(parts: Iterable[str], info: ValidationInfo) -> dict[str, Any]:
    return {part: info.data[part] for part in parts if info.data.get(part) is not None}


def _accepts(attribute: str) -> kinds.Accepts:
    metadata = Settings.model_fields[attribute].metadata
    return next((entry for entry in metadata if isinstance(entry, kinds.Accepts)), kinds.Accepts("text"))


def _refusal(error: ValidationError) -> BadSetting:
    """pydantic's findings as one of ours: the first makes the line, all are in its `fields`."""
    refusals = [_finding(found) for found in error.errors(include_url=False)]
    refusals[0].fields = {name: why for each in reversed(refusals) for name, why in each.fields.items()}
    return refusals[0]


def _finding(found: Mapping[str, Any]) -> BadSetting:
    name = str(found["loc"][0])
    if name in Settings.model_fields:  # given in the call
        name = name.upper()
    if name not in ATTRIBUTES:
        return unknown(name, ATTRIBUTES, "the call")
    accepts = _accepts(ATTRIBUTES[name])
    reason = str(found.get("ctx", {}).get("error", "")) or f"must be {accepts.text}"
    return bad(name, reason, None if accepts.private else str(found["input"]))
