"""Environment: whether the money of a ledger is for tests or real. The first money that comes in decides, for ever."""

from billvend.domain.errors import ConfigurationError
from billvend.domain.policy.accounts import Mode
from billvend.usecases.dependencies import Dependencies


def check_mode(deps: Dependencies) -> None:
    """Mark the ledger as test or live by the configured providers, or check that it has this mark.

    Raises `ConfigurationError` if it is for the other kind of money, and `Unavailable`.
    """
    marked = deps.journal.bind_environment(deps.mode)
    if marked is not deps.mode:
        raise ConfigurationError(
            f"This ledger is for {marked} money, and the configured provider is for {deps.mode} money. "
            "Nothing was done: use another DATABASE_URL or BILL_PROVIDER."
        )


def is_test_money_only(deps: Dependencies) -> bool:
    """Whether no real money is here: the provider is for tests, and the ledger is marked so, or has no mark and no money.

    A gateway is always for the same kind of money as the provider. Raises `Unavailable`.
    """
    return deps.mode is Mode.TEST and deps.journal.mode() is not Mode.LIVE
