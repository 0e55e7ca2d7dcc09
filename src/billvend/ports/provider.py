"""The provider port: one account at a provider that sells us electricity tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, Unknown
from billvend.domain.policy.accounts import ProviderAccount


@dataclass(frozen=True, slots=True)
class Order:
    """An order to the provider under one reference. Every send and every requery of it carries the same order."""

    reference: str
    meter: str
    biller: str
    vend_type: VendType
    amount: Money
    phone: str | None


class Provider(Protocol):
    """One provider account. Nothing that the provider does raises an error: every answer is one of a closed set.

    Every call has a total deadline, body included. No call repeats a request by itself. Safe to call from several
    threads. An adapter that inherits from this class needs `account`, `vend` and `requery`. The rest is optional.
    """

    @property
    def account(self) -> ProviderAccount:
        """The properties that the account declares."""

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Order the electricity, once.

        Calls `may_send` immediately before the first byte. If it returns False, nothing is sent and the answer is
        `NotSent`. After the first byte the answer is `Unknown`, unless the provider gives a clear answer.
        """

    def requery(self, order: Order) -> Answer:
        """Ask for the outcome of our reference. Sells nothing."""

    # --- optional -----------------------------------------------------------------------------------------------------

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask whose meter it is and whether it can be sold to. Sells nothing. A buyer waits, so the deadline is short."""
        return MeterLookupFailed("the provider has no call for meters")

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Our balance at the provider. `Unknown` also if the provider has no such call."""
        return Unknown("the provider has no call for our balance")

    def parse_references(self, body: bytes) -> tuple[str, ...]:
        """Our references in the body of an inbound webhook. They are a reason to requery, never a fact.

        Empty if the body is not a webhook of this provider.
        """
        return ()

    def close(self) -> None:
        """Close connections and files."""
