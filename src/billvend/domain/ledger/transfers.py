"""Double entry: one transfer moves one amount from one account to another. No money appears or disappears.

| when                                        | from              | to                                                  |
| ------------------------------------------- | ----------------- | --------------------------------------------------- |
| fund                                        | funding:<source>  | wallet                                              |
| hold                                        | wallet            | in_flight                                           |
| capture                                     | in_flight         | provider:<name> (the cost), commission:<name> (rest) |
| cost above the face value                   | expense:<name>    | provider:<name>                                     |
| cost known late: below, above what was booked | provider:<name>, expense:<name> | commission:<name>, provider:<name> |
| release                                     | in_flight         | wallet                                              |
| delivered after the reversal, or twice      | loss              | provider:<name>                                     |
| the provider reverses a completed sale      | provider:<name>   | recovered                                           |
"""

from collections.abc import Iterator
from dataclasses import dataclass

from billvend.domain.enums import IncidentKind
from billvend.domain.journal.events import (
    CostRecorded,
    Event,
    IncidentRaised,
    PaymentCompleted,
    WalletFunded,
    WalletHeld,
    WalletReleased,
)

WALLET = "wallet"
IN_FLIGHT = "in_flight"
LOSS = "loss"
RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One amount from one account to another. Both belong to the event's user and have the currency of its stream."""

    source: str
    target: str
    amount_minor: int


def transfers(event: Event) -> Iterator[Transfer]:
    """The transfers that an event makes. Most events make none."""
    match event:
        case WalletFunded():
            yield Transfer(f"funding:{event.source}", WALLET, event.amount_minor)
        case WalletHeld():
            yield Transfer(WALLET, IN_FLIGHT, event.amount_minor)
        case WalletReleased():
            yield Transfer(IN_FLIGHT, WALLET, event.amount_minor)
        case PaymentCompleted():
            yield from _capture_transfers(event)
        case CostRecorded():
            provider, saved = f"provider:{event.provider}", event.amount_minor - event.cost_minor
            if saved > 0:
                yield Transfer(provider, f"commission:{event.provider}", saved)
            elif saved < 0:
                yield Transfer(f"expense:{event.provider}", provider, -saved)
        case IncidentRaised() if event.amount_minor:
            provider = f"provider:{event.provider}"
            taken_back = event.kind is IncidentKind.TAKEN_BACK
            source, target = (provider, RECOVERED) if taken_back else (LOSS, provider)
            yield Transfer(source, target, event.amount_minor)


def _capture_transfers(event: PaymentCompleted) -> Iterator[Transfer]:
    provider, face = f"provider:{event.provider}", event.amount_minor
    cost = face if event.cost_minor is None else event.cost_minor
    if within := min(cost, face):
        yield Transfer(IN_FLIGHT, provider, within)
    if rest := face - within:
        yield Transfer(IN_FLIGHT, f"commission:{event.provider}", rest)
    if above := cost - within:
        yield Transfer(f"expense:{event.provider}", provider, above)
