"""How tests open a provider account, and see its answers as the core records them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from billvend.domain.enums import VendType
from billvend.domain.outcome import Answer, Delivered, verify_answer
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def provider_setup(**settings: Any) -> ProviderSetup:
    """The settings of an account with short deadlines."""
    defaults: dict[str, Any] = {
        "name": "test", "timeout_seconds": 5.0, "max_processing_seconds": 600, "currency": "NGN",
        "now": lambda: NOW, "sleep": lambda seconds: None,
    }  # fmt: skip
    return ProviderSetup(**defaults | settings)


def recorded(answer: Answer, order: Order) -> Answer:
    """The answer as the core records it, if it is about the order. Only a delivery keeps what it repeats of the order."""
    verified = verify_answer(
        answer,
        reference=order.reference,
        meter=order.meter,
        biller=order.biller,
        amount_minor=order.amount.amount_minor,
        needs_token=order.vend_type is VendType.PREPAID,
    )
    if isinstance(verified, Delivered):
        return verified
    return replace(verified, reference=None, meter=None, biller=None, amount_minor=None)
