"""The provider port: one account at an aggregator that sells us tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from billvend.domain.abilities import Abilities
from billvend.domain.money import Money
from billvend.domain.outcome import Answer
from billvend.domain.words import VendType


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
    """One provider account. Never raises for what the other side does: every answer is an `Answer`.

    Both calls are bounded by the configured total deadline, body included, and never repeat a request by themselves.
    Safe to call from several threads.
    """

    @property
    def abilities(self) -> Abilities:
        """What the account declares about itself."""

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Ask for the electricity, once.

        `may_send` is asked immediately before the first byte; when it says no, nothing is sent and the answer is
        `NotSent`. Whatever happens after the first byte without a clear statement of the provider is `Unknown`.
        """

    def requery(self, order: Order) -> Answer:
        """Ask what became of our reference. Never sells anything."""

    def close(self) -> None:
        """Give back connections and files."""
