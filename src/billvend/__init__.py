"""Sells prepaid electricity from wallets, and never guesses with money.

    from billvend import open_billvend

    with open_billvend("sqlite:///shop.db") as bv:
        bv.fund("user123", "1000.00", key="till-7-0001")
        payment = bv.pay("user123", "500", meter="12345678901", biller="EKEDC", key="order-42")
        payment = bv.wait(payment.transaction_id, timeout=30)
        print(payment.status, payment.token, payment.units)

The names in `__all__` are public. Everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from billvend.app import Billvend
    from billvend.bootstrap import open_billvend
    from billvend.domain.enums import Proof, Status, VendType
    from billvend.domain.errors import (
        AlreadySent,
        BillvendError,
        ConfigurationError,
        Conflict,
        DependencyError,
        IdempotencyMismatch,
        InsufficientFunds,
        InvalidAmount,
        InvalidInput,
        InvalidMeter,
        LikelyDuplicate,
        OutcomeUnknown,
        Rejected,
        ResourceNotFound,
        TransactionNotFound,
        Unavailable,
        UnknownBiller,
        UnsupportedCurrency,
        ValidationFailed,
        WalletNotFound,
    )
    from billvend.domain.money import Money
    from billvend.domain.payment.state import Payment
    from billvend.usecases.pay import Bill

__all__ = [
    "AlreadySent",
    "ConfigurationError",
    "Bill",
    "Billvend",
    "BillvendError",
    "Conflict",
    "IdempotencyMismatch",
    "InsufficientFunds",
    "InvalidAmount",
    "InvalidInput",
    "InvalidMeter",
    "LikelyDuplicate",
    "Money",
    "ResourceNotFound",
    "OutcomeUnknown",
    "Payment",
    "Proof",
    "Rejected",
    "Status",
    "TransactionNotFound",
    "Unavailable",
    "UnknownBiller",
    "DependencyError",
    "UnsupportedCurrency",
    "ValidationFailed",
    "VendType",
    "WalletNotFound",
    "open_billvend",
]

_MODULES = (
    "domain.errors",
    "domain.money",
    "domain.enums",
    "domain.payment.state",
    "app",
    "usecases.pay",
    "bootstrap",
)
"""The modules that define these names, the cheapest to import first."""

if not TYPE_CHECKING:  # with it a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a name when it is first used. `billvend --help` needs none of them, and must be fast."""
        for module_name in _MODULES if name in __all__ else ():
            module = import_module(f"billvend.{module_name}")
            if name in vars(module):
                return globals().setdefault(name, vars(module)[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
