"""Example wallets and payments, for trying things out."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from billvend.domain.enums import Status
from billvend.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.config import Settings
    from billvend.domain.payment.state import Payment
    from billvend.ports.queries import Transaction

WALLETS: Final = {"ada": "20000", "bola": "5000", "chidi": "1500"}
"""What is in the wallets before anything is paid."""

BILLS: Final = (
    ("ada", "2000", "12345678901"),  # delivered
    ("ada", "1500", "1111111111111"),  # delivered
    ("bola", "1000", "600000000001"),  # declined: the money is back
    ("bola", "500", "600000000003"),  # sold, but the answer was lost: in doubt
    ("chidi", "700", "201000000000"),  # the provider is still at it
)
"""User, amount and meter of the sandbox."""

UNPROCESSED_BILL: Final = ("chidi", "300", "99999999999")
"""A payment with which nobody begins: there is something to cancel."""

MAX_WAIT_SECONDS: Final = 30


def require_non_production(settings: "Settings") -> None:
    """Raises `ConfigurationError` where examples have no place, before anything is opened."""
    if settings.app_env == "production":
        raise ConfigurationError(
            "APP_ENV is production: examples belong in a test database. Nothing was done."
        )


def add_examples(bv: "Billvend") -> "Sequence[Transaction]":
    """Put the examples on the books, once however often it is done; returns what there is of them, newest first.

    Raises `ConfigurationError` where money is real.
    """
    bv.require_test_money()
    ids = [
        bv.fund(user, amount, key=f"seed-{user}", source="seed").transaction_id
        for user, amount in WALLETS.items()
    ]
    for bill in (*BILLS, UNPROCESSED_BILL):
        user, amount, meter = bill
        payment = bv.pay(user, amount, meter=meter, biller="EKEDC", key=f"seed-{meter}")
        ids.append(payment.transaction_id)
        if bill is not UNPROCESSED_BILL:
            with suppress(_StopWaiting):
                bv.wait(payment.transaction_id, timeout=MAX_WAIT_SECONDS, on_poll=_stop_in_doubt)
    return [bv.transaction(transaction_id) for transaction_id in reversed(ids)]


class _StopWaiting(Exception):
    """A doubt that is resolved would be no example of one."""


def _stop_in_doubt(payment: "Payment") -> None:
    if payment.status is Status.IN_DOUBT:
        raise _StopWaiting
