"""A sandbox with a fixed clock and recorded pauses, and orders for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from billvend.adapters.providers.sandbox.provider import SandboxProvider
from billvend.domain.enums import VendType
from billvend.domain.money import Money
from billvend.domain.outcome import Answer
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def order(
    meter: str = "12345678901",
    *,
    reference: str = "20261122ABC",
    amount_minor: int = 500_00,
    currency: str = "NGN",
    biller: str = "EKEDC",
    vend_type: VendType = VendType.PREPAID,
) -> Order:
    return Order(reference, meter, biller, vend_type, Money(amount_minor, currency), None)


@dataclass
class SandboxHarness:
    """A sandbox on a file. `pauses`: the seconds of each wait, which are recorded and not waited."""

    path: Path
    timeout_seconds: float = 30
    currency: str = "NGN"
    on_pause: Callable[[float], None] | None = None
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = ProviderSetup(
            name="sandbox",
            timeout_seconds=self.timeout_seconds,
            max_processing_seconds=600,
            currency=self.currency,
            now=lambda: NOW,
            sleep=self._pause,
        )
        sandbox = SandboxProvider(self.path, setup)
        self.provider: Provider = sandbox
        self.store = sandbox.store

    def vend(self, order: Order) -> Answer:
        return self.provider.vend(order, may_send=lambda: True)

    def requery(self, order: Order) -> Answer:
        return self.provider.requery(order)

    def call_counts(self, reference: str) -> tuple[int, int]:
        """How often a reference was sent and requeried, including refused and repeated requests."""
        record = self.store.find(reference)
        return (record.sends, record.requeries) if record else (0, 0)

    def _pause(self, seconds: float) -> None:
        if self.on_pause:
            self.on_pause(seconds)
        self.pauses.append(seconds)
