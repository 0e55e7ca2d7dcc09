"""The checks between settings. Each raises `ConfigurationError`."""

from base64 import b64decode

from billvend.config.fields import SettingFields
from billvend.config.provider_settings import BUILT_IN_PROVIDERS, installed_plugins, setting_name
from billvend.config.setting_errors import did_you_mean, invalid_setting, missing_setting
from billvend.domain.errors import InvalidAmount
from billvend.domain.money import parse_amount


def check_times(settings: SettingFields) -> None:
    """A lease lasts longer than a call. In production, times are long enough to prove that nothing was vended."""
    lease, deadline = settings.lease_seconds, settings.bill_provider_timeout
    if lease <= deadline + 1:  # a send starts at claim + lease - deadline - 1 s at the latest
        reason = f"must be more than a second longer than BILL_PROVIDER_TIMEOUT, which is {deadline:g} s"
        raise invalid_setting("LEASE_SECONDS", reason, f"{lease:g}")
    if settings.app_env == "production":
        for name in ("bill_provider_max_processing", "not_found_spacing"):
            value, minimum = getattr(settings, name), type(settings).model_fields[name].default
            if value < minimum:
                reason = f"must be at least {minimum:g} s with APP_ENV=production"
                raise invalid_setting(name.upper(), reason, f"{value:g}")


def check_amounts(settings: SettingFields) -> None:
    """The limits are amounts of the currency, and the smallest is not more than the largest."""
    limits = []
    for name, value in (("MIN_AMOUNT", settings.min_amount), ("MAX_AMOUNT", settings.max_amount)):
        try:
            limits.append(parse_amount(value, settings.default_currency))
        except InvalidAmount as error:
            raise invalid_setting(name, error.fields["amount"], f"{value:f}") from None
    if limits[0] > limits[1]:
        reason = f"must be at most MAX_AMOUNT, which is {settings.max_amount:f}"
        raise invalid_setting("MIN_AMOUNT", reason, f"{settings.min_amount:f}")


def check_providers(settings: SettingFields) -> None:
    """The providers exist, and only one of the two forms (one provider, several) is used."""
    several, single = settings.bill_providers, settings.bill_provider
    is_single_given = "bill_provider" in settings.model_fields_set
    short = {name: value for name, value in settings.short_form.items() if value is not None}
    if len(set(several)) < len(several):
        raise invalid_setting("BILL_PROVIDERS", "must name each provider once", ",".join(several))
    if several and is_single_given and several != (single,):
        raise invalid_setting("BILL_PROVIDER", "contradicts BILL_PROVIDERS: set only one of the two", single)
    for name in several or (single,):
        _check_provider(settings, "BILL_PROVIDERS" if several else "BILL_PROVIDER", name)
    if several and short:
        reason = (
            "is the short form for one provider: with BILL_PROVIDERS set VTPASS_... or BUYPOWER_... instead"
        )
        raise invalid_setting(setting_name("BILL_PROVIDER", next(iter(short))), reason)
    if several:
        return
    for field, value in short.items():
        if settings.provider_value(single, field) not in (None, value):
            reason = f"contradicts {setting_name('BILL_PROVIDER', field)}: set only one of the two"
            raise invalid_setting(setting_name(single, field), reason)
    if not is_single_given:
        given = [setting_name("BILL_PROVIDER", field) for field in short] + [
            f"{name.upper()}_*"
            for name in ("vtpass", "buypower")
            if any(settings.provider_value(name, field) for field in settings.short_form)
        ]
        if given:
            raise missing_setting("BILL_PROVIDER", f"with {given[0]}: without it only the sandbox sells")


def _check_provider(settings: SettingFields, setting: str, name: str) -> None:
    if name not in BUILT_IN_PROVIDERS and name not in (plugins := installed_plugins()):
        installed = ", ".join(sorted(plugins)) or "none is installed"
        hint = did_you_mean(name.lower(), (*BUILT_IN_PROVIDERS, *plugins))
        reason = f"must be {', '.join(BUILT_IN_PROVIDERS)} or a plug-in ({installed}){hint}"
        raise invalid_setting(setting, reason, name)
    if name == "sandbox" and settings.app_env == "production":
        reason = "must not be the sandbox with APP_ENV=production: no meter accepts its tokens"
        raise invalid_setting(setting, reason, name)


def check_webhooks(settings: SettingFields) -> None:
    """Webhooks have a URL and secrets that can sign them."""
    if not settings.enable_webhooks:
        return
    for name in ("webhook_url", "webhook_secret"):
        if getattr(settings, name) is None:
            raise missing_setting(name.upper(), "with ENABLE_WEBHOOKS")
    secrets = settings.webhook_secrets
    if not secrets or not all(map(_is_webhook_secret, secrets)):
        reason = "must be one secret or several with spaces between, each whsec_ and 24 to 64 bytes in base64"
        raise invalid_setting("WEBHOOK_SECRET", reason)


def _is_webhook_secret(text: str) -> bool:
    """Whether it can sign webhooks: 24 to 64 bytes in base64, as Standard Webhooks requires."""
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        return 24 <= len(b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)) <= 64
    except ValueError:
        return False
