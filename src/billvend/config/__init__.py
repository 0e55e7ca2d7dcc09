"""Settings: what may be configured, from where it is read, and why a start is refused.

Every setting has one name, in capitals, in the environment and in a `.env` file of the working directory.
The environment wins; an empty value means that the setting is not given. What is unknown, malformed or
contradictory raises `ConfigurationError`: one line that names the setting and never repeats a secret.
Nothing here connects to anything.

    settings.py   every setting, its default, and what must hold between them
    setting_types.py  the kinds of values, and the words in which a wrong one is refused
    provider_settings.py  provider accounts                     urls.py       addresses
    sources.py    the environment and .env              setting_errors.py  the one line of a refusal
    redaction.py  showing settings without secrets
"""

from billvend.config.provider_settings import BUILT_IN_PROVIDERS, PLUGIN_GROUP, ProviderSettings
from billvend.config.redaction import redact_settings
from billvend.config.setting_types import RateLimit
from billvend.config.settings import SETTING_NAMES, Settings, load_settings, settings_from_values

__all__ = [
    "BUILT_IN_PROVIDERS",
    "PLUGIN_GROUP",
    "SETTING_NAMES",
    "ProviderSettings",
    "RateLimit",
    "Settings",
    "settings_from_values",
    "load_settings",
    "redact_settings",
]
