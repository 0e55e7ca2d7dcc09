"""Adapters of real providers in tests: their settings, and their answers as the core records them."""

from dataclasses import replace
from typing import Any

from billvend.domain.outcome import Answer, Delivered
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order
from billvend.testing.harness import NOW, verified


def provider_setup(**changed: Any) -> ProviderSetup:
    defaults: dict[str, Any] = {
        "name": "provider", "timeout_seconds": 5.0, "max_processing_seconds": 600, "currency": "NGN",
        "now": lambda: NOW, "sleep": lambda seconds: None,
    }  # fmt: skip
    return ProviderSetup(**{**defaults, **changed})


def as_recorded(answer: Answer, order: Order) -> Answer:
    """The answer after the core's check. What an answer repeats of the order is left out, but for a delivery."""
    checked = verified(answer, order)
    return checked if isinstance(checked, Delivered) else replace(checked, reference=None, meter=None)
