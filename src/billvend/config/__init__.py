"""Settings: what may be configured, from where it is read, and why a start is refused.

Every setting has one name, in capitals, in the environment and in a `.env` file of the working directory.
The environment wins; an empty value means that the setting is not given. What is unknown, malformed or
contradictory raises `BadSetting`: one line that names the setting and never repeats a secret.
Nothing here connects to anything.

    settings.py   every setting, its default, and what must hold between them
    kinds.py      the kinds of values, and the words in which a wrong one is refused
    accounts.py   provider accounts                     urls.py       addresses
    sources.py    the environment and .env              refusals.py   the one line of a refusal
    masking.py    showing settings without secrets
"""

from billvend.config.accounts import BUILT_IN_PROVIDERS, PLUG_IN_GROUP, ProviderAccount
from billvend.config.kinds import RateLimit
from billvend.config.masking import masked
from billvend.config.settings import SETTING_NAMES, Settings, given_settings, load_settings

__all__ = [
    "BUILT_IN_PROVIDERS",
    "PLUG_IN_GROUP",
    "SETTING_NAMES",
    "ProviderAccount",
    "RateLimit",
    "Settings",
    "given_settings",
    "load_settings",
    "masked",
]
