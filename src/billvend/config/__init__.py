"""Settings: their names and defaults, their sources, and their errors.

Every setting has one name, in capitals, in the environment and in a `.env` file in the working directory. The
environment wins. An empty value means that the setting is not set. Each secret may be in a file instead, which the
setting NAME_FILE names. An unknown, malformed or contradictory setting raises `ConfigurationError`: one line that names
the setting and never repeats a secret. Nothing here opens a connection.

`fields` has every setting with its default, and `checks` the checks between them.
"""

from billvend.config.provider_settings import BUILT_IN_PROVIDERS, PLUGIN_GROUP, ProviderSettings
from billvend.config.redaction import redact_settings
from billvend.config.setting_types import RateLimit
from billvend.config.settings import (
    SECRET_NAMES,
    SETTING_NAMES,
    Settings,
    load_settings,
    settings_from_values,
)

__all__ = [
    "BUILT_IN_PROVIDERS",
    "PLUGIN_GROUP",
    "SECRET_NAMES",
    "SETTING_NAMES",
    "ProviderSettings",
    "RateLimit",
    "Settings",
    "settings_from_values",
    "load_settings",
    "redact_settings",
]
