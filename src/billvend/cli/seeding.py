"""Example wallets and payments, for trying things out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from billvend.domain.errors import BadSetting

if TYPE_CHECKING:
    from billvend.config import Settings
    from billvend.library import Billvend
    from billvend.ports.books import Transaction

WALLETS: Final = {"ada": "20000", "bola": "5000", "chidi": "1500"}
"""What is in the wallets before anything is paid."""

BILLS: Final = (
    ("ada", "2000", "12345678901", 30.0),  # delivered
    ("ada", "1500", "1111111111111", 30.0),  # delivered
    ("bola", "1000", "600000000001", 30.0),  # declined: the money is back
    ("bola", "500", "600000000003", 0.2),  # sold, but the answer was lost: in doubt
    ("chidi", "700", "201000000000", 0.2),  # the provider is still at it
    ("chidi", "300", "99999999999", 0.0),  # nobody began with it
)
"""User, amount, meter of the sandbox, and for how many seconds it is worked on."""


def refuse_production(settings: "Settings") -> None:
    """Raises `BadSetting` where examples have no place, before anything is opened."""
    if settings.app_env == "production":
        raise BadSetting("APP_ENV is production: examples belong in a test database. Nothing was done.")


def sow(bv: "Billvend") -> "Sequence[Transaction]":
    """Put the examples on the books, once however often it is done; returns what there is of them, newest first.

    Raises `BadSetting` where money is real.
    """
    bv.require_test_money()
    ids = [
        bv.fund(user, amount, key=f"seed-{user}", source="seed").transaction_id
        for user, amount in WALLETS.items()
    ]
    for user, amount, meter, seconds in BILLS:
        payment = bv.pay(user, amount, meter=meter, biller="EKEDC", key=f"seed-{meter}")
        ids.append(payment.transaction_id)
        if seconds and not payment.has_ended:
            bv.wait(payment.transaction_id, timeout=seconds)
    return [bv.transaction(transaction_id) for transaction_id in reversed(ids)]
