"""How settings are read, and the checks between them."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from billvend.config import checks, urls
from billvend.config.fields import SettingFields
from billvend.config.setting_errors import invalid_setting, unknown_setting
from billvend.config.sources import read_sources
from billvend.domain.errors import ConfigurationError

DEFAULT_DATABASE_URL: Final = "sqlite:///billvend.db"

SETTING_NAMES: Final = tuple(name.upper() for name in SettingFields.model_fields if name != "plugin_settings")
"""The name of every setting. A plug-in in BILL_PROVIDER or BILL_PROVIDERS adds its own: `ACME_API_KEY`."""

SECRET_NAMES: Final = tuple(
    name
    for name in SETTING_NAMES
    for kind in [SettingFields.model_fields[name.lower()].annotation]
    if SecretStr in (kind, *get_args(kind))
)
"""The settings that may be in a file instead, which the setting NAME_FILE names."""

_URL_PARTS: Final = {
    "database_url": (
        "database_host",
        "database_port",
        "database_username",
        "database_password",
        "database_name",
    ),
    "redis_url": ("redis_host", "redis_port"),
}


class Settings(SettingFields):
    """Every setting, read and checked when the object is created. It is frozen.

    Keyword arguments win over the environment, which wins over `.env`. Raises `ConfigurationError`.
    """

    def __init__(self, **values: Any) -> None:
        """See the class."""
        for url, parts in _URL_PARTS.items():
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
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments of the call, then the environment and `.env` (a hook of pydantic-settings)."""
        return init_settings, InitSettingsSource(settings_cls, init_kwargs=cls._read_sources())

    @classmethod
    def _read_sources(cls) -> dict[str, Any]:
        return read_sources(SETTING_NAMES, SECRET_NAMES)

    @field_validator("database_url")
    @classmethod
    def _resolve_database_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        parts = _parts_of("database_url", info)
        url = value.get_secret_value()
        if not url:
            return SecretStr(urls.build_database_url(parts) if parts else DEFAULT_DATABASE_URL)
        urls.check_database_url(url)
        urls.check_parts_agree("DATABASE_URL", url, parts, default_port=5432)
        return value

    @field_validator("redis_url")
    @classmethod
    def _resolve_redis_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        parts = _parts_of("redis_url", info)
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
                    description = cls.model_fields["bill_provider_api_url"].description
                    raise invalid_setting(name, str(error) or f"must be {description}") from None
        return values

    @model_validator(mode="after")
    def _check_consistency(self) -> "Settings":
        checks.check_times(self)
        checks.check_amounts(self)
        checks.check_providers(self)
        checks.check_webhooks(self)
        return self


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
    return _ValuesOnly(**values)


class _ValuesOnly(Settings):
    @classmethod
    def _read_sources(cls) -> dict[str, Any]:
        return {}


def _parts_of(url: str, info: ValidationInfo) -> dict[str, Any]:
    return {part: info.data[part] for part in _URL_PARTS[url] if info.data.get(part) is not None}


def _configuration_error(error: ValidationError) -> ConfigurationError:
    """pydantic's errors as one of ours. The first one makes the message, and all are in `fields`."""
    errors = [_to_error(detail) for detail in error.errors(include_url=False)]
    errors[0].fields = {name: why for each in reversed(errors) for name, why in each.fields.items()}
    return errors[0]


def _to_error(detail: Mapping[str, Any]) -> ConfigurationError:
    attribute, context = str(detail["loc"][0]), detail.get("ctx", {})
    if attribute not in SettingFields.model_fields:
        return unknown_setting(attribute, SETTING_NAMES, "the call")
    field = SettingFields.model_fields[attribute]
    description = field.description or str(context.get("expected", "text")).replace("'", "")
    reason = str(context.get("error", "")) or f"must be {description}"
    return invalid_setting(attribute.upper(), reason, str(detail["input"]) if field.repr else None)
