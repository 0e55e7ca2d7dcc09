"""Example wallets and payments."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from billvend.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.config import Settings
    from billvend.domain.payment.state import Payment
    from billvend.ports.queries import Transaction

WALLETS: Final = {"ada": "20000", "bola": "5000", "chidi": "1500"}
"""Naira that is added to each wallet."""

BILLS: Final = (
    ("ada", "2000", "12345678901"),  # delivered
    ("ada", "1500", "1111111111111"),  # delivered
    ("bola", "1000", "600000000001"),  # declined: reversed
    ("bola", "500", "600000000003"),  # delivered, but the answer was lost: in doubt
    ("chidi", "700", "201000000000"),  # still pending at the provider
    ("chidi", "300", "99999999999"),  # not processed, so that it can be cancelled
)
"""User, amount and meter of the sandbox."""

MAX_WAIT_SECONDS: Final = 30


def require_non_production(settings: "Settings") -> None:
    """Raises `ConfigurationError` in production, before the database is opened."""
    if settings.app_env == "production":
        raise ConfigurationError(
            "APP_ENV is production: examples belong in a test database. Nothing was done."
        )


def add_examples(bv: "Billvend") -> "list[Transaction]":
    """Add the examples, once even if it is repeated. Returns them, newest first.

    Raises `ConfigurationError` on a ledger of live money.
    """
    bv.require_test_money()
    ids = [
        bv.fund(user, amount, key=f"seed-{user}", source="seed").transaction_id
        for user, amount in WALLETS.items()
    ]
    for bill in BILLS:
        user, amount, meter = bill
        payment = bv.pay(user, amount, meter=meter, biller="EKEDC", key=f"seed-{meter}")
        ids.append(payment.transaction_id)
        if bill is not BILLS[-1]:
            with suppress(_InDoubt):
                bv.wait(payment, timeout=MAX_WAIT_SECONDS, on_poll=_stop_in_doubt)
    return [bv.transaction(transaction_id) for transaction_id in reversed(ids)]


class _InDoubt(Exception):
    """Ends the wait, so that there is an example of a payment in doubt."""


def _stop_in_doubt(payment: "Payment") -> None:
    if payment.status == "in_doubt":
        raise _InDoubt
