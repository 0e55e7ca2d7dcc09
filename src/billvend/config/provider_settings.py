"""Provider accounts: the names of the providers, and the settings of each."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final

from pydantic import SecretStr

BUILT_IN_PROVIDERS: Final = ("sandbox", "vtpass", "buypower")

PLUGIN_GROUP: Final = "billvend.providers"
"""The entry point group of provider plug-ins."""

CREDENTIAL_FIELDS: Final = ("api_url", "api_key", "public_key", "secret_key")


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One configured provider. A setting without a value is None. An adapter knows its own sandbox URL."""

    name: str
    """`sandbox`, `vtpass`, `buypower`, or the entry point of a plug-in."""
    api_url: str | None = None
    """https://, or http:// on loopback, as given. It has no user, query or fragment."""
    api_key: SecretStr | None = None
    public_key: SecretStr | None = None
    secret_key: SecretStr | None = None


def setting_name(provider: str, field: str) -> str:
    """The name of the setting for a field of a provider account: `VTPASS_API_KEY`."""
    return f"{re.sub('[^A-Z0-9]', '_', provider.upper())}_{field.upper()}"


def plugin_setting_names(chosen: Iterable[str]) -> set[str]:
    """The names of the settings of those providers that are plug-ins."""
    names = {name.strip() for name in chosen} - {"", *BUILT_IN_PROVIDERS}
    return {setting_name(name, part) for name in names for part in CREDENTIAL_FIELDS}


def installed_plugins() -> frozenset[str]:
    """The names of the installed provider plug-ins."""
    return frozenset(entry_points(group=PLUGIN_GROUP).names)
