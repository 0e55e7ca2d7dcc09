"""The accounts between which each event moves money, and the sums that hold for any amount."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.enums import IncidentKind, Proof, VendType
from billvend.domain.journal.events import (
    Event,
    IncidentRaised,
    PaymentAccepted,
    PaymentCompleted,
    PaymentReversed,
    RequeryAnswered,
    RequeryStarted,
    ReversalDecided,
    ReviewRequested,
    SendAnswered,
    SendLeaseExpired,
    SendStarted,
    WalletFunded,
    WalletHeld,
    WalletReleased,
)
from billvend.domain.ledger.transfers import Transfer, transfers
from billvend.domain.money import MAX_AMOUNT_MINOR
from billvend.domain.outcome import NotFound, Unknown
from tests.domain.model_ledger import NOON

Row = tuple[str, str, int]


def captured(face: int, cost: int | None) -> PaymentCompleted:
    return PaymentCompleted(1, "acme", face, cost, "1234", "4.5")


def incident(kind: IncidentKind, amount: int) -> IncidentRaised:
    return IncidentRaised(kind, 2, "backup", amount, "answered later")


@pytest.mark.parametrize(
    ("event", "rows"),
    [
        (WalletFunded("t1", 500, "paystack", "ps-1"), [("funding:paystack", "wallet", 500)]),
        (WalletHeld("t1", 300), [("wallet", "in_flight", 300)]),
        (WalletReleased("t1", 300), [("in_flight", "wallet", 300)]),
        (captured(300, 290), [("in_flight", "provider:acme", 290), ("in_flight", "commission:acme", 10)]),
        (captured(300, 300), [("in_flight", "provider:acme", 300)]),
        (captured(300, None), [("in_flight", "provider:acme", 300)]),
        (captured(300, 0), [("in_flight", "commission:acme", 300)]),
        (captured(300, 305), [("in_flight", "provider:acme", 300), ("expense:acme", "provider:acme", 5)]),
        (incident(IncidentKind.DELIVERED_AFTER_REVERSAL, 290), [("loss", "provider:backup", 290)]),
        (incident(IncidentKind.DELIVERED_TWICE, 290), [("loss", "provider:backup", 290)]),
        (incident(IncidentKind.TAKEN_BACK, 290), [("provider:backup", "recovered", 290)]),
    ],
)
def test_event_makes_its_transfers(event: Event, rows: Sequence[Row]) -> None:
    assert list(transfers(event)) == [Transfer(*row) for row in rows]


@pytest.mark.parametrize(
    "event",
    [
        PaymentAccepted(300, "NGN", "12345678901", "EKEDC", VendType.PREPAID, None, None),
        SendStarted(1, 1, "ref-1", "acme", "key-1", NOON, NOON, NOON, None),
        SendAnswered(1, 1, Unknown("?")),
        SendLeaseExpired(1, 1),
        RequeryStarted(1, 1, NOON, 20.0),
        RequeryAnswered(1, 1, NotFound("no"), 20.0),
        ReviewRequested("too long"),
        ReversalDecided(Proof.DECLINED, "no", 1),
        PaymentReversed(Proof.DECLINED, "no", 300),
        *(incident(kind, 0) for kind in IncidentKind),
    ],
)
def test_other_events_make_no_transfer(event: Event) -> None:
    assert list(transfers(event)) == []


@given(face=st.integers(1, MAX_AMOUNT_MINOR), cost=st.none() | st.integers(0, MAX_AMOUNT_MINOR))
def test_capture_takes_the_hold_and_pays_the_cost(face: int, cost: int | None) -> None:
    made = list(transfers(captured(face, cost)))
    accounts: Counter[str] = Counter()
    for transfer in made:
        assert transfer.amount_minor > 0
        accounts[transfer.source] -= transfer.amount_minor
        accounts[transfer.target] += transfer.amount_minor
    paid = face if cost is None else cost
    assert accounts["in_flight"] == -face
    assert accounts["provider:acme"] == paid
    assert accounts["commission:acme"] == max(0, face - paid)
    assert accounts["expense:acme"] == -max(0, paid - face)
    assert sum(accounts.values()) == 0
