"""The accounts between which each event moves money, the sums that hold for any amount, and the balance of a wallet."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.enums import IncidentKind
from billvend.domain.errors import InsufficientFunds, InvalidTransition
from billvend.domain.journal.events import (
    CostRecorded,
    Event,
    IncidentRaised,
    PaymentCompleted,
    StreamKey,
    WalletEvent,
    WalletFunded,
    WalletHeld,
    WalletReleased,
)
from billvend.domain.ledger.transfers import Transfer, transfers
from billvend.domain.ledger.wallet import Wallet, evolve, hold, new_wallet, wallet_stream
from billvend.domain.money import MAX_AMOUNT_MINOR, CurrencyMismatch, Money
from tests.domain.test_events import EVENTS

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
        (CostRecorded(1, "acme", 300, 290), [("provider:acme", "commission:acme", 10)]),
        (CostRecorded(1, "acme", 300, 305), [("expense:acme", "provider:acme", 5)]),
        (CostRecorded(1, "acme", 300, 300), []),
        (captured(300, 305), [("in_flight", "provider:acme", 300), ("expense:acme", "provider:acme", 5)]),
        (incident(IncidentKind.DELIVERED_AFTER_REVERSAL, 290), [("loss", "provider:backup", 290)]),
        (incident(IncidentKind.DELIVERED_TWICE, 290), [("loss", "provider:backup", 290)]),
        (incident(IncidentKind.TAKEN_BACK, 290), [("provider:backup", "recovered", 290)]),
    ],
)
def test_event_makes_its_transfers(event: Event, rows: Sequence[Row]) -> None:
    assert list(transfers(event)) == [Transfer(*row) for row in rows]


MOVING = (WalletFunded, WalletHeld, WalletReleased, PaymentCompleted, CostRecorded, IncidentRaised)


def test_other_events_make_no_transfer() -> None:
    still = [event for event in EVENTS if not isinstance(event, MOVING)]
    for event in (*still, *(incident(kind, 0) for kind in IncidentKind)):
        assert list(transfers(event)) == [], event


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


# --- wallets ----------------------------------------------------------------------------------------------------------


def naira(kobo: int) -> Money:
    return Money(kobo, "NGN")


def wallet_of(kobo: int) -> Wallet:
    return Wallet("ada", naira(kobo))


def test_new_wallet_is_empty_and_has_its_own_stream() -> None:
    assert new_wallet("ada", "NGN") == wallet_of(0)
    assert (
        new_wallet("ada", "NGN").stream_key == wallet_stream("ada", "NGN") == StreamKey("ada", "wallet:NGN")
    )
    assert wallet_stream("ada", "KES") != wallet_stream("ada", "NGN") != wallet_stream("bob", "NGN")


@pytest.mark.parametrize(
    ("event", "balance"),
    [
        (WalletFunded("t1", 500, "manual", "till-7"), 1500),
        (WalletHeld("t1", 300), 700),
        (WalletHeld("t1", 1000), 0),
        (WalletReleased("t1", 300), 1300),
    ],
)
def test_event_changes_the_balance(event: WalletEvent, balance: int) -> None:
    assert evolve(wallet_of(1000), event) == wallet_of(balance)


def test_balance_never_falls_below_zero() -> None:
    with pytest.raises(InvalidTransition, match="ada"):
        evolve(wallet_of(1000), WalletHeld("t1", 1001))


def test_hold_may_take_the_whole_balance_and_no_more() -> None:
    assert hold(wallet_of(1000), "t1", naira(1000)) == WalletHeld("t1", 1000)
    with pytest.raises(InsufficientFunds, match=r"NGN 10\.00, .* NGN 10\.01\. Nothing was held\."):
        hold(wallet_of(1000), "t1", naira(1001))
    with pytest.raises(CurrencyMismatch):
        hold(wallet_of(1000), "t1", Money(1, "KES"))


@given(st.lists(st.tuples(st.sampled_from([WalletHeld, WalletReleased]), st.integers(1, 500))))
def test_balance_equals_releases_minus_holds(
    moves: Sequence[tuple[type[WalletHeld | WalletReleased], int]],
) -> None:
    wallet, expected = wallet_of(1000), 1000
    for kind, amount in moves:
        if kind is WalletHeld and amount > expected:
            with pytest.raises(InsufficientFunds):
                hold(wallet, "t1", naira(amount))
            continue
        wallet = evolve(
            wallet, hold(wallet, "t1", naira(amount)) if kind is WalletHeld else kind("t1", amount)
        )
        expected += amount if kind is WalletReleased else -amount
    assert wallet.balance == naira(expected)
