"""The provider port: one account at an aggregator that sells us tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, Unknown
from billvend.domain.policy.accounts import ProviderAccount


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the provider under one reference. The same for every send and every requery of it."""

    reference: str
    meter: str
    biller: str
    vend_type: VendType
    amount: Money
    phone: str | None


class Provider(Protocol):
    """One provider account. Never raises for what the other side does: every answer is one of a closed set.

    Every call is bounded by a total deadline, body included, and never repeats a request by itself. Safe to call from
    several threads.
    """

    @property
    def account(self) -> ProviderAccount:
        """What the account declares about itself."""

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Ask for the electricity, once.

        `may_send` is asked immediately before the first byte; when it says no, nothing is sent and the answer is
        `NotSent`. Whatever happens after the first byte without a clear statement of the provider is `Unknown`.
        """

    def requery(self, order: Order) -> Answer:
        """Ask what became of our reference. Never sells anything."""

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask whose meter it is, and whether it may be sold to. Sells nothing. A buyer waits: its deadline is short."""

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Our balance at the provider. `Unknown` also where the provider has no such call."""

    def parse_references(self, body: bytes) -> tuple[str, ...]:
        """The references of ours that the body of an inbound hook is about: a hint to ask, never a fact.

        Empty for what is no hook of this provider.
        """

    def close(self) -> None:
        """Give back connections and files."""
